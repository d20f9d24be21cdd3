//! Checks the sizes of files and functions.

use crate::{is_test, product, sources};

/// The limits of lines per file: for every file, for nine in ten, and for half of them.
const FILE: (usize, usize, usize) = (600, 400, 180);

/// The limit of lines of a function of the product, including its signature and its closing brace.
const FUNCTION: usize = 60;

/// Returns the name and length of each function. The tree is formatted, so a function ends at the first closing brace
/// with the same indentation as its `fn`.
fn functions(text: &str) -> Vec<(&str, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = &line[..line.len() - code.len()];
        let Some(name) = function_name(code) else { continue };
        let is_end = |line: &&&str| line.strip_prefix(indent) == Some("}");
        let body = lines[at..].iter().take_while(|line| !is_end(line));
        // A declaration without a body ends in the line where it begins.
        let declared = lines[at..].iter().find(|line| line.ends_with(['{', ';', '}']));
        if declared.is_some_and(|line| line.ends_with('{')) {
            found.push((name, body.count() + 1));
        }
    }
    found
}

fn function_name(code: &str) -> Option<&str> {
    let before = [
        "pub ",
        "pub(crate) ",
        "pub(super) ",
        "pub(in crate::",
        "const ",
        "async ",
        "fn ",
    ];
    if !before.iter().any(|word| code.starts_with(word)) {
        return None;
    }
    let rest = code.split_once("fn ")?.1;
    let end = rest.find(['(', '<'])?;
    rest[..end]
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || c == '_')
        .then_some(&rest[..end])
}

#[test]
fn files_are_within_the_limits() {
    let mut sizes: Vec<(usize, String)> = sources(&["agent", "proto", "tests"])
        .into_iter()
        .map(|(file, text)| (text.lines().count(), file.display().to_string()))
        .collect();
    sizes.sort();
    let (most, nine_of_ten, half) = FILE;
    let over: Vec<_> = sizes.iter().filter(|(lines, _)| *lines > most).collect();
    assert!(over.is_empty(), "over {most} lines: {over:?}");
    let within = |share: usize| sizes[sizes.len() * share / 100].0;
    assert!(within(90) <= nine_of_ten, "90 % within {}", within(90));
    assert!(within(50) <= half, "median {}", within(50));
}

#[test]
fn functions_of_the_product_are_within_the_limit() {
    let mut over = Vec::new();
    for (file, text) in sources(&["agent/src", "proto/src"]) {
        // Samples are tables that tests share.
        let is_sample = file.ends_with("sample.rs") || file.components().any(|part| part.as_os_str() == "sample");
        if is_test(&file) || is_sample {
            continue;
        }
        let long = functions(product(&text))
            .into_iter()
            .filter(|(_, lines)| *lines > FUNCTION);
        over.extend(long.map(|(name, lines)| format!("{}: {name} has {lines} lines", file.display())));
    }
    assert_eq!(over, Vec::<String>::new());
}

#[test]
fn a_long_function_is_detected() {
    let text =
        "impl X {\n    pub fn one(\n        &self,\n    ) -> u8 {\n        1\n    }\n\n    fn declared(&self);\n}\n";
    assert_eq!(functions(text), [("one", 5)]);
}
