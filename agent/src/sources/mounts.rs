//! Which containers could reach a listener through what they mount.
//!
//! A container's mounts are those that its first process has, by device and by the path on that file system, so that
//! neither another name nor a link nor a mount over it deceives. Where no process of a container can be found, they are those
//! that its runtime or engine was asked for, each resolved on the host. What was asked for gives the names in either case.
//! Never opens a socket. Relies on bind mounts keeping the file system and the inode of what they bind.
//!
//! - [`table`]: the mounts of a process, and where a path leads through them
//! - [`targets`]: the files of the listeners
//! - [`contained`]: the first process of each container
//! - [`own`]: the mounts that a container has
//! - [`access`]: whether its user may open the socket

mod access;
mod contained;
mod own;
mod table;
mod targets;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use rustix::fs::FileType;
use rustix::io::Errno;

use self::own::{OwnMounts, read_own};
use self::table::{MountTable, below};
use self::targets::{Host, Target, find_targets};
use super::HostPaths;
use super::docker::CRI_SOCKETS;
use super::engines::suggested_kind;
use super::kernel::mountinfo::MountWatch;
use super::kernel::rooted::Rooted;
use super::processes::ProcessReader;
use crate::model::container::{Container, Mount, SupervisedContainer};
use crate::model::engine::{EngineKind, EngineSighting};
use crate::model::exposure::{Access, Lost, LostMount, Reach, Reached, Via};
use crate::model::identity::{ContainerId, FileIdentity, ProcessKey};
use crate::model::reading::{Gap, Hides, Reading, Reason, Sighting};
use crate::model::socket::SocketName;
use crate::model::workload::Membership;
pub use contained::{ContainerProcess, MembershipMemory, find_container_processes};

/// Containers whose mounts are looked at: ten times a full node.
const CONTAINERS_KEPT: usize = 2_500;

/// What the look at mounts rests on.
#[derive(Debug)]
pub struct Looked<'a> {
    /// Where the host is.
    pub host: &'a HostPaths,
    /// Reads more of each process.
    pub reader: &'a ProcessReader,
    /// The containers that the runtime lists.
    pub containers: &'a Sighting<Vec<Container>>,
    /// The sandboxes of its pods: they mount nothing.
    pub sandboxes: &'a BTreeSet<ContainerId>,
    /// The containers that engines run by themselves.
    pub supervised: &'a [SupervisedContainer],
    /// The first process of each container.
    pub processes: &'a Sighting<Vec<ContainerProcess>>,
    /// The engines.
    pub engines: &'a Sighting<Vec<EngineSighting>>,
    /// The files of all sockets that accept, in every network namespace.
    pub listening: &'a BTreeSet<FileIdentity>,
    /// Whether that is every socket of this machine: castoff is in its first PID namespace, and missed none.
    pub sees_machine: bool,
}

/// What the mounts of the containers amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountsSeen {
    /// Those that lead to a listener.
    pub reaches: Sighting<Vec<Reach>>,
    /// Those that are named as an engine's socket and lead to no listener.
    pub lost: Vec<LostMount>,
}

/// The state that is kept from look to look (ADR 4).
#[derive(Debug, Default)]
pub struct MountMemory {
    watch: MountWatch,
    host: MountTable,
    /// What the mounts below were held against.
    targets: Vec<Target>,
    own: BTreeMap<ContainerId, (ProcessKey, OwnMounts)>,
}

/// What the name of a mount suggests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Suggested {
    Engine(EngineKind),
    Dockershim,
}

impl Suggested {
    const fn engine(self) -> Option<EngineKind> {
        match self {
            Self::Engine(kind) => Some(kind),
            Self::Dockershim => None,
        }
    }
}

/// What the last component of a path suggests.
fn suggested(path: &[u8]) -> Option<Suggested> {
    let path = String::from_utf8_lossy(path);
    if CRI_SOCKETS.iter().any(|name| path.rsplit('/').next() == Some(name)) {
        return Some(Suggested::Dockershim);
    }
    suggested_kind(&SocketName::Path(path.into_owned())).map(Suggested::Engine)
}

/// A mount that is named as an engine's socket.
#[derive(Clone, Debug)]
struct Named {
    name: Suggested,
    host_path: String,
    container_path: String,
    readonly: bool,
    /// What it is; none where there is nothing.
    what: Option<(FileIdentity, FileType)>,
    is_deleted: bool,
}

/// One container, with what is known of its mounts.
struct Subject<'a> {
    membership: Membership,
    /// For gaps.
    name: &'a str,
    declared: Result<&'a [Mount], &'a Gap>,
    process: Option<&'a ContainerProcess>,
}

/// Finds the mounts that lead to an engine's listener, or should. An engine's own container does not count.
pub fn find_mounts(looked: &Looked<'_>, memory: &mut MountMemory) -> MountsSeen {
    let depends = |on: &str| Sighting::unknown(Gap::new(Reason::DependsOnAnother, Hides::Exposure, on, "not known"));
    let without = |reaches| MountsSeen {
        reaches,
        lost: Vec::new(),
    };
    let engines = match &looked.engines.reading {
        Reading::Known(engines) => engines.as_slice(),
        Reading::Absent => &[],
        Reading::Unknown(_) => return without(depends("the engines' listeners")),
    };
    let root = match Rooted::open(&looked.host.root) {
        Ok(root) => root,
        Err(error) => return without(Sighting::unknown(unreadable(&looked.host.root.display(), &error))),
    };
    let mut gaps: Vec<Gap> = looked.processes.all_gaps().cloned().collect();
    memory.read_host(&looked.host.proc.join("1/mountinfo"), &mut gaps);
    let host = Host {
        root,
        table: &memory.host,
    };
    let targets = find_targets(&host, looked, engines, &mut gaps);
    if memory.targets != targets {
        memory.own.clear();
    }
    let mut search = Search {
        looked,
        host: &host,
        targets: &targets,
        last: std::mem::take(&mut memory.own),
        own: BTreeMap::new(),
        resolved: BTreeMap::new(),
        reaches: Vec::new(),
        lost: Vec::new(),
        gaps,
    };
    search.take_all();
    let Search {
        own,
        reaches,
        lost,
        gaps,
        ..
    } = search;
    memory.own = own;
    memory.targets = targets;
    let reaches = match &looked.containers.reading {
        Reading::Unknown(_) if reaches.is_empty() && !memory.targets.is_empty() => depends("the containers' mounts"),
        _ if reaches.is_empty() && gaps.is_empty() => Sighting::absent(),
        _ => Sighting::partial(reaches, gaps),
    };
    MountsSeen { reaches, lost }
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
                    unreadable(&path.display(), &error).fold_into(gaps);
                }
            }
        }
    }
}

/// What a path of the host leads to.
type Resolved = Option<(FileIdentity, FileType, Vec<u8>)>;

struct Search<'a> {
    looked: &'a Looked<'a>,
    host: &'a Host<'a>,
    targets: &'a [Target],
    last: BTreeMap<ContainerId, (ProcessKey, OwnMounts)>,
    own: BTreeMap<ContainerId, (ProcessKey, OwnMounts)>,
    /// None where it leads nowhere. 110 pods mount the same few over and over.
    resolved: BTreeMap<String, Resolved>,
    reaches: Vec<Reach>,
    lost: Vec<LostMount>,
    gaps: Vec<Gap>,
}

impl<'a> Search<'a> {
    fn take_all(&mut self) {
        let subjects = self.subjects();
        if subjects.len() > CONTAINERS_KEPT {
            let answer = format_args!("{} containers, {CONTAINERS_KEPT} are looked at", subjects.len());
            Gap::new(Reason::LimitReached, Hides::Exposure, "the containers' mounts", answer).fold_into(&mut self.gaps);
        }
        for (id, subject) in subjects.into_iter().take(CONTAINERS_KEPT) {
            self.take(id, &subject);
        }
    }

    /// All containers: of the runtime, of engines, and those that only their processes show.
    fn subjects(&self) -> BTreeMap<&'a ContainerId, Subject<'a>> {
        let looked = self.looked;
        let mut subjects: BTreeMap<&ContainerId, Subject<'_>> = BTreeMap::new();
        let mut add = |id, name, declared| {
            subjects.entry(id).or_insert_with(|| Subject {
                membership: Membership::of_container(id.clone()),
                name,
                declared,
                process: None,
            });
        };
        for container in looked.containers.reading.known().into_iter().flatten() {
            let declared = match &container.mounts {
                Reading::Known(mounts) => Ok(mounts.as_slice()),
                Reading::Absent => Ok(&[][..]),
                Reading::Unknown(gap) => Err(gap),
            };
            add(&container.id, container.name.as_str(), declared);
        }
        for container in looked.supervised {
            let name = container.name.as_deref().unwrap_or_default();
            add(&container.id, name, Ok(&container.mounts));
        }
        for process in looked.processes.reading.known().into_iter().flatten() {
            let Some(id) = process.container().filter(|id| !looked.sandboxes.contains(id)) else {
                continue;
            };
            let subject = subjects.entry(id).or_insert_with(|| Subject {
                membership: Membership::default(),
                name: "",
                declared: Ok(&[]),
                process: None,
            });
            subject.membership = process.membership.clone();
            subject.process = Some(process);
        }
        subjects
    }

    fn take(&mut self, id: &ContainerId, subject: &Subject<'_>) {
        if let Some(process) = subject.process {
            match self.read_own(id, process) {
                Ok(own) => {
                    self.take_own(id, subject, &own);
                    self.own.insert(id.clone(), (process.key, own));
                    return;
                }
                Err(error) if leads_nowhere(&error) => {} // it ended
                Err(error) => {
                    let asked = format_args!("the mounts of container {}", id.short());
                    unreadable(&asked, &error).fold_into(&mut self.gaps);
                }
            }
        }
        match subject.declared {
            Ok(mounts) => mounts.iter().for_each(|mount| self.take_declared(id, subject, mount)),
            Err(gap) => {
                let asked = format_args!("the mounts of container {} ({})", id.short(), subject.name);
                Gap::new(Reason::DependsOnAnother, Hides::Exposure, asked, &gap.answer).fold_into(&mut self.gaps);
            }
        }
    }

    /// The container's mounts as they are now, or as they were in the last look while it is not its turn.
    fn read_own(&mut self, id: &ContainerId, process: &ContainerProcess) -> io::Result<OwnMounts> {
        match self.last.remove(id) {
            Some((key, own)) if process.is_kept && key == process.key => Ok(own),
            _ => read_own(self.looked.reader, process.key, self.host, self.targets),
        }
    }

    fn take_own(&mut self, id: &ContainerId, subject: &Subject<'_>, own: &OwnMounts) {
        let declared = subject.declared.unwrap_or_default();
        for way in &own.ways {
            let named = declared_at(declared, &way.point);
            let is_whole = named.is_none_or(|mount| mount.container_path.trim_end_matches('/') == way.point);
            let (host_path, container_path) = match named {
                Some(mount) => (mount.host_path.clone(), mount.container_path.clone()),
                None => (way.source.clone(), way.point.clone()),
            };
            let via = if way.is_direct && is_whole {
                Via::Socket
            } else {
                Via::Directory
            };
            let mount = Mount {
                host_path,
                container_path,
                readonly: way.readonly,
            };
            self.reach(id, subject, way.target, via, mount, way.access);
        }
        for named in &own.named {
            let mut named = named.clone();
            if let Some(mount) = declared_at(declared, &named.container_path) {
                named.host_path.clone_from(&mount.host_path);
            }
            self.judge(subject, named);
        }
        let is_unplaced = |target: &&Target| target.place.is_none() && !target.directories.is_empty();
        for target in self.targets.iter().filter(is_unplaced).filter(|t| !t.own.contains(id)) {
            let asked = format_args!("the file system of {}", target.name);
            let answer = "the engine's mounts do not show it";
            Gap::new(Reason::NotFound, Hides::Exposure, asked, answer).fold_into(&mut self.gaps);
        }
    }

    fn take_declared(&mut self, id: &ContainerId, subject: &Subject<'_>, mount: &Mount) {
        let resolved = self.resolve(&mount.host_path);
        let mut leads = false;
        for (at, target) in self.targets.iter().enumerate() {
            let Some((identity, kind, path)) = &resolved else { break };
            let is_above = |on_host: &Vec<u8>| below(on_host, path).is_some_and(|rest| !rest.is_empty());
            let via = match *kind {
                FileType::Socket if target.socket.contains(identity) => Via::Socket,
                FileType::Directory if target.directories.contains(identity) || target.on_host.iter().any(is_above) => {
                    Via::Directory
                }
                _ => continue,
            };
            leads |= via == Via::Socket;
            self.reach(id, subject, at, via, mount.clone(), Access::Unknown);
        }
        if let Some(name) = suggested(mount.host_path.as_bytes()).filter(|_| !leads) {
            let named = Named {
                name,
                host_path: mount.host_path.clone(),
                container_path: mount.container_path.clone(),
                readonly: mount.readonly,
                what: resolved.map(|(identity, kind, _)| (identity, kind)),
                is_deleted: false,
            };
            self.judge(subject, named);
        }
    }

    fn reach(
        &mut self,
        id: &ContainerId,
        subject: &Subject<'_>,
        target: usize,
        via: Via,
        mount: Mount,
        access: Access,
    ) {
        let target = &self.targets[target];
        if target.own.contains(id) {
            return;
        }
        let reach = Reach {
            membership: subject.membership.clone(),
            reached: target.reached.clone(),
            via,
            host_path: mount.host_path,
            container_path: mount.container_path,
            readonly: mount.readonly,
            access,
        };
        let is_same = |other: &Reach| {
            other.membership == reach.membership
                && other.reached == reach.reached
                && other.container_path == reach.container_path
        };
        if !self.reaches.iter().any(is_same) {
            self.reaches.push(reach);
        }
    }

    /// Says what is wrong with a mount that is named as an engine's socket and leads to none.
    fn judge(&mut self, subject: &Subject<'_>, named: Named) {
        let looked = self.looked;
        let state = match (named.what, named.name) {
            (None, _) => Lost::Missing,
            (Some((_, FileType::Directory)), _) => Lost::Directory,
            (Some((_, FileType::RegularFile)), _) => Lost::File,
            (Some((_, FileType::Socket)), Suggested::Dockershim) => Lost::Dockershim,
            (Some((file, FileType::Socket)), _) if looked.listening.contains(&file) => return,
            (Some((_, FileType::Socket)), _) if named.is_deleted || looked.sees_machine => Lost::Stale,
            (Some((file, FileType::Socket)), Suggested::Engine(kind)) => {
                let name = SocketName::Path(named.host_path.clone());
                self.reaches.push(Reach {
                    membership: subject.membership.clone(),
                    reached: Reached::Unseen { file, kind, name },
                    via: Via::Socket,
                    host_path: named.host_path,
                    container_path: named.container_path,
                    readonly: named.readonly,
                    access: Access::Unknown,
                });
                return;
            }
            // `/dev/null` is mounted over a socket to hide it.
            (Some(_), _) => return,
        };
        self.lost.push(LostMount {
            membership: subject.membership.clone(),
            host_path: named.host_path,
            container_path: named.container_path,
            state,
        });
    }

    fn resolve(&mut self, path: &str) -> Resolved {
        if let Some(known) = self.resolved.get(path) {
            return known.clone();
        }
        let found = match self.host.root.walk(path) {
            Ok(_) if path.is_empty() => None,
            Ok(walked) => Some((walked.identity, walked.kind, walked.path)),
            Err(error) if leads_nowhere(&error) => None,
            Err(error) => {
                unreadable(&path, &error).fold_into(&mut self.gaps);
                None
            }
        };
        self.resolved.insert(path.to_owned(), found.clone());
        found
    }
}

/// The mount that was asked for at `point` of the container, or at a directory above it.
fn declared_at<'m>(declared: &'m [Mount], point: &str) -> Option<&'m Mount> {
    let above = |mount: &&Mount| {
        let path = mount.container_path.trim_end_matches('/');
        below(point.as_bytes(), path.as_bytes()).is_some()
    };
    declared
        .iter()
        .filter(above)
        .max_by_key(|mount| mount.container_path.len())
}

/// A path that leads nowhere cannot lead to a listener. What that means for the container is another question.
fn leads_nowhere(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || matches!(
            Errno::from_io_error(error),
            Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::SRCH)
        )
}

fn unreadable(asked: &dyn std::fmt::Display, error: &io::Error) -> Gap {
    let reason = Reason::of(error);
    let remedy = match reason {
        Reason::PermissionDenied => "; CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE (root) would show where it leads",
        _ => "",
    };
    Gap::new(reason, Hides::Exposure, asked, format_args!("{error}{remedy}"))
}

#[cfg(test)]
mod tests;
