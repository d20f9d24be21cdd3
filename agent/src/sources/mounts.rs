//! The containers that can reach a listener through their mounts.
//!
//! The mounts of a container are those that any of its processes sees. They are compared by device and by the path on
//! that file system, so that another name, a link or a mount on top of it does not hide a listener. A mount that was
//! requested from the runtime or engine, and that no process shows, is resolved on the host. In both cases the reported
//! names are those in the request. Never opens a socket. Relies on bind mounts keeping the file system and the inode.
//!
//! - [`table`]: the mounts of a process, and the resolution of paths through them
//! - [`targets`]: the files of the listeners
//! - [`contained`]: the processes that show the mounts of each container
//! - [`own`]: the actual mounts of a container
//! - [`search`]: the comparison of each container's mounts with the targets
//! - [`files`]: mounts of Docker's data, logs and configuration
//! - [`named`]: mounts with the name of an engine's socket
//! - [`access`]: the right of the container's user to open the socket

mod access;
mod contained;
mod files;
mod named;
mod own;
mod search;
mod table;
mod targets;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use self::files::{DockerDirectory, find_directories};
use self::search::{KnownMounts, MountSearch};
use self::table::MountTable;
use self::targets::{Host, Target, Targets, find_targets};
use super::HostPaths;
use super::kernel::mountinfo::MountWatch;
use super::kernel::refusal::{self, Right};
use super::kernel::rooted::Rooted;
use super::processes::ProcessReader;
use crate::model::container::{Container, SupervisedContainer};
use crate::model::engine::EngineSighting;
use crate::model::exposure::{FilesMount, LostMount, Reach};
use crate::model::identity::{ContainerId, FileIdentity};
use crate::model::last_connect::{ListenerClock, Moment};
use crate::model::reading::{Gap, Hides, Reading, Reason, Sighting};
pub use contained::{ContainerProcess, MembershipMemory, find_container_processes};

/// The most containers whose mounts are read: ten times a full node.
const CONTAINERS_KEPT: usize = 2_500;

/// The input of the search.
#[derive(Debug)]
pub struct Looked<'a> {
    /// The paths of the host.
    pub host: &'a HostPaths,
    /// Reads more about each process.
    pub reader: &'a ProcessReader,
    /// The containers that the runtime lists: those that run or wait for their next start.
    pub containers: &'a Sighting<Vec<Container>>,
    /// The sandboxes of its pods, which mount nothing.
    pub sandboxes: &'a BTreeSet<ContainerId>,
    /// The containers that engines run by themselves.
    pub supervised: &'a [SupervisedContainer],
    /// The processes that show the mounts of each container.
    pub processes: &'a Sighting<Vec<ContainerProcess>>,
    /// The directories of Docker's data, by the host's files.
    pub docker_data: &'a BTreeSet<String>,
    /// The engines.
    pub engines: &'a Sighting<Vec<EngineSighting>>,
    /// The files of all listening sockets, in every network namespace.
    pub listening: &'a BTreeSet<FileIdentity>,
    /// True if `listening` has every socket of this machine: castoff is in the first PID namespace, and no socket was
    /// missed.
    pub sees_machine: bool,
    /// The time.
    pub now: Moment,
}

/// The result of the search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountsSeen {
    /// The mounts that lead to a listener.
    pub reaches: Sighting<Vec<Reach>>,
    /// The mounts that have the name of an engine's socket and lead to no listener.
    pub lost: Vec<LostMount>,
    /// The mounts that lead to Docker's files.
    pub files: Vec<FilesMount>,
    /// The time of the last connect to each listener.
    pub clocks: Vec<ListenerClock>,
}

impl MountsSeen {
    /// Returns the result of a look that saw no mount, because of this gap.
    pub fn unknown(gap: Gap) -> Self {
        Self {
            reaches: Sighting::unknown(gap),
            lost: Vec::new(),
            files: Vec::new(),
            clocks: Vec::new(),
        }
    }
}

/// The state that is kept between looks (ADR 4).
#[derive(Debug, Default)]
pub struct MountMemory {
    watch: MountWatch,
    host: MountTable,
    /// The targets and directories that the known mounts were compared with.
    targets: Vec<Target>,
    directories: Vec<DockerDirectory>,
    own: KnownMounts,
}

/// Finds the mounts that lead to an engine's listener, or were intended to. The engine's own container is left out.
pub fn find_mounts(looked: &Looked<'_>, memory: &mut MountMemory) -> MountsSeen {
    let engines = match &looked.engines.reading {
        Reading::Known(engines) => engines.as_slice(),
        Reading::Absent => &[],
        Reading::Unknown(_) => return MountsSeen::unknown(depends("the engines' listeners")),
    };
    let root = match Rooted::open(&looked.host.root) {
        Ok(root) => root,
        Err(error) => return MountsSeen::unknown(unreadable(looked.host.root.display(), &error)),
    };
    let mut gaps: Vec<Gap> = looked.processes.all_gaps().cloned().collect();
    memory.read_host(&looked.host.proc.join("1/mountinfo"), &mut gaps);
    let host = Host {
        root,
        table: &memory.host,
    };
    let Targets { all: targets, clocks } = find_targets(&host, looked, engines, &mut gaps);
    let directories = find_directories(&host, looked, engines, &mut gaps);
    if memory.targets != targets || memory.directories != directories {
        memory.own.clear();
    }
    let mut search = MountSearch {
        looked,
        host: &host,
        targets: &targets,
        directories: &directories,
        last: std::mem::take(&mut memory.own),
        own: KnownMounts::new(),
        resolved: BTreeMap::new(),
        reaches: Vec::new(),
        lost: Vec::new(),
        files: Vec::new(),
        gaps,
    };
    search.take_all();
    let MountSearch {
        own,
        reaches,
        lost,
        files,
        gaps,
        ..
    } = search;
    memory.own = own;
    memory.targets = targets;
    memory.directories = directories;
    let is_unlisted = looked.containers.reading.gap().is_some() && !memory.targets.is_empty();
    MountsSeen {
        reaches: reaches_seen(reaches, gaps, is_unlisted),
        lost,
        files,
        clocks,
    }
}

/// Returns the mounts that were found, and the gaps. `is_unlisted` is true if the runtime's list of containers is not
/// known, and there is a listener to lead to.
fn reaches_seen(reaches: Vec<Reach>, mut gaps: Vec<Gap>, is_unlisted: bool) -> Sighting<Vec<Reach>> {
    if reaches.is_empty() && is_unlisted {
        return Sighting {
            gaps,
            ..Sighting::unknown(depends("the containers' mounts"))
        };
    }
    if reaches.is_empty() && gaps.is_empty() {
        return Sighting::absent();
    }
    gaps.extend(is_unlisted.then(|| depends("the containers' mounts")));
    Sighting::partial(reaches, gaps)
}

fn depends(on: &str) -> Gap {
    Gap::new(Reason::DependsOnAnother, Hides::Exposure, on, "not known")
}

impl MountMemory {
    fn read_host(&mut self, path: &Path, gaps: &mut Vec<Gap>) {
        if !self.watch.has_changed(path) {
            return;
        }
        match std::fs::File::open(path).and_then(MountTable::read) {
            Ok(table) => self.host = table,
            Err(error) => {
                self.host = MountTable::default();
                self.watch = MountWatch::default();
                if error.kind() != io::ErrorKind::NotFound {
                    unreadable(path.display(), &error).fold_into(gaps);
                }
            }
        }
    }
}

fn unreadable(asked: impl std::fmt::Display, error: &io::Error) -> Gap {
    refusal::gap(error, Hides::Exposure, asked, Right::TraceAndSearch)
}

#[cfg(test)]
mod tests;
