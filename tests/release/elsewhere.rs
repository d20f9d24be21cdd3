//! A second build of the program, in another directory.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::image::Image;
use castoff_tests::lab::packages::output;
use castoff_tests::lab::rooms;

use crate::tree::{copy_into, root};

/// Returns cargo's directory of this user.
fn cargo_home() -> Result<PathBuf> {
    let own = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let of = |home| PathBuf::from(home).join(".cargo");
    own.or_else(|| std::env::var_os("HOME").map(of))
        .context("neither CARGO_HOME nor HOME is set")
}

/// Builds the program in a copy of this tree that is at another path, with a target directory and crates at another
/// path. The next run reuses them all. Returns the program.
fn build(folder: &Path) -> Result<PathBuf> {
    let (tree, cargo) = (folder.join("a tree"), folder.join("cargo"));
    fs::create_dir_all(&tree)?;
    fs::create_dir_all(&cargo)?;
    copy_into(&tree)?;
    let registry = cargo.join("registry");
    if !registry.exists() {
        symlink(cargo_home()?.join("registry"), &registry).context("link the crates")?;
    }
    let mut git = Command::new("git");
    let revision = output(git.arg("-C").arg(root()).args(["rev-parse", "HEAD"]))?;
    let mut script = Command::new(tree.join("deploy/image/build"));
    script
        .env("CARGO_HOME", &cargo)
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .env("CASTOFF_REVISION", revision)
        .env("TZ", "Asia/Tokyo")
        .env_remove("SOURCE_DATE_EPOCH");
    Ok(Image::made(&script.output()?)?.program())
}

#[test]
fn the_program_has_the_same_bytes_when_it_is_built_in_another_directory() -> Result<()> {
    let first = Image::of_this_tree()?.program();
    let second = build(&rooms::cache()?.join("release"))?;
    assert_ne!(first, second);
    let (one, other) = (fs::read(&first)?, fs::read(&second)?);
    let differ = one.iter().zip(&other).position(|(one, other)| one != other);
    ensure!(
        one.len() == other.len() && differ.is_none(),
        "{} has {} bytes, {} has {}; the first difference is at {differ:?}",
        first.display(),
        one.len(),
        second.display(),
        other.len()
    );
    Ok(())
}
