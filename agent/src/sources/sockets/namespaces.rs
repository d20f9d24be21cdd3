//! The network namespaces of the node, and the ways to enter each.
//!
//! They are found from the process table and from the host's mounts: a namespace without a process may still hold
//! connections of a process that moved away with setns(2), and stays alive through its mount (`ip netns`, CNI, `docker
//! network`). A namespace that only an open descriptor or a socket keeps alive is not found.
//!
//! Enters no namespace. Relies on proc(5), namespaces(7) and the format of `/proc/<pid>/mountinfo`
//! (`proc_pid_mountinfo(5)`).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::model::identity::{NetNs, Pid};
use crate::model::reading::{Gap, Hides, Reason, Sighting};
use crate::sources::kernel::mountinfo::{MountWatch, read_mounts, unescaped};
use crate::sources::kernel::netns::{self, namespace_path};
use crate::sources::kernel::process::parse_bracketed;
use crate::sources::kernel::refusal::{self, Right};
use crate::sources::processes::ProcessTable;

/// A network namespace, with the ways to enter it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// The namespace.
    pub netns: NetNs,
    /// The processes in it, by ascending pid. Any of them may have ended by now.
    pub members: Vec<Pid>,
    /// Its mount point in the host's mount namespace; searched only if it has no members.
    pub mounted: Option<PathBuf>,
}

/// The network namespaces of the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// The known namespaces, by inode.
    pub known: Vec<Namespace>,
    /// Processes whose namespace may not be read. Each group is in a namespace of its own.
    pub unnamed: Vec<Vec<Pid>>,
    /// The reasons why the namespaces of `unnamed` are not known, one for each group.
    refusals: Vec<Gap>,
    details: Vec<Gap>,
}

/// Returns an unknown reading for a node of which no namespace could be read: because of `gaps`, or, if these are
/// empty, because no namespace is known.
pub(crate) fn none_seen<T>(gaps: Vec<Gap>, hides: Hides) -> Sighting<T> {
    let none_known = || Gap::new(Reason::DependsOnAnother, hides, "network namespaces", "none is known");
    let mut gaps = gaps.into_iter();
    let reading = Sighting::unknown(gaps.next().unwrap_or_else(none_known));
    Sighting {
        gaps: gaps.collect(),
        ..reading
    }
}

impl Namespaces {
    /// Returns the gaps of a search that read the known namespaces only.
    pub fn gaps(&self, hides: Hides) -> Vec<Gap> {
        let mut gaps = Vec::new();
        for gap in &self.refusals {
            Gap { hides, ..gap.clone() }.fold_into(&mut gaps);
        }
        gaps.extend(self.details.iter().cloned());
        gaps
    }

    /// Returns the gaps of a search that also read the groups of `unnamed` by other means.
    pub fn details(&self) -> &[Gap] {
        &self.details
    }

    /// Returns the reason why the namespace of the group at `index` of `unnamed` is not known.
    pub fn refusal(&self, index: usize) -> Option<&Gap> {
        self.refusals.get(index)
    }
}

/// Finds the network namespaces in each look. The host's mounts are read only if they have changed.
#[derive(Debug, Default)]
pub struct NamespaceFinder {
    mounts: MountWatch,
    mounted: BTreeMap<NetNs, PathBuf>,
    gaps: Vec<Gap>,
}

impl NamespaceFinder {
    /// Returns the network namespaces of the processes in `table`, which was read under `proc`.
    pub fn find(&mut self, proc: &Path, table: &ProcessTable) -> Namespaces {
        if self.mounts.has_changed(&proc.join("1/mountinfo")) {
            self.gaps.clear();
            self.mounted = read_mounted(proc, &mut self.gaps);
        }
        let mut found = find_inhabited(proc, table);
        found.details.extend(self.gaps.iter().cloned());
        let is_new = |netns: &NetNs| found.known.binary_search_by_key(netns, |known| known.netns).is_err();
        let empty = self.mounted.iter().filter(|(netns, _)| is_new(netns));
        let empty: Vec<Namespace> = empty
            .map(|(netns, path)| Namespace {
                netns: *netns,
                members: Vec::new(),
                mounted: Some(path.clone()),
            })
            .collect();
        found.known.extend(empty);
        found.known.sort_by_key(|namespace| namespace.netns);
        found
    }
}

/// Returns the network namespaces of the processes in `table`, which was read under `proc`, for a single look.
pub fn find_namespaces(proc: &Path, table: &ProcessTable) -> Namespaces {
    NamespaceFinder::default().find(proc, table)
}

/// Returns the namespaces that processes are in, by inode.
fn find_inhabited(proc: &Path, table: &ProcessTable) -> Namespaces {
    let mut members: BTreeMap<NetNs, Vec<Pid>> = BTreeMap::new();
    let mut refused = Vec::new();
    for entry in &table.entries {
        let pid = entry.key.pid;
        match entry
            .netns
            .map_or_else(|| read_again(proc, pid), |netns| Ok(Some(netns)))
        {
            Ok(Some(netns)) => members.entry(netns).or_default().push(pid),
            Ok(None) => {}
            Err(error) => refused.push((pid, error)),
        }
    }
    let mut found = Namespaces::default();
    group_by_table(proc, refused, &mut found);
    let inhabited = members.into_iter().map(|(netns, members)| Namespace {
        netns,
        members,
        mounted: None,
    });
    found.known = inhabited.collect();
    found
}

/// A zombie has no namespace, nor has a process that ended. Only a refusal hides one.
fn read_again(proc: &Path, pid: Pid) -> Result<Option<NetNs>, io::Error> {
    match netns::read(proc, pid) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        read => Ok(read.unwrap_or_default()),
    }
}

/// Groups processes whose namespace may not be read by the `net` tree of procfs that they share. The process table has
/// placed those that share a namespace with a readable process.
fn group_by_table(proc: &Path, refused: Vec<(Pid, io::Error)>, found: &mut Namespaces) {
    let mut groups: BTreeMap<(u64, u64), usize> = BTreeMap::new();
    for (pid, error) in refused {
        // No tree: it has ended.
        let Some(tree) = netns::read_tree(proc, pid) else {
            continue;
        };
        let group = *groups.entry(tree).or_insert(found.unnamed.len());
        if let Some(members) = found.unnamed.get_mut(group) {
            members.push(pid);
            continue;
        }
        let asked = namespace_path(proc, pid);
        let gap = refusal::gap(&error, Hides::Client, asked.display(), Right::Trace);
        found.refusals.push(gap);
        found.unnamed.push(vec![pid]);
    }
}

/// Returns the namespaces that the host has mounted (`… net:[4026532567] /run/netns/x … - nsfs nsfs rw`), with their
/// mount points.
fn read_mounted(proc: &Path, gaps: &mut Vec<Gap>) -> BTreeMap<NetNs, PathBuf> {
    let path = proc.join("1/mountinfo");
    let mut mounted = BTreeMap::new();
    let read = read_mounts(&path, |mount| {
        if let Some(netns) = parse_bracketed(mount.root, b"net:[").filter(|_| mount.fs_type == b"nsfs") {
            mounted.insert(NetNs(netns), PathBuf::from(OsStr::from_bytes(&unescaped(mount.point))));
        }
        true
    });
    match read {
        Err(error) if !refusal::is_gone(&error) => {
            // This only matters for a process that left its namespace with a connection open, so it affects no verdict.
            refusal::gap(&error, Hides::Detail, path.display(), Right::Trace).fold_into(gaps);
            BTreeMap::new()
        }
        _ => mounted,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::sources::processes::ProcessEntry;

    fn entry(pid: u32, netns: Option<u64>) -> ProcessEntry {
        ProcessEntry::in_netns(pid, netns.map(NetNs))
    }

    #[test]
    fn mounted_namespaces_without_a_process_are_added() {
        let proc = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir_all(proc.path().join("1")).expect("an empty directory");
        fs::write(
            proc.path().join("1/mountinfo"),
            b"25 1 254:0 / / rw - ext4 /dev/root rw\n\
              60 25 0:4 net:[10] /run/netns/used rw shared:5 - nsfs nsfs rw\n\
              61 25 0:4 net:[30] /run/netns/with\\040blank rw - nsfs nsfs rw\n\
              62 25 0:4 mnt:[31] /run/other rw - nsfs nsfs rw\n\
              63 25 0:4 net:[32] /run/tmp rw - tmpfs net:[32] rw\n\
              64 25 0:4 net:[x] /run/odd rw - nsfs nsfs rw\n\
              \xff\xff 65",
        )
        .expect("a file");
        let table = ProcessTable {
            entries: vec![
                entry(1, Some(10)),
                entry(2, Some(20)),
                entry(3, Some(10)),
                entry(4, None),
            ],
        };
        let found = find_namespaces(proc.path(), &table);
        let rows: Vec<_> = found
            .known
            .iter()
            .map(|n| (n.netns.0, n.members.clone(), n.mounted.clone()))
            .collect();
        assert_eq!(
            rows,
            [
                (10, vec![Pid(1), Pid(3)], None),
                (20, vec![Pid(2)], None),
                (30, vec![], Some(PathBuf::from("/run/netns/with blank"))),
            ]
        );
        // Process 4 has no link at all: it is a zombie, or has ended. This hides nothing.
        assert_eq!(found.gaps(Hides::Client), []);
        assert!(found.unnamed.is_empty());
    }
}
