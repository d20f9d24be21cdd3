//! Checks the wording of docstrings.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{root, sources};

/// Words that make the first sentence of a docstring a riddle when they begin it as a noun.
const BARE: [&str; 7] = ["What", "Who", "Which", "Whether", "How", "Where", "Why"];

/// Returns the first lines of docstrings that begin with one of these words.
fn bare(text: &str) -> Vec<&str> {
    let docs = |line: &str| ["///", "//!"].iter().any(|mark| line.trim_start().starts_with(mark));
    let mut before = "";
    let mut found = Vec::new();
    for line in text.lines() {
        let words = line.trim_start().trim_start_matches(['/', '!']).trim_start();
        let first = words.split_whitespace().next().unwrap_or_default();
        if docs(line) && !docs(before) && BARE.contains(&first) {
            found.push(line);
        }
        before = line;
    }
    found
}

#[test]
fn docstrings_begin_with_a_verb_or_a_noun() {
    let wrong: Vec<String> = sources(&["agent", "proto", "tests"])
        .iter()
        .flat_map(|(path, text)| {
            let lines = bare(text).into_iter();
            lines
                .map(|line| format!("{}: {}", path.display(), line.trim()))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Adds the texts in a directory that users read.
fn add_documents(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the tree") {
        let path = entry.expect("an entry of the tree").path();
        let kind = path.extension().and_then(|kind| kind.to_str()).unwrap_or_default();
        if path.is_dir() {
            add_documents(&path, found);
        } else if ["json", "md", "txt", "yaml"].contains(&kind) {
            found.push(path);
        }
    }
}

#[test]
fn no_document_shows_a_path_of_the_tests() {
    let mut documents = vec![root().join("README.md"), root().join("agent/CHANGELOG.md")];
    for folder in [".github", "agent/data", "agent/docs", "charts", "deploy"] {
        add_documents(&root().join(folder), &mut documents);
    }
    assert!(documents.len() > 50, "{documents:?}");
    documents.retain(|path| {
        let text = fs::read_to_string(path).expect("a document is UTF-8");
        text.contains("castoff-lab")
    });
    assert!(documents.is_empty(), "{documents:?}");
}

#[test]
fn a_bare_question_word_is_detected() {
    let text = "    /// What it is.\n/// Reads it.\n/// Who may.\nfn a() {}\n//! Where it is.";
    assert_eq!(bare(text), ["    /// What it is.", "//! Where it is."]);
}
