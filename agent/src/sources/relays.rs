//! Clients of an engine that accept connections themselves: the processes that execute one program, their connections
//! to an engine, and the sockets that they accept on.

mod ends;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::model::connect::Connects;
use crate::model::identity::{ProcessKey, SocketInode};
use crate::model::process::{Owner, Process};
use crate::model::reading::{Gap, Hides, Reason};
use crate::model::relay::{RelayBasis, RelayListener, RelaySighting, Steps, basis_of_name};
use crate::model::socket::{Connection, ListenerId, ListeningSocket};
use crate::sources::processes::{ProcessEntry, ProcessReader, ProcessTable};
use crate::sources::sockets::protocol::ProtocolMemory;
pub use ends::Ends;

/// The most relays that are kept. If there are more, those of root come first, and the others share the rest: an owner
/// with many keeps out no other's. Of one owner, those that are proven come first.
const RELAYS_KEPT: usize = 256;

/// The most ancestors with the same program that are followed.
const ANCESTORS: usize = 8;

/// The clients of engines, by the first process of each.
#[derive(Debug, Default)]
pub struct Candidates {
    /// The facts about each client.
    pub relays: BTreeMap<ProcessKey, RelaySighting>,
    /// The processes of each client whose sockets are read.
    members: BTreeMap<ProcessKey, BTreeSet<ProcessKey>>,
    /// The sockets of each process.
    held: BTreeMap<ProcessKey, BTreeSet<SocketInode>>,
    /// Those that may be TCP sockets.
    tcp: BTreeSet<SocketInode>,
    /// The clients for which there is no room.
    left_out: BTreeSet<ProcessKey>,
}

impl Candidates {
    /// Adds the relays of the last look that still run. They stay relays while they have no client.
    pub fn recall(&mut self, reader: &ProcessReader, table: &ProcessTable, before: Vec<RelaySighting>) {
        for mut relay in before {
            let entry = table
                .get(relay.process.key.pid)
                .filter(|entry| entry.key == relay.process.key);
            let Some(process) = entry.and_then(|entry| reader.describe(entry)) else {
                continue;
            };
            let key = process.key;
            (relay.process, relay.connections) = (process, Vec::new());
            relay.outgoing.clear();
            self.members.entry(key).or_default().insert(key);
            self.relays.insert(key, relay);
        }
    }

    /// Adds the holders of `connections`, except those that `is_expected` excludes.
    pub fn add(
        &mut self,
        reader: &ProcessReader,
        table: &ProcessTable,
        connections: &[Connection],
        is_expected: &dyn Fn(ProcessKey) -> bool,
    ) {
        for connection in connections {
            for holder in &connection.holders {
                let Some(entry) = table.get(holder.key.pid).filter(|entry| entry.key == holder.key) else {
                    continue;
                };
                if let Some(relay) = self.add_client(reader, table, entry, is_expected) {
                    relay.upstream.insert(connection.listener.clone());
                    relay.outgoing.insert(connection.client);
                }
            }
        }
    }

    /// Adds the programs that connected since the last look and still run. If a program serves each client with a
    /// separate process, that process may have ended.
    pub fn add_told(
        &mut self,
        reader: &ProcessReader,
        table: &ProcessTable,
        told: &[Connects],
        is_expected: &dyn Fn(ProcessKey) -> bool,
    ) {
        for told in told {
            let entry = told
                .process
                .as_ref()
                .and_then(|process| find_program(reader, table, process));
            let relay = entry.and_then(|entry| self.add_client(reader, table, entry, is_expected));
            if let Some(relay) = relay {
                relay.upstream.insert(told.listener.clone());
            }
        }
    }

    /// Returns the candidate that this process belongs to.
    fn add_client(
        &mut self,
        reader: &ProcessReader,
        table: &ProcessTable,
        entry: &ProcessEntry,
        is_expected: &dyn Fn(ProcessKey) -> bool,
    ) -> Option<&mut RelaySighting> {
        let first = first_of_program(table, entry);
        if is_expected(first.key) || is_expected(entry.key) {
            return None;
        }
        // A client may have thousands of connections: it is read for the first only.
        if self.left_out.contains(&first.key) {
            return None;
        }
        if !self.relays.contains_key(&first.key) {
            let process = reader.describe(first)?;
            if !self.has_room_for(&process) {
                return None;
            }
            let relay = RelaySighting {
                process,
                upstream: BTreeSet::new(),
                outgoing: BTreeSet::new(),
                listeners: Vec::new(),
                connections: Vec::new(),
                passed: BTreeSet::new(),
            };
            self.relays.insert(first.key, relay);
        }
        self.members
            .entry(first.key)
            .or_default()
            .extend([first.key, entry.key]);
        self.relays.get_mut(&first.key)
    }

    /// Returns true if a new client is kept. If there are too many, it takes the place of one of the owner with the most,
    /// unless its own owner has as many. Nothing takes the place of the node's own.
    fn has_room_for(&mut self, client: &Process) -> bool {
        if self.relays.len() < RELAYS_KEPT {
            return true;
        }
        let mut shares: BTreeMap<Owner, usize> = BTreeMap::new();
        for relay in self.relays.values() {
            *shares.entry(relay.process.owner()).or_default() += 1;
        }
        let owner = client.owner();
        let after = shares.get(&owner).copied().unwrap_or_default() + 1;
        let of_others = self.relays.iter().filter(|(_, relay)| !relay.process.owner().is_node());
        let ranked = of_others.map(|(key, relay)| (shares[&relay.process.owner()], !relay.is_proven(), *key));
        let last = ranked.max().filter(|(share, ..)| owner.is_node() || after < *share);
        self.left_out.insert(last.map_or(client.key, |(.., key)| key));
        let Some((.., last)) = last else { return false };
        self.relays.remove(&last);
        self.members.remove(&last);
        true
    }

    /// Returns the gap for the clients that were left out.
    pub fn gap(&self) -> Option<Gap> {
        let count = self.relays.len() + self.left_out.len();
        let answer = format_args!("{count} programs use an engine, {RELAYS_KEPT} are kept");
        let gap = || Gap::new(Reason::LimitReached, Hides::Detail, "relays", answer);
        (!self.left_out.is_empty()).then(gap)
    }

    /// Reads the sockets of the processes that were added. Returns false if there were none.
    pub fn read_sockets(&mut self, reader: &ProcessReader, proc: &Path, protocols: &mut ProtocolMemory) -> bool {
        let members: BTreeSet<ProcessKey> = self.members.values().flatten().copied().collect();
        let mut is_new = false;
        for member in members {
            self.held.entry(member).or_insert_with(|| {
                is_new = true;
                let mut held = BTreeSet::new();
                // A process that has ended holds nothing. If its sockets may not be read, the search for connections
                // has a gap already.
                let _ = reader.read_sockets(member, &mut |descriptor, socket| {
                    held.insert(socket);
                    if protocols.protocol_of(proc, member.pid, descriptor, socket).may_be_tcp() {
                        self.tcp.insert(socket);
                    }
                });
                held
            });
        }
        is_new
    }

    /// Returns all sockets that were read.
    pub fn held(&self) -> BTreeSet<SocketInode> {
        self.held.values().flatten().copied().collect()
    }

    /// Returns those that may be TCP sockets.
    pub const fn tcp(&self) -> &BTreeSet<SocketInode> {
        &self.tcp
    }

    /// Finds the sockets that each client accepts on. `role` returns the role of a listener for the engines.
    pub fn find_listeners(&mut self, listening: &[ListeningSocket], ends: &Ends, role: &dyn Fn(&ListenerId) -> Role) {
        for (key, relay) in &mut self.relays {
            let Some(members) = self.members.get(key) else { continue };
            let held_by_each = || members.iter().filter_map(|member| self.held.get(member));
            let held: BTreeSet<SocketInode> = held_by_each().flatten().copied().collect();
            let accepted = ends.of(&held);
            for sockets in held_by_each() {
                relay.passed.extend(ends.passed_on(sockets, &relay.outgoing, listening));
            }
            let before = std::mem::take(&mut relay.listeners);
            for socket in listening {
                let Some(id) = socket.id().filter(|id| role(id) != Role::Daemons) else {
                    continue;
                };
                let count = accepted.get(&id).copied().unwrap_or(0);
                if count == 0 && !held.contains(&socket.inode) {
                    continue;
                }
                let known = before
                    .iter()
                    .find(|known| known.id == id && known.socket == socket.inode);
                let by_process = relay.passed.iter().any(|(listener, _)| *listener == id);
                let basis = known.and_then(|known| known.basis);
                let basis = basis.or_else(|| basis_of_name(&socket.name, role(&id) == Role::Named));
                relay.listeners.push(RelayListener {
                    basis: basis.or_else(|| by_process.then_some(RelayBasis::Process)),
                    id,
                    name: socket.name.clone(),
                    socket: socket.inode,
                    netns: socket.netns,
                    accepted: count,
                    steps: known.map_or_else(Steps::default, |known| known.steps),
                });
            }
        }
    }

    /// Compares the numbers of connections with those of earlier looks.
    pub fn count_steps(&mut self) {
        for relay in self.relays.values_mut() {
            let outgoing = relay.outgoing.len();
            for listener in &mut relay.listeners {
                let is_proven = listener.steps.count(listener.accepted, outgoing);
                if is_proven && !listener.basis.is_some_and(RelayBasis::is_of_all) {
                    listener.basis = Some(RelayBasis::Pairs);
                }
            }
        }
    }

    /// Returns the clients that accept on a socket.
    pub fn into_relays(self) -> Vec<RelaySighting> {
        let relays = self.relays.into_values();
        relays.filter(|relay| !relay.listeners.is_empty()).collect()
    }
}

/// The role of a listener for the engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A daemon that is known by its program accepts on it.
    Daemons,
    /// It has the name of an engine's socket.
    Named,
    /// None of these.
    Other,
}

/// Returns the first ancestor of this process that executes its program: servers fork for each connection.
fn first_of_program<'t>(table: &'t ProcessTable, mut entry: &'t ProcessEntry) -> &'t ProcessEntry {
    for _ in 0..ANCESTORS {
        match table.get(entry.parent) {
            Some(parent) if parent.executable.is_some() && parent.executable == entry.executable => entry = parent,
            _ => break,
        }
    }
    entry
}

/// Returns this process, or else another one of the same program, user and control group.
fn find_program<'t>(reader: &ProcessReader, table: &'t ProcessTable, process: &Process) -> Option<&'t ProcessEntry> {
    let same = table.get(process.key.pid).filter(|entry| entry.key == process.key);
    let is_like = |entry: &&ProcessEntry| {
        let is_same = entry.executable.as_deref() == process.executable.as_deref();
        is_same && reader.describe(entry).is_some_and(|other| other.is_like(process))
    };
    same.or_else(|| table.entries.iter().find(is_like))
}
