//! The daemons that serve a Docker API on this node, their listeners, and the containers that they supervise.
//!
//! They are found from the outside: by the executable of each process, the sockets that it holds, and the names of
//! listening sockets that no known program holds. Never opens a Docker socket. containerd, CRI-O and cri-dockerd serve
//! no Docker API and are not included.

mod bounds;
mod docker_settings;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzzing;
pub mod held;
mod hidden;
mod holders;
mod memory;
mod names;
mod program;
mod records;
mod settings;
mod supervised;
mod tcp;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::model::engine::{Api, Containerd, EngineKind, EngineSighting, Listener};
use crate::model::identity::{Pid, SocketInode};
use crate::model::reading::{Gap, Hides, Reason, Sighting};
use crate::model::socket::{ListeningSocket, SocketName};
use crate::sources::kernel::refusal::{self, Right};
use crate::sources::processes::{ProcessEntry, ProcessReader, ProcessTable};
pub(super) use docker_settings::{DockerRead, read_docker_settings};
pub use memory::ListenerMemory;
pub(super) use names::suggested_kind;
use program::Program;
pub(super) use program::{is_true, option, options};
pub(super) use records::data_root_argument;
use settings::DaemonSettings;
pub(super) use settings::data_roots_of;
pub(super) use supervised::supervises_pods;
pub use supervised::{SupervisorMemory, add_grouped, find_supervised, read_records};
pub use tcp::{add_tcp_listeners, transport_of_relay};

/// The name that dockerd gives itself as a hook of its containers (moby's `libnetwork/sandbox_externalkey_unix.go`).
const HOOK: &str = "libnetwork-setkey";

/// Finds every engine among the processes of `table`, and its listeners among the sockets of `listening`, which has the
/// sockets of all network namespaces.
pub fn find_engines(
    reader: &ProcessReader,
    table: &ProcessTable,
    listening: &[ListeningSocket],
    memory: &mut ListenerMemory,
) -> Sighting<Vec<EngineSighting>> {
    memory.begin(reader, table, listening);
    let mut search = EngineSearch::new(reader, table, listening, memory);
    let candidates = search.find_candidates();
    search.mark_activated();
    let hidden = search.take_readable(candidates);
    search.take_hidden(hidden);
    search.take_renamed();
    search.take_named();
    bounds::bound(&mut search.engines, &mut search.gaps);
    if search.engines.is_empty() && search.gaps.is_empty() {
        return Sighting::absent();
    }
    Sighting::partial(search.engines, search.gaps)
}

/// Returns the sockets of all processes that execute an engine's program, listen on behalf of others, or hold one of
/// `listening` that only a dockerd makes.
pub fn read_engine_sockets(
    reader: &ProcessReader,
    table: &ProcessTable,
    listening: &[ListeningSocket],
) -> BTreeSet<SocketInode> {
    let of_dockerd = listening.iter().filter(|socket| names::is_of_dockerd(&socket.name));
    let of_dockerd: BTreeSet<SocketInode> = of_dockerd.map(|socket| socket.inode).collect();
    let mut held = BTreeSet::new();
    for entry in &table.entries {
        let is_named = !matches!(program::read_program(reader, entry), Ok(Program::Other));
        if !is_named && of_dockerd.is_empty() {
            continue;
        }
        let mut own = BTreeSet::new();
        let _ = reader.read_sockets(entry.key, &mut |_, socket| {
            own.insert(socket);
        });
        if is_named || !own.is_disjoint(&of_dockerd) {
            held.append(&mut own);
        }
    }
    held
}

/// A process that executes an engine's program, and the listening sockets that it holds.
struct Candidate<'a> {
    entry: &'a ProcessEntry,
    kind: EngineKind,
    /// Indexes into `EngineSearch::listening`; the error if the descriptors may not be read.
    sockets: io::Result<BTreeSet<usize>>,
}

impl Candidate<'_> {
    fn listens(&self) -> bool {
        self.sockets.as_ref().is_ok_and(|sockets| !sockets.is_empty())
    }
}

struct EngineSearch<'a> {
    reader: &'a ProcessReader,
    table: &'a ProcessTable,
    listening: &'a [ListeningSocket],
    by_inode: BTreeMap<SocketInode, usize>,
    /// The processes that listen on behalf of programs: pid 1 and every systemd.
    activators: Vec<&'a ProcessEntry>,
    /// The listening sockets that activators hold, with the activator.
    activated: BTreeMap<usize, Pid>,
    /// The activators that run in a container.
    contained: BTreeSet<Pid>,
    /// The activators that an ordinary user runs, with the user.
    of_users: BTreeMap<Pid, u32>,
    /// The listening sockets whose owner is known.
    claimed: BTreeSet<usize>,
    engines: Vec<EngineSighting>,
    gaps: Vec<Gap>,
    memory: &'a mut ListenerMemory,
}

impl<'a> EngineSearch<'a> {
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
            contained: BTreeSet::new(),
            of_users: BTreeMap::new(),
            claimed: BTreeSet::new(),
            engines: Vec::new(),
            gaps: Vec::new(),
            memory,
        }
    }

    /// Returns the engines among the processes, and remembers the activators. Parents come before their children.
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

    /// Returns the listening sockets that a process holds.
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
                    let process = self.reader.describe(entry);
                    // Any container may have a program of this name. The engine behind its listener is the container's.
                    if entry.key.pid != Pid(1) && process.as_ref().is_some_and(|p| p.membership.is_contained()) {
                        self.contained.insert(entry.key.pid);
                    }
                    // A user's program with the name systemd listens for that user alone.
                    let user = process.and_then(|p| p.uid).filter(|uid| *uid != 0);
                    self.of_users.extend(user.map(|user| (entry.key.pid, user)));
                    let counts = |at: &usize| user.is_none_or(|user| is_of_user(&self.listening[*at].name, user));
                    for at in held.into_iter().filter(counts) {
                        self.activated.entry(at).or_insert(entry.key.pid);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // This hides only that init holds an engine's listener too; the listener itself is found without it.
                Err(error) => refused(entry, Hides::Detail, &error).fold_into(&mut self.gaps),
            }
        }
    }

    /// Returns the ordinary user who runs a process; none for root, and if the user cannot be read.
    fn user_of(&self, entry: &ProcessEntry) -> Option<u32> {
        self.reader.describe(entry)?.uid.filter(|uid| *uid != 0)
    }

    /// Adds engines for the candidates whose descriptors could be read, and returns the others.
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
            // A child between fork and exec, or a re-executed one, has only inherited sockets.
            let nothing_of_its_own =
                own.is_empty() && (forked || !sockets.is_empty() || self.is_hook(&candidate, &taken));
            let command_line = own.is_empty() && self.is_command_line(&candidate);
            if !nothing_of_its_own && !command_line {
                self.add_engine(candidate.kind, Some(candidate.entry), own);
            }
            taken.push(candidate);
        }
        refused
    }

    /// True if a candidate without a Unix listener is Podman's command-line client. A service may listen on TCP alone.
    fn is_command_line(&self, candidate: &Candidate<'_>) -> bool {
        let command = || program::read_command(self.reader, candidate.entry).unwrap_or_default();
        candidate.kind == EngineKind::Podman && !program::is_podman_service(&command())
    }

    /// True if the program runs without a socket as a hook of the containers of one of `others`. runc starts it, so it is
    /// not a child of the engine.
    fn is_hook(&self, candidate: &Candidate<'_>, others: &[Candidate<'_>]) -> bool {
        let owner = |entry: &ProcessEntry| Some(self.reader.describe(entry)?.owner());
        let mut engines = others
            .iter()
            .filter(|other| has_same_program(candidate, other) && other.listens())
            .peekable();
        if engines.peek().is_none() {
            return false;
        }
        let command = program::read_command(self.reader, candidate.entry).unwrap_or_default();
        if command.first().is_none_or(|name| name != HOOK) {
            return false;
        }
        let own = owner(candidate.entry);
        own.is_some() && engines.any(|engine| owner(engine.entry) == own)
    }

    /// Returns the listening sockets with an engine's name whose owner is not known yet.
    fn unclaimed_named(&self) -> impl Iterator<Item = (usize, EngineKind)> {
        self.listening
            .iter()
            .enumerate()
            .filter(|(at, _)| !self.claimed.contains(at))
            .filter_map(|(at, socket)| Some((at, suggested_kind(&socket.name)?)))
    }

    /// True if a containerd is a child of this process (`libcontainerd/supervisor` of moby).
    fn has_own_containerd(&self, owner: &ProcessEntry) -> bool {
        let is_containerd = |entry: &ProcessEntry| {
            let name = entry.executable.as_deref().map_or(&*entry.name, program::base);
            ["containerd", "docker-containerd"].contains(&name)
        };
        let mut entries = self.table.entries.iter();
        entries.any(|entry| entry.parent == owner.key.pid && is_containerd(entry))
    }

    /// Returns the containerd of a dockerd: the configured one, else its own child, else the node's (`initContainerd`
    /// of moby's `daemon/command`).
    fn find_containerd(&self, owner: &ProcessEntry, settings: Option<&DaemonSettings>) -> Containerd {
        match settings {
            Some(settings) => match settings.resolved_containerd() {
                Some(path) => Containerd::Configured(path.to_owned()),
                None if self.has_own_containerd(owner) => Containerd::Own,
                None => Containerd::Found,
            },
            None if self.has_own_containerd(owner) => Containerd::Own,
            None => Containerd::Unknown,
        }
    }

    /// Returns the ordinary user whose systemd holds one of these listening sockets.
    fn awaited_by(&self, sockets: &BTreeSet<usize>) -> Option<u32> {
        let mut activators = sockets.iter().filter_map(|at| self.activated.get(at));
        activators.find_map(|pid| self.of_users.get(pid).copied())
    }

    fn add_engine(&mut self, kind: EngineKind, owner: Option<&ProcessEntry>, sockets: BTreeSet<usize>) {
        let process = owner.and_then(|entry| self.reader.describe(entry));
        if owner.is_some() && process.is_none() {
            return; // it has ended meanwhile
        }
        let awaited_by = match owner {
            Some(_) => None,
            None => self.awaited_by(&sockets),
        };
        let user = process.as_ref().map_or(awaited_by, |process| process.uid);
        let is_of_user = user.is_some_and(|uid| uid != 0);
        let dockerd = owner.zip(process.as_ref()).filter(|_| kind == EngineKind::Dockerd);
        let settings = dockerd.and_then(|(entry, process)| self.memory.settings.read(self.reader, entry, process));
        let is_internal = |name: &SocketName| {
            settings
                .as_ref()
                .map_or_else(|| names::is_internal_to_its_dockerd(name), |s| s.is_internal(name))
        };
        let (mut claimed, mut listeners, mut gaps) = (Vec::new(), Vec::new(), Vec::new());
        for at in sockets {
            claimed.push(at);
            let socket = &self.listening[at];
            if kind == EngineKind::Dockerd && is_internal(&socket.name) {
                continue;
            }
            let Some(id) = socket.id() else {
                let hides = if is_of_user { Hides::Detail } else { Hides::Engine };
                let answer = "the kernel reported no file for it";
                Gap::new(Reason::ProtocolError, hides, &socket.name, answer).fold_into(&mut gaps);
                continue;
            };
            listeners.push(Listener {
                id,
                api: Api::Docker,
                name: socket.name.clone(),
                socket: socket.inode,
                netns: socket.netns,
                activated: self.activated.contains_key(&at),
                transport: None,
                last_connect: None,
            });
        }
        self.claimed.extend(claimed);
        for gap in gaps {
            gap.fold_into(&mut self.gaps);
        }
        let containerd = match owner {
            Some(owner) if kind == EngineKind::Dockerd && !is_of_user => {
                self.find_containerd(owner, settings.as_deref())
            }
            _ => Containerd::Own,
        };
        self.engines.push(EngineSighting {
            kind,
            process,
            awaited_by,
            containerd,
            listeners,
        });
    }
}

/// True if a socket is in the user's own runtime directory, `/run/user/UID` of `pam_systemd(8)`.
fn is_of_user(name: &SocketName, user: u32) -> bool {
    matches!(name, SocketName::Path(path) if path.starts_with(&format!("/run/user/{user}/")))
}

/// True if `child` is the same program, started by `parent`.
fn is_forked_from(child: &Candidate<'_>, parent: &Candidate<'_>) -> bool {
    child.entry.parent == parent.entry.key.pid && has_same_program(child, parent)
}

fn has_same_program(one: &Candidate<'_>, other: &Candidate<'_>) -> bool {
    one.kind == other.kind && one.entry.executable == other.entry.executable
}

fn refused(entry: &ProcessEntry, hides: Hides, error: &io::Error) -> Gap {
    let asked = format_args!("/proc/{}/fd of {}", entry.key.pid, entry.name);
    refusal::gap(error, hides, asked, Right::TraceAndSearch)
}
