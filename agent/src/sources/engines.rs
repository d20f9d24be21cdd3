//! The daemons that serve a Docker API on this node, what they accept on, and the containers they supervise.
//!
//! Found from the outside: by the program that a process executes, the sockets it holds, and the names of listening
//! sockets that no known program holds. Never opens a Docker socket. containerd, CRI-O and cri-dockerd serve no Docker
//! API and are none of these.

mod hidden;
mod holders;
mod memory;
mod names;
mod program;
mod records;
mod supervised;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::model::engine::{Api, EngineKind, EngineSighting, Listener};
use crate::model::identity::{Pid, SocketInode};
use crate::model::reading::{Gap, Hides, Reason, Sighting};
use crate::model::socket::ListeningSocket;
use crate::sources::kernel::refusal::{self, Right};
use crate::sources::processes::{ProcessEntry, ProcessReader, ProcessTable};
pub use memory::ListenerMemory;
pub(super) use names::suggested_kind;
use program::Program;
pub(super) use records::read_configured_data_root;
pub use supervised::{SupervisorMemory, find_supervised};

/// Finds every engine among the processes of `table`, and its listeners among the sockets of `listening`, which are those
/// of all network namespaces.
pub fn find_engines(
    reader: &ProcessReader,
    table: &ProcessTable,
    listening: &[ListeningSocket],
    memory: &mut ListenerMemory,
) -> Sighting<Vec<EngineSighting>> {
    memory.begin(reader, table, listening);
    let mut search = Search::new(reader, table, listening, memory);
    let candidates = search.find_candidates();
    search.mark_activated();
    let hidden = search.take_readable(candidates);
    search.take_hidden(hidden);
    search.take_named();
    if search.engines.is_empty() && search.gaps.is_empty() {
        return Sighting::absent();
    }
    Sighting::partial(search.engines, search.gaps)
}

/// A process that executes an engine's program, and the listening sockets that it holds.
struct Candidate<'a> {
    entry: &'a ProcessEntry,
    kind: EngineKind,
    /// Positions in `Search::listening`; the error where the descriptors may not be read.
    sockets: io::Result<BTreeSet<usize>>,
}

struct Search<'a> {
    reader: &'a ProcessReader,
    table: &'a ProcessTable,
    listening: &'a [ListeningSocket],
    by_inode: BTreeMap<SocketInode, usize>,
    /// Who listens on behalf of programs: pid 1 and every systemd.
    activators: Vec<&'a ProcessEntry>,
    /// Listening sockets that an activator holds, and which.
    activated: BTreeMap<usize, Pid>,
    /// Listening sockets whose owner is known.
    claimed: BTreeSet<usize>,
    engines: Vec<EngineSighting>,
    gaps: Vec<Gap>,
    memory: &'a mut ListenerMemory,
}

impl<'a> Search<'a> {
    fn new(
        reader: &'a ProcessReader,
        table: &'a ProcessTable,
        listening: &'a [ListeningSocket],
        memory: &'a mut ListenerMemory,
    ) -> Self {
        Self {
            reader,
            table,
            listening,
            by_inode: listening.iter().enumerate().map(|(at, s)| (s.inode, at)).collect(),
            activators: Vec::new(),
            activated: BTreeMap::new(),
            claimed: BTreeSet::new(),
            engines: Vec::new(),
            gaps: Vec::new(),
            memory,
        }
    }

    /// Tells engines and activators from the rest. Parents come before their children.
    fn find_candidates(&mut self) -> Vec<Candidate<'a>> {
        let mut candidates = Vec::new();
        for entry in &self.table.entries {
            let program = match program::read_program(self.reader, entry) {
                Ok(program) => program,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    let asked = format_args!("/proc/{}/cmdline", entry.key.pid);
                    Gap::new(Reason::of(&error), Hides::Engine, asked, &error).fold_into(&mut self.gaps);
                    continue;
                }
            };
            let kind = match program {
                Program::Engine(kind) => kind,
                Program::Activator => {
                    self.activators.push(entry);
                    continue;
                }
                Program::Other => {
                    if entry.key.pid == Pid(1) {
                        self.activators.push(entry);
                    }
                    continue;
                }
            };
            match self.read_listening(entry) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                sockets => candidates.push(Candidate { entry, kind, sockets }),
            }
        }
        let pids: BTreeSet<Pid> = candidates.iter().map(|c| c.entry.key.pid).collect();
        candidates.sort_by_key(|c| (pids.contains(&c.entry.parent), c.entry.key.start));
        candidates
    }

    /// The listening sockets that a process holds.
    fn read_listening(&mut self, entry: &ProcessEntry) -> io::Result<BTreeSet<usize>> {
        let by_inode = &self.by_inode;
        if let Some(held) = self.memory.get(entry.key) {
            return Ok(held.iter().filter_map(|inode| by_inode.get(inode).copied()).collect());
        }
        let mut held = Vec::new();
        let mut keep = |_, inode| held.extend(by_inode.contains_key(&inode).then_some(inode));
        self.reader.read_sockets(entry.key, &mut keep)?;
        let positions = held.iter().filter_map(|inode| by_inode.get(inode).copied()).collect();
        self.memory.keep(entry.key, held);
        Ok(positions)
    }

    fn mark_activated(&mut self) {
        for entry in self.activators.clone() {
            match self.read_listening(entry) {
                Ok(held) => {
                    for at in held {
                        self.activated.entry(at).or_insert(entry.key.pid);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // Whether init holds an engine's listener too; that there is one is seen without.
                Err(error) => refused(entry, Hides::Detail, &error).fold_into(&mut self.gaps),
            }
        }
    }

    /// Makes engines of the candidates whose descriptors could be read, and gives back the others.
    fn take_readable(&mut self, candidates: Vec<Candidate<'a>>) -> Vec<Candidate<'a>> {
        let mut refused = Vec::new();
        let mut taken: Vec<Candidate<'a>> = Vec::new();
        for candidate in candidates {
            let forked = taken
                .iter()
                .chain(&refused)
                .any(|other| is_forked_from(&candidate, other));
            let Ok(sockets) = &candidate.sockets else {
                if !forked {
                    refused.push(candidate);
                }
                continue;
            };
            let own: BTreeSet<usize> = sockets.difference(&self.claimed).copied().collect();
            // A child between fork and exec, or a re-executed one, has what it inherited. Podman without a listener is
            // its command line.
            let nothing_of_its_own = own.is_empty() && (forked || !sockets.is_empty());
            let command_line = candidate.kind == EngineKind::Podman && own.is_empty();
            if !nothing_of_its_own && !command_line {
                self.add_engine(candidate.kind, Some(candidate.entry), own);
            }
            taken.push(candidate);
        }
        refused
    }

    /// Listening sockets with an engine's name that nobody was found to own yet.
    fn unclaimed_named(&self) -> impl Iterator<Item = (usize, EngineKind)> {
        self.listening
            .iter()
            .enumerate()
            .filter(|(at, _)| !self.claimed.contains(at))
            .filter_map(|(at, socket)| Some((at, suggested_kind(&socket.name)?)))
    }

    fn add_engine(&mut self, kind: EngineKind, owner: Option<&ProcessEntry>, sockets: BTreeSet<usize>) {
        let process = owner.and_then(|entry| self.reader.describe(entry));
        if owner.is_some() && process.is_none() {
            return; // gone meanwhile
        }
        let mut listeners = Vec::new();
        for at in sockets {
            self.claimed.insert(at);
            let socket = &self.listening[at];
            if kind == EngineKind::Dockerd && names::internal_use(&socket.name).is_some() {
                continue;
            }
            let Some(id) = socket.id() else {
                Gap::new(
                    Reason::ProtocolError,
                    Hides::Engine,
                    &socket.name,
                    "the kernel told no file of it",
                )
                .fold_into(&mut self.gaps);
                continue;
            };
            listeners.push(Listener {
                id,
                api: Api::Docker,
                name: socket.name.clone(),
                socket: socket.inode,
                netns: socket.netns,
                activated: self.activated.contains_key(&at),
            });
        }
        self.engines.push(EngineSighting {
            kind,
            process,
            listeners,
        });
    }
}

/// Whether `child` is the same program, started by `parent`.
fn is_forked_from(child: &Candidate<'_>, parent: &Candidate<'_>) -> bool {
    child.entry.parent == parent.entry.key.pid
        && child.kind == parent.kind
        && child.entry.executable == parent.entry.executable
}

fn refused(entry: &ProcessEntry, hides: Hides, error: &io::Error) -> Gap {
    let asked = format_args!("/proc/{}/fd of {}", entry.key.pid, entry.name);
    refusal::gap(error, hides, asked, Right::TraceAndSearch)
}
