//! The holders of each connection in the last look, so that a look in which nothing has changed walks almost no
//! descriptors.
//!
//! A remembered holder is never taken as true: each descriptor is read again. This detects a process that has ended, a
//! pid that is reused, and a descriptor that is closed or is another socket. A further holder of a connection whose
//! holder is already known is found in the next look if it is a new process (fork(2)). If it is an old one
//! (`SCM_RIGHTS`, `pidfd_getfd(2)`), it is found within 4 looks (`PASSES`) by the kernel's iterator, or within 20 looks
//! (`ROUNDS` of the process table) without the iterator, because each look walks its share of all processes. A
//! connection without a known holder is searched for among all processes in the same look.

use std::collections::BTreeMap;

use super::descriptors::Descriptors;
use crate::model::identity::{Pid, ProcessKey, SocketInode};
use crate::model::process::Process;
use crate::sources::processes::{ProcessEntry, ProcessReader, ProcessTable, is_due};

/// The most links that are kept. If there are more, the next look starts from nothing.
const LINKS_KEPT: usize = 50_000;

/// One look in this many runs the kernel's iterator although every connection has a known holder.
const PASSES: u32 = 4;

/// The memory of one look for the next.
#[derive(Debug, Default)]
pub struct HolderMemory {
    round: u32,
    /// The descriptors of connections, by process.
    links: Vec<(ProcessKey, u32, SocketInode)>,
    /// The process that made a connection, if it does not hold it.
    connectors: BTreeMap<SocketInode, ProcessKey>,
    /// The processes that existed, by pid.
    seen: Vec<ProcessKey>,
    described: BTreeMap<ProcessKey, Process>,
}

/// The remembered holders that were confirmed.
#[derive(Debug, Default)]
pub(super) struct Recalled {
    /// The confirmed holders.
    pub(super) held: Descriptors,
    /// Processes that no longer have at least one remembered descriptor.
    pub(super) changed: Vec<ProcessKey>,
    /// The process that made a connection without holding it, if it still runs.
    pub(super) connectors: BTreeMap<SocketInode, Pid>,
}

impl HolderMemory {
    /// Checks what is remembered of the connections in `wanted`, which is sorted.
    pub(super) fn recall(&self, reader: &ProcessReader, table: &ProcessTable, wanted: &[SocketInode]) -> Recalled {
        let mut recalled = Recalled::default();
        let is_asked = |link: &&(ProcessKey, u32, SocketInode)| wanted.binary_search(&link.2).is_ok();
        for (process, descriptor, socket) in self.links.iter().filter(is_asked) {
            if !is_listed(table, *process) {
                continue;
            }
            // The inode of a live socket is unique, so the link alone proves it, even if the pid was reused.
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

    /// True if this look runs the kernel's iterator.
    pub(super) const fn wants_pass(&self) -> bool {
        self.round.is_multiple_of(PASSES)
    }

    /// Returns the processes to walk: those that are new or in `changed`, and, if a `share` of all is wanted, those
    /// whose turn it is.
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

    /// Remembers the holders that were found among the processes of `table`, and the makers of connections that others
    /// hold.
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

    /// Describes processes like [`ProcessReader::describe`]. A description is reused until the row of its process is
    /// read again or the process executes another program.
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
