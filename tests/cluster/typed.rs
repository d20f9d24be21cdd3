//! Commands of the documentation, run as a reader types them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use castoff_tests::lab::helm::{Helm, Tools};
use castoff_tests::lab::packages::Programs;
use tempfile::TempDir;

use crate::site::Site;

/// The repository's root.
pub(crate) const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Returns the programs that a reader has: one directory with kubectl, helm, ctr and castoff.
pub(crate) fn programs(site: &Site) -> Result<TempDir> {
    let folder = tempfile::tempdir().context("make a folder for programs")?;
    let tools = Tools::fetched()?;
    let found: [(&str, PathBuf); 4] = [
        ("kubectl", tools.kubectl().get_program().into()),
        ("helm", tools.helm(Helm::Four).get_program().into()),
        ("ctr", Programs::debian()?.path("ctr")?),
        ("castoff", site.image.program()),
    ];
    for (name, program) in found {
        std::os::unix::fs::symlink(&program, folder.path().join(name))
            .with_context(|| program.display().to_string())?;
    }
    Ok(folder)
}

/// Returns a shell in the repository's root, like that of a reader on the node.
pub(crate) fn shell(site: &Site, programs: &Path, script: &str) -> Result<Command> {
    let path = std::env::var("PATH").context("a PATH")?;
    // TARGET/image/ARCH/castoff.tar: an image that this run has built already is not built again.
    let target = site
        .image
        .archive
        .ancestors()
        .nth(3)
        .context("the folder of the build")?;
    let mut bash = site.cluster.command("bash");
    // The shell starts at the stage's root directory.
    bash.args(["-euo", "pipefail", "-c", &format!("cd {ROOT}\n{script}")])
        .env("PATH", format!("{}:{path}", programs.display()))
        .env("CARGO_TARGET_DIR", target)
        .env("CONTAINERD_ADDRESS", site.node.containerd().socket());
    // Cargo's variables for this test would make ring's build script run again.
    for (name, _) in std::env::vars_os() {
        let is_of_this_test = ["CARGO_PKG_", "CARGO_MANIFEST_", "OUT_DIR"]
            .iter()
            .any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes()));
        if is_of_this_test {
            bash.env_remove(name);
        }
    }
    Ok(bash)
}
