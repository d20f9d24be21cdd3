//! Where the lab keeps things: one private folder for each thing that is started, and a cache that outlives the run.

use std::env;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use anyhow::{Context, Result};
use rustix::fs::FlockOperation;

/// What the name of every room starts with; its maker's process id and an `x` follow.
const PREFIX: &str = "castoff-lab.";

/// A folder of its own under the system's temporary folder, open to every user (rootless daemons live there too).
///
/// It is not removed by itself: its keeper does that, after the processes in it and the mounts under it are gone.
#[derive(Debug)]
pub(crate) struct Room {
    path: PathBuf,
    serial: String,
}

impl Room {
    /// Makes the room; `purpose` shows in its name. Paths stay short: a socket's may have 107 bytes.
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

    /// A path inside the room.
    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// A name that no other room of this machine has now, at most 12 bytes: for network interfaces.
    pub(crate) fn serial(&self) -> &str {
        &self.serial
    }

    /// Makes a folder inside the room that every user can enter.
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

/// The folder for what is worth keeping between runs (packages, compiled clients), outside the source tree:
/// `$XDG_CACHE_HOME/castoff`, else `~/.cache/castoff`.
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

/// The folder `tools/<name>` of the cache, filled by the first call. The name has the version in it: what is there is never
/// renewed. A `fill` that fails leaves nothing.
pub fn tool(name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let tools = cache()?.join("tools");
    fs::create_dir_all(&tools).with_context(|| format!("make {}", tools.display()))?;
    // Two runs at once would download the same.
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

/// Copies a program that is to be run. By a process of its own: a descriptor for writing that this one had open while
/// another thread forks would be inherited until that child executes something, and until then the kernel refuses to run the
/// copy ("text file busy").
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

/// Rooms that were made at or after `since` and whose maker has ended: their keepers are at it, or have failed.
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
        // One that went meanwhile is gone. A file system without times of birth tells the last change, which is later.
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
