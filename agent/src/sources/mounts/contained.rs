//! The first process of each container, which has the mounts that the container was created with.
//!
//! A container is known by the control group of its processes, or, if it has none of its own (podman without control
//! groups), as a child of its supervisor. The oldest process counts: a later one may have mounts of its own, and an
//! ordinary user's process cannot be there before the container.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::model::container::SupervisedContainer;
use crate::model::identity::{ContainerId, ProcessKey};
use crate::model::reading::{Gap, Hides, Reason, Sighting};
use crate::model::workload::Membership;
use crate::sources::processes::{ProcessEntry, ProcessReader, ProcessTable};

/// The first process of a container.
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

/// The control groups of the processes of the last look.
#[derive(Debug, Default)]
pub struct MembershipMemory {
    of: BTreeMap<ProcessKey, Membership>,
}

/// Finds the first process of each container among the processes of `table`.
pub fn find_container_processes(
    reader: &ProcessReader,
    table: &ProcessTable,
    supervised: &[SupervisedContainer],
    memory: &mut MembershipMemory,
) -> Sighting<Vec<ContainerProcess>> {
    let mut gaps = Vec::new();
    let mut last = std::mem::take(&mut memory.of);
    let mut first: BTreeMap<Chain, ContainerProcess> = BTreeMap::new();
    for entry in &table.entries {
        let is_kept = reader.was_kept(entry.key);
        let known = last.remove(&entry.key).filter(|_| is_kept);
        let membership = match known.map_or_else(|| reader.read_membership(entry.key), Ok) {
            Ok(membership) => membership,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                let asked = format_args!("/proc/{}/cgroup", entry.key.pid);
                Gap::new(Reason::of(&error), Hides::Exposure, asked, &error).fold_into(&mut gaps);
                continue;
            }
        };
        memory.of.insert(entry.key, membership.clone());
        let process = ContainerProcess {
            key: entry.key,
            membership,
            is_kept,
        };
        let chain = chain_of(&process.membership);
        if !chain.is_empty() {
            keep_older(&mut first, chain, process);
        }
    }
    add_children(reader, table, supervised, &mut first);
    Sighting::partial(first.into_values().collect(), gaps)
}

/// Adds the containers whose processes have no control group of their own.
fn add_children(
    reader: &ProcessReader,
    table: &ProcessTable,
    supervised: &[SupervisedContainer],
    first: &mut BTreeMap<Chain, ContainerProcess>,
) {
    let has_group = |s: &SupervisedContainer| first.keys().flatten().any(|(id, _)| *id == s.id);
    let missing: Vec<&SupervisedContainer> = supervised.iter().filter(|s| !has_group(s)).collect();
    if missing.is_empty() {
        return;
    }
    let supervisors: BTreeSet<_> = missing.iter().map(|s| s.supervisor).collect();
    let is_child = |entry: &&ProcessEntry| supervisors.contains(&entry.parent);
    let children: Vec<&ProcessEntry> = table.entries.iter().filter(is_child).collect();
    for container in missing {
        for entry in children.iter().filter(|entry| entry.parent == container.supervisor) {
            let membership = Membership::of_container(container.id.clone(), container.user);
            let chain = chain_of(&membership);
            let process = ContainerProcess {
                key: entry.key,
                membership,
                is_kept: reader.was_kept(entry.key),
            };
            keep_older(first, chain, process);
        }
    }
}

fn keep_older(first: &mut BTreeMap<Chain, ContainerProcess>, chain: Chain, process: ContainerProcess) {
    let age = |process: &ContainerProcess| (process.key.start, process.key.pid);
    let oldest = first.entry(chain).or_insert_with(|| process.clone());
    if age(&process) < age(oldest) {
        *oldest = process;
    }
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
