//! `castoff-lab`: the lab's keeper of processes, and the commands that `tests/run` uses.

use std::process::ExitCode;

fn main() -> ExitCode {
    castoff_tests::lab::program::main(std::env::args_os().skip(1))
}
