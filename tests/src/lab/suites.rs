//! Programs of Debian releases other than the machine's own, side by side in the cache.
//!
//! apt uses a configuration of its own (sources, lists, an empty status), so that it resolves a release as if nothing
//! were installed. The packages are unpacked next to each other. Such a program needs the C library of its own release,
//! in one of two ways: it is run through that release's dynamic loader, like by hand; or it is a copy that has the
//! loader and the libraries in its own header (patchelf). The second is for programs that execute themselves again
//! through `/proc/self/exe` (dockerd, runc, podman's storage), which in the first way is the loader.
//!
//! The archive's address is that of the machine's own apt sources.

use std::fmt;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::FlockOperation;

use super::packages::{self, Foreign, Programs, library_path};
use super::rooms;

/// Debian's key for all its releases (package debian-archive-keyring, essential to apt).
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// The version of this module's layout of the cache.
const SHAPE: u32 = 2;

/// A Debian release, with its versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// Debian 11: containerd 1.4, Docker 20.10.5, podman 3.0.
    Bullseye,
    /// Debian 12: containerd 1.6, Docker 20.10.24, podman 4.3.
    Bookworm,
    /// Debian 13: containerd 1.7, Docker 26.1, podman 5.4.
    Trixie,
    /// Unstable: containerd 2.1, Docker 28.5, podman 5.8 when this was written.
    Sid,
}

/// The programs of one package of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// containerd, its shim, `ctr`, runc.
    Containerd,
    /// dockerd, docker, and the programs of [`Kind::Containerd`].
    Docker,
    /// podman, conmon, runc.
    Podman,
}

/// A package or version that no archive has, with the package manager's message.
#[derive(Debug, Clone)]
pub struct Unavailable(pub String);

impl fmt::Display for Unavailable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Unavailable {}

impl Suite {
    /// All releases, the oldest first.
    pub const ALL: [Self; 4] = [Self::Bullseye, Self::Bookworm, Self::Trixie, Self::Sid];

    /// Returns the release's name in the archive.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bullseye => "bullseye",
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Sid => "sid",
        }
    }

    fn packages(self, kind: Kind) -> Vec<&'static str> {
        let mut packages = match kind {
            Kind::Containerd => vec!["containerd"],
            Kind::Docker => vec!["containerd", "docker.io"],
            Kind::Podman => vec!["conmon", "podman"],
        };
        // In later releases the client is a separate package, and podman's network a separate program.
        match (kind, self) {
            (Kind::Docker, Self::Trixie | Self::Sid) => packages.push("docker-cli"),
            (Kind::Podman, Self::Bookworm | Self::Trixie | Self::Sid) => packages.push("netavark"),
            _ => {}
        }
        packages.push("runc");
        if self == PATCHELF_SUITE {
            packages.push("patchelf");
        }
        packages
    }
}

impl Kind {
    const ALL: [Self; 3] = [Self::Containerd, Self::Docker, Self::Podman];

    fn word(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}

const PATCHELF: &str = "patchelf";
/// The release whose patchelf is used: 0.14. Versions 0.12 and 0.18 write Go programs that crash.
const PATCHELF_SUITE: Suite = Suite::Bookworm;

/// The programs that are copied and get their loader in the header.
const PROGRAMS: [&str; 10] = [
    "conmon",
    "containerd",
    "containerd-shim-runc-v2",
    "ctr",
    "docker",
    "docker-proxy",
    "dockerd",
    "netavark",
    "podman",
    "runc",
];
const FOLDERS: [&str; 4] = ["usr/bin", "usr/sbin", "usr/lib/podman", "usr/libexec/podman"];

/// Returns the programs of a release, which the first call unpacks into the cache (120 MB of packages, half a minute).
///
/// # Errors
/// [`Unavailable`] if the archive no longer has this kind.
pub fn programs(suite: Suite, kind: Kind) -> Result<Programs> {
    let folder = prepared(suite)?;
    if let Ok(words) = fs::read_to_string(missing(&folder, kind)) {
        return Err(Unavailable(words).into());
    }
    Ok(Programs::foreign(
        folder.join("programs"),
        foreign(&folder)?,
        Programs::debian()?,
    ))
}

/// Returns the libraries and the loader of the programs in a release's directory.
fn foreign(folder: &Path) -> Result<Foreign> {
    let tree = folder.join("tree");
    Ok(Foreign {
        loader: find_loader(&tree)?,
        libraries: library_path(&tree),
    })
}

/// Returns a release's directory in the cache, filled.
fn prepared(suite: Suite) -> Result<PathBuf> {
    // Once per run: a kind that was unavailable is not tried again while programs of the same release may be running.
    static PREPARED: [OnceLock<Result<PathBuf, String>>; 4] = [const { OnceLock::new() }; 4];
    let prepared = PREPARED[suite as usize].get_or_init(|| prepare_once(suite).map_err(|error| format!("{error:#}")));
    prepared.clone().map_err(anyhow::Error::msg)
}

/// Fills a release's directory in the cache, unless it is filled already.
fn prepare_once(suite: Suite) -> Result<PathBuf> {
    let folder = rooms::cache()?.join("suites").join(suite.name());
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let lock = File::create(folder.join("lock")).context("make the lock of a release's cache")?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).context("lock a release's cache")?;
    let stamp = folder.join("stamp");
    // The programs have absolute paths of their libraries.
    let stamped = format!("{SHAPE} {}", folder.display());
    if !fs::read_to_string(&stamp).is_ok_and(|stamp| stamp == stamped) && prepare(suite, &folder)? {
        fs::write(&stamp, stamped).context("stamp a release's cache")?;
    }
    Ok(folder)
}

/// Returns the file with the package manager's refusal of a kind.
fn missing(folder: &Path, kind: Kind) -> PathBuf {
    folder.join(format!("missing.{}", kind.word()))
}

/// Creates `tree` (packages) and `programs` (copies with their loader) in a release's directory. Returns whether all
/// kinds were available.
fn prepare(suite: Suite, folder: &Path) -> Result<bool> {
    for old in ["tree", "programs"] {
        let old = folder.join(old);
        if old.exists() {
            fs::remove_dir_all(&old).with_context(|| format!("remove {}", old.display()))?;
        }
    }
    let work = tempfile::tempdir_in(folder).context("make a folder for the packages")?;
    let apt = Private::of(suite, work.path())?;
    let updated = apt.update();
    let mut complete = true;
    for kind in Kind::ALL {
        let had = updated.as_ref().map_err(ToString::to_string).and_then(|()| {
            let had = apt.download_with_dependencies(&suite.packages(kind));
            had.map_err(|error| error.to_string())
        });
        match had {
            Ok(()) => drop(fs::remove_file(missing(folder, kind))),
            Err(words) => {
                complete = false;
                fs::write(missing(folder, kind), words).context("keep the package manager's words")?;
            }
        }
    }
    let tree = folder.join("tree");
    unpack(&work.path().join("archives"), &tree, suite)?;
    if tree.join("usr/bin").exists() {
        copy_programs(suite, folder)?;
        for folder in FOLDERS {
            drop(fs::remove_dir_all(tree.join(folder)));
        }
    }
    Ok(complete)
}

/// apt for one release, with a configuration that shares only the address of the archive with the machine's.
pub(crate) struct Private {
    configuration: PathBuf,
}

impl Private {
    /// Creates it, with its lists and downloads in `work`.
    pub(crate) fn of(suite: Suite, work: &Path) -> Result<Self> {
        for folder in ["lists/partial", "archives/partial"] {
            fs::create_dir_all(work.join(folder)).context("make apt's folders")?;
        }
        fs::write(work.join("status"), "").context("write an empty status")?;
        let source = format!("deb [signed-by={KEYRING}] {} {} main\n", find_archive()?, suite.name());
        fs::write(work.join("sources.list"), source).context("write apt's sources")?;
        let place = work.display();
        let words = format!(
            r#"Dir::Etc::sourcelist "{place}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "{place}";
Dir::State::lists "{place}/lists";
Dir::State::status "{place}/status";
Dir::Cache "{place}";
Dir::Cache::archives "{place}/archives";
APT::Sandbox::User "root";
Acquire::Languages "none";
"#
        );
        let configuration = work.join("apt.conf");
        fs::write(&configuration, words).context("write apt's configuration")?;
        Ok(Self { configuration })
    }

    /// Takes packages of these architectures into account, too. Without it, apt has those of this machine.
    pub(crate) fn with_architectures(self, names: &[&str]) -> Result<Self> {
        let listed: Vec<String> = names.iter().map(|name| format!("\"{name}\";")).collect();
        let words = format!("APT::Architectures {{ {} }};\n", listed.join(" "));
        let mut configuration = File::options()
            .append(true)
            .open(&self.configuration)
            .context("open apt's configuration")?;
        configuration
            .write_all(words.as_bytes())
            .context("extend apt's configuration")?;
        Ok(self)
    }

    /// Downloads the archive's package lists.
    pub(crate) fn update(&self) -> Result<()> {
        packages::run(&mut self.command("apt-get", &["update", "-o", "APT::Update::Error-Mode=any"]))
    }

    /// Downloads packages with all their dependencies.
    pub(crate) fn download_with_dependencies(&self, wanted: &[&str]) -> Result<()> {
        let words = ["install", "-y", "--download-only", "--no-install-recommends"];
        packages::run(self.command("apt-get", &words).args(wanted))
    }

    /// Downloads only these packages into a directory.
    pub(crate) fn download(&self, wanted: &[String], folder: &Path) -> Result<()> {
        packages::run(self.command("apt-get", &["download"]).args(wanted).current_dir(folder))
    }

    /// Returns the dependencies of a package.
    pub(crate) fn depends(&self, package: &str) -> Result<Vec<String>> {
        let listed = packages::output(&mut self.command("apt-cache", &["depends", package]))?;
        let names = listed.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        Ok(names.map(str::to_owned).collect())
    }

    fn command(&self, program: &str, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.arg("-q").args(words).env("APT_CONFIG", &self.configuration);
        command
    }
}

/// Returns the address of Debian's archive in this machine's own apt sources.
fn find_archive() -> Result<String> {
    let mut ask = Command::new("apt-get");
    ask.args([
        "indextargets",
        "--format",
        "$(REPO_URI) $(LABEL)",
        "Created-By: Packages",
    ]);
    let targets = packages::output(&mut ask)?;
    choose_archive(&targets)
        .map(str::to_owned)
        .with_context(|| format!("this machine's apt sources name no archive of Debian: {targets:?}"))
}

/// Returns the first source that is Debian's. On a machine without package lists, returns the first that is not for
/// security updates.
fn choose_archive(targets: &str) -> Option<&str> {
    let targets = || targets.lines().filter_map(|line| line.split_once(' '));
    let says = targets().find(|(_, label)| *label == "Debian");
    let may = targets().find(|(address, _)| address.contains("debian") && !address.contains("security"));
    says.or(may).map(|(address, _)| address)
}

/// Unpacks the wanted packages and every library, and nothing else of a release.
fn unpack(archives: &Path, tree: &Path, suite: Suite) -> Result<()> {
    fs::create_dir_all(tree).with_context(|| format!("make {}", tree.display()))?;
    let wanted: Vec<&str> = Kind::ALL.into_iter().flat_map(|kind| suite.packages(kind)).collect();
    for entry in fs::read_dir(archives).context("read the downloaded packages")? {
        let package = entry?.path();
        let file = package.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some((name, _)) = file.split_once('_') else {
            continue;
        };
        if name.starts_with("lib") || wanted.contains(&name) {
            packages::run(Command::new("dpkg").arg("-x").arg(&package).arg(tree))?;
        }
    }
    Ok(())
}

fn copy_programs(suite: Suite, folder: &Path) -> Result<()> {
    let programs = folder.join("programs");
    fs::create_dir_all(&programs).with_context(|| format!("make {}", programs.display()))?;
    let own = foreign(folder)?;
    let find = |name: &str| {
        let paths = FOLDERS.iter().map(|part| folder.join("tree").join(part).join(name));
        paths.into_iter().find(|path| path.exists())
    };
    if suite == PATCHELF_SUITE {
        let patchelf = find(PATCHELF).context("the release has no patchelf")?;
        fs::copy(patchelf, programs.join(PATCHELF)).context("copy patchelf")?;
    }
    let tool = if suite == PATCHELF_SUITE {
        folder.to_path_buf()
    } else {
        prepared(PATCHELF_SUITE)?
    };
    let patchelf = Programs::foreign(tool.join("programs"), foreign(&tool)?, Programs::debian()?);
    for (name, original) in PROGRAMS.iter().filter_map(|name| Some((name, find(name)?))) {
        let copy = programs.join(name);
        let copy_again = || fs::copy(&original, &copy).with_context(|| format!("copy {}", original.display()));
        copy_again()?;
        let mut patch = patchelf.command_by_loader(PATCHELF)?;
        patch.arg("--set-interpreter").arg(&own.loader);
        patch.args(["--force-rpath", "--set-rpath", &own.libraries]).arg(&copy);
        packages::run(&mut patch)?;
        // Some copies crash. They are of an old release, whose programs run with the machine's own C library.
        if crashes(&copy)? {
            copy_again()?;
            ensure!(
                !crashes(&copy)?,
                "{name} of {} does not run on this machine",
                suite.name()
            );
        }
    }
    Ok(())
}

fn crashes(program: &Path) -> Result<bool> {
    let mut ask = Command::new(program);
    let output = ask
        .arg("--help")
        .output()
        .with_context(|| format!("start {}", program.display()))?;
    Ok(output.status.signal().is_some())
}

/// Returns the dynamic loader in an unpacked tree. In older releases its link in `/lib64` is absolute and would lead to
/// the host's.
fn find_loader(tree: &Path) -> Result<PathBuf> {
    let libraries = library_path(tree);
    for folder in libraries.split(':') {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.context("read a folder of libraries")?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with("ld-linux") {
                return Ok(path);
            }
        }
    }
    bail!("no dynamic loader below {}", tree.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_debian_s_and_not_the_one_for_security() {
        let with_lists = "mirror/debian-security Debian-Security\nmirror/debian/ Debian\nmirror/debian/ Debian";
        assert_eq!(choose_archive(with_lists), Some("mirror/debian/"));
        let without = "mirror/nodesource $(LABEL)\nmirror/debian-security $(LABEL)\nmirror/debian $(LABEL)";
        assert_eq!(choose_archive(without), Some("mirror/debian"));
        assert_eq!(choose_archive(""), None);
    }
}
