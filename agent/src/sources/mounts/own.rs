//! The actual mounts of a container, from its processes. They differ from the requested ones if a link was changed after
//! the container was created, or if another mount is on top.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::access;
use super::files::{DockerDirectory, OwnFiles, own_files};
use super::named::{Named, Suggested, suggested};
use super::table::{Entry, FilePlace, MountTable, below, path_of, without_slash};
use super::targets::{Host, Target};
use crate::model::container::Mount;
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
    /// The number of mounts that were requested.
    pub(super) asked: usize,
    /// The container paths of those at which nothing is mounted.
    pub(super) missing: BTreeSet<String>,
}

/// A mount that leads to a target.
#[derive(Clone, Debug, PartialEq, Eq)]
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

impl OwnMounts {
    /// Adds what another view of the same container shows.
    pub(super) fn join(&mut self, other: Self) {
        for way in other.ways {
            if !self.ways.contains(&way) {
                self.ways.push(way);
            }
        }
        for named in other.named {
            if !self
                .named
                .iter()
                .any(|known| known.container_path == named.container_path)
            {
                self.named.push(named);
            }
        }
        for files in other.files {
            if !self.files.contains(&files) {
                self.files.push(files);
            }
        }
        self.missing.retain(|path| other.missing.contains(path));
    }

    /// Names each mount point as the container does: below the root of the process that shows it.
    fn move_below(&mut self, root: &str) {
        let ways = self.ways.iter_mut().map(|way| &mut way.point);
        let named = self.named.iter_mut().map(|named| &mut named.container_path);
        let files = self.files.iter_mut().map(|files| &mut files.container_path);
        for point in ways.chain(named).chain(files) {
            if !root.is_empty() {
                *point = format!("{root}{}", point.trim_end_matches('/'));
            }
        }
    }
}

/// A process of a container, whose view of the mounts is read.
pub(super) struct View<'a> {
    pub(super) reader: &'a ProcessReader,
    pub(super) key: ProcessKey,
    pub(super) host: &'a Host<'a>,
}

impl View<'_> {
    /// Reads the mounts, and finds those that lead to one of `targets` or `directories`, and those of `declared` that are
    /// missing.
    pub(super) fn read_own(
        &self,
        targets: &[Target],
        directories: &[DockerDirectory],
        declared: &[Mount],
    ) -> io::Result<OwnMounts> {
        let process = self.reader.open(self.key)?;
        let table = MountTable::read(process.open_mountinfo()?)?;
        // The mounts can be read even without the right to read it.
        let changed_root = self.reader.read_changed_root(&process).unwrap_or_default();
        let mut own = OwnMounts {
            ways: self.find_ways(&table, targets),
            named: Vec::new(),
            files: own_files(&table, self.host, directories),
            asked: declared.len(),
            missing: self.find_missing(&table, &changed_root, declared),
        };
        self.add_by_name(&table, targets, &mut own)?;
        own.move_below(&changed_root);
        Ok(own)
    }

    fn find_ways(&self, table: &MountTable, targets: &[Target]) -> Vec<OwnWay> {
        let mut ways = Vec::new();
        for (at, target) in targets.iter().enumerate() {
            for way in target.place.iter().flat_map(|place| table.ways(place)) {
                self.add_way(&mut ways, targets, at, way.entry, way.path == way.entry.point);
            }
        }
        ways
    }

    fn add_way(&self, ways: &mut Vec<OwnWay>, targets: &[Target], target: usize, entry: &Entry, is_direct: bool) {
        let point = shown(&entry.point);
        if ways.iter().any(|way| way.target == target && way.point == point) {
            return;
        }
        let access = match targets[target].owner {
            Some(owner) if !entry.maps_users => access::judge(self.reader, self.key, &owner),
            _ => Access::Unknown,
        };
        ways.push(OwnWay {
            target,
            source: source_of(entry, self.host),
            is_direct,
            readonly: entry.readonly,
            access,
            point,
        });
    }

    /// Adds mounts of files that lead to a target under another name, or that have the name of an engine's socket.
    fn add_by_name(&self, table: &MountTable, targets: &[Target], own: &mut OwnMounts) -> io::Result<()> {
        let mut root: Option<Rooted> = None;
        for entry in table.entries() {
            let name = suggested(&entry.source.path).or(suggested(&entry.point));
            if !(name.is_some() || may_be_another_name(entry, targets)) || !table.is_open(entry) {
                continue;
            }
            let root = match &mut root {
                Some(root) => root,
                none => none.insert(Rooted::new(self.reader.open_root(self.key)?)),
            };
            let Ok((identity, kind)) = root.read_identity(&shown(&entry.point)) else {
                continue; // unmounted meanwhile
            };
            let leads_to = |target: &&Target| kind == FileType::Socket && target.socket.contains(&identity);
            if let Some(at) = targets.iter().position(|target| leads_to(&target)) {
                self.add_way(&mut own.ways, targets, at, entry, true);
            } else if let Some(name) = name {
                own.named.push(named(entry, self.host, name, (identity, kind)));
            }
        }
        Ok(())
    }

    /// Returns the paths of `declared` at which nothing is mounted. The runtime follows links of the container's image
    /// (`/var/run`), and mounts where they lead.
    fn find_missing(&self, table: &MountTable, changed_root: &str, declared: &[Mount]) -> BTreeSet<String> {
        let mut root: Option<io::Result<Rooted>> = None;
        let mut is_mounted = |mount: &&Mount| {
            let path: PathBuf = Path::new(&mount.container_path).components().collect();
            let path = without_slash(path.as_os_str().as_bytes());
            if below(path, changed_root.as_bytes()).is_some_and(|path| table.has_point(path)) {
                return true;
            }
            // In a changed root the same path is another one.
            let Some((above, name)) = mount.container_path.trim_end_matches('/').rsplit_once('/') else {
                return false;
            };
            if above.is_empty() || !changed_root.is_empty() {
                return false;
            }
            let root = root.get_or_insert_with(|| self.reader.open_root(self.key).map(Rooted::new));
            let walked = root.as_ref().ok().and_then(|root| root.walk(above).ok());
            walked.is_some_and(|walked| table.has_point(&[&path_of(&walked), &b"/"[..], name.as_bytes()].concat()))
        };
        let missing = declared.iter().filter(|mount| !is_mounted(mount));
        missing.map(|mount| mount.container_path.clone()).collect()
    }
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
