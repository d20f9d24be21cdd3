//! Runs castoff against versions in use, one row per version: each is a real daemon in a room of its own, with pods or
//! containers and clients, and the results of `castoff check` are compared with the expected ones.
//!
//! With arguments, only the rows run whose name contains one of them. A complete run rewrites
//! `agent/docs/runtime-matrix.md`.

mod containerd;
mod crio;
mod dockershim;
mod engines;
mod pods;

use std::process::ExitCode;

use anyhow::{Context, Result};
use castoff_tests::lab::docker::Docker;
use castoff_tests::matrix::{conclude, write};
use castoff_tests::rows::{self, Words};

const REPORT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../agent/docs/runtime-matrix.md");

fn main() -> ExitCode {
    rows::main("matrix", run)
}

fn run(words: &Words) -> Result<bool> {
    let mut plans = containerd::plans();
    plans.extend(engines::plans());
    plans.extend([crio::plan(), dockershim::plan()]);
    plans.retain(|plan| words.choose(&plan.name));
    // The engine whose socket the pods of every runtime hold.
    let docker = Docker::start().context("this machine's own Debian's Docker")?;
    let mut rows = Vec::new();
    for plan in plans {
        rows.push(rows::run(|| plan.run(&docker), |row| (row.name.as_str(), &row.outcome)));
    }
    drop(docker);
    let table = write(&rows);
    println!("\n{table}");
    if words.are_none() {
        std::fs::write(REPORT, &table).with_context(|| format!("write {REPORT}"))?;
    }
    let (lines, good) = conclude(&rows);
    print!("{lines}");
    Ok(good)
}
