//! The path of the castoff under test.

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail, ensure};

/// Returns the castoff binary that the tests run: `$CASTOFF_BIN` if it is set (by `tests/run`), or else the workspace's
/// own, which is built first in the profile of the running test.
pub fn castoff_binary() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    if let Some(given) = env::var_os("CASTOFF_BIN") {
        let given = PathBuf::from(given);
        ensure!(given.is_file(), "CASTOFF_BIN is {}: no such file", given.display());
        return Ok(given);
    }
    BUILT
        .get_or_init(|| build().map_err(|error| format!("{error:#}")))
        .clone()
        .map_err(anyhow::Error::msg)
}

fn build() -> Result<PathBuf> {
    let beside = beside_this_program()?;
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // The packages and features of the running test, and not its variables, on which build scripts depend: otherwise cargo
    // compiles crates again, now and for the next test.
    cargo.args([
        "build",
        "--quiet",
        "--package",
        "castoff",
        "--package",
        "castoff-tests",
        "--all-features",
    ]);
    let is_of_test = |name: &str| {
        ["CARGO_MANIFEST_", "CARGO_PKG_"]
            .iter()
            .any(|start| name.starts_with(start))
    };
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_of_test)) {
        cargo.env_remove(name);
    }
    cargo
        .args(["--bin", "castoff", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"));
    if beside.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.status().context("start cargo to build castoff")?;
    ensure!(status.success(), "cargo could not build castoff: {status}");
    let binary = beside.join("castoff");
    ensure!(binary.is_file(), "cargo built castoff, but not as {}", binary.display());
    Ok(binary)
}

/// Returns the profile's directory with the other programs: a test runs from `deps/` below it.
pub(crate) fn beside_this_program() -> Result<PathBuf> {
    let this = env::current_exe().context("ask for the path of the running program")?;
    for folder in this.ancestors().skip(1).take(2) {
        if !folder.ends_with("deps") {
            return Ok(folder.to_path_buf());
        }
    }
    bail!("{} is not in a folder that cargo makes", this.display())
}
