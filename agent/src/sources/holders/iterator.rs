//! The holders of connections, from the kernel's iterator over open files: `agent/bpf/holders.bpf.c`.
//!
//! One pass sees the descriptors of every process, in any network namespace, including those of a thread with a table
//! of its own. It replaces the walk over `/proc/<pid>/fd`. If the kernel refuses the program, the walk is used and the
//! reason is reported.
//!
//! Relies on `kernel/bpf/task_iter.c`: a table that several threads share is visited once.

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use aya::maps::{HashMap, Map, MapData, MapError};
use aya::programs::links::LinkError;
use aya::programs::{Iter, ProgramError};
use aya::{Btf, Ebpf, Pod, include_bytes_aligned};

use crate::model::identity::{Device, FileIdentity, NetNs, Pid, ProcessKey, SocketInode};
use crate::sources::kernel::bpf::facts::{self, KernelFacts, UNIX_SOCK};
use crate::sources::kernel::bpf::{Key, LoadError, key, load_apart, long, map_of, short, ticks};
use crate::sources::kernel::system::is_in_initial_pid_namespace;

static OBJECT: &[u8] = include_bytes_aligned!("../../../bpf/holders.bpf.o");

/// The kernel's name for the iterator.
const KIND: &str = "task_file";

/// The first kernel with iterators.
const ITERATORS: (u32, u32) = (5, 8);

/// The most sockets whose holders one pass can find: the capacity of the program's map.
const WANTED_MOST: usize = 16_384;

/// The most listeners whose connections one pass can find: the capacity of the program's map. The connections to others
/// are found in the socket tables.
const WATCHED_MOST: usize = 1024;

/// The most bytes that one call reads.
const PIECE: usize = 64 * 1024;

/// Runs the iterator. The program is loaded in the first look that finds a connection.
#[derive(Debug)]
pub struct HolderIterator(State);

#[derive(Debug)]
enum State {
    /// Not requested.
    Off,
    /// Requested; it is loaded when there is a connection.
    Due(PathBuf),
    Running(Box<Program>),
    /// Refused by the kernel or by castoff, with the reason.
    Refused(String),
}

/// A holder of a socket, as one pass saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    /// The client's end.
    pub(super) socket: SocketInode,
    /// The process that holds it.
    pub(super) process: ProcessKey,
    /// One of its descriptors of the socket.
    pub(super) descriptor: u32,
    /// The process that called connect(2), if the kernel reports it and its pid is not reused.
    pub(super) connector: Option<Pid>,
    /// The file of the listener, if it is watched.
    pub(super) listener: Option<FileIdentity>,
    /// The network namespace of the socket, if the kernel reports it.
    pub(super) netns: Option<NetNs>,
}

impl HolderIterator {
    /// Returns an iterator that is loaded if it is `wanted`, and compares the pids with the processes of `proc`.
    pub fn new(wanted: bool, proc: PathBuf) -> Self {
        Self(if wanted { State::Due(proc) } else { State::Off })
    }

    /// Returns an iterator that is never loaded.
    pub const fn off() -> Self {
        Self(State::Off)
    }

    /// True if the kernel runs the program.
    pub const fn is_running(&self) -> bool {
        matches!(self.0, State::Running(_))
    }

    /// Returns the reason why the walk over `/proc` is used instead; none if the iterator is used.
    pub fn refusal(&self) -> Option<&str> {
        match &self.0 {
            State::Refused(answer) => Some(answer),
            State::Off | State::Due(_) | State::Running(_) => None,
        }
    }

    /// Calls `each` with every holder of the sockets in `wanted`, and of every connection to a file in `listeners`, of
    /// which the first [`WATCHED_MOST`] count.
    /// Returns false if there is no such program, or if it failed: then the result is incomplete.
    pub(super) fn pass(
        &mut self,
        wanted: &[SocketInode],
        listeners: &[FileIdentity],
        deadline: Option<Instant>,
        each: &mut dyn FnMut(Holder),
    ) -> bool {
        if let State::Due(proc) = &self.0 {
            self.0 = match start(proc) {
                Ok(program) => State::Running(Box::new(program)),
                Err(answer) => State::Refused(answer),
            };
        }
        let State::Running(program) = &mut self.0 else {
            return false;
        };
        match program.pass(wanted, listeners, deadline, each) {
            Ok(()) => true,
            // The deadline has passed; the next look tries again.
            Err(PassError::Read(error)) if error.kind() == io::ErrorKind::TimedOut => false,
            Err(error) => {
                self.0 = State::Refused(error.to_string());
                false
            }
        }
    }
}

/// The loaded program.
#[derive(Debug)]
struct Program {
    object: Ebpf,
    name: &'static str,
    wanted: HashMap<MapData, u64, u32>,
    watched: HashMap<MapData, Key, u32>,
    /// The keys that are in both maps.
    asked: (BTreeSet<SocketInode>, BTreeSet<Key>),
}

#[derive(Debug, thiserror::Error)]
enum PassError {
    #[error("the kernel refuses an iterator: {0}")]
    Program(#[from] ProgramError),
    #[error("the kernel refuses an iterator: {0}")]
    Link(#[from] LinkError),
    #[error("a map of the iterator: {0}")]
    Map(#[from] MapError),
    #[error("the iterator: {0}")]
    Read(#[from] io::Error),
}

fn start(proc: &Path) -> Result<Program, String> {
    // The kernel reports pids of the initial PID namespace.
    if !is_in_initial_pid_namespace(proc, &["1", "self"]) {
        return Err("castoff sees the processes of a PID namespace that is not the initial one".to_owned());
    }
    let facts = facts::read(proc);
    let name = choose(&facts)?;
    let load = |mut object: Ebpf, types: &Btf| {
        let program: &mut Iter = object.program_mut(name).ok_or(LoadError::Missing(name))?.try_into()?;
        program.load(KIND, types)?;
        Ok((map_of(&object, "WANTED")?, map_of(&object, "WATCHED")?, object))
    };
    let loaded = load_apart(&facts, OBJECT, load).and_then(|(wanted, watched, object)| {
        Ok(Program {
            object,
            name,
            wanted: Map::HashMap(MapData::from_fd(wanted)?).try_into()?,
            watched: Map::HashMap(MapData::from_fd(watched)?).try_into()?,
            asked: (BTreeSet::new(), BTreeSet::new()),
        })
    });
    loaded.map_err(|error| error.to_string())
}

/// Returns the program for this kernel, or the missing requirement.
fn choose(facts: &KernelFacts) -> Result<&'static str, String> {
    facts.may_run()?;
    facts.needs(ITERATORS, "BPF iterators")?;
    let knows_listeners = facts.version.is_none_or(|version| version >= UNIX_SOCK);
    Ok(if knows_listeners { "whole" } else { "by_inode" })
}

impl Program {
    fn pass(
        &mut self,
        wanted: &[SocketInode],
        listeners: &[FileIdentity],
        deadline: Option<Instant>,
        each: &mut dyn FnMut(Holder),
    ) -> Result<(), PassError> {
        let wanted: BTreeSet<SocketInode> = wanted.iter().copied().take(WANTED_MOST).collect();
        let listeners: BTreeSet<Key> = listeners.iter().take(WATCHED_MOST).map(|file| key(*file)).collect();
        let of = |socket: &SocketInode| u64::from(socket.0);
        replace(&mut self.wanted, &self.asked.0, &wanted, &of)?;
        replace(&mut self.watched, &self.asked.1, &listeners, &|key| *key)?;
        self.asked = (wanted, listeners);

        let program = self
            .object
            .program_mut(self.name)
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let program: &mut Iter = program.try_into()?;
        let link = program.attach()?;
        let mut file = program.take_link(link)?.into_file()?;
        let mut buffer = vec![0; PIECE];
        let mut held = 0;
        loop {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(io::Error::from(io::ErrorKind::TimedOut).into());
            }
            let read = match file.read(&mut buffer[held..]) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                // After a million files without a record the kernel returns, so that other tasks can run.
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            held += read;
            let whole = held - held % LENGTH;
            for bytes in buffer[..whole].chunks_exact(LENGTH) {
                parse(bytes).into_iter().for_each(&mut *each);
            }
            buffer.copy_within(whole..held, 0);
            held -= whole;
        }
    }
}

/// Changes the keys of a map from `before` to `now`.
fn replace<T: Ord, K: Pod>(
    map: &mut HashMap<MapData, K, u32>,
    before: &BTreeSet<T>,
    now: &BTreeSet<T>,
    key: &dyn Fn(&T) -> K,
) -> Result<(), MapError> {
    for gone in before.difference(now) {
        let _ = map.remove(&key(gone)); // it may be gone already
    }
    for new in now.difference(before) {
        map.insert(key(new), 1, 0)?;
    }
    Ok(())
}

/// The number of bytes of `struct holder`.
const LENGTH: usize = 40;

/// Reads a record. Returns none if the bytes are not a record.
fn parse(bytes: &[u8]) -> Option<Holder> {
    let listener = FileIdentity {
        device: Device::from_kernel(short(bytes, 16)?),
        inode: short(bytes, 20)?,
    };
    let known = |number: u32| Some(number).filter(|number| *number != 0);
    Some(Holder {
        // Truncated like in sock_diag.
        socket: SocketInode(u32::try_from(long(bytes, 0)? & u64::from(u32::MAX)).ok()?),
        process: ProcessKey {
            pid: Pid(short(bytes, 24)?),
            start: ticks(long(bytes, 8)?),
        },
        descriptor: short(bytes, 28)?,
        connector: known(short(bytes, 32)?).map(Pid),
        listener: known(listener.inode).map(|_| listener),
        netns: known(short(bytes, 36)?).map(|netns| NetNs(netns.into())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_the_capacities_of_the_maps() {
        let program = include_str!("../../../bpf/holders.bpf.c");
        let maps: Vec<&str> = program.split("struct {").collect();
        for (map, most) in [("WATCHED", WATCHED_MOST), ("WANTED", WANTED_MOST)] {
            let end = format!("}} {map} SEC");
            let map = maps.iter().find(|map| map.contains(&end)).expect("it is declared");
            assert!(map.contains(&format!("max_entries, {most})")), "{map}");
        }
    }
}
