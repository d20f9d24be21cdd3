//! The actual mounts of a container, from its first process. They differ from the requested ones if a link was changed
//! after the container was created, or if another mount is on top.

use std::io;

use rustix::fs::FileType;

use super::access;
use super::files::{DockerDirectory, OwnFiles, own_files};
use super::named::{Named, Suggested, suggested};
use super::table::{Entry, FilePlace, MountTable, below};
use super::targets::{Host, Target};
use crate::model::exposure::Access;
use crate::model::identity::{FileIdentity, ProcessKey};
use crate::sources::kernel::rooted::Rooted;
use crate::sources::processes::ProcessReader;

/// The mounts of one container that matter.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnMounts {
    pub(super) ways: Vec<OwnWay>,
    /// Mounts with the name of an engine's socket.
    pub(super) named: Vec<Named>,
    /// Mounts of Docker's files.
    pub(super) files: Vec<OwnFiles>,
}

/// A mount that leads to a target.
#[derive(Clone, Debug)]
pub(super) struct OwnWay {
    /// Its position among the targets.
    pub(super) target: usize,
    /// The mount point in the container.
    pub(super) point: String,
    /// The mounted path on the host; on its file system if the host has none.
    pub(super) source: String,
    /// True if the socket itself is mounted.
    pub(super) is_direct: bool,
    pub(super) readonly: bool,
    pub(super) access: Access,
}

/// Reads the mounts of the process `key`, and finds those that lead to one of `targets`.
pub(super) fn read_own(
    reader: &ProcessReader,
    key: ProcessKey,
    host: &Host<'_>,
    targets: &[Target],
    directories: &[DockerDirectory],
) -> io::Result<OwnMounts> {
    let table = MountTable::read(reader.open(key)?.open_mountinfo()?)?;
    let mut own = OwnMounts {
        files: own_files(&table, host, directories),
        ..OwnMounts::default()
    };
    let mut add = |target: usize, entry: &Entry, is_direct: bool| {
        let point = shown(&entry.point);
        let is_known = |way: &OwnWay| way.target == target && way.point == point;
        if !own.ways.iter().any(is_known) {
            let access = match targets[target].owner {
                Some(owner) if !entry.maps_users => access::judge(reader, key, &owner),
                _ => Access::Unknown,
            };
            own.ways.push(OwnWay {
                target,
                source: source_of(entry, host),
                is_direct,
                readonly: entry.readonly,
                access,
                point,
            });
        }
    };
    for (at, target) in targets.iter().enumerate() {
        for way in target.place.iter().flat_map(|place| table.ways(place)) {
            add(at, way.entry, way.path == way.entry.point);
        }
    }
    let mut root: Option<Rooted> = None;
    for entry in table.entries() {
        let name = suggested(&entry.source.path).or(suggested(&entry.point));
        if !(name.is_some() || may_be_another_name(entry, targets)) || !table.is_open(entry) {
            continue;
        }
        let root = match &mut root {
            Some(root) => root,
            none => none.insert(Rooted::new(reader.open_root(key)?)),
        };
        let Ok((identity, kind)) = root.read_identity(&shown(&entry.point)) else {
            continue; // unmounted meanwhile
        };
        let leads_to = |target: &&Target| kind == FileType::Socket && target.socket.contains(&identity);
        if let Some(at) = targets.iter().position(|target| leads_to(&target)) {
            add(at, entry, true);
        } else if let Some(name) = name {
            own.named.push(named(entry, host, name, (identity, kind)));
        }
    }
    Ok(own)
}

/// True if a mount may be a target's file under a name that does not lead to it: a removed name or a second one (a hard
/// link).
fn may_be_another_name(entry: &Entry, targets: &[Target]) -> bool {
    targets.iter().any(|target| match (&target.place, target.owner) {
        (Some(place), Some(owner)) => {
            let is_near = place.device == entry.source.device;
            is_near && (entry.is_deleted || (owner.names > 1 && below(&place.path, &entry.source.path).is_none()))
        }
        _ => entry.is_deleted,
    })
}

fn named(entry: &Entry, host: &Host<'_>, name: Suggested, what: (FileIdentity, FileType)) -> Named {
    Named {
        name,
        host_path: source_of(entry, host),
        container_path: shown(&entry.point),
        readonly: entry.readonly,
        what: Some(what),
        is_deleted: entry.is_deleted,
    }
}

/// Returns the mounted path, by the host's name if there is one.
pub(super) fn source_of(entry: &Entry, host: &Host<'_>) -> String {
    let FilePlace { path, .. } = &entry.source;
    let on_host = host.table.ways(&entry.source).map(|way| way.path).next();
    shown(on_host.as_ref().filter(|_| !entry.is_deleted).unwrap_or(path))
}

/// Returns a path as text.
pub(super) fn shown(path: &[u8]) -> String {
    if path.is_empty() {
        return "/".to_owned();
    }
    String::from_utf8_lossy(path).into_owned()
}
