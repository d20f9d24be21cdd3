//! The lab's directories: a private one for each daemon or client, and a cache that outlives the run.

use std::env;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use anyhow::{Context, Result};
use rustix::fs::FlockOperation;

/// The prefix of the name of every room; the process ID of its creator and an `x` follow.
const PREFIX: &str = "castoff-lab.";

/// A private directory under the system's temporary directory, accessible to every user (rootless daemons use it too).
///
/// It does not remove itself: its keeper does so, after the processes in it and the mounts under it are gone.
#[derive(Debug)]
pub(crate) struct Room {
    path: PathBuf,
    serial: String,
}

impl Room {
    /// Creates the room; its name includes `purpose`. Paths stay short, because a socket's may have at most 107 bytes.
    pub(crate) fn make(purpose: &str) -> Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let serial = format!("{}x{}", process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let path = env::temp_dir().join(format!("{PREFIX}{serial}-{purpose}"));
        fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
        open_to_all(&path)?;
        Ok(Self { path, serial })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a path inside the room.
    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Returns a name that is unique on this machine, at most 12 bytes long: for network interfaces.
    pub(crate) fn serial(&self) -> &str {
        &self.serial
    }

    /// Creates a directory inside the room that every user can enter.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.join(name);
        fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        open_to_all(&path)?;
        Ok(path)
    }

    /// Writes a file inside the room.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.join(name);
        fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }
}

/// The paths of a daemon's files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Paths {
    /// Its room.
    #[default]
    Room,
    /// Those of a packaged daemon, like `/run/docker.sock`. Only for a mount namespace of its own, with which they go.
    Usual,
}

impl Paths {
    /// Returns the path of a file: `own` in the room, or `usual`, whose directory is created.
    pub(crate) fn choose(self, room: &Room, own: &str, usual: &str) -> Result<PathBuf> {
        let path = match self {
            Self::Room => room.join(own),
            Self::Usual => PathBuf::from(usual),
        };
        let folder = path.parent().context("a file is in a directory")?;
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        Ok(path)
    }
}

/// Returns the directory of what is kept between runs (packages, compiled clients), outside the source tree:
/// `$XDG_CACHE_HOME/castoff`, or else `~/.cache/castoff`.
pub fn cache() -> Result<PathBuf> {
    let base = match (env::var_os("XDG_CACHE_HOME"), env::var_os("HOME")) {
        (Some(cache), _) if !cache.is_empty() => PathBuf::from(cache),
        (_, Some(home)) => PathBuf::from(home).join(".cache"),
        _ => anyhow::bail!("neither XDG_CACHE_HOME nor HOME says where a cache may be"),
    };
    let cache = base.join("castoff");
    fs::create_dir_all(&cache).with_context(|| format!("make {}", cache.display()))?;
    Ok(cache)
}

/// Returns the directory `tools/<name>` of the cache, which the first call fills. The name includes the version, so the
/// contents are never renewed. If `fill` fails, the directory is removed.
pub fn tool(name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let tools = cache()?.join("tools");
    fs::create_dir_all(&tools).with_context(|| format!("make {}", tools.display()))?;
    // Two concurrent runs would download the same.
    let lock = File::create(tools.join(format!("{name}.lock"))).context("make the lock of a tool")?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).context("lock a tool")?;
    let folder = tools.join(name);
    if !folder.exists() {
        let fresh = tempfile::tempdir_in(&tools).context("make a folder for a tool")?;
        fill(fresh.path()).with_context(|| format!("get {name}"))?;
        fs::rename(fresh.path(), &folder).with_context(|| format!("keep {name}"))?;
    }
    Ok(folder)
}

/// Copies a program that is to be run. A separate process does it: if this one had a descriptor open for writing while
/// another thread forks, the child would inherit it until it executes a program, and until then the kernel would refuse
/// to run the copy ("text file busy").
pub fn copy_program(from: &Path, to: &Path) -> Result<()> {
    let copied = process::Command::new("cp")
        .arg("--")
        .args([from, to])
        .status()
        .context("start cp")?;
    anyhow::ensure!(
        copied.success(),
        "copy {} to {}: {copied}",
        from.display(),
        to.display()
    );
    Ok(())
}

/// Returns rooms that were created at or after `since` and whose creator has ended: their keepers are still at work, or
/// have failed.
pub fn left_over(since: SystemTime) -> Result<Vec<PathBuf>> {
    let folder = env::temp_dir();
    let mut rooms = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        let maker = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX))
            .and_then(|rest| rest.split_once('x'));
        let ended = maker.is_some_and(|(pid, _)| !Path::new("/proc").join(pid).exists());
        // A room that is gone meanwhile is left out. A file system without birth times reports the last change, which
        // is later.
        let made = || {
            entry
                .metadata()
                .and_then(|m| m.created().or_else(|_| m.modified()))
                .ok()
        };
        if ended && made().is_some_and(|made| made >= since) {
            rooms.push(entry.path());
        }
    }
    rooms.sort();
    Ok(rooms)
}

fn open_to_all(path: &Path) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("open {} to all", path.display()))
}
