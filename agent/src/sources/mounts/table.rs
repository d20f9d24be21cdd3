//! The mounts that one process sees, and the file to which a path leads through them.
//!
//! Follows the kernel's own walk (`path_lookup(7)` of fs/namei.c): if a mount is on top of another, or of a directory
//! above it, the lower one cannot be reached. Relies on `proc_pid_mountinfo(5)`.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;

use crate::model::identity::Device;
use crate::model::last_connect::AccessTimes;
use crate::sources::kernel::mountinfo::{MountLine, read_mounts_from, unescaped};
use crate::sources::kernel::rooted::Walked;

/// The suffix of the root of a mount whose directory was removed.
const DELETED: &[u8] = b"//deleted";

/// The bytes of a line of `mountinfo`, with room for long paths.
const LINE_BYTES: u64 = 512;

/// A file, by its file system and its path there. The path of the file system's own root is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FilePlace {
    pub(super) device: Device,
    pub(super) path: Vec<u8>,
}

/// One mount. Paths do not end in a slash; the root's is empty.
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts of one line, independent of each other"
)]
#[derive(Debug)]
pub(super) struct Entry {
    id: u32,
    parent: u32,
    /// True if the process cannot see the mount that this one is on. This is so for its root.
    is_top: bool,
    /// The mounted file or directory.
    pub(super) source: FilePlace,
    /// True if that was removed later.
    pub(super) is_deleted: bool,
    /// The mount point.
    pub(super) point: Vec<u8>,
    /// True if it is read-only.
    pub(super) readonly: bool,
    /// True if it maps users (`mount_setattr(2)`).
    pub(super) maps_users: bool,
    /// The setting for access times.
    pub(super) access_times: AccessTimes,
    /// True if it is a local file system and no volume of the kubelet's.
    pub(super) may_have_sockets: bool,
}

/// A way by which a process reaches a file.
#[derive(Debug)]
pub(super) struct Way<'t> {
    /// The mount that leads to it.
    pub(super) entry: &'t Entry,
    /// The file's path in the process's view.
    pub(super) path: Vec<u8>,
}

/// The mounts of one process.
#[derive(Debug, Default)]
pub(super) struct MountTable {
    entries: Vec<Entry>,
    /// The positions of the entries, sorted by the mount that each is on, and then by its point.
    sorted: Vec<u32>,
}

/// The mount that another is on; none if the process cannot see that.
type Parent = Option<u32>;

impl MountTable {
    /// Reads a process's `mountinfo`.
    pub(super) fn read(file: impl Read) -> io::Result<Self> {
        let mut entries = Vec::new();
        read_mounts_from(file, |line| {
            entries.push(Entry::of(&line));
            true
        })?;
        let ids: BTreeSet<u32> = entries.iter().map(|entry| entry.id).collect();
        for entry in &mut entries {
            entry.is_top = entry.parent == entry.id || !ids.contains(&entry.parent);
        }
        let mut sorted: Vec<u32> = (0_u32..).zip(&entries).map(|(at, _)| at).collect();
        let key = |at: &u32| entries.get(*at as usize).map(|entry| (entry.on(), &entry.point));
        sorted.sort_by(|one, other| key(one).cmp(&key(other)));
        Ok(Self { entries, sorted })
    }

    /// Reads a process's `mountinfo` if it has at most this many mounts. Any user can make 100,000 of them.
    pub(super) fn read_at_most(file: impl Read, mounts: usize) -> io::Result<Self> {
        let table = Self::read(file.take(mounts as u64 * LINE_BYTES))?;
        if table.entries.len() > mounts {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(table)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// True if something is mounted at exactly this path.
    pub(super) fn has_point(&self, path: &[u8]) -> bool {
        self.entries.iter().any(|entry| entry.point == path)
    }

    /// Returns the file that `path`, which has no links in it, leads to. Returns none below a mount that is not
    /// visible, as in a changed root.
    pub(super) fn locate(&self, path: &[u8]) -> Option<FilePlace> {
        let entry = self.covering(path).filter(|entry| !entry.is_deleted)?;
        let rest = below(path, &entry.point)?;
        Some(FilePlace {
            device: entry.source.device,
            path: [&entry.source.path, rest].concat(),
        })
    }

    /// Returns the ways to a file that no mount covers.
    pub(super) fn ways<'t>(&'t self, to: &FilePlace) -> impl Iterator<Item = Way<'t>> {
        let candidates = self.entries.iter().filter(|entry| !entry.is_deleted);
        candidates.filter_map(|entry| {
            if entry.source.device != to.device {
                return None;
            }
            let path = [&entry.point, below(&to.path, &entry.source.path)?].concat();
            let is_open = self.covering(&path).is_some_and(|top| top.id == entry.id);
            is_open.then_some(Way { entry, path })
        })
    }

    /// True if no other mount covers this one.
    pub(super) fn is_open(&self, entry: &Entry) -> bool {
        self.covering(&entry.point).is_some_and(|top| top.id == entry.id)
    }

    /// Returns the mount that a path ends in: from the root on, always the first mount on the path.
    fn covering(&self, path: &[u8]) -> Option<&Entry> {
        let mut current: Option<&Entry> = None;
        while let Some(next) = self.first_on(current.map(|entry| entry.id), path) {
            current = Some(next);
        }
        current
    }

    /// Returns the mount with the shortest point on the path, among those on `parent`.
    fn first_on(&self, parent: Parent, path: &[u8]) -> Option<&Entry> {
        let ends = (0..path.len()).filter(|at| path[*at] == b'/').chain([path.len()]);
        ends.map(|end| &path[..end]).find_map(|point| self.find(parent, point))
    }

    /// Returns the first mount on `parent` at this point.
    fn find(&self, parent: Parent, point: &[u8]) -> Option<&Entry> {
        let entry = |at: &u32| &self.entries[*at as usize];
        let start = self
            .sorted
            .partition_point(|at| (entry(at).on(), &*entry(at).point) < (parent, point));
        let found = self.sorted.get(start).map(entry)?;
        (found.on() == parent && found.point == point).then_some(found)
    }
}

impl Entry {
    const fn on(&self) -> Parent {
        if self.is_top { None } else { Some(self.parent) }
    }

    fn of(line: &MountLine<'_>) -> Self {
        let root = unescaped(line.root);
        let kept = root.strip_suffix(DELETED);
        let has = |flag: &[u8]| line.flags.split(|b| *b == b',').any(|f| f == flag);
        Self {
            id: line.id,
            parent: line.parent,
            is_top: false,
            source: FilePlace {
                device: line.device,
                path: without_slash(kept.unwrap_or(&root)).to_vec(),
            },
            is_deleted: kept.is_some(),
            point: without_slash(&unescaped(line.point)).to_vec(),
            readonly: has(b"ro"),
            maps_users: has(b"idmapped"),
            access_times: access_times(line, has),
            may_have_sockets: LOCAL.contains(&line.fs_type)
                && below(&unescaped(line.point), b"/var/lib/kubelet/pods").is_none(),
        }
    }
}

/// Local file systems of a machine, in which the sockets of another one may be mounted. Network file systems are not
/// searched, because they may not answer.
const LOCAL: [&[u8]; 7] = [b"tmpfs", b"ext4", b"ext3", b"ext2", b"xfs", b"btrfs", b"zfs"];

/// File systems that were tested to keep the access times of sockets as their mount options say. overlayfs passes them
/// on to another file system's mount; Btrfs and network file systems were not tested.
const KEEPS_AS_MOUNTED: [&[u8]; 5] = [b"tmpfs", b"ext4", b"ext3", b"ext2", b"xfs"];

/// Returns the setting for access times. It is `strictatime` if neither `relatime` nor `noatime` is shown
/// (`show_mnt_opts` of `fs/proc_namespace.c`).
fn access_times(line: &MountLine<'_>, has: impl Fn(&[u8]) -> bool) -> AccessTimes {
    if !KEEPS_AS_MOUNTED.contains(&line.fs_type) {
        AccessTimes::Unknown
    } else if has(b"ro") || has(b"noatime") || line.option(b"ro").is_some() {
        AccessTimes::Never
    } else if has(b"relatime") {
        AccessTimes::Daily
    } else {
        AccessTimes::Each
    }
}

pub(super) fn without_slash(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|b| *b != b'/').map_or(0, |at| at + 1);
    &path[..end]
}

/// Returns a walked path in the form of this file.
pub(super) fn path_of(walked: &Walked) -> Vec<u8> {
    without_slash(walked.name.as_os_str().as_bytes()).to_vec()
}

/// Returns the part of `path` after `ancestor`: nothing, or a slash and more. Returns none if it is not below it.
pub(super) fn below<'p>(path: &'p [u8], ancestor: &[u8]) -> Option<&'p [u8]> {
    let rest = path.strip_prefix(ancestor)?;
    (rest.is_empty() || rest.starts_with(b"/")).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A container that has the host's `/` at `/host`, and other mounts.
    const CONTAINER: &str = "\
        100 90 0:50 / / rw - overlay overlay rw\n\
        101 100 8:1 / /host ro,relatime - ext4 /dev/sda1 rw\n\
        102 101 0:20 / /host/run rw - tmpfs tmpfs rw\n\
        103 100 8:1 /var/lib/kubelet/pods/a\\040b/vol /data rw - ext4 /dev/sda1 rw\n\
        104 100 0:20 /docker.sock /sock rw - tmpfs tmpfs rw\n\
        105 100 0:20 /old.sock//deleted /old rw - tmpfs tmpfs rw\n\
        106 100 0:20 /sub /masked/sub rw,idmapped - tmpfs tmpfs rw\n\
        107 100 0:60 / /masked rw - tmpfs tmpfs rw\n";

    fn ways(device: (u32, u32), path: &str) -> Vec<String> {
        let table = MountTable::read(CONTAINER.as_bytes()).expect("it is text");
        let place = FilePlace {
            device: Device {
                major: device.0,
                minor: device.1,
            },
            path: path.into(),
        };
        let ways = table.ways(&place);
        ways.map(|way| String::from_utf8(way.path).expect("it is text"))
            .collect()
    }

    #[test]
    fn a_file_is_reached_through_each_mount_of_a_directory_above_it() {
        assert_eq!(ways((0, 20), "/docker.sock"), ["/host/run/docker.sock", "/sock"]);
        assert_eq!(
            ways((8, 1), "/var/lib/kubelet/pods/a b/vol/docker.sock"),
            ["/host/var/lib/kubelet/pods/a b/vol/docker.sock", "/data/docker.sock"]
        );
        assert_eq!(ways((8, 1), "/etc/x"), ["/host/etc/x"]);
        assert_eq!(ways((0, 99), "/docker.sock"), [""; 0], "another file system");
        assert_eq!(
            ways((0, 20), "/docker.sock.old"),
            ["/host/run/docker.sock.old"],
            "no part of a name"
        );
    }

    #[test]
    fn a_covered_file_is_not_reached() {
        // The host's `/run` on its root file system is covered by the tmpfs.
        assert_eq!(ways((8, 1), "/run/docker.sock"), [""; 0]);
        assert_eq!(
            ways((0, 20), "/sub/docker.sock"),
            ["/host/run/sub/docker.sock"],
            "and not /masked"
        );
        assert_eq!(
            ways((0, 20), "/old.sock"),
            ["/host/run/old.sock"],
            "the removed one is another file"
        );
    }

    #[test]
    fn the_upper_of_two_mounts_at_one_point_hides_the_lower() {
        let stacked = "1 0 8:1 / / rw - ext4 x rw\n2 1 0:20 / /run rw - tmpfs x rw\n3 2 0:30 / /run rw - tmpfs x rw\n";
        let table = MountTable::read(stacked.as_bytes()).expect("it is text");
        let at = |minor| FilePlace {
            device: Device { major: 0, minor },
            path: b"/docker.sock".to_vec(),
        };
        assert_eq!(table.ways(&at(20)).count(), 0);
        assert_eq!(table.ways(&at(30)).count(), 1);
        assert_eq!(table.locate(b"/run/docker.sock"), Some(at(30)));
    }

    #[test]
    fn a_table_with_more_mounts_than_asked_for_is_refused() {
        assert!(MountTable::read_at_most(CONTAINER.as_bytes(), 8).is_ok());
        assert!(MountTable::read_at_most(CONTAINER.as_bytes(), 7).is_err());
    }

    #[test]
    fn in_a_changed_root_only_mounts_below_it_are_known() {
        let jail = "50 40 0:20 /emptydir /sock rw - tmpfs tmpfs rw\n";
        let table = MountTable::read(jail.as_bytes()).expect("it is text");
        let place = table.locate(b"/sock/docker.sock").expect("it is below a mount");
        assert_eq!(place.path, b"/emptydir/docker.sock");
        assert_eq!(table.locate(b"/b/docker.sock"), None);
    }
}
