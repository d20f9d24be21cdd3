//! Runs castoff on kernels in use, one row per kernel: each boots in a virtual machine as a node with an engine and its
//! clients, and the results of `castoff check` are compared with the expected ones.
//!
//! With arguments, only the rows run whose name contains one of them. A complete run is compared with
//! `agent/docs/kernel-support.md`; `CASTOFF_BLESS=1` writes it.

mod cases;
mod guests;
mod table;

use std::process::ExitCode;

use anyhow::{Context, Result};
use castoff_tests::lab::image::Image;
use castoff_tests::matrix::Outcome;
use castoff_tests::rows::{self, Words};

const REPORT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../agent/docs/kernel-support.md");

fn main() -> ExitCode {
    rows::main("kernel", run)
}

fn run(words: &Words) -> Result<bool> {
    let program = Image::of_this_tree()?.program();
    let mut plans = guests::plans();
    plans.retain(|plan| words.choose(&plan.name()));
    let mut ran = Vec::new();
    for plan in plans {
        ran.push(rows::run(
            || plan.run(&program),
            |row| (row.name.as_str(), &row.outcome),
        ));
    }
    let table = table::write(&ran);
    println!("\n{table}");
    for row in &ran {
        println!("{}: {}", row.name, row.judged.figures);
    }
    let document = !words.are_none() || compare(&table, &ran)?;
    let failed = ran
        .iter()
        .filter(|row| matches!(row.outcome, Outcome::Wrong(_)))
        .count()
        + usize::from(!document);
    let passed = ran.iter().filter(|row| matches!(row.outcome, Outcome::Right)).count() + usize::from(document);
    for row in &ran {
        if let Outcome::NotRun(why) = &row.outcome {
            println!("check {}: skipped, {why}", row.name);
        }
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {word}. {passed} passed; {failed} failed; 0 ignored");
    Ok(failed == 0)
}

/// True if the document has the lines of the rows that ran. `CASTOFF_BLESS=1` writes it if none of them is wrong.
fn compare(table: &str, rows: &[guests::Row]) -> Result<bool> {
    let is_right = rows.iter().all(|row| !matches!(row.outcome, Outcome::Wrong(_)));
    if is_right && std::env::var_os("CASTOFF_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(REPORT, table).with_context(|| format!("write {REPORT}"))?;
        return Ok(true);
    }
    let kept = std::fs::read_to_string(REPORT).with_context(|| format!("read {REPORT}"))?;
    let gone: Vec<String> = rows
        .iter()
        .filter(|row| matches!(row.outcome, Outcome::NotRun(_)))
        .map(|row| format!("| {} |", row.name))
        .collect();
    // A kernel that is not available does not contradict the document.
    let lines = |text: &str| -> Vec<String> {
        let ran = text
            .lines()
            .filter(|line| !gone.iter().any(|name| line.starts_with(name.as_str())));
        ran.map(str::to_owned).collect()
    };
    let (kept, now) = (lines(&kept), lines(table));
    for line in now.iter().filter(|line| !kept.contains(line)) {
        println!("not in agent/docs/kernel-support.md: {line}");
    }
    if kept != now {
        println!("agent/docs/kernel-support.md differs from this run; CASTOFF_BLESS=1 writes it");
    }
    Ok(kept == now)
}
