//! The sockets that engines hold, by their protocols.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::model::engine::EngineSighting;
use crate::model::identity::{Pid, SocketInode};
use crate::model::reading::{Gap, Hides};
use crate::sources::host_files::EnginePorts;
use crate::sources::processes::{ProcessReader, ProcessTable};
use crate::sources::sockets::protocol::{Protocol, ProtocolMemory};
use crate::sources::sockets::tcp::TcpHeld;

/// A socket that an engine holds.
#[derive(Clone, Copy, Debug)]
pub struct HeldSocket {
    /// The index of the engine in the list.
    pub engine: usize,
    /// The engine's process.
    pub pid: Pid,
    /// The engine's descriptor of it.
    pub descriptor: u32,
    /// The protocol of the socket.
    pub protocol: Protocol,
}

/// Returns the sockets of `engines`. Engines whose descriptors may not be read have gaps already.
pub fn read_held(
    reader: &ProcessReader,
    proc: &Path,
    engines: &[EngineSighting],
    protocols: &mut ProtocolMemory,
) -> BTreeMap<SocketInode, HeldSocket> {
    let mut held = BTreeMap::new();
    for (engine, process) in engines
        .iter()
        .enumerate()
        .filter_map(|(at, e)| Some((at, e.process.as_ref()?)))
    {
        let pid = process.key.pid;
        let _ = reader.read_sockets(process.key, &mut |descriptor, socket| {
            held.entry(socket).or_insert_with(|| HeldSocket {
                engine,
                pid,
                descriptor,
                protocol: protocols.protocol_of(proc, pid, descriptor, socket),
            });
        });
    }
    held
}

/// Returns the sockets of pid 1, where systemd may listen for an engine. Adds to `gaps` if they may not be read.
pub fn read_sockets_of_init(
    reader: &ProcessReader,
    table: &ProcessTable,
    ports: &EnginePorts,
    gaps: &mut Vec<Gap>,
) -> BTreeSet<SocketInode> {
    let mut held = BTreeSet::new();
    if let Some(init) = table.get(Pid(1)).filter(|_| !ports.is_empty()) {
        let read = reader.read_sockets(init.key, &mut |_, socket| {
            held.insert(socket);
        });
        if let Err(error) = read {
            super::refused(init, Hides::Engine, &error).fold_into(gaps);
        }
    }
    held
}

/// Returns the TCP sockets among `held` and those `of_init`, and whether all of them are ordinary users' own.
pub fn tcp_sockets(
    held: &BTreeMap<SocketInode, HeldSocket>,
    engines: &[EngineSighting],
    of_init: BTreeSet<SocketInode>,
    ports: EnginePorts,
) -> TcpHeld {
    let tcp = || held.iter().filter(|(_, held)| held.protocol.may_be_tcp());
    let is_of_user = |held: &HeldSocket| engines.get(held.engine).is_some_and(EngineSighting::is_of_user);
    TcpHeld {
        sockets: tcp().map(|(socket, _)| *socket).collect(),
        of_users: of_init.is_empty() && tcp().all(|(_, held)| is_of_user(held)),
        of_init,
        ports,
    }
}

/// Returns the listeners of engines that ordinary users run.
pub fn sockets_of_users(engines: &[EngineSighting]) -> BTreeSet<SocketInode> {
    let of_users = engines.iter().filter(|engine| engine.is_of_user());
    of_users
        .flat_map(|engine| &engine.listeners)
        .map(|l| l.socket)
        .collect()
}
