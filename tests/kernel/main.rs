//! castoff on the kernels that people run, one row a kernel: each boots in a virtual machine as a node with an engine and
//! its clients, and what `castoff check` says of them.
//!
//! With words as arguments only the rows run whose name contains one of them. A whole run is held against
//! `agent/docs/kernel-support.md`; `CASTOFF_BLESS=1` writes it.

mod cases;
mod rows;
mod table;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use castoff_tests::lab::image::Image;
use castoff_tests::matrix::Outcome;

const REPORT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../agent/docs/kernel-support.md");

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    match run(&words) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("kernel: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> Result<ExitCode> {
    let program = Image::of_this_tree()?.program();
    let mut plans = rows::plans();
    plans.retain(|plan| words.is_empty() || words.iter().any(|word| plan.name().contains(word.as_str())));
    let mut rows = Vec::new();
    for plan in plans {
        let started = Instant::now();
        let row = plan.run(&program);
        println!(
            "{}: {} ({:.1} s)",
            row.name,
            row.outcome,
            started.elapsed().as_secs_f64()
        );
        rows.push(row);
    }
    let table = table::write(&rows);
    println!("\n{table}");
    let document = if words.is_empty() {
        compare(&table, &rows)?
    } else {
        true
    };
    let failed = rows
        .iter()
        .filter(|row| matches!(row.outcome, Outcome::Wrong(_)))
        .count()
        + usize::from(!document);
    let passed = rows.iter().filter(|row| matches!(row.outcome, Outcome::Right)).count() + usize::from(document);
    for row in &rows {
        if let Outcome::NotRun(why) = &row.outcome {
            println!("check {}: skipped, {why}", row.name);
        }
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {word}. {passed} passed; {failed} failed; 0 ignored");
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// True if the document has the lines of the rows that ran; `CASTOFF_BLESS=1` makes it so where none of them is wrong.
fn compare(table: &str, rows: &[rows::Row]) -> Result<bool> {
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
    // A kernel that cannot be had says nothing against the document.
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
