//! The command line: the arguments, their validation, and the exit codes, which are a contract. 0: nothing is at or
//! above `--fail-on`. 1: something is. 2: castoff cannot tell. 64: wrong usage. 70: castoff itself failed.

mod args;
mod check;
mod cluster;
mod explain;
mod judge;
mod labels;
mod pages;
mod progress;
#[cfg(test)]
mod reference;
mod run;
mod terminal;
mod watch;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use clap::error::ErrorKind;

use crate::sources::connects::self_test;
use args::{Args, Command};

/// Nothing is at or above the verdict of `--fail-on`.
const OK: u8 = 0;
/// Something is at or above the verdict of `--fail-on`.
const FOUND: u8 = 1;
/// The verdict is `unknown`.
const CANNOT_TELL: u8 = 2;
/// `EX_USAGE` of sysexits(3).
const WRONG_USE: u8 = 64;
/// `EX_SOFTWARE` of sysexits(3).
const FAILED: u8 = 70;

/// Runs castoff with the program's arguments and returns its exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if let [_, first, path] = arguments.as_slice()
        && first == self_test::ARGUMENT
    {
        // Not a command: castoff executes itself this way to check that the kernel reports the connect.
        return match self_test::connect(Path::new(path)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(FAILED),
        };
    }
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => return usage(&error),
    };
    let outcome = match args.command {
        Command::Check(check) => check::check(&check),
        Command::Run(run) => run::run(&run),
        Command::Cluster(cluster) => cluster::cluster(&cluster),
        Command::Labels(labels) => labels::labels(&labels),
        Command::Explain(explain) => explain::explain(&explain),
        Command::Completions(completions) => pages::completions(completions.shell),
        Command::Man(man) => pages::man(man.command.as_deref()),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) if error.is::<crate::config::Mistakes>() => {
            let _ = writeln!(io::stderr(), "castoff: {error}");
            ExitCode::from(WRONG_USE)
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "castoff: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

fn usage(error: &clap::Error) -> ExitCode {
    // The text goes to the stream that clap would use.
    let printed = taken(error.print());
    match (error.kind(), printed) {
        (ErrorKind::DisplayHelp | ErrorKind::DisplayVersion, Ok(_)) => ExitCode::from(OK),
        (ErrorKind::DisplayHelp | ErrorKind::DisplayVersion, Err(error)) => {
            let _ = writeln!(io::stderr(), "castoff: writing to standard output: {error}");
            ExitCode::from(FAILED)
        }
        _ => ExitCode::from(WRONG_USE),
    }
}

/// The result of printing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Printed {
    /// All of it was written.
    Whole,
    /// The reader closed the pipe, as in `castoff check
    /// head`: this is no failure and does not change the answer.
    PipeClosed,
}

/// Writes to standard output until all is written or the reader closes the pipe.
fn print(text: &str) -> anyhow::Result<Printed> {
    let mut out = io::stdout().lock();
    taken(out.write_all(text.as_bytes()).and_then(|()| out.flush())).context("writing to standard output")
}

fn taken(written: io::Result<()>) -> io::Result<Printed> {
    match written {
        Ok(()) => Ok(Printed::Whole),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Printed::PipeClosed),
        Err(error) => Err(error),
    }
}
