//! A tier that does not use the test harness: a table whose rows can be chosen by name.

use std::fmt::Display;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

/// The arguments of the command line.
pub struct Words(Vec<String>);

impl Words {
    /// True for a row whose name contains one of the arguments, and for every row if there are none.
    pub fn choose(&self, name: &str) -> bool {
        self.are_none() || self.0.iter().any(|word| name.contains(word.as_str()))
    }

    /// True if all rows are run.
    pub fn are_none(&self) -> bool {
        self.0.is_empty()
    }
}

/// Runs a tier, which returns whether it passed.
pub fn main(tier: &str, run: impl FnOnce(&Words) -> Result<bool>) -> ExitCode {
    let words = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    match run(&Words(words)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{tier}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one row, and prints its name, outcome and duration.
pub fn run<R, O: Display>(row: impl FnOnce() -> R, outcome: impl Fn(&R) -> (&str, &O)) -> R {
    let started = Instant::now();
    let row = row();
    let (name, outcome) = outcome(&row);
    println!("{name}: {outcome} ({:.1} s)", started.elapsed().as_secs_f64());
    row
}
