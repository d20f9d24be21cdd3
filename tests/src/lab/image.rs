//! castoff's own image, as `deploy/image/build` makes it.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};

/// The workspace's root.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// What the script has made.
#[derive(Debug, Clone)]
pub struct Image {
    /// The archive, OCI layout and docker-archive in one. The program and its SBOM are beside it.
    pub archive: PathBuf,
    /// Its name, as containers are started from it.
    pub tag: String,
    /// The manifest's digest, `sha256:…`.
    pub digest: String,
}

impl Image {
    /// The image under test: what is in `$CASTOFF_IMAGE` (`tests/run` sets the script's own words there), else built now,
    /// which takes minutes.
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

    /// The script with these arguments, to be run as the caller likes.
    pub fn script<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
        let mut script = Command::new(Path::new(ROOT).join("deploy/image/build"));
        script.args(arguments).env_remove("SOURCE_DATE_EPOCH");
        script
    }

    /// What the script says that it has made.
    pub fn made(output: &Output) -> Result<Self> {
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "deploy/image/build: {}: {errors}",
            output.status
        );
        Self::read(&String::from_utf8_lossy(&output.stdout))
    }

    /// The program in it.
    pub fn program(&self) -> PathBuf {
        self.archive.with_file_name("castoff")
    }

    /// What it is made of, in `CycloneDX`.
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
