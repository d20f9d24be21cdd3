//! The sockets that engines hold, by their protocols.
//!
//! Relies on the protocol name that each socket has as an extended attribute (`sockfs_xattr_handlers` of
//! `net/socket.c`). Before Linux 5.15 Unix streams cannot be recognised by it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::model::engine::EngineSighting;
use crate::model::identity::{Pid, SocketInode};
use crate::model::reading::{Gap, Hides};
use crate::sources::host_files::EnginePorts;
use crate::sources::processes::{ProcessReader, ProcessTable};
use crate::sources::sockets::tcp::TcpHeld;

/// The protocol of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A Unix stream: `unix_stream_proto.name` of `net/unix/af_unix.c`.
    UnixStream,
    /// TCP, over IPv4 or IPv6, including MPTCP.
    Tcp,
    /// Something else.
    Other,
    /// Not reported by the kernel.
    Unknown,
}

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

/// The protocols that the last look found: a socket never changes its protocol.
#[derive(Debug, Default)]
pub struct HeldMemory {
    protocols: BTreeMap<SocketInode, Protocol>,
}

impl HeldMemory {
    /// Returns the sockets of `engines`. Engines whose descriptors may not be read have gaps already.
    pub fn read(
        &mut self,
        reader: &ProcessReader,
        proc: &Path,
        engines: &[EngineSighting],
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
                    protocol: self
                        .protocols
                        .get(&socket)
                        .copied()
                        .unwrap_or_else(|| read_protocol(&proc.join(format!("{pid}/fd/{descriptor}")))),
                });
            });
        }
        let told = held.iter().filter(|(_, held)| held.protocol != Protocol::Unknown);
        self.protocols = told.map(|(socket, held)| (*socket, held.protocol)).collect();
        held
    }
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
    let tcp = || {
        held.iter()
            .filter(|(_, h)| matches!(h.protocol, Protocol::Tcp | Protocol::Unknown))
    };
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

fn read_protocol(descriptor: &Path) -> Protocol {
    let mut name = [0; 32];
    match rustix::fs::getxattr(descriptor, c"system.sockprotoname", &mut name[..]) {
        Ok(length) => match name[..length].strip_suffix(b"\0").unwrap_or(&name[..length]) {
            b"UNIX-STREAM" => Protocol::UnixStream,
            b"TCP" | b"TCPv6" | b"MPTCP" | b"MPTCPv6" => Protocol::Tcp,
            _ => Protocol::Other,
        },
        Err(_) => Protocol::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::{UnixDatagram, UnixStream};

    use super::*;

    #[test]
    fn the_kernel_reports_a_sockets_protocol() {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let (stream, _other) = UnixStream::pair().expect("two sockets");
        let (datagram, _another) = UnixDatagram::pair().expect("two sockets");
        let protocol = |fd: i32| read_protocol(Path::new(&format!("/proc/self/fd/{fd}")));
        assert_eq!(protocol(tcp.as_raw_fd()), Protocol::Tcp);
        assert_eq!(protocol(stream.as_raw_fd()), Protocol::UnixStream);
        assert_eq!(protocol(datagram.as_raw_fd()), Protocol::Other);
        assert_eq!(protocol(-1), Protocol::Unknown);
    }
}
