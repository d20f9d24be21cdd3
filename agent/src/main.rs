//! The `castoff` program. See [`castoff::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    castoff::cli::main(std::env::args_os())
}
