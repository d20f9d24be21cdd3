//! The lab's two images, built without any registry.
//!
//! Each is a docker-archive, as `docker save` writes it (one layer, its configuration, `manifest.json`), which both
//! `docker load` and `ctr images import` read.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result};
use serde_json::json;

use super::packages::{self, Programs};
use super::rooms;

/// Has `/pause`, which holds a pod's namespaces.
pub const PAUSE: &str = "registry.test/pause:1";
/// Has `/client` (see `tests/lab/client.rs`), and a static busybox as `/bin/sh`, `/bin/sleep` and so on.
pub const LAB: &str = "registry.test/lab:1";

const CLIENT_SOURCES: &[&str] = &[
    concat!(env!("CARGO_MANIFEST_DIR"), "/lab/client.rs"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/lab/client/bpf.rs"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/lab/client/mounts.rs"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/lab/client/processes.rs"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/lab/client/ring.rs"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/lab/client/tricks.rs"),
];
const LOAD_SOURCES: &[&str] = &[concat!(env!("CARGO_MANIFEST_DIR"), "/lab/load.rs")];
const APPLETS: &[&str] = &["cat", "ls", "nc", "sh", "sleep", "true"];

/// Returns the client program, static, compiled into the cache when its source is newer.
pub fn client() -> Result<PathBuf> {
    static COMPILED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    compiled(&COMPILED, "client", CLIENT_SOURCES)
}

/// Returns the program that generates loads and measures times (see `tests/lab/load.rs`), compiled likewise.
pub fn load() -> Result<PathBuf> {
    static COMPILED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    compiled(&COMPILED, "load", LOAD_SOURCES)
}

fn compiled(once: &OnceLock<Result<PathBuf, String>>, name: &str, sources: &[&str]) -> Result<PathBuf> {
    once.get_or_init(|| compile(name, sources).map_err(|error| format!("{error:#}")))
        .clone()
        .map_err(anyhow::Error::msg)
}

/// Compiles the first of the sources; the others are its parts.
fn compile(name: &str, sources: &[&str]) -> Result<PathBuf> {
    let program = rooms::cache()?.join(name);
    // A copy of the sources is next to the program, in one file: another tree on this machine may have other sources.
    let compiled_from = program.with_extension("rs");
    let texts = sources
        .iter()
        .map(|source| fs::read(source).with_context(|| (*source).to_owned()));
    let text = texts.collect::<Result<Vec<_>>>()?.concat();
    if program.exists() && fs::read(&compiled_from).is_ok_and(|earlier| earlier == text) {
        return Ok(program);
    }
    // Compiled in a directory of its own and moved into place, because another run may be doing the same. Process IDs
    // are the same on each stage, so they would not make its name unique.
    let folder = tempfile::tempdir_in(rooms::cache()?).context("make a directory to compile in")?;
    let fresh = folder.path().join(name);
    packages::run(
        Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
            .args([
                "--edition=2024",
                "-O",
                "-Ctarget-feature=+crt-static",
                "-Cpanic=abort",
                "-Cstrip=symbols",
                "-o",
            ])
            .arg(&fresh)
            .arg(sources[0]),
    )?;
    // Removed first and written last: in between the program has no record.
    let _ = fs::remove_file(&compiled_from);
    fs::rename(&fresh, &program).with_context(|| format!("put the program {name} into the cache"))?;
    fs::write(&compiled_from, text).with_context(|| compiled_from.display().to_string())?;
    Ok(program)
}

/// Writes an image into `folder` and returns the archive: [`PAUSE`].
pub fn write_pause(folder: &Path) -> Result<PathBuf> {
    let root = folder.join("pause.root");
    fs::create_dir_all(&root).context("make an image's root")?;
    fs::copy(client()?, root.join("pause")).context("copy the client as pause")?;
    archive(folder, "pause", &root, PAUSE, &["/pause"])
}

/// Writes an image into `folder` and returns the archive: [`LAB`].
pub fn write_lab(folder: &Path, programs: &Programs) -> Result<PathBuf> {
    let root = folder.join("lab.root");
    fs::create_dir_all(root.join("bin")).context("make an image's root")?;
    fs::copy(client()?, root.join("client")).context("copy the client")?;
    fs::copy(programs.path("busybox")?, root.join("bin/busybox")).context("copy busybox")?;
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet)).context("link a busybox applet")?;
    }
    archive(folder, "lab", &root, LAB, &["/client"])
}

fn archive(folder: &Path, name: &str, root: &Path, tag: &str, entrypoint: &[&str]) -> Result<PathBuf> {
    let stage = folder.join(format!("{name}.image"));
    fs::create_dir_all(&stage).context("make an image's folder")?;
    let layer = stage.join("layer.tar");
    packages::run(
        Command::new("tar")
            .args([
                "--sort=name",
                "--mtime=@0",
                "--owner=0",
                "--group=0",
                "--numeric-owner",
                "-cf",
            ])
            .arg(&layer)
            .arg("-C")
            .arg(root)
            .arg("."),
    )?;
    let digest = packages::output(Command::new("sha256sum").arg(&layer))?;
    let digest = digest.split(' ').next().unwrap_or_default();
    let architecture = match env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": { "Entrypoint": entrypoint, "Env": ["PATH=/bin"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
    });
    let manifest = json!([{ "Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"] }]);
    fs::write(stage.join("config.json"), config.to_string()).context("write an image's configuration")?;
    fs::write(stage.join("manifest.json"), manifest.to_string()).context("write an image's manifest")?;
    let archive = folder.join(format!("{name}.tar"));
    packages::run(
        Command::new("tar")
            .arg("-cf")
            .arg(&archive)
            .arg("-C")
            .arg(&stage)
            .args(["manifest.json", "config.json", "layer.tar"]),
    )?;
    Ok(archive)
}
