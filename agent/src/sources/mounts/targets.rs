//! The targets of mounts: the file of each listener, its directories, and its path on its own file system. Also sockets
//! with an engine's name whose listener is not on this node.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use rustix::fs::FileType;

use super::named::suggested;
use super::table::{FilePlace, MountTable, path_of};
use super::{Looked, unreadable};
use crate::model::engine::{EngineKind, EngineSighting, Listener};
use crate::model::exposure::Reached;
use crate::model::identity::{ContainerId, FileIdentity};
use crate::model::last_connect::{AccessTimes, LastConnect, ListenerClock, Moment, NoMark};
use crate::model::process::Process;
use crate::model::reading::Gap;
use crate::model::socket::{ListenerId, SocketName};
use crate::sources::kernel::refusal::leads_nowhere;
use crate::sources::kernel::rooted::{Owner, Rooted, Walked};
use crate::sources::processes::ProcessReader;

/// The usual path of Docker's socket; checked for a socket whose listener is not on this node.
const USUAL: &str = "/run/docker.sock";

/// The places of engines' sockets below a directory of another machine: its `/run`, or its root.
const SOCKETS_BELOW: [(&str, EngineKind); 5] = [
    ("docker.sock", EngineKind::Dockerd),
    ("run/docker.sock", EngineKind::Dockerd),
    ("var/run/docker.sock", EngineKind::Dockerd),
    ("podman/podman.sock", EngineKind::Podman),
    ("run/podman/podman.sock", EngineKind::Podman),
];

/// The host's files as its first process sees them.
#[derive(Debug)]
pub(super) struct Host<'a> {
    pub(super) root: Rooted,
    /// The host's mounts; empty if they could not be read.
    pub(super) table: &'a MountTable,
}

/// A socket, with all that leads to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) reached: Reached,
    /// Its path, as text.
    pub(super) name: SocketName,
    /// The socket's file in the kernel's socket list and in stat(2). They differ on Btrfs and overlayfs, where stat(2)
    /// reports another device.
    pub(super) socket: Vec<FileIdentity>,
    /// The directories that it is in.
    pub(super) directories: BTreeSet<FileIdentity>,
    /// Its path on its file system. None if its name no longer leads to it, or the path is not known.
    pub(super) place: Option<FilePlace>,
    pub(super) owner: Option<Owner>,
    /// Its paths on the host.
    pub(super) on_host: Vec<Vec<u8>>,
    /// The containers that the engine itself is in.
    pub(super) own: Vec<ContainerId>,
}

impl Target {
    fn new(reached: Reached, name: SocketName, file: FileIdentity) -> Self {
        Self {
            reached,
            name,
            socket: vec![file],
            directories: BTreeSet::new(),
            place: None,
            owner: None,
            on_host: Vec::new(),
            own: Vec::new(),
        }
    }

    fn fill(&mut self, walked: Walked, place: Option<FilePlace>, host: &Host<'_>) {
        if !self.socket.contains(&walked.identity) {
            self.socket.push(walked.identity);
        }
        self.directories.extend(walked.ancestors);
        self.owner = Some(walked.owner);
        self.on_host = place
            .iter()
            .flat_map(|place| host.table.ways(place).map(|way| way.path))
            .collect();
        self.place = place;
    }
}

/// The targets of mounts, and the time of the last connect to each listener.
#[derive(Debug, Default)]
pub(super) struct Targets {
    pub(super) all: Vec<Target>,
    pub(super) clocks: Vec<ListenerClock>,
}

impl Targets {
    /// Adds a target for each of these names of its file.
    fn add_names(&mut self, target: &Target, names: Vec<Found>, host: &Host<'_>) {
        self.all.extend(names.into_iter().map(|(walked, place)| {
            let mut another = target.clone();
            another.fill(walked, place, host);
            another
        }));
    }

    fn add_clock(&mut self, listener: &Listener, (last_connect, mark): (LastConnect, Option<Moment>)) {
        self.clocks.push(ListenerClock {
            listener: listener.id.clone(),
            last_connect,
            mark,
        });
    }
}

/// Finds the targets of mounts. A listener with an abstract name is not one, because no file system leads to it.
pub(super) fn find_targets(
    host: &Host<'_>,
    looked: &Looked<'_>,
    engines: &[EngineSighting],
    gaps: &mut Vec<Gap>,
) -> Targets {
    let mut targets = Targets::default();
    let no_mark = |because| (LastConnect::NoMark { because }, None);
    for engine in engines {
        for listener in &engine.listeners {
            let file = match &listener.id {
                ListenerId::File(file) => file,
                ListenerId::Abstract(..) => {
                    targets.add_clock(listener, no_mark(NoMark::Abstract));
                    continue;
                }
                ListenerId::Tcp(..) => {
                    targets.add_clock(listener, no_mark(NoMark::Tcp));
                    continue;
                }
            };
            let mut target = Target::new(Reached::Listener(listener.id.clone()), listener.name.clone(), *file);
            let containers = engine.process.iter().flat_map(|p| &p.membership.containers);
            target.own = containers.map(|container| container.id.clone()).collect();
            match find_or_search(host, looked.reader, engine, listener, *file) {
                Ok(Some((walked, place))) => {
                    let keeps = access_times(host, looked.reader, engine, place.as_ref());
                    targets.add_clock(listener, LastConnect::judge(walked.times, keeps, looked.now));
                    if walked.owner.names > 1 {
                        let others = find_other_names(host, engine, listener, *file, Some(&walked));
                        targets.add_names(&target, others, host);
                    }
                    target.fill(walked, place, host);
                }
                // Its file was removed or replaced while the engine was running: no directory leads to it any more.
                Ok(None) => targets.add_clock(listener, no_mark(NoMark::Removed)),
                Err(error) => {
                    targets.add_clock(listener, no_mark(NoMark::Unread));
                    let asked = format_args!("the directories above {}", listener.name);
                    unreadable(asked, &error).fold_into(gaps);
                }
            }
            targets.all.push(target);
        }
    }
    if !looked.sees_machine {
        add_foreign(host, looked, &mut targets.all);
    }
    targets
}

/// Returns the weakest setting for access times among the mounts through which the host's processes reach a file, or
/// those of the engine if the host's do not: a client may have used any of them.
fn access_times(
    host: &Host<'_>,
    reader: &ProcessReader,
    engine: &EngineSighting,
    place: Option<&FilePlace>,
) -> AccessTimes {
    let Some(place) = place else {
        return AccessTimes::Unknown;
    };
    let of = |table: &MountTable| {
        let kept = table.ways(place).map(|way| way.entry.access_times);
        kept.reduce(AccessTimes::weaker)
    };
    let own = || {
        let process = engine.process.as_ref()?;
        of(&read_table_of(reader, process).ok()?)
    };
    of(host.table).or_else(own).unwrap_or(AccessTimes::Unknown)
}

/// Adds sockets of another machine's engine that are mounted into this node. kind does this with the socket of the
/// machine that its nodes run on.
fn add_foreign(host: &Host<'_>, looked: &Looked<'_>, targets: &mut Vec<Target>) {
    let mut paths = BTreeMap::from([(USUAL.to_owned(), EngineKind::Dockerd)]);
    for entry in host.table.entries().filter(|entry| !entry.is_deleted) {
        let point = String::from_utf8_lossy(&entry.point);
        let engine = |path: &[u8]| suggested(path).and_then(super::named::Suggested::engine);
        if let Some(kind) = engine(&entry.point).or(engine(&entry.source.path)) {
            paths.insert(point.into_owned(), kind);
        } else if entry.may_have_sockets && !entry.point.is_empty() {
            let below = SOCKETS_BELOW
                .iter()
                .map(|(path, kind)| (format!("{point}/{path}"), *kind));
            paths.extend(below);
        }
    }
    for (path, kind) in paths {
        let Ok(walked) = host.root.walk(&path) else { continue };
        let file = walked.identity;
        let is_known = looked.listening.contains(&file) || targets.iter().any(|t| t.socket.contains(&file));
        if walked.kind != FileType::Socket || is_known {
            continue;
        }
        let name = SocketName::Path(path);
        let reached = Reached::Unseen {
            file,
            kind,
            name: name.clone(),
        };
        let mut target = Target::new(reached, name, file);
        let place = host.table.locate(&path_of(&walked));
        target.fill(walked, place, host);
        targets.push(target);
    }
}

type Found = (Walked, Option<FilePlace>);

/// Finds names of a listener's file on the host besides the one that `known` was found by: hard links, and the new name
/// of a socket that was moved, alone or with its directory. They are searched near the listener's own name.
/// Those of an engine in a container are names in that container, and are not searched.
fn find_other_names(
    host: &Host<'_>,
    engine: &EngineSighting,
    listener: &Listener,
    file: FileIdentity,
    known: Option<&Walked>,
) -> Vec<Found> {
    let is_contained = engine
        .process
        .as_ref()
        .is_some_and(|process| !process.membership.containers.is_empty());
    let name = match &listener.name {
        SocketName::Path(name) if !is_contained => name,
        _ => return Vec::new(),
    };
    let mut above = Path::new(name).ancestors().skip(1).filter(|path| path.is_absolute());
    let is_there = |path: &&Path| path.to_str().is_some_and(|path| host.root.read_identity(path).is_ok());
    let Some(directory) = above.find(is_there).and_then(Path::to_str) else {
        return Vec::new();
    };
    let is_it = |walked: &Walked| {
        let is_same = match known {
            Some(known) => walked.identity == known.identity && walked.name != known.name,
            None => walked.identity == file,
        };
        is_same && walked.kind == FileType::Socket
    };
    let paths = host.root.find_sockets(directory, file.inode).into_iter();
    let walked = paths.filter_map(|path| host.root.walk(&path).ok()).filter(is_it);
    walked
        .map(|walked| {
            let place = host.table.locate(&path_of(&walked));
            (walked, place)
        })
        .collect()
}

/// Finds the listener's file by its name, or else by another name near it.
fn find_or_search(
    host: &Host<'_>,
    reader: &ProcessReader,
    engine: &EngineSighting,
    listener: &Listener,
    file: FileIdentity,
) -> io::Result<Option<Found>> {
    let found = find_listener(host, reader, engine, listener, file)?;
    let search = || find_other_names(host, engine, listener, file, None);
    Ok(found.or_else(|| search().into_iter().next()))
}

/// Walks the listener's name in the engine's own mount namespace, or else on the host, and checks that it still leads
/// to the listener. Returns none if it certainly does not.
fn find_listener(
    host: &Host<'_>,
    reader: &ProcessReader,
    engine: &EngineSighting,
    listener: &Listener,
    file: FileIdentity,
) -> io::Result<Option<Found>> {
    let SocketName::Path(name) = &listener.name else {
        return Ok(None);
    };
    let key = engine.process.as_ref().map(|process| process.key);
    let path = match key {
        _ if name.starts_with('/') => name.clone(),
        Some(key) => format!("{}/{name}", reader.open(key)?.read_working_directory()?),
        None => return Err(io::ErrorKind::NotFound.into()),
    };
    let is_it = |walked: &Walked| walked.kind == FileType::Socket && walked.identity.inode == file.inode;
    let own_root = key.map(|key| reader.open_root(key).map(Rooted::new)).transpose();
    let in_own = match &own_root {
        Ok(own) => own
            .as_ref()
            .map(|root| root.walk(&path).map_err(|unresolved| unresolved.error))
            .transpose(),
        Err(_) => Ok(None),
    };
    let error = match in_own {
        Ok(Some(walked)) if is_it(&walked) => {
            let place = engine
                .process
                .as_ref()
                .and_then(|process| locate_own(host, reader, process, &walked, &is_it));
            return Ok(Some((walked, place)));
        }
        Ok(_) => None,
        Err(error) => Some(error),
    };
    if let Ok(walked) = host.root.walk(&path)
        && is_it(&walked)
    {
        let place = host.table.locate(&path_of(&walked));
        return Ok(Some((walked, place)));
    }
    match (own_root, error) {
        (Err(error), _) | (_, Some(error)) if !leads_nowhere(&error) => Err(error),
        // The right place was searched, with a complete name.
        (Ok(Some(_)), _) if name.starts_with('/') && !name.contains(char::REPLACEMENT_CHARACTER) => Ok(None),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

/// The most mounts of an ordinary user's process that are read.
const USERS_MOUNTS: usize = 4_096;

/// Reads the mounts of an engine's process.
fn read_table_of(reader: &ProcessReader, process: &Process) -> io::Result<MountTable> {
    let mounts = reader.open(process.key)?.open_mountinfo()?;
    if process.uid == Some(0) {
        MountTable::read(mounts)
    } else {
        MountTable::read_at_most(mounts, USERS_MOUNTS)
    }
}

/// Returns the path on its file system of a file that a process sees. The process's own mounts determine it, or the
/// host's below a changed root that is not a mount.
pub(super) fn locate_own(
    host: &Host<'_>,
    reader: &ProcessReader,
    process: &Process,
    walked: &Walked,
    is_it: &dyn Fn(&Walked) -> bool,
) -> Option<FilePlace> {
    let key = process.key;
    let root = reader.open(key).ok()?.read_root().ok()?;
    let path = path_of(walked);
    if root == "/" && reader.shares_mounts_with_init(key) {
        return host.table.locate(&path);
    }
    let own = read_table_of(reader, process).ok()?;
    own.locate(&path).or_else(|| {
        let path = format!("{root}{}", String::from_utf8_lossy(&path));
        let on_host = host.root.walk(&path).ok().filter(is_it)?;
        host.table.locate(&path_of(&on_host))
    })
}
