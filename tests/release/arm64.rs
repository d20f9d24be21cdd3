//! The program for arm64, linked on this machine and run in an emulator.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::cross::Cross;
use castoff_tests::lab::image::Image;
use castoff_tests::lab::packages::output;
use castoff_tests::lab::rooms;
use serde_json::Value;

use crate::tree::VERSION;

const MIB: u64 = 1 << 20;

/// Builds the image for arm64 in a directory that the next run reuses.
fn build(cross: &Cross) -> Result<Image> {
    let folder = rooms::cache()?.join("release/arm64");
    let mut script = Image::script(["--platform", "linux/arm64"]);
    cross.prepare(&mut script)?;
    Image::made(&script.env("CARGO_TARGET_DIR", folder).output()?)
}

/// A compiler without the standard library of the architecture is found before anything is compiled.
#[test]
fn a_missing_standard_library_is_named_with_the_command_that_installs_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let compiler = folder.path().join("rustc");
    fs::write(&compiler, "#!/bin/sh\necho /nowhere\n")?;
    fs::set_permissions(&compiler, fs::Permissions::from_mode(0o755))?;
    let mut script = Image::script(["--platform", "linux/arm64"]);
    let said = script.env("RUSTC", &compiler).output()?;
    let errors = String::from_utf8(said.stderr)?;
    assert_eq!(said.status.code(), Some(69), "{errors}");
    ensure!(
        errors.contains("rustup target add aarch64-unknown-linux-gnu"),
        "{errors}"
    );
    Ok(())
}

/// `castoff-lab prepare arm64` tells whether this machine can have the compiler. One test, so that the build of it and
/// the one in `elsewhere.rs` can run at the same time on two cores.
#[test]
#[ignore = "needs a compiler for arm64"]
fn the_program_for_arm64_runs_and_its_image_is_small() -> Result<()> {
    let cross = Cross::fetched()?;
    let image = build(&cross)?;
    runs_and_reads_a_node(&cross, &image.program())?;
    let size = fs::metadata(image.program())?.len();
    assert!(size <= 9 * MIB, "the program has {size} bytes");
    let sbom: Value = serde_json::from_slice(&fs::read(image.sbom())?)?;
    let components = sbom["components"].as_array().context("components")?;
    let glibc = components.iter().find(|one| one["name"] == "glibc").context("glibc")?;
    let version = glibc["version"].as_str().context("a version")?;
    ensure!(version.starts_with("2."), "the C library that is linked: {version}");
    Ok(())
}

/// The kernel is this machine's own, and a program of the other architecture reads its `/proc`.
fn runs_and_reads_a_node(cross: &Cross, program: &Path) -> Result<()> {
    assert_eq!(
        output(cross.run(program).arg("--version"))?,
        format!("castoff {VERSION}")
    );
    let checked = cross.run(program).args(["check", "-o", "json"]).output()?;
    let errors = String::from_utf8_lossy(&checked.stderr).into_owned();
    ensure!(
        matches!(checked.status.code(), Some(0..=2)),
        "{}: {errors}",
        checked.status
    );
    let report: Value = serde_json::from_slice(&checked.stdout).with_context(|| errors)?;
    assert_eq!(report["kind"], "NodeReport");
    assert_eq!(report["castoffVersion"], VERSION);
    ensure!(report["verdict"].is_string(), "{report:#}");
    Ok(())
}
