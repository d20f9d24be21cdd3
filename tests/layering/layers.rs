//! Checks which layers each layer may use, and where files, processes and the network may be used.

use crate::{is_test, product, sources};

/// The layers of the agent that each layer may use. Directories that are not listed are the composition root, which
/// uses all.
const ALLOWED: &[(&str, &[&str])] = &[
    ("model", &["model"]),
    ("sources", &["sources", "model"]),
    ("findings", &["findings", "model"]),
    ("apiserver", &["apiserver", "model"]),
    ("fleet", &["fleet", "apiserver", "findings", "model"]),
    ("sinks", &["sinks", "fleet", "apiserver", "findings", "model"]),
];

/// Layers without input and output.
const PURE: &[&str] = &["agent/src/model", "agent/src/findings"];

/// Names through which Rust code uses files, processes, the network, threads or the clock.
const WORLD: &[&str] = &[
    "std::fs",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
    "std::process",
    "std::thread",
    "std::env",
    "std::os::unix::net",
    "SystemTime::now",
    "Instant::now",
    "tokio::",
    "rustix::",
    "hyper::",
    "kube::",
    "println!",
    "eprintln!",
];

/// Returns the layers that a source uses: `crate::x`, and each branch of `use crate::{x, y::z}`.
fn named_layers(source: &str) -> Vec<String> {
    let mut named = Vec::new();
    for (at, _) in source.match_indices("crate::") {
        let rest = &source[at + "crate::".len()..];
        let Some(branches) = rest.strip_prefix('{') else {
            named.push(first_name(rest));
            continue;
        };
        let mut depth = 0;
        let mut start = 0;
        for (i, c) in branches.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                '}' | ',' if depth == 0 => {
                    named.push(first_name(branches[start..i].trim()));
                    start = i + 1;
                    if c == '}' {
                        break;
                    }
                }
                _ => {}
            }
        }
    }
    named.retain(|name| !name.is_empty());
    named
}

fn first_name(path: &str) -> String {
    path.chars()
        .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
        .collect()
}

/// Returns the names of [`WORLD`] in the code of a source; comments may contain them.
fn named_world(source: &str) -> Vec<&'static str> {
    let code: Vec<&str> = source
        .lines()
        .map(|line| line.split("//").next().unwrap_or(line))
        .collect();
    let names = WORLD.iter().copied();
    names
        .filter(|name| code.iter().any(|line| line.contains(name)))
        .collect()
}

#[test]
fn each_layer_names_only_what_it_may() {
    let mut wrong = Vec::new();
    for (layer, allowed) in ALLOWED {
        for (file, source) in sources(&[&format!("agent/src/{layer}")]) {
            let foreign = named_layers(&source)
                .into_iter()
                .filter(|name| !allowed.contains(&name.as_str()));
            wrong.extend(foreign.map(|name| format!("{} names crate::{name}", file.display())));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn model_and_findings_do_no_input_or_output() {
    let mut wrong = Vec::new();
    for (file, source) in sources(PURE) {
        if !is_test(&file) {
            let names = named_world(product(&source));
            wrong.extend(names.iter().map(|name| format!("{} uses {name}", file.display())));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn a_forbidden_name_is_detected() {
    assert_eq!(named_layers("use crate::sources::x;"), ["sources"]);
    assert_eq!(
        named_layers("use crate::{model::{a, b}, sinks, findings::c};"),
        ["model", "sinks", "findings"]
    );
    assert_eq!(named_layers("fn f() -> crate::agent::Agent"), ["agent"]);
    assert_eq!(
        named_world("use std::fs;\nlet t = SystemTime::now();"),
        ["std::fs", "SystemTime::now"]
    );
    assert_eq!(named_world("let x = 1; // as std::fs does"), [""; 0]);
}
