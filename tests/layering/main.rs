//! Holds the tree against `agent/ARCHITECTURE.md`: who may import whom, and how large a file may get.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Which layers of the agent a layer may name. Whatever is not listed is the composition root, which knows all.
const ALLOWED: &[(&str, &[&str])] = &[
    ("model", &["model"]),
    ("sources", &["sources", "model"]),
    ("findings", &["findings", "model"]),
    ("apiserver", &["apiserver", "model"]),
    ("fleet", &["fleet", "apiserver", "findings", "model"]),
    ("sinks", &["sinks", "fleet", "apiserver", "findings", "model"]),
];

/// Lines of a file: none over, nine of ten below the second, half below the third.
const LINES: (usize, usize, usize) = (600, 400, 180);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn rust_files(under: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(under).expect("a folder of the tree") {
        let path = entry.expect("an entry of the tree").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// The layers that a source names: `crate::x`, and each branch of `use crate::{x, y::z}`.
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

#[test]
fn each_layer_names_only_what_it_may() {
    let mut wrong = Vec::new();
    for (layer, allowed) in ALLOWED {
        let mut files = Vec::new();
        rust_files(&root().join("agent/src").join(layer), &mut files);
        assert!(!files.is_empty(), "the layer {layer} is there");
        let module = root().join("agent/src").join(layer).with_extension("rs");
        files.extend(module.exists().then_some(module));
        for file in files {
            let source = fs::read_to_string(&file).expect("a source is UTF-8");
            let foreign = named_layers(&source)
                .into_iter()
                .filter(|name| !allowed.contains(&name.as_str()));
            wrong.extend(foreign.map(|name| format!("{} names crate::{name}", file.display())));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn a_foreign_name_would_be_seen() {
    assert_eq!(named_layers("use crate::sources::x;"), ["sources"]);
    assert_eq!(
        named_layers("use crate::{model::{a, b}, sinks, findings::c};"),
        ["model", "sinks", "findings"]
    );
    assert_eq!(named_layers("fn f() -> crate::agent::Agent"), ["agent"]);
}

#[test]
fn files_are_one_fact_each() {
    let mut sizes = BTreeMap::new();
    for part in ["agent", "proto", "tests"] {
        let mut files = Vec::new();
        rust_files(&root().join(part), &mut files);
        for file in files {
            let lines = fs::read_to_string(&file).expect("a source is UTF-8").lines().count();
            sizes.insert(file, lines);
        }
    }
    let (most, nine_of_ten, half) = LINES;
    let over: Vec<_> = sizes.iter().filter(|(_, lines)| **lines > most).collect();
    assert!(over.is_empty(), "over {most} lines: {over:?}");
    let mut all: Vec<usize> = sizes.values().copied().collect();
    all.sort_unstable();
    assert!(
        all[all.len() * 9 / 10] <= nine_of_ten,
        "90 % within {}",
        all[all.len() * 9 / 10]
    );
    assert!(all[all.len() / 2] <= half, "median {}", all[all.len() / 2]);
}

/// Each invariant of the architecture document names the test that guards it; a name that is nowhere guards nothing.
#[test]
fn the_guards_that_the_architecture_names_exist() {
    let document = fs::read_to_string(root().join("agent/ARCHITECTURE.md")).expect("the document is there");
    let invariants = document.split("## Invariants").nth(1).expect("it has invariants");
    let mut files = Vec::new();
    for part in ["agent", "proto", "tests"] {
        rust_files(&root().join(part), &mut files);
    }
    let sources: Vec<String> = files.iter().map(|f| fs::read_to_string(f).expect("UTF-8")).collect();
    let named: Vec<&str> = invariants
        .split("guard: `")
        .skip(1)
        .filter_map(|rest| rest.split('`').next())
        .collect();
    assert!(named.len() >= 8, "the invariants name their guards: {named:?}");
    for guard in named {
        let function = guard.rsplit("::").next().unwrap_or(guard);
        let there = sources.iter().any(|s| s.contains(&format!("fn {function}(")));
        assert!(there, "no test {guard}");
    }
}
