//! castoff's own image, as `deploy/image/build` builds it.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};

/// The workspace's root.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The results of the script.
#[derive(Debug, Clone)]
pub struct Image {
    /// The archive, an OCI layout and a docker-archive in one. The program and its SBOM are next to it.
    pub archive: PathBuf,
    /// Its name, with which containers are started.
    pub tag: String,
    /// The manifest's digest, `sha256:…`.
    pub digest: String,
}

impl Image {
    /// Returns the image under test: the one in `$CASTOFF_IMAGE` (`tests/run` sets it to the script's output), or else
    /// one that is built now, which takes minutes.
    pub fn of_this_tree() -> Result<Self> {
        static BUILT: OnceLock<Result<Image, String>> = OnceLock::new();
        let build = || match env::var("CASTOFF_IMAGE") {
            Ok(words) => Self::read(&words),
            Err(_) => Self::build::<&str>([]),
        };
        BUILT
            .get_or_init(|| build().map_err(|error| format!("{error:#}")))
            .clone()
            .map_err(anyhow::Error::msg)
    }

    /// Runs the script with these arguments.
    pub fn build<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Result<Self> {
        let output = Self::script(arguments).output().context("deploy/image/build")?;
        Self::made(&output)
    }

    /// Returns the script with these arguments, as a command.
    pub fn script<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
        let mut script = Command::new(Path::new(ROOT).join("deploy/image/build"));
        script.args(arguments).env_remove("SOURCE_DATE_EPOCH");
        script
    }

    /// Reads the results from the script's output.
    pub fn made(output: &Output) -> Result<Self> {
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "deploy/image/build: {}: {errors}",
            output.status
        );
        Self::read(&String::from_utf8_lossy(&output.stdout))
    }

    /// Returns the program in it.
    pub fn program(&self) -> PathBuf {
        self.archive.with_file_name("castoff")
    }

    /// Returns its SBOM, in `CycloneDX`.
    pub fn sbom(&self) -> PathBuf {
        self.archive.with_file_name("castoff.cdx.json")
    }

    fn read(words: &str) -> Result<Self> {
        let mut words = words.split_whitespace().map(str::to_owned);
        let mut next = |what| words.next().with_context(|| format!("the script names no {what}"));
        Ok(Self {
            archive: next("archive")?.into(),
            tag: next("tag")?,
            digest: next("digest")?,
        })
    }
}
