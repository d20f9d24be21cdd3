//! Who held which connection in the last look, so that one in which nothing has changed walks next to nothing.
//!
//! What is remembered is asked again, each descriptor by its own link, and is never taken for true: a process that has
//! ended, a pid that is another's by now, a descriptor that is closed or is another socket are told. Who came to hold a
//! connection that is already known to be held is found: in the next look where it is a new process (fork(2)). Where it is an
//! old one (`SCM_RIGHTS`, `pidfd_getfd(2)`), it is found within 4 looks (`PASSES`) by the kernel's iterator, or within
//! 20 looks (`ROUNDS` of the process table) without one, because each look walks its share of all processes. A connection
//! that nobody is known to hold is searched for among all processes at once.

use std::collections::BTreeMap;

use super::descriptors::Descriptors;
use crate::model::identity::{Pid, ProcessKey, SocketInode};
use crate::model::process::Process;
use crate::sources::processes::{ProcessEntry, ProcessReader, ProcessTable, is_due};

/// Links that are kept. Where there are more, the next look is as the first.
const LINKS_KEPT: usize = 50_000;

/// One look in so many asks the kernel's iterator although every connection has a known holder.
const PASSES: u32 = 4;

/// What one look remembers for the next.
#[derive(Debug, Default)]
pub struct HolderMemory {
    round: u32,
    /// Which descriptor of which process was which connection's, by process.
    links: Vec<(ProcessKey, u32, SocketInode)>,
    /// The process that made a connection, where it does not hold it.
    connectors: BTreeMap<SocketInode, ProcessKey>,
    /// The processes there were, by pid.
    seen: Vec<ProcessKey>,
    described: BTreeMap<ProcessKey, Process>,
}

/// What still is as it was remembered.
#[derive(Debug, Default)]
pub(super) struct Recalled {
    /// Who holds what, still.
    pub(super) held: Descriptors,
    /// Processes that do not hold all of it any more, by that descriptor at least.
    pub(super) changed: Vec<ProcessKey>,
    /// Who made a connection without holding it, and is still there.
    pub(super) connectors: BTreeMap<SocketInode, Pid>,
}

impl HolderMemory {
    /// Asks again after what is remembered of the connections in `wanted`, which is sorted.
    pub(super) fn recall(&self, reader: &ProcessReader, table: &ProcessTable, wanted: &[SocketInode]) -> Recalled {
        let mut recalled = Recalled::default();
        let is_asked = |link: &&(ProcessKey, u32, SocketInode)| wanted.binary_search(&link.2).is_ok();
        for (process, descriptor, socket) in self.links.iter().filter(is_asked) {
            if !is_listed(table, *process) {
                continue;
            }
            // No inode of a socket comes twice in its life, so the link alone proves it, whoever has the pid.
            if reader.read_socket_at(process.pid, *descriptor) == Some(*socket) {
                recalled.held.add(*socket, *process, *descriptor);
            } else {
                recalled.changed.push(*process);
            }
        }
        let connectors = self.connectors.iter();
        recalled.connectors = connectors
            .filter(|(socket, process)| wanted.binary_search(socket).is_ok() && is_listed(table, **process))
            .map(|(socket, process)| (*socket, process.pid))
            .collect();
        recalled
    }

    /// True where it is the turn of the kernel's iterator.
    pub(super) const fn wants_pass(&self) -> bool {
        self.round.is_multiple_of(PASSES)
    }

    /// The processes that are new, or that are in `changed`, and, where a `share` of all is wanted, those whose turn it is.
    pub(super) fn choose<'t>(
        &self,
        table: &'t ProcessTable,
        changed: &[ProcessKey],
        share: bool,
    ) -> Vec<&'t ProcessEntry> {
        let is_chosen = |entry: &&ProcessEntry| {
            share && is_due(entry.key.pid, self.round)
                || self.seen.binary_search(&entry.key).is_err()
                || changed.contains(&entry.key)
        };
        table.entries.iter().filter(is_chosen).collect()
    }

    /// Remembers what was found among the processes of `table`, and the processes that made the connections that others hold.
    pub(super) fn keep(
        &mut self,
        table: &ProcessTable,
        found: &Descriptors,
        connectors: BTreeMap<SocketInode, ProcessKey>,
    ) {
        self.round = self.round.wrapping_add(1);
        self.seen.clear();
        self.seen.extend(table.entries.iter().map(|entry| entry.key));
        self.links.clear();
        self.links.extend(found.links());
        if self.links.len() > LINKS_KEPT {
            self.links = Vec::new();
        }
        self.links.sort_unstable();
        self.connectors = connectors;
    }

    /// Describes processes as [`ProcessReader::describe`] does. What is remembered of one holds until its row is read anew,
    /// or it executes another program.
    pub(super) fn describe<'e>(
        &mut self,
        reader: &ProcessReader,
        entries: impl Iterator<Item = &'e ProcessEntry>,
    ) -> &BTreeMap<ProcessKey, Process> {
        let mut last = std::mem::take(&mut self.described);
        for entry in entries {
            let remembered = last.remove(&entry.key);
            let holds = |process: &Process| reader.was_kept(entry.key) && reader.still_executes(process);
            let process = remembered.filter(holds).or_else(|| reader.describe(entry));
            self.described.extend(process.map(|process| (entry.key, process)));
        }
        &self.described
    }
}

fn is_listed(table: &ProcessTable, key: ProcessKey) -> bool {
    table.get(key.pid).is_some_and(|entry| entry.key == key)
}
