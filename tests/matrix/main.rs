//! castoff against the versions that people run, one row a version: each a real daemon in a room of its own, with pods or
//! containers and clients over it, and what `castoff check` says of them.
//!
//! With words as arguments only the rows run whose name contains one of them. A whole run rewrites
//! `agent/docs/runtime-matrix.md`.

mod containerd;
mod crio;
mod dockershim;
mod engines;
mod pods;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use castoff_tests::lab::docker::Docker;
use castoff_tests::matrix::{conclude, write};

const REPORT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../agent/docs/runtime-matrix.md");

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    match run(&words) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("matrix: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> Result<ExitCode> {
    let mut plans = containerd::plans();
    plans.extend(engines::plans());
    plans.extend([crio::plan(), dockershim::plan()]);
    plans.retain(|plan| words.is_empty() || words.iter().any(|word| plan.name.contains(word.as_str())));
    // The engine whose socket the pods of every runtime hold.
    let docker = Docker::start().context("this machine's own Debian's Docker")?;
    let mut rows = Vec::new();
    for plan in plans {
        let started = Instant::now();
        let row = plan.run(&docker);
        println!(
            "{}: {} ({:.1} s)",
            row.name,
            row.outcome,
            started.elapsed().as_secs_f64()
        );
        rows.push(row);
    }
    drop(docker);
    let table = write(&rows);
    println!("\n{table}");
    if words.is_empty() {
        std::fs::write(REPORT, &table).with_context(|| format!("write {REPORT}"))?;
    }
    let (lines, good) = conclude(&rows);
    print!("{lines}");
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
