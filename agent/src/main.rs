//! The `castoff` program. See [`castoff::cli`].

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

/// Environment variables that make a Rust program unwind its stack for errors and panics.
const BACKTRACES: [&str; 2] = ["RUST_BACKTRACE", "RUST_LIB_BACKTRACE"];

fn main() -> ExitCode {
    if cfg!(panic = "abort") {
        start_without_backtraces();
    }
    castoff::cli::main(std::env::args_os())
}

/// Starts the program again without the variables that ask for backtraces, where one is set. The image's program has no unwind
/// tables (`deploy/image/build`), and the unwinder aborts where it finds none.
fn start_without_backtraces() {
    if BACKTRACES.iter().all(|name| std::env::var_os(name).is_none()) {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut command = Command::new(program);
    let mut arguments = std::env::args_os();
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments);
    for name in BACKTRACES {
        command.env_remove(name);
    }
    // It returns only on failure: then castoff continues, and an error may abort it.
    let _ = command.exec();
}
