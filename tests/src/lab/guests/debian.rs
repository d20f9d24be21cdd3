//! The file system of a guest that runs Debian's systemd, containerd and Docker.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::super::packages;
use super::super::rooms;
use super::super::suites::{Private, Suite, Unavailable};

/// The packages that the guest uses. Debian's own units start the daemons.
const WANTED: &[&str] = &["systemd", "mount", "containerd", "runc", "docker.io"];
/// The beginnings of the names of packages that only scripts of packages need: nothing is installed in the guest.
const UNUSED: &[&str] = &["adduser", "debconf", "dpkg", "libperl", "lsb", "perl", "usrmerge"];
/// Files that the guest does not use. All files of a guest are in its memory.
const LEFT_OUT: &[&str] = &[
    "usr/bin/containerd-shim",
    "usr/bin/containerd-shim-runc-v1",
    "usr/bin/dnet",
    "usr/sbin/ovrouter",
    "usr/share",
];
/// Directories that current releases of Debian have below `/usr` only.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// Unpacks a package through the links of [`MERGED`], which `dpkg -x` would replace.
const UNPACK: &str = r#"dpkg-deb --fsys-tarfile "$0" | tar -x -C "$1" --keep-directory-symlink"#;

/// Returns the directory with the file system, which the first call fills (95 MB to download).
///
/// # Errors
/// [`Unavailable`] if the archive does not answer.
pub fn tree(suite: Suite) -> Result<PathBuf> {
    let folder = rooms::tool(&format!("guest-{}-1", suite.name()), |folder| fill(suite, folder))?;
    Ok(folder.join("tree"))
}

fn fill(suite: Suite, folder: &Path) -> Result<()> {
    let work = tempfile::tempdir_in(folder).context("make a folder for the packages")?;
    Private::of(suite, work.path())
        .and_then(|apt| apt.update().map(|()| apt))
        .and_then(|apt| apt.download_with_dependencies(WANTED))
        .map_err(|error| Unavailable(format!("{error:#}")))?;
    let tree = folder.join("tree");
    for name in MERGED {
        let folder = Path::new("usr").join(name);
        fs::create_dir_all(tree.join(&folder)).context("make a folder of the guest")?;
        symlink(&folder, tree.join(name)).context("link a folder of the guest")?;
    }
    for entry in fs::read_dir(work.path().join("archives")).context("read the downloaded packages")? {
        let package = entry?.path();
        let name = package.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if package.extension().is_some_and(|kind| kind == "deb")
            && !UNUSED.iter().any(|unused| name.starts_with(unused))
        {
            let mut unpack = Command::new("sh");
            unpack.args(["-c", UNPACK]).arg(&package).arg(&tree);
            packages::run(&mut unpack)?;
        }
    }
    let left_out = LEFT_OUT.iter().map(|name| tree.join(name));
    packages::run(Command::new("rm").arg("-r").arg("--").args(left_out))
}
