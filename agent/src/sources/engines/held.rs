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

/// Returns the TCP sockets among `held` and those `of_init`, with those of the node's own engines, and whether all are
/// ordinary users' own.
pub fn tcp_sockets(
    held: &BTreeMap<SocketInode, HeldSocket>,
    engines: &[EngineSighting],
    of_init: BTreeSet<SocketInode>,
    ports: EnginePorts,
) -> TcpHeld {
    let tcp = || held.iter().filter(|(_, held)| held.protocol.may_be_tcp());
    let engine = |held: &HeldSocket| engines.get(held.engine);
    let is_of_user = |held: &HeldSocket| engine(held).is_some_and(EngineSighting::is_of_user);
    let is_of_node = |held: &HeldSocket| engine(held).is_none_or(|engine| engine.owner().is_node());
    TcpHeld {
        sockets: tcp().map(|(socket, _)| *socket).collect(),
        of_node: tcp()
            .filter(|(_, held)| is_of_node(held))
            .map(|(socket, _)| *socket)
            .collect(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::sample::{contained, dockerd, id, process};
    use crate::model::workload::Manager;

    #[test]
    fn a_pods_or_a_users_tcp_socket_is_not_one_of_the_nodes_engines() {
        let mut of_user = process(11, "/usr/bin/dockerd");
        of_user.uid = Some(1000);
        let in_pod = contained(12, Manager::CriContainerd, &[id(1)]);
        let engines = [process(10, "/usr/bin/dockerd"), of_user, in_pod].map(|process| EngineSighting {
            process: Some(process),
            ..dockerd()
        });
        let socket = |at: usize| HeldSocket {
            engine: at,
            pid: Pid(10),
            descriptor: 3,
            protocol: Protocol::Tcp,
        };
        let held = BTreeMap::from([0, 1, 2].map(|at| (SocketInode(u32::try_from(at).expect("it fits")), socket(at))));
        let found = tcp_sockets(&held, &engines, BTreeSet::new(), EnginePorts::new());
        assert_eq!(found.of_node, [SocketInode(0)].into());
        assert_eq!(found.sockets.len(), 3);
    }
}
