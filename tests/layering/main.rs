//! Checks the tree against `agent/ARCHITECTURE.md`: the layers that each layer may use, where files, processes and the
//! network may be used, the sizes of files and functions, and the document itself.

mod document;
mod layers;
mod sizes;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .expect("the crate of the tests is in a folder")
        .to_owned()
}

/// Returns every Rust file of these modules or directories of the repository, with its text: `x` is `x.rs` and
/// everything below `x/`.
fn sources(folders: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for folder in folders {
        let before = found.len();
        collect(&root().join(folder), &mut found);
        let module = root().join(format!("{folder}.rs"));
        if let Ok(text) = fs::read_to_string(&module) {
            found.push((module, text));
        }
        assert!(found.len() > before, "{folder} has sources");
    }
    found
}

fn collect(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).expect("a folder of the tree") {
        let path = entry.expect("an entry of the tree").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).expect("a source is UTF-8");
            found.push((path, text));
        }
    }
}

/// Returns the part of a source before its unit tests.
fn product(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

/// True if a file has only tests.
fn is_test(path: &Path) -> bool {
    let path = path.strip_prefix(root()).expect("a path of the repository");
    path.ends_with("tests.rs") || path.components().any(|part| part.as_os_str() == "tests")
}
