//! The processes that show the mounts of each container: one for each view, the oldest.
//!
//! A view is a mount namespace with a root directory in it. A process may leave the view that its container was created
//! with, by `chroot(2)` or `unshare(2)`, while others keep it. So no process represents the container alone.
//!
//! A container is known by the control group of its processes, or, if it has none of its own (podman without control
//! groups), as a child of its supervisor.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::table::MountTable;
use crate::model::container::SupervisedContainer;
use crate::model::identity::{ContainerId, Pid, ProcessKey};
use crate::model::reading::{Gap, Hides, Reason, Sighting};
use crate::model::workload::{CgroupContainer, Membership};
use crate::sources::kernel::process::MountView;
use crate::sources::kernel::refusal::{self, Right};
use crate::sources::processes::{ProcessEntry, ProcessReader, ProcessTable};

/// The seconds for which a process that sees the host's root may be creating its container. This takes milliseconds, and
/// on a busy node up to the kubelet's limit for a call of the runtime (`runtimeRequestTimeout`).
const CREATION_SECONDS: u64 = 120;

/// The most processes of a mount namespace that are asked whether they see all mounts in it. The first ones do, unless they
/// hide.
const WHOLE_ASKED: usize = 4;

/// A process of a container, the oldest with its view of the mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerProcess {
    /// The process.
    pub key: ProcessKey,
    /// Its control groups; the innermost container counts.
    pub membership: Membership,
    /// True if it is not to be read again in this look (ADR 4).
    pub is_kept: bool,
}

/// The containers around a process, outermost first, each with the user who claims it.
pub(super) type Chain = Vec<(ContainerId, Option<u32>)>;

pub(super) fn chain_of(membership: &Membership) -> Chain {
    let containers = membership.containers.iter();
    containers.map(|c| (c.id.clone(), c.user)).collect()
}

/// The control groups of the processes of the last look, and the views of those in containers.
#[derive(Debug, Default)]
pub struct MembershipMemory {
    of: BTreeMap<ProcessKey, Place>,
}

impl MembershipMemory {
    /// Returns the processes of the last look that are in containers.
    pub fn in_containers(&self) -> impl Iterator<Item = (Pid, &Membership)> {
        let all = self.of.iter().map(|(key, (membership, _))| (key.pid, membership));
        all.filter(|(_, membership)| !membership.containers.is_empty())
    }
}

type Place = (Membership, Option<MountView>);

/// Finds the processes that show the mounts of each container among the processes of `table`, by container and then by
/// age.
pub fn find_container_processes(
    reader: &ProcessReader,
    table: &ProcessTable,
    supervised: &[SupervisedContainer],
    memory: &mut MembershipMemory,
) -> Sighting<Vec<ContainerProcess>> {
    let mut search = Search {
        reader,
        supervised,
        last: std::mem::take(&mut memory.of),
        now: &mut memory.of,
        found: BTreeMap::new(),
        host: OnceCell::new(),
        gaps: Vec::new(),
    };
    for entry in &table.entries {
        search.take(entry.key);
    }
    search.take_children(table);
    search.finish()
}

/// The views of one container, each with the oldest process. None is for all processes that have ended or may not be
/// inspected.
type Views = BTreeMap<Option<MountView>, ContainerProcess>;

struct Search<'a> {
    reader: &'a ProcessReader,
    supervised: &'a [SupervisedContainer],
    last: BTreeMap<ProcessKey, Place>,
    now: &'a mut BTreeMap<ProcessKey, Place>,
    found: BTreeMap<Chain, Views>,
    /// The host's view; none if it may not be read.
    host: OnceCell<Option<MountView>>,
    gaps: Vec<Gap>,
}

impl Search<'_> {
    fn take(&mut self, key: ProcessKey) {
        let known = self.last.remove(&key).filter(|_| self.reader.was_kept(key));
        let is_whole = |(membership, view): &Place| membership.containers.is_empty() || view.is_some();
        let (membership, view) = match known.filter(is_whole).map_or_else(|| self.read(key), Ok) {
            Ok(place) => place,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                let asked = format_args!("/proc/{}/cgroup", key.pid);
                Gap::new(Reason::of(&error), Hides::Exposure, asked, &error).fold_into(&mut self.gaps);
                return;
            }
        };
        self.now.insert(key, (membership.clone(), view));
        if !membership.containers.is_empty() {
            self.add(key, membership, view);
        }
    }

    fn read(&mut self, key: ProcessKey) -> io::Result<Place> {
        let process = self.reader.open(key)?;
        let membership = self.reader.membership_of(&process)?;
        if membership.containers.is_empty() {
            return Ok((membership, None));
        }
        let view = match process.read_mount_view() {
            Err(_) if self.is_claim(&membership) => None,
            view => self.seen(key, view),
        };
        Ok((membership, view))
    }

    /// True if only a user says that the process is in a container.
    fn is_claim(&self, membership: &Membership) -> bool {
        let is_of = |one: &CgroupContainer| self.supervised.iter().any(|s| (&s.id, s.user) == (&one.id, one.user));
        let innermost = membership.containers.last();
        innermost.is_some_and(|one| one.user.is_some() && !is_of(one))
    }

    fn seen(&mut self, key: ProcessKey, view: io::Result<MountView>) -> Option<MountView> {
        match view {
            Ok(view) => Some(view),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None, // it has ended
            Err(error) => {
                let asked = format_args!("/proc/{}/ns/mnt", key.pid);
                refusal::gap(&error, Hides::Exposure, asked, Right::Trace).fold_into(&mut self.gaps);
                None
            }
        }
    }

    /// Adds the containers whose processes have no control group of their own.
    fn take_children(&mut self, table: &ProcessTable) {
        let has_group = |s: &SupervisedContainer| self.found.keys().flatten().any(|(id, _)| *id == s.id);
        let missing: Vec<&SupervisedContainer> = self.supervised.iter().filter(|s| !has_group(s)).collect();
        if missing.is_empty() {
            return;
        }
        let supervisors: BTreeSet<_> = missing.iter().map(|s| s.supervisor).collect();
        let is_child = |entry: &&ProcessEntry| supervisors.contains(&entry.parent);
        let children: Vec<&ProcessEntry> = table.entries.iter().filter(is_child).collect();
        for container in missing {
            for entry in children.iter().filter(|entry| entry.parent == container.supervisor) {
                let view = self.view_of_child(entry.key);
                self.add(
                    entry.key,
                    Membership::of_container(container.id.clone(), container.user),
                    view,
                );
            }
        }
    }

    /// True if this process may be the runtime's own, which has not finished creating the container: it is in the
    /// container's control group, and its root is still the host's (runc enters the control group first, then its
    /// namespaces, and then the new root). A process that has changed its root to a mount of the host's root is not.
    fn is_creating(&self, key: ProcessKey, view: MountView) -> bool {
        self.reader.is_younger(key, CREATION_SECONDS)
            && self.host().is_some_and(|host| view.has_root_of(&host))
            && self.has_unchanged_root(key).unwrap_or(false)
    }

    fn has_unchanged_root(&self, key: ProcessKey) -> io::Result<bool> {
        let root = self.reader.read_changed_root(&self.reader.open(key)?)?;
        Ok(root.is_empty())
    }

    /// Returns the host's view, which is read once.
    fn host(&self) -> Option<MountView> {
        *self.host.get_or_init(|| self.reader.read_view_of_init())
    }

    /// Adds a process of a container, if it is the oldest of its view.
    fn add(&mut self, key: ProcessKey, membership: Membership, view: Option<MountView>) {
        if view.is_some_and(|view| self.is_creating(key, view)) {
            return;
        }
        let process = ContainerProcess {
            key,
            membership,
            is_kept: self.reader.was_kept(key),
        };
        let views = self.found.entry(chain_of(&process.membership)).or_default();
        let oldest = views.entry(view).or_insert_with(|| process.clone());
        if age(&process) < age(oldest) {
            *oldest = process;
        }
    }

    /// Returns the view of a process without a container's control group: the one of the last look if it is not its turn.
    fn view_of_child(&mut self, key: ProcessKey) -> Option<MountView> {
        if let Some((_, Some(known))) = self.now.get(&key) {
            return Some(*known);
        }
        let view = self.seen(key, self.reader.read_mount_view(key));
        if let Some((_, known)) = self.now.get_mut(&key) {
            *known = view;
        }
        view
    }

    /// Leaves out the views that are parts of another one: a process in the root of a mount namespace sees all mounts in
    /// it.
    fn leave_out_parts(&self, views: &mut Vec<(Option<MountView>, ContainerProcess)>) {
        let namespace = |view: &Option<MountView>| view.map(|view| view.namespace);
        let mut sharing: BTreeMap<Option<u64>, usize> = BTreeMap::new();
        for (view, _) in &*views {
            *sharing.entry(namespace(view)).or_default() += 1;
        }
        let mut asked: BTreeMap<Option<u64>, usize> = BTreeMap::new();
        let mut whole: BTreeMap<Option<u64>, ProcessKey> = BTreeMap::new();
        for (view, process) in &*views {
            let namespace = namespace(view);
            let asked = asked.entry(namespace).or_default();
            let is_needed = sharing[&namespace] > 1 && *asked < WHOLE_ASKED && !whole.contains_key(&namespace);
            *asked += usize::from(is_needed);
            if is_needed && self.sees_all(process.key).unwrap_or(false) {
                whole.insert(namespace, process.key);
            }
        }
        views.retain(|(view, process)| whole.get(&namespace(view)).is_none_or(|key| *key == process.key));
    }

    /// True if the process is in the root of its mount namespace. A root that was unmounted has the same path, and its
    /// process sees no mounts.
    fn sees_all(&self, key: ProcessKey) -> io::Result<bool> {
        let process = self.reader.open(key)?;
        let is_unchanged = self.reader.read_changed_root(&process)?.is_empty();
        Ok(is_unchanged && MountTable::read(process.open_mountinfo()?)?.has_point(b""))
    }

    fn finish(mut self) -> Sighting<Vec<ContainerProcess>> {
        let mut processes = Vec::with_capacity(self.found.len());
        for views in std::mem::take(&mut self.found).into_values() {
            let mut views: Vec<_> = views.into_iter().collect();
            views.sort_by_key(|(_, process)| age(process));
            if views.len() > 1 {
                leave_out_others(&mut views, self.host());
                self.leave_out_parts(&mut views);
            }
            processes.extend(views.into_iter().map(|(_, process)| process));
        }
        Sighting::partial(processes, self.gaps)
    }
}

/// Leaves out processes that show no mount of their container: those without a view, and those that joined the host's
/// mounts later (`nsenter`). `views` are by age, and the first process of a container may be in the host's mounts.
fn leave_out_others(views: &mut Vec<(Option<MountView>, ContainerProcess)>, host: Option<MountView>) {
    views.retain(|(view, _)| view.is_some());
    let oldest = views.first().map(|(_, process)| process.key);
    let namespace = |view: &Option<MountView>| view.map(|view| view.namespace);
    let is_of_host = |view: &Option<MountView>| view.is_some() && namespace(view) == namespace(&host);
    views.retain(|(view, process)| Some(process.key) == oldest || !is_of_host(view));
}

fn age(process: &ContainerProcess) -> impl Ord + use<> {
    (process.key.start, process.key.pid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::engine::EngineKind;
    use crate::model::identity::Pid;
    use crate::sources::recorded::RecordedHost;

    fn id(n: u8) -> ContainerId {
        ContainerId(format!("{n:02x}").repeat(32))
    }

    #[test]
    fn the_oldest_process_represents_its_container() {
        let host = RecordedHost::new();
        let group = format!("/kubepods/pod0a1b2c3d-1111-4222-8333-444455556666/{}", id(1));
        let exec = host.process(10, 1, "sh");
        exec.cgroup(&group)
            .file("stat", "10 (sh) S 1 1 1 0 -1 0 1 0 0 0 0 0 0 0 20 0 1 0 900 1 1\n");
        host.process(30, 1, "app").cgroup(&group); // it started at 300
        host.process(40, 1, "worker").cgroup(&format!("{group}/nested"));
        host.process(50, 1, "inner")
            .cgroup(&format!("{group}/docker/{}", id(2)));
        host.process(60, 1, "sshd").cgroup("/system.slice/ssh.service");
        host.process(70, 1, "conmon").cgroup("/system.slice/web.service");
        host.process(71, 70, "web").cgroup("/system.slice/web.service");
        let podman = SupervisedContainer {
            id: id(3),
            engine: EngineKind::Podman,
            supervisor: Pid(70),
            inside: None,
            has_child: false,
            name: None,
            image: None,
            mounts: Vec::new(),
            user: None,
        };
        let mut reader = host.reader();
        let table = reader.read_table();
        let table = table.reading.known().expect("processes are recorded");
        let found = find_container_processes(&reader, table, &[podman], &mut MembershipMemory::default());
        let found = found.reading.known().expect("they are readable").iter();
        let found: Vec<_> = found
            .map(|p| (p.membership.containers.last().map(|c| c.id.clone()), p.key.pid))
            .collect();
        let expected = [(1, 30), (2, 50), (3, 71)].map(|(n, pid)| (Some(id(n)), Pid(pid)));
        assert_eq!(found, expected);
    }
}
