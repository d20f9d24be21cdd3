//! The table of results, as it is printed and stored.

use std::fmt::Write as _;

use super::row::{Outcome, Row};

const HEAD: &str = "# Versions that castoff is tested against

Written by `tests/run matrix`: each is a real daemon with pods or containers and clients over it. *Ceiling* is the newest
kubelet that starts on the runtime.

| what | from | version | CRI | ceiling | castoff was right about | result |
|---|---|---|---|---|---|---|
";

/// Returns the whole document.
pub fn write(rows: &[Row]) -> String {
    let mut table = HEAD.to_owned();
    for row in rows {
        let seen = &row.seen;
        let result = match &row.outcome {
            Outcome::Right => "ok".to_owned(),
            Outcome::Wrong(_) => "**wrong**".to_owned(),
            Outcome::NotRun(words) => format!("not run: {}", cell(words)),
        };
        let line = [
            &row.name,
            &row.source,
            &seen.version,
            &seen.api,
            &seen.ceiling,
            &seen.asserted.join(", "),
            &result,
        ];
        let line = line.map(|cell| if cell.is_empty() { "–" } else { cell });
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| {} |", line.join(" | "));
    }
    table
}

/// Returns a text as one cell, without the addresses of the machine's own archives: the table is stored in the tree.
fn cell(words: &str) -> String {
    let words = words
        .split_whitespace()
        .map(|word| if word.contains("://") { "…" } else { word });
    words.collect::<Vec<_>>().join(" ").replace('|', "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_one_cell_and_names_no_archive() {
        let words = "E: The repository 'http://mirror.test/debian x\nRelease' does not | have";
        assert_eq!(cell(words), "E: The repository … x Release' does not / have");
    }
}
