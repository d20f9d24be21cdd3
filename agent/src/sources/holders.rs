//! Who holds a connection to a watched listener now: every connection, in every network namespace, and every process
//! that has a descriptor of its client's end.
//!
//! Never opens, connects to or writes to any of the sockets. Never says "nobody": a connection whose holder is not found
//! stays in the answer without one, with a gap that says why; it is left out only where it is seen to be closed.
//!
//! - [`watched`]: which rows of a socket table belong to a watched listener
//! - [`accepted`]: the connections, from the kernel's socket tables
//! - [`descriptors`]: which processes have a descriptor of a socket
//! - [`memory`]: what the last look found, asked again
//! - [`unplaced`]: connections of an engine that no table shows
//! - [`by_name`]: the connections of a namespace whose table cannot be asked, from `/proc/<pid>/net/unix`
//!
//! A process in another namespace than its connection (moved by setns(2), or handed the descriptor by `SCM_RIGHTS`) is
//! looked for at once only where nobody in the connection's own namespace holds it, else as [`memory`] says.

mod accepted;
mod by_name;
mod descriptors;
mod memory;
mod unplaced;
mod watched;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use self::accepted::{Open, find_closed, find_open};
use self::by_name::find_by_name;
use self::descriptors::{Descriptors, read_descriptors};
pub use self::memory::HolderMemory;
use self::memory::Recalled;
pub use self::unplaced::Unplaced;
use self::watched::Watched;
use crate::model::identity::{NetNs, ProcessKey, SocketInode};
use crate::model::process::Process;
use crate::model::reading::{Gap, Hides, Reason, Sighting};
use crate::model::snapshot::{ConnectionsSeen, HolderMethod};
use crate::model::socket::{Connection, ListeningSocket};
use crate::sources::processes::{ProcessEntry, ProcessReader, ProcessTable};
use crate::sources::sockets::connected::Connected;
use crate::sources::sockets::namespaces::{Namespaces, none_seen};
use crate::sources::sockets::tables::SocketTables;
use crate::sources::sockets::tcp::{TcpClient, TcpConnection};

/// Connections that are kept. A client that opens more is a client all the same.
const CONNECTIONS_KEPT: usize = 10_000;

/// Holders that are kept of all connections together: a connection may be inherited by thousands of processes.
const HOLDERS_KEPT: usize = 50_000;

/// The processes of the node, as one cycle sees them.
#[derive(Debug)]
pub struct ProcessView<'a> {
    /// The procfs under which they are.
    pub proc: &'a Path,
    /// Reads more of each.
    pub reader: &'a mut ProcessReader,
    /// All of them, by ascending pid.
    pub table: &'a ProcessTable,
    /// The network namespaces they are in.
    pub namespaces: &'a Namespaces,
    /// What the last cycle found.
    pub memory: &'a mut HolderMemory,
}

/// Whose connections are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Watch<'a> {
    /// The engines' listeners.
    pub listeners: &'a [ListeningSocket],
    /// Which of them are ordinary users' own: what is not seen of those hides no client of the node's engines.
    pub of_users: &'a BTreeSet<SocketInode>,
    /// The connections to those that speak TCP.
    pub tcp: &'a [TcpConnection],
}

impl<'a> Watch<'a> {
    /// Unix sockets, all of them the node's.
    pub const fn of(listeners: &'a [ListeningSocket]) -> Self {
        const NONE: &BTreeSet<SocketInode> = &BTreeSet::new();
        Self {
            listeners,
            of_users: NONE,
            tcp: &[],
        }
    }

    /// What a gap hides that concerns this listener.
    fn hides(&self, listener: SocketInode) -> Hides {
        if self.of_users.contains(&listener) {
            Hides::Detail
        } else {
            Hides::Client
        }
    }

    /// Clients that wait and that the kernel did not list.
    fn unlisted_gaps(&self) -> Vec<Gap> {
        let mut gaps = Vec::new();
        for listener in self.listeners.iter().filter(|listener| listener.unlisted > 0) {
            let asked = format_args!("who waits for {} in net:[{}]", listener.name, listener.netns.0);
            let answer = format_args!("{} wait, more than the kernel lists at once", listener.unlisted);
            let hides = self.hides(listener.inode);
            Gap::new(Reason::LimitReached, hides, asked, answer).fold_into(&mut gaps);
        }
        gaps
    }
}

/// Finds the connections that `watch` names and who holds them, among the sockets of `connected` where a sweep has them
/// already. Nothing is looked at where there are no listeners.
pub fn find_connections(
    tables: &mut dyn SocketTables,
    processes: ProcessView<'_>,
    watch: Watch<'_>,
    connected: Option<Connected>,
) -> Sighting<ConnectionsSeen> {
    if watch.listeners.is_empty() {
        return nothing_to_watch(tables.method());
    }
    let ProcessView {
        proc,
        reader,
        table,
        namespaces,
        memory,
    } = processes;
    let watched = Watched::new(watch.listeners);
    let seen = find_open(tables, namespaces, &watched, watch, connected);
    let mut gaps = seen.gaps;
    gaps.extend(watch.unlisted_gaps());
    let mut search = HolderSearch {
        table,
        later: ProcessTable::default(),
        open: seen.open,
        descriptors: Descriptors::default(),
        deadline: tables.deadline(),
    };
    search.find_holders(reader, memory);
    if search.unheld().next().is_some() {
        let unheld: Vec<_> = search.unheld().copied().collect();
        let closed = find_closed(tables, namespaces, &watched, &unheld);
        search.open.retain(|open| !closed.contains(&open.client));
        search.find_late_holders(reader);
    }
    memory.keep(table, &search.descriptors);
    gaps.extend(search.unheld_gaps());
    let mut connections = search.into_connections(reader, memory, &watched, &mut gaps);
    connections.extend(elsewhere(&watched, watch.tcp));

    let by_name = find_by_name(proc, reader, table, namespaces, &seen.unseen, watch.listeners);
    let looked = seen.looked + by_name.looked;
    connections.extend(by_name.connections);
    gaps.extend(by_name.gaps);
    gaps.extend(namespaces.details().iter().cloned());
    if looked == 0 {
        return none_seen(gaps, Hides::Client);
    }
    let method = match tables.method() {
        HolderMethod::SockDiag if seen.looked == 0 => HolderMethod::ProcNetUnix,
        method => method,
    };
    let seen = ConnectionsSeen {
        method,
        connections,
        namespaces: u32::try_from(looked).unwrap_or(u32::MAX),
    };
    Sighting::partial(seen, gaps)
}

fn nothing_to_watch(method: HolderMethod) -> Sighting<ConnectionsSeen> {
    Sighting::full(ConnectionsSeen {
        method,
        connections: Vec::new(),
        namespaces: 0,
    })
}

/// The TCP connections whose clients are not on this node, or are no longer.
fn elsewhere(watched: &Watched<'_>, tcp: &[TcpConnection]) -> Vec<Connection> {
    let connection = |connection: &TcpConnection| {
        let remote = match connection.client {
            TcpClient::Here(..) => return None,
            TcpClient::Remote(address) => Some(address),
            TcpClient::Unseen => None,
        };
        Some(Connection {
            listener: watched.id(watched.find(connection.listener)?)?,
            client: SocketInode(0),
            netns: None,
            state: connection.state,
            holders: Vec::new(),
            remote,
        })
    };
    tcp.iter().filter_map(connection).collect()
}

/// The search for the holders of open connections.
struct HolderSearch<'a> {
    table: &'a ProcessTable,
    later: ProcessTable,
    open: Vec<Open>,
    descriptors: Descriptors,
    deadline: Option<Instant>,
}

impl HolderSearch<'_> {
    /// First those who held it last time. Where a connection has no holder then, the processes in the namespaces of the
    /// connections, then, where one has none yet, all others; else a share of them.
    fn find_holders(&mut self, reader: &ProcessReader, memory: &HolderMemory) {
        let all = self.wanted(|_| true);
        let Recalled { held, changed } = memory.recall(reader, self.table, &all);
        self.descriptors.absorb(held);
        if self.unheld().next().is_none() {
            return self.look_at(reader, &memory.choose(self.table, &changed), &all);
        }
        let hit: BTreeSet<NetNs> = self.open.iter().filter_map(|open| open.netns).collect();
        let is_near = |entry: &&ProcessEntry| entry.netns.is_some_and(|netns| hit.contains(&netns));
        let (near, far): (Vec<&ProcessEntry>, Vec<&ProcessEntry>) = self.table.entries.iter().partition(is_near);
        self.look_at(reader, &near, &all);
        self.look_at(
            reader,
            &far,
            &self.wanted(|open| !self.descriptors.is_held(open.client)),
        );
    }

    /// The sockets of some connections, sorted.
    fn wanted(&self, which: impl Fn(&Open) -> bool) -> Vec<SocketInode> {
        let mut wanted: Vec<SocketInode> = self
            .open
            .iter()
            .filter(|open| which(open))
            .map(|open| open.client)
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }

    /// Processes that are there now and were not when the table was read.
    fn find_late_holders(&mut self, reader: &mut ProcessReader) {
        if self.unheld().next().is_none() {
            return;
        }
        if let Some(now) = reader.read_table().reading.known() {
            let known: BTreeSet<ProcessKey> = self.table.entries.iter().map(|entry| entry.key).collect();
            let is_new = |entry: &&ProcessEntry| !known.contains(&entry.key);
            self.later.entries = now.entries.iter().filter(is_new).cloned().collect();
        }
        let later: Vec<ProcessEntry> = self.later.entries.clone();
        let unheld = self.wanted(|open| !self.descriptors.is_held(open.client));
        self.look_at(reader, &later.iter().collect::<Vec<_>>(), &unheld);
    }

    fn look_at(&mut self, reader: &ProcessReader, entries: &[&ProcessEntry], wanted: &[SocketInode]) {
        if !wanted.is_empty() && !entries.is_empty() {
            let keys: Vec<ProcessKey> = entries.iter().map(|entry| entry.key).collect();
            self.descriptors
                .absorb(read_descriptors(reader, &keys, wanted, self.deadline));
        }
    }

    /// Connections of which no holder is known.
    fn unheld(&self) -> impl Iterator<Item = &Open> {
        self.open.iter().filter(|open| !self.descriptors.is_held(open.client))
    }

    /// Why they have none.
    fn unheld_gaps(&self) -> Vec<Gap> {
        let mut gaps = Vec::new();
        for open in self.unheld() {
            if self.descriptors.refused.is_empty() {
                // In flight in an SCM_RIGHTS message, registered with io_uring, of a thread that has its descriptors to
                // itself or outlived its process's first, or in a process that is not visible here.
                let asked = format_args!("holder of socket:[{}]", open.client.0);
                let answer = "no process that can be seen has a descriptor of it";
                Gap::new(Reason::NotFound, Hides::Identity, asked, answer).fold_into(&mut gaps);
            } else {
                gaps.clone_from(&self.descriptors.refused);
                break;
            }
        }
        gaps
    }

    fn into_connections(
        self,
        reader: &ProcessReader,
        memory: &mut HolderMemory,
        watched: &Watched<'_>,
        gaps: &mut Vec<Gap>,
    ) -> Vec<Connection> {
        let tables = [&self.table.entries, &self.later.entries];
        let entry_of = |key: ProcessKey| tables.iter().find_map(|entries| find_entry(entries, key));
        let holders = |open: &Open| self.descriptors.holders(open.client);
        let mut keys: BTreeSet<ProcessKey> = BTreeSet::new();
        // One of each connection before a second of any: nobody's children leave another's connection without a name.
        let firsts = self.open.iter().filter_map(|open| holders(open).next());
        for key in firsts.chain(self.open.iter().flat_map(holders)) {
            if keys.len() == HOLDERS_KEPT {
                break;
            }
            keys.insert(key);
        }
        let described = memory.describe(reader, keys.into_iter().filter_map(entry_of));
        let mut kept = 0;
        let mut connections = Vec::new();
        for open in &self.open {
            let keys = self.descriptors.holders(open.client);
            let room = HOLDERS_KEPT.saturating_sub(kept).max(1);
            if keys.len() > room {
                let asked = format_args!("holders of socket:[{}]", open.client.0);
                let answer = format_args!("{} processes hold it, {room} are kept", keys.len());
                Gap::new(Reason::LimitReached, Hides::Identity, asked, answer).fold_into(gaps);
            }
            let is_held = keys.len() > 0;
            let holders: Vec<Process> = keys.take(room).filter_map(|key| described.get(&key).cloned()).collect();
            kept += holders.len();
            // All who held it ended meanwhile, and it with them.
            if holders.is_empty() && is_held {
                continue;
            }
            connections.extend(watched.id(open.listener).map(|listener| Connection {
                listener,
                client: open.client,
                netns: open.netns,
                state: open.state,
                holders,
                remote: None,
            }));
        }
        connections
    }
}

fn find_entry(entries: &[ProcessEntry], key: ProcessKey) -> Option<&ProcessEntry> {
    let at = entries.binary_search_by_key(&key.pid, |entry| entry.key.pid).ok()?;
    entries.get(at).filter(|entry| entry.key == key)
}
