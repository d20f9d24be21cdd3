//! Checks the architecture document: its rows are paths of the tree, and each invariant has tests that guard it.

use std::collections::BTreeSet;
use std::fs;

use crate::{root, sources};

fn section(title: &str) -> String {
    let document = fs::read_to_string(root().join("agent/ARCHITECTURE.md")).expect("the document is there");
    let (_, rest) = document
        .split_once(&format!("## {title}\n"))
        .expect("the document has this section");
    rest.split("\n## ").next().unwrap_or(rest).to_owned()
}

/// Returns the items of a list, each on one line.
fn items(text: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("- "), items.last_mut()) {
            (Some(item), _) => items.push(item.to_owned()),
            (None, Some(item)) if line.starts_with("  ") => {
                item.push(' ');
                item.push_str(line.trim());
            }
            _ => {}
        }
    }
    items
}

/// Returns the names in backticks after `guard:` of one invariant.
fn guards(item: &str) -> Vec<&str> {
    let Some((_, named)) = item.split_once("guard:") else {
        return Vec::new();
    };
    named.split('`').skip(1).step_by(2).collect()
}

fn doubled<T: Ord + Clone>(rows: &[T]) -> Vec<T> {
    let mut seen = BTreeSet::new();
    rows.iter()
        .filter(|row| !seen.insert((*row).clone()))
        .cloned()
        .collect()
}

#[test]
fn each_invariant_appears_once_and_names_existing_tests() {
    let invariants = items(&section("Invariants"));
    let statements: Vec<&str> = invariants
        .iter()
        .map(|item| item.split("guard:").next().unwrap_or(item).trim())
        .collect();
    assert_eq!(doubled(&statements), [""; 0], "stated twice");
    let unguarded: Vec<_> = invariants.iter().filter(|item| guards(item).is_empty()).collect();
    assert!(unguarded.is_empty(), "no test guards: {unguarded:#?}");
    let sources = sources(&["agent", "proto", "tests"]);
    let is_there = |guard: &str| sources.iter().any(|(_, text)| text.contains(&format!("fn {guard}(")));
    let missing: Vec<&str> = invariants
        .iter()
        .flat_map(|item| guards(item))
        .filter(|guard| !is_there(guard))
        .collect();
    assert_eq!(missing, [""; 0], "tests that do not exist");
}

#[test]
fn each_row_of_the_code_map_is_a_path_of_the_tree_and_appears_once() {
    let map = section("Code map");
    let places: Vec<&str> = map
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    assert!(places.len() > 10, "the map has rows: {places:?}");
    assert_eq!(doubled(&places), [""; 0], "two rows for one place");
    let exists = |place: &str| {
        ["", ".rs"]
            .iter()
            .any(|end| root().join(format!("{place}{end}")).exists())
    };
    let gone: Vec<&&str> = places.iter().filter(|place| !exists(place)).collect();
    assert!(gone.is_empty(), "not in the tree: {gone:?}");
}

#[test]
fn every_directory_of_the_agent_has_a_row() {
    let map = section("Code map");
    for entry in fs::read_dir(root().join("agent/src")).expect("the agent's sources") {
        let entry = entry.expect("an entry of the tree");
        let name = entry.file_name().to_string_lossy().into_owned();
        let folder = format!("`agent/src/{name}");
        assert!(
            !entry.path().is_dir() || map.contains(&folder),
            "no row for agent/src/{name}"
        );
    }
}

#[test]
fn a_list_is_read_completely() {
    let list = items("- One. guard: `a`,\n  `b`\n- Two.\n");
    assert_eq!(list, ["One. guard: `a`, `b`", "Two."]);
    assert_eq!(guards(&list[0]), ["a", "b"]);
    assert_eq!(guards(&list[1]), [""; 0]);
    assert_eq!(doubled(&["a", "b", "a"]), ["a"]);
}
