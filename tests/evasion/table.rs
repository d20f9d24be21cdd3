//! The table of the cases, as it is printed and stored.

use std::fmt::Write as _;

use anyhow::{Context, Result};

use crate::case::{Case, Said};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../agent/docs/blind-spots.md");
const BEGIN: &str = "<!-- evasion: begin -->\n";
const END: &str = "<!-- evasion: end -->\n";

/// Returns the table.
pub(crate) fn write(cases: &[Case]) -> String {
    let mut table = "| case | with the kernel programs | without them | how |\n|---|---|---|---|\n".to_owned();
    for case in cases {
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "| {} | {} | {} | {} |",
            case.title,
            cell(case.with),
            cell(case.without),
            case.how
        );
    }
    table
}

fn cell(said: &[Said]) -> String {
    let mut words: Vec<String> = said.iter().map(Said::to_string).collect();
    words.dedup();
    if words.is_empty() {
        "no client".to_owned()
    } else {
        words.join(", ")
    }
}

/// True if the document has this table between its marks. `CASTOFF_BLESS=1` writes it.
pub(crate) fn compare(cases: &[Case]) -> Result<bool> {
    let kept = std::fs::read_to_string(DOCUMENT).with_context(|| format!("read {DOCUMENT}"))?;
    let (before, rest) = kept
        .split_once(BEGIN)
        .with_context(|| format!("{BEGIN} in {DOCUMENT}"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("{END} in {DOCUMENT}"))?;
    let now = format!("{before}{BEGIN}{}{END}{after}", write(cases));
    if now == kept {
        return Ok(true);
    }
    if std::env::var_os("CASTOFF_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(DOCUMENT, now).with_context(|| format!("write {DOCUMENT}"))?;
        return Ok(true);
    }
    println!("agent/docs/blind-spots.md has another table; CASTOFF_BLESS=1 tests/run evasion writes it");
    Ok(false)
}
