//! The current connections to watched listeners, in every network namespace, and every process that has a descriptor of
//! the client's end.
//!
//! Never opens, connects to or writes to any of the sockets. A connection whose holder is not found is reported without
//! a holder, with a gap that gives the reason. It is left out only if it is seen to be closed.
//!
//! - [`watched`]: the rows of a socket table that belong to a watched listener
//! - [`accepted`]: the connections, from the kernel's socket tables
//! - [`descriptors`]: the processes that have a descriptor of a socket
//! - [`iterator`]: the same, by one pass of the kernel, if the kernel allows it
//! - [`memory`]: the holders of the last look, checked again
//! - [`unplaced`]: connections of an engine that no table shows
//! - [`by_name`]: the connections of a namespace whose table cannot be read, from `/proc/<pid>/net/unix`
//!
//! Without the iterator, a process in another namespace than its connection (it moved by setns(2), or received the
//! descriptor by `SCM_RIGHTS`) is searched for immediately only if no process in the connection's own namespace holds
//! it, and otherwise as [`memory`] describes.

mod accepted;
mod by_name;
mod descriptors;
mod iterator;
mod memory;
mod unplaced;
mod watched;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use self::accepted::{Open, find_closed, find_open};
use self::by_name::find_by_name;
use self::descriptors::{Descriptors, read_descriptors};
use self::iterator::Holder;
pub use self::iterator::HolderIterator;
pub use self::memory::HolderMemory;
use self::memory::Recalled;
pub use self::unplaced::Unplaced;
use self::watched::Watched;
use crate::model::identity::{FileIdentity, NetNs, Pid, ProcessKey, SocketInode};
use crate::model::process::Process;
use crate::model::reading::{Gap, Hides, Reason, Sighting};
use crate::model::snapshot::{ConnectionsSeen, HolderMethod};
use crate::model::socket::{Connection, ConnectionState, ListeningSocket};
use crate::sources::processes::{ProcessEntry, ProcessReader, ProcessTable};
use crate::sources::sockets::connected::Connected;
use crate::sources::sockets::namespaces::{Namespaces, none_seen};
use crate::sources::sockets::tables::SocketTables;
use crate::sources::sockets::tcp::{TcpClient, TcpConnection};

/// The most connections that are kept. Any one of them is enough to report its client.
const CONNECTIONS_KEPT: usize = 10_000;

/// The most holders that are kept, over all connections: a connection may be inherited by thousands of processes.
const HOLDERS_KEPT: usize = 50_000;

/// The processes of the node, as one cycle sees them.
#[derive(Debug)]
pub struct ProcessView<'a> {
    /// The procfs that they are read from.
    pub proc: &'a Path,
    /// Reads more about each of them.
    pub reader: &'a mut ProcessReader,
    /// All of them, by ascending pid.
    pub table: &'a ProcessTable,
    /// The network namespaces they are in.
    pub namespaces: &'a Namespaces,
    /// The holders that the last look found.
    pub memory: &'a mut HolderMemory,
    /// The kernel's iterator over all descriptors.
    pub iterator: &'a mut HolderIterator,
}

/// The listeners whose connections are searched for.
#[derive(Clone, Copy, Debug)]
pub struct Watch<'a> {
    /// The engines' listeners.
    pub listeners: &'a [ListeningSocket],
    /// The listeners that are ordinary users' own: a gap there hides no client of the node's engines.
    pub of_users: &'a BTreeSet<SocketInode>,
    /// The connections to the TCP listeners.
    pub tcp: &'a [TcpConnection],
}

impl<'a> Watch<'a> {
    /// Creates a watch of Unix sockets, all of which are the node's.
    pub const fn of(listeners: &'a [ListeningSocket]) -> Self {
        const NONE: &BTreeSet<SocketInode> = &BTreeSet::new();
        Self {
            listeners,
            of_users: NONE,
            tcp: &[],
        }
    }

    /// Returns the effect of a gap that concerns this listener.
    fn hides(&self, listener: SocketInode) -> Hides {
        if self.of_users.contains(&listener) {
            Hides::Detail
        } else {
            Hides::Client
        }
    }

    /// Returns the files that the listeners are bound to, with those of the node's engines first.
    fn files(&self) -> Vec<FileIdentity> {
        let is_of_node = |listener: &&ListeningSocket| !self.of_users.contains(&listener.inode);
        let (of_node, of_users): (Vec<_>, Vec<_>) = self.listeners.iter().partition(is_of_node);
        of_node
            .into_iter()
            .chain(of_users)
            .filter_map(|listener| listener.file)
            .collect()
    }

    /// Returns the gaps for waiting clients that the kernel did not list.
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

/// Finds the connections that `watch` names and their holders. Sockets in `connected` were found by a sweep already and
/// are used as they are. Without listeners nothing is searched.
pub fn find_connections(
    tables: &mut dyn SocketTables,
    processes: ProcessView<'_>,
    watch: Watch<'_>,
    connected: Option<&Connected>,
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
        iterator,
    } = processes;
    let (watched, files) = (Watched::new(watch.listeners), watch.files());
    let seen = find_open(tables, namespaces, &watched, watch, connected);
    let mut gaps = seen.gaps;
    gaps.extend(watch.unlisted_gaps());
    let mut search = HolderSearch::new(table, seen.open, tables.deadline());
    let changed = search.recall(reader, memory);
    let shows_all = seen.unseen.is_empty();
    let is_due = !shows_all || search.has_unheld() || memory.wants_pass();
    let is_passed = is_due && search.ask(iterator, &watched, &files, shows_all);
    if !is_passed {
        search.find_holders(reader, memory, &changed, iterator.is_running());
    }
    if search.has_unheld() {
        search.leave_out_closed(tables, namespaces, &watched);
        if search.has_unheld() && !(is_passed && search.ask(iterator, &watched, &files, true)) {
            search.find_late_holders(reader);
        }
    }
    search.find_late_processes(reader);
    memory.keep(table, &search.descriptors, search.connectors());
    gaps.extend(search.unheld_gaps());
    let named = std::mem::take(&mut search.by_iterator.named);
    let mut connections = search.into_connections(reader, memory, &watched, &mut gaps);
    connections.extend(elsewhere(&watched, watch.tcp));

    let by_name = find_by_name(proc, reader, table, namespaces, &seen.unseen, watch.listeners, &named);
    let looked = seen.looked + by_name.looked;
    connections.extend(by_name.connections);
    gaps.extend(by_name.gaps);
    gaps.extend(namespaces.details().iter().cloned());
    if looked == 0 {
        return none_seen(gaps, Hides::Client);
    }
    let by_table = seen.looked > 0 || !named.is_empty();
    let seen = ConnectionsSeen {
        method: method(tables.method(), by_table, iterator),
        iterator_refused: iterator.refusal().map(str::to_owned),
        connections,
        namespaces: u32::try_from(looked).unwrap_or(u32::MAX),
    };
    Sighting::partial(seen, gaps)
}

/// Returns the method by which the connections were found; `by_table` is false if only the table as text showed any.
const fn method(of_tables: HolderMethod, by_table: bool, iterator: &HolderIterator) -> HolderMethod {
    match of_tables {
        HolderMethod::SockDiag if !by_table => HolderMethod::ProcNetUnix,
        HolderMethod::SockDiag if iterator.is_running() => HolderMethod::Iterator,
        method => method,
    }
}

fn nothing_to_watch(method: HolderMethod) -> Sighting<ConnectionsSeen> {
    Sighting::full(ConnectionsSeen {
        method,
        iterator_refused: None,
        connections: Vec::new(),
        namespaces: 0,
    })
}

/// Returns the TCP connections whose clients are not on this node, or no longer.
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
            connector: None,
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
    by_iterator: ByIterator,
    deadline: Option<Instant>,
}

/// The facts that the kernel's iterator gives besides the holders.
#[derive(Debug, Default)]
struct ByIterator {
    /// The process that made each connection.
    connectors: BTreeMap<SocketInode, Pid>,
    /// The number of connections that it found to each listener, in namespaces whose tables were not read.
    named: BTreeMap<(NetNs, SocketInode), usize>,
}

impl<'a> HolderSearch<'a> {
    fn new(table: &'a ProcessTable, open: Vec<Open>, deadline: Option<Instant>) -> Self {
        Self {
            table,
            later: ProcessTable::default(),
            open,
            descriptors: Descriptors::default(),
            by_iterator: ByIterator::default(),
            deadline,
        }
    }

    /// Runs the kernel's iterator for the holders of all connections, and for connections that no table showed. It is
    /// not run if the tables are complete and have no connections. Returns false if it could not run: then the walk
    /// over `/proc` is needed.
    fn ask(
        &mut self,
        iterator: &mut HolderIterator,
        watched: &Watched<'_>,
        files: &[FileIdentity],
        is_whole: bool,
    ) -> bool {
        let wanted = self.wanted(|_| true);
        if wanted.is_empty() && is_whole {
            return true;
        }
        let mut found: BTreeMap<SocketInode, Open> = BTreeMap::new();
        let mut each = |holder: Holder| {
            if wanted.binary_search(&holder.socket).is_err() {
                let Some(listener) = holder.listener.and_then(|file| watched.find_file(file)) else {
                    return;
                };
                found.entry(holder.socket).or_insert_with(|| Open {
                    client: holder.socket,
                    listener,
                    state: match watched.waits_for(holder.socket) {
                        Some(_) => ConnectionState::Pending,
                        None => ConnectionState::Accepted,
                    },
                    netns: holder.netns,
                });
            }
            self.descriptors.add(holder.socket, holder.process, holder.descriptor);
            if let Some(connector) = holder.connector {
                self.by_iterator.connectors.insert(holder.socket, connector);
            }
        };
        let is_done = iterator.pass(&wanted, files, self.deadline, &mut each);
        for open in found
            .into_values()
            .take(CONNECTIONS_KEPT.saturating_sub(self.open.len()))
        {
            if let (Some(netns), Some(listener)) = (open.netns, watched.listener(open.listener)) {
                *self.by_iterator.named.entry((netns, listener.inode)).or_default() += 1;
            }
            self.open.push(open);
        }
        is_done
    }

    /// Removes the connections without a holder that are closed by now.
    fn leave_out_closed(&mut self, tables: &mut dyn SocketTables, namespaces: &Namespaces, watched: &Watched<'_>) {
        let unheld: Vec<_> = self.unheld().copied().collect();
        let closed = find_closed(tables, namespaces, watched, &unheld);
        self.open.retain(|open| !closed.contains(&open.client));
    }

    /// Checks the holders of the last look. Returns the processes that hold less than then.
    fn recall(&mut self, reader: &ProcessReader, memory: &HolderMemory) -> Vec<ProcessKey> {
        let Recalled {
            held,
            changed,
            connectors,
        } = memory.recall(reader, self.table, &self.wanted(|_| true));
        self.descriptors.absorb(held);
        self.by_iterator.connectors = connectors;
        changed
    }

    /// Walks descriptors. If a connection has no holder yet, walks the processes in the namespaces of the connections,
    /// and, if one still has none, all others. Otherwise walks the processes that are new or have changed, and a share
    /// of all processes if there is no iterator.
    fn find_holders(
        &mut self,
        reader: &ProcessReader,
        memory: &HolderMemory,
        changed: &[ProcessKey],
        has_iterator: bool,
    ) {
        let all = self.wanted(|_| true);
        if !self.has_unheld() {
            return self.look_at(reader, &memory.choose(self.table, changed, !has_iterator), &all);
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

    /// Returns the sockets of selected connections, sorted.
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

    /// Searches the processes that have started since the table was read.
    fn find_late_holders(&mut self, reader: &mut ProcessReader) {
        if !self.has_unheld() {
            return;
        }
        self.read_later(reader);
        let later: Vec<ProcessEntry> = self.later.entries.clone();
        let unheld = self.wanted(|open| !self.descriptors.is_held(open.client));
        self.look_at(reader, &later.iter().collect::<Vec<_>>(), &unheld);
    }

    /// Reads the process table again if the iterator saw a holder that the table does not have.
    fn find_late_processes(&mut self, reader: &mut ProcessReader) {
        let tables = [&self.table.entries, &self.later.entries];
        let is_known = |key: ProcessKey| tables.iter().any(|entries| find_entry(entries, key).is_some());
        if self.descriptors.links().any(|(process, ..)| !is_known(process)) {
            self.read_later(reader);
        }
    }

    fn read_later(&mut self, reader: &mut ProcessReader) {
        if let Some(now) = reader.read_table().reading.known() {
            let known: BTreeSet<ProcessKey> = self.table.entries.iter().map(|entry| entry.key).collect();
            let is_new = |entry: &&ProcessEntry| !known.contains(&entry.key);
            self.later.entries = now.entries.iter().filter(is_new).cloned().collect();
        }
    }

    /// Returns the process that made a connection and does not hold it, from the table.
    fn connector(&self, socket: SocketInode) -> Option<&ProcessEntry> {
        let pid = *self.by_iterator.connectors.get(&socket)?;
        if self.descriptors.holders(socket).any(|holder| holder.pid == pid) {
            return None;
        }
        self.table.get(pid).or_else(|| self.later.get(pid))
    }

    /// Returns every process that made a connection which another one holds, by connection.
    fn connectors(&self) -> BTreeMap<SocketInode, ProcessKey> {
        let sockets = self.by_iterator.connectors.keys();
        sockets
            .filter_map(|socket| Some((*socket, self.connector(*socket)?.key)))
            .collect()
    }

    fn look_at(&mut self, reader: &ProcessReader, entries: &[&ProcessEntry], wanted: &[SocketInode]) {
        if !wanted.is_empty() && !entries.is_empty() {
            let keys: Vec<ProcessKey> = entries.iter().map(|entry| entry.key).collect();
            self.descriptors
                .absorb(read_descriptors(reader, &keys, wanted, self.deadline));
        }
    }

    /// Returns the connections without a known holder.
    fn unheld(&self) -> impl Iterator<Item = &Open> {
        self.open.iter().filter(|open| !self.descriptors.is_held(open.client))
    }

    fn has_unheld(&self) -> bool {
        self.unheld().next().is_some()
    }

    /// Returns the gaps for those.
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
        // One holder of each connection comes first, so that a client with many processes cannot displace the others.
        let firsts = self.open.iter().filter_map(|open| holders(open).next());
        for key in firsts.chain(self.open.iter().flat_map(holders)) {
            if keys.len() == HOLDERS_KEPT {
                break;
            }
            keys.insert(key);
        }
        let connectors = self.open.iter().filter_map(|open| self.connector(open.client));
        let entries: BTreeMap<ProcessKey, &ProcessEntry> = keys
            .into_iter()
            .filter_map(entry_of)
            .chain(connectors.take(HOLDERS_KEPT))
            .map(|entry| (entry.key, entry))
            .collect();
        let described = memory.describe(reader, entries.into_values());
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
            // All its holders have ended meanwhile, and the connection with them.
            if holders.is_empty() && is_held {
                continue;
            }
            connections.extend(watched.id(open.listener).map(|listener| {
                Connection {
                    listener,
                    client: open.client,
                    netns: open.netns,
                    state: open.state,
                    holders,
                    connector: self
                        .connector(open.client)
                        .and_then(|entry| described.get(&entry.key).cloned()),
                    remote: None,
                }
            }));
        }
        connections
    }
}

fn find_entry(entries: &[ProcessEntry], key: ProcessKey) -> Option<&ProcessEntry> {
    let at = entries.binary_search_by_key(&key.pid, |entry| entry.key.pid).ok()?;
    entries.get(at).filter(|entry| entry.key == key)
}
