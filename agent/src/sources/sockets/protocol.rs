//! The protocols of sockets that processes hold.
//!
//! Relies on the protocol name that each socket has as an extended attribute (`sockfs_xattr_handlers` of
//! `net/socket.c`). Before Linux 5.15 Unix streams cannot be recognised by it.

use std::collections::BTreeMap;
use std::mem;
use std::path::Path;

use crate::model::identity::{Pid, SocketInode};

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

impl Protocol {
    /// True if the tables of TCP sockets may have it.
    pub const fn may_be_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::Unknown)
    }
}

/// The protocols that this look and the last one found: a socket never changes its protocol.
#[derive(Debug, Default)]
pub struct ProtocolMemory {
    now: BTreeMap<SocketInode, Protocol>,
    before: BTreeMap<SocketInode, Protocol>,
}

impl ProtocolMemory {
    /// Starts a look, and forgets the sockets that the last one did not ask about.
    pub fn begin(&mut self) {
        self.before = mem::take(&mut self.now);
    }

    /// Returns the protocol of a socket, which the process `pid` holds as `descriptor`.
    pub fn protocol_of(&mut self, proc: &Path, pid: Pid, descriptor: u32, socket: SocketInode) -> Protocol {
        if let Some(known) = self.now.get(&socket) {
            return *known;
        }
        let before = self.before.get(&socket).copied();
        let protocol = before.unwrap_or_else(|| read_protocol(&proc.join(format!("{pid}/fd/{descriptor}"))));
        if protocol != Protocol::Unknown {
            self.now.insert(socket, protocol);
        }
        protocol
    }
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

    #[test]
    fn a_socket_that_one_look_does_not_ask_about_is_forgotten() {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let descriptor = u32::try_from(tcp.as_raw_fd()).expect("a descriptor");
        let (proc, pid, socket) = (Path::new("/proc"), Pid(std::process::id()), SocketInode(7));
        let mut memory = ProtocolMemory::default();
        assert_eq!(memory.protocol_of(proc, pid, descriptor, socket), Protocol::Tcp);
        drop(tcp);
        memory.begin();
        assert_eq!(memory.protocol_of(proc, pid, descriptor, socket), Protocol::Tcp);
        memory.begin();
        memory.begin();
        assert_eq!(
            memory.protocol_of(Path::new("/nowhere"), pid, descriptor, socket),
            Protocol::Unknown
        );
    }
}
