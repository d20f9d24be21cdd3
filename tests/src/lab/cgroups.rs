//! Cgroups of the lab: in the v2 hierarchy and in every v1 hierarchy that the machine has.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal};

use super::keeper::{Keeper, Task};
use super::rooms::Room;

/// A cgroup like systemd creates for a unit: in the v1 `name=systemd` hierarchy and in the v2 one, and in no
/// controller's.
///
/// Dropping it kills the processes in it and removes it.
#[derive(Debug)]
pub struct UnitCgroup {
    path: PathBuf,
    folders: Vec<PathBuf>,
    _keeper: Keeper,
}

impl UnitCgroup {
    /// Creates the cgroup at this path from the hierarchies' roots, like `/system.slice/foo.service`.
    pub fn make(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let parent = path.parent().context("a unit's cgroup has a parent")?;
        let room = Room::make("unit")?;
        let keeper = Keeper::start(&room, None, Duration::ZERO)?;
        for shared in parent
            .ancestors()
            .filter(|shared| shared.parent().is_some())
            .collect::<Vec<_>>()
            .iter()
            .rev()
        {
            keeper.later(&Task::SharedCgroup((*shared).to_path_buf()))?;
        }
        keeper.later(&Task::Cgroup(path.to_path_buf()))?;
        let mut folders = Vec::new();
        for hierarchy in hierarchies()?.into_iter().filter(Hierarchy::holds_units) {
            let folder = hierarchy.folder(path);
            fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
            folders.push(folder);
        }
        ensure!(
            !folders.is_empty(),
            "this machine has neither cgroup v2 nor a name=systemd hierarchy"
        );
        Ok(Self {
            path: path.to_path_buf(),
            folders,
            _keeper: keeper,
        })
    }

    /// Returns its path from the hierarchies' roots, as in `/proc/PID/cgroup`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns its directories, one per hierarchy: a process joins by writing to `cgroup.procs` in each.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    mount: PathBuf,
    /// None for v2.
    v1_controllers: Option<String>,
}

impl Hierarchy {
    fn holds_units(&self) -> bool {
        self.v1_controllers
            .as_deref()
            .is_none_or(|options| options.split(',').any(|option| option == "name=systemd"))
    }

    fn folder(&self, path: &Path) -> PathBuf {
        self.mount.join(path.strip_prefix("/").unwrap_or(path))
    }
}

fn hierarchies() -> io::Result<Vec<Hierarchy>> {
    Ok(parse_hierarchies(&fs::read_to_string("/proc/self/mountinfo")?))
}

/// Creates a cgroup below the root of every hierarchy. In v1's cpuset it gets the values of its parent, because it
/// starts without any and no process could join.
pub(crate) fn make_everywhere(path: &Path) -> Result<()> {
    for hierarchy in hierarchies()? {
        let folder = hierarchy.folder(path);
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if hierarchy.v1_controllers.is_some() && folder.join(file).exists() {
                let parent = folder.parent().context("a cgroup is below its hierarchy")?;
                fs::copy(parent.join(file), folder.join(file)).with_context(|| format!("set {file}"))?;
            }
        }
    }
    Ok(())
}

/// Returns the number of mounted hierarchies of this machine.
pub(crate) fn count_hierarchies() -> io::Result<usize> {
    Ok(hierarchies()?.len())
}

/// Returns the mounts of type cgroup and cgroup2 in a mountinfo (proc(5): optional fields end with a lone dash).
fn parse_hierarchies(mountinfo: &str) -> Vec<Hierarchy> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mut after = after.split(' ');
            let v1_controllers = match after.next()? {
                "cgroup2" => None,
                "cgroup" => Some(after.nth(1)?.to_owned()),
                _ => return None,
            };
            Some(Hierarchy {
                mount: before.split(' ').nth(4)?.into(),
                v1_controllers,
            })
        })
        .collect()
}

/// Removes a cgroup and those below it from every hierarchy, and kills the processes in them. Must be repeated while it
/// is busy.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    for hierarchy in hierarchies()? {
        remove_tree(&hierarchy.folder(path))?;
    }
    Ok(())
}

/// Removes a cgroup from every hierarchy in which it is empty.
pub(crate) fn remove_if_empty(path: &Path) -> io::Result<()> {
    for hierarchy in hierarchies()? {
        match fs::remove_dir(hierarchy.folder(path)) {
            Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ResourceBusy) => {
                return Err(error);
            }
            _ => {}
        }
    }
    Ok(())
}

fn remove_tree(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    for pid in fs::read_to_string(folder.join("cgroup.procs"))?.lines() {
        // A process that is gone meanwhile is fine. 0 is a process of another PID namespace, which cannot be killed.
        if let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
    fs::remove_dir(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_a_hybrid_machine_are_found() {
        let mountinfo = "\
20 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 29 0:25 / /sys/fs/cgroup/memory rw,relatime shared:3 master:1 - cgroup cgroup rw,memory
31 29 0:26 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
32 29 0:27 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
        let found = parse_hierarchies(mountinfo);
        let units: Vec<bool> = found.iter().map(Hierarchy::holds_units).collect();
        assert_eq!(units, [false, true, true]);
        assert_eq!(
            found[2].folder(Path::new("/system.slice/a.service")),
            Path::new("/sys/fs/cgroup/unified/system.slice/a.service"),
        );
    }
}
