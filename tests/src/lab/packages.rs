//! The daemons' programs: Debian's packages, unpacked into the cache and run from there.
//!
//! They are not installed. A package's scripts would start services, create users and leave units and data directories
//! behind, and castoff would rightly report those on the machine that runs its tests. Another Docker may be installed
//! there already, and packages of the next version can be unpacked next to these. The host's libraries (libc,
//! systemd's) are used; missing libraries are downloaded with the rest.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::FlockOperation;

use super::rooms;

/// The packages that tier `runtime` needs, with those of their dependencies that the host lacks.
const WANTED: &[&str] = &[
    "busybox-static",
    "conmon",
    "containerd",
    "containernetworking-plugins",
    "docker.io",
    "iproute2",
    "podman",
    "runc",
    "uidmap",
];

/// Downloaded as part of a dependency's upgrade, but not needed: the host's own are sufficient.
const UNWANTED: &[&str] = &["login_", "passwd_", "util-linux_"];

/// The directories of a machine's own programs.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The directories of programs in the unpacked tree of a package.
const PROGRAM_FOLDERS: &[&str] = &["usr/sbin", "usr/bin", "sbin", "bin"];

/// A set of programs that belong together: containerd with its shim and runc, dockerd with its client, podman.
#[derive(Debug, Clone)]
pub struct Programs {
    root: PathBuf,
    /// More programs to search for those that are missing here.
    others: Option<Box<Programs>>,
    /// Their own libraries and loader, if they are of another Debian release than the machine.
    foreign: Option<Foreign>,
}

/// The libraries and the loader of programs of another Debian release.
#[derive(Debug, Clone)]
pub(crate) struct Foreign {
    /// Their dynamic loader.
    pub(crate) loader: PathBuf,
    /// The directories of their libraries, in the loader's format.
    pub(crate) libraries: String,
}

impl Programs {
    /// Returns the programs of this machine's Debian release, which the first call unpacks into the cache (90 MB, a few
    /// seconds).
    ///
    /// # Errors
    /// `apt-get` is missing, reaches no archive, or the packages do not fit this machine; with the end of its output.
    pub fn debian() -> Result<Self> {
        let cache = rooms::cache()?;
        let root = cache.join("debian");
        let stamp = root.join("packages");
        let wanted = WANTED.join(" ");
        // Two concurrent runs would interfere with each other.
        let lock = File::create(cache.join("debian.lock")).context("make the lock of the package cache")?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).context("lock the package cache")?;
        if fs::read_to_string(&stamp).is_ok_and(|stamped| stamped == wanted) {
            return Ok(Self::seen_at(root));
        }
        if root.exists() {
            fs::remove_dir_all(&root).context("remove the outdated package cache")?;
        }
        unpack_into(WANTED, &root)?;
        fs::write(&stamp, wanted).context("stamp the package cache")?;
        Ok(Self::seen_at(root))
    }

    /// Returns the programs in one directory that have their own loader and libraries; `others` has the missing ones.
    pub(crate) fn foreign(root: PathBuf, foreign: Foreign, others: Self) -> Self {
        Self {
            root,
            others: Some(Box::new(others)),
            foreign: Some(foreign),
        }
    }

    /// Returns programs that were built into the `bin` of a directory; `others` has the missing ones.
    pub(crate) fn built(root: PathBuf, others: Self) -> Self {
        Self {
            root,
            others: Some(Box::new(others)),
            foreign: None,
        }
    }

    /// Returns the directory that they are unpacked in.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the path of one of them.
    pub fn path(&self, name: &str) -> Result<PathBuf> {
        let own = self.folders().into_iter().map(|folder| folder.join(name));
        match (own.into_iter().find(|path| path.exists()), &self.others) {
            (Some(path), _) => Ok(path),
            (None, Some(others)) => others.path(name),
            (None, None) => bail!("no {name} below {}", self.root.display()),
        }
    }

    /// Returns a command for one of them, which finds the others and their libraries.
    pub fn command(&self, name: &str) -> Result<Command> {
        Ok(self.with_environment(Command::new(self.path(name)?)))
    }

    /// Returns a command that runs one of them through its own dynamic loader, so that the kernel shows the loader as
    /// the executable. Programs of this machine's Debian release run as usual.
    pub fn command_by_loader(&self, name: &str) -> Result<Command> {
        let Some(foreign) = &self.foreign else {
            return self.command(name);
        };
        let mut command = Command::new(&foreign.loader);
        command
            .arg("--library-path")
            .arg(&foreign.libraries)
            .arg(self.path(name)?);
        Ok(self.with_environment(command))
    }

    /// Returns the directory of the CNI plugins.
    pub fn cni_plugins(&self) -> PathBuf {
        match &self.others {
            Some(others) => others.cni_plugins(),
            None => self.root.join("usr/lib/cni"),
        }
    }

    pub(crate) fn with_environment(&self, mut command: Command) -> Command {
        for (variable, value) in self.environment() {
            command.env(variable, value);
        }
        command
    }

    /// Returns `PATH`, and the library path for those that use the machine's own loader, so that they find each other.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let folders = self.folders().into_iter().map(|folder| folder.display().to_string());
        let path: Vec<String> = folders.chain([SYSTEM_PATH.to_owned()]).collect();
        let mut environment = vec![("PATH", path.join(":"))];
        if self.foreign.is_none() {
            let roots = [Some(&self.root), self.others.as_ref().map(|others| &others.root)];
            let libraries: Vec<String> = roots.into_iter().flatten().map(|root| library_path(root)).collect();
            environment.push(("LD_LIBRARY_PATH", libraries.join(":")));
        }
        environment
    }

    fn folders(&self) -> Vec<PathBuf> {
        if self.foreign.is_some() {
            return vec![self.root.clone()];
        }
        let others = self.others.iter().flat_map(|others| others.folders());
        let own = PROGRAM_FOLDERS.iter().map(|folder| self.root.join(folder));
        own.chain(others).collect()
    }

    /// Returns the same programs under another path (a bind mount that ordinary users can reach).
    pub(crate) fn seen_at(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            others: None,
            foreign: None,
        }
    }
}

/// Returns the directories of libraries in an unpacked tree, in the dynamic loader's format.
pub(crate) fn library_path(root: &Path) -> String {
    let multiarch = format!("{}-linux-gnu", std::env::consts::ARCH);
    ["usr/lib", "lib"]
        .map(|folder| root.join(folder).join(&multiarch).display().to_string())
        .join(":")
}

/// Downloads packages of this machine's Debian release, with the dependencies that the machine lacks, and unpacks them
/// into a tree.
pub(crate) fn unpack_into(wanted: &[&str], tree: &Path) -> Result<()> {
    let archives = tempfile::tempdir_in(rooms::cache()?).context("make a folder for the packages")?;
    download(wanted, archives.path())?;
    unpack(archives.path(), tree)
}

fn download(wanted: &[&str], archives: &Path) -> Result<()> {
    if apt_get_download(wanted, archives).is_ok() {
        return Ok(());
    }
    // A fresh machine has no lists yet, or old ones with versions that no archive has any more.
    run(Command::new("apt-get").args(["-o", "DPkg::Lock::Timeout=120", "-q", "update"]))?;
    apt_get_download(wanted, archives)
}

fn apt_get_download(wanted: &[&str], archives: &Path) -> Result<()> {
    fs::create_dir_all(archives.join("partial")).context("make apt's folder for what is under way")?;
    run(Command::new("apt-get")
        // --reinstall: also those that the host has installed.
        .args([
            "-q",
            "-y",
            "install",
            "--download-only",
            "--reinstall",
            "--no-install-recommends",
        ])
        .args(["-o", "DPkg::Lock::Timeout=120", "-o", "APT::Sandbox::User=root", "-o"])
        .arg(format!("Dir::Cache::archives={}", archives.display()))
        .args(wanted))
}

fn unpack(archives: &Path, root: &Path) -> Result<()> {
    fs::create_dir_all(root).with_context(|| format!("make {}", root.display()))?;
    for entry in fs::read_dir(archives).context("read the downloaded packages")? {
        let package = entry?.path();
        let name = package.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if package.extension().is_some_and(|kind| kind == "deb")
            && !UNWANTED.iter().any(|unwanted| name.starts_with(unwanted))
        {
            run(Command::new("dpkg").arg("-x").arg(&package).arg(root))?;
        }
    }
    Ok(())
}

/// Runs a command to its end. An error has the end of its output.
pub fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// Runs a command to its end and returns its standard output, trimmed.
pub fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().display().to_string();
    let output = command.output().with_context(|| format!("start {name}"))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let lines: Vec<&str> = errors.lines().collect();
        bail!(
            "{name} ended with {}: {}",
            output.status,
            lines[lines.len().saturating_sub(8)..].join("\n")
        );
    }
    let text = String::from_utf8(output.stdout);
    ensure!(text.is_ok(), "{name} wrote something that is not UTF-8");
    Ok(text.unwrap_or_default().trim().to_owned())
}
