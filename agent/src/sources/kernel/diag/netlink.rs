//! Requests the sockets of the calling thread's network namespace from the kernel, over netlink.
//!
//! A netlink socket keeps its network namespace alive, so a [`DiagTable`] must not outlive the look that it is created
//! for. It never opens the sockets that it lists. Relies on netlink(7) and `sock_diag(7)`; needs no privilege.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::net::{bind, getsockname, recvfrom, sendto, socket_with};

use super::table::{DumpError, SocketTable};
use super::tcp::{TcpAsk, TcpRow};
use super::{Ask, DecodeError, Envelope, Message, Messages, SocketRow};

/// The kernel makes no part of a dump larger than 32 KiB, and makes each part as large as the buffer of the previous
/// read (`netlink_recvmsg` and `netlink_dump` of `net/netlink/af_netlink.c`, Linux 6.12). It makes the next part only
/// when the previous one is read, so the size of the socket's receive buffer does not matter.
pub(crate) const BUFFER_LEN: usize = 32 * 1024;

/// The table of the network namespace of the thread that created it.
#[derive(Debug)]
pub(crate) struct DiagTable<'b> {
    socket: Option<Socket>,
    deadline: Instant,
    buffer: &'b mut [u8],
}

#[derive(Debug)]
struct Socket {
    fd: OwnedFd,
    port: u32,
    sequence: u32,
}

impl<'b> DiagTable<'b> {
    /// Creates a table with a deadline. `buffer` should have [`BUFFER_LEN`] bytes; its contents are overwritten.
    pub(crate) const fn new(deadline: Instant, buffer: &'b mut [u8]) -> Self {
        Self {
            socket: None,
            deadline,
            buffer,
        }
    }
}

impl SocketTable for DiagTable<'_> {
    fn dump(&mut self, ask: Ask, each: &mut dyn FnMut(&SocketRow<'_>)) -> Result<(), DumpError> {
        let request = |sequence| ask.request(sequence).to_vec();
        self.dump_records(&request, &mut |record| match record {
            Message::SocketRow(row) => {
                each(row);
                Ok(())
            }
            _ => Err(DecodeError::Family(0)),
        })
    }

    fn dump_tcp(&mut self, ask: TcpAsk, each: &mut dyn FnMut(&TcpRow)) -> Result<(), DumpError> {
        let request = |sequence| ask.request(sequence).to_vec();
        self.dump_records(&request, &mut |record| match record {
            Message::Tcp(row) => {
                each(row);
                Ok(())
            }
            _ => Err(DecodeError::Family(0)),
        })
    }
}

/// The function that takes one record of a dump, or returns an error if the record was not requested.
type Take<'a> = dyn FnMut(&Message<'_>) -> Result<(), DecodeError> + 'a;

impl DiagTable<'_> {
    fn dump_records(&mut self, request: &dyn Fn(u32) -> Vec<u8>, take: &mut Take<'_>) -> Result<(), DumpError> {
        // The socket is put back after success only: the rest of an aborted dump is dropped with its socket.
        let mut socket = match self.socket.take() {
            Some(socket) => socket,
            None => Socket::open().map_err(|errno| DumpError::Open(errno.into()))?,
        };
        socket.dump(request, self.deadline, self.buffer, take)?;
        self.socket = Some(socket);
        Ok(())
    }
}

impl Socket {
    fn open() -> Result<Self, Errno> {
        let flags = SocketFlags::CLOEXEC;
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(SOCK_DIAG))?;
        bind(&fd, &SocketAddrNetlink::new(0, 0))?; // port 0: the kernel chooses one
        let port = SocketAddrNetlink::try_from(getsockname(&fd)?)?.pid();
        Ok(Self { fd, port, sequence: 0 })
    }

    fn dump(
        &mut self,
        request: &dyn Fn(u32) -> Vec<u8>,
        deadline: Instant,
        buffer: &mut [u8],
        take: &mut Take<'_>,
    ) -> Result<(), DumpError> {
        self.sequence = self.sequence.wrapping_add(1);
        let envelope = Envelope {
            sequence: self.sequence,
            port: self.port,
        };
        self.limit_waiting(deadline)
            .map_err(|errno| DumpError::Open(errno.into()))?;
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&self.fd, &request(self.sequence), SendFlags::empty(), &kernel)
            .map_err(|errno| DumpError::Ask(errno.into()))?;
        loop {
            let length = self.receive(deadline, buffer)?;
            for message in Messages::new(&buffer[..length], envelope) {
                match message? {
                    record @ (Message::SocketRow(_) | Message::Tcp(_)) => take(&record)?,
                    Message::Done => return Ok(()),
                    Message::Refused(errno) => return Err(DumpError::Refused(io::Error::from_raw_os_error(errno))),
                    Message::Interrupted => return Err(DumpError::Interrupted),
                    Message::Overrun => return Err(DumpError::Receive(Errno::NOBUFS.into())),
                }
            }
            if Instant::now() >= deadline {
                return Err(DumpError::Deadline);
            }
        }
    }

    /// Reads one datagram into `buffer` and returns its length.
    fn receive(&self, deadline: Instant, buffer: &mut [u8]) -> Result<usize, DumpError> {
        loop {
            // TRUNC: returns the datagram's own length, even if the buffer is smaller.
            match recvfrom(&self.fd, &mut *buffer, RecvFlags::TRUNC) {
                Ok((kept, length, _)) if length > kept => return Err(DumpError::TooLarge(length)),
                Ok((kept, _, sender)) => {
                    let sender = sender.and_then(|address| SocketAddrNetlink::try_from(address).ok());
                    return match sender.map(|address| address.pid()) {
                        Some(0) => Ok(kept),
                        other => Err(DumpError::Stranger(other.unwrap_or(u32::MAX))),
                    };
                }
                Err(Errno::INTR) if Instant::now() < deadline => {}
                Err(Errno::AGAIN | Errno::INTR) => return Err(DumpError::Deadline),
                Err(errno) => return Err(DumpError::Receive(errno.into())),
            }
        }
    }

    fn limit_waiting(&self, deadline: Instant) -> Result<(), Errno> {
        // At least 1 ms, because zero would mean no timeout.
        let left = deadline.saturating_duration_since(Instant::now());
        set_socket_timeout(&self.fd, Timeout::Recv, Some(left.max(Duration::from_millis(1))))
    }
}

#[cfg(test)]
mod tests {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

    use super::*;
    use crate::model::identity::SocketInode;

    #[test]
    fn the_kernel_lists_a_listener_its_backlog_and_a_connection() {
        // An abstract name of this process only: no file is left behind.
        let name = format!("castoff-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a short name");
        let listener = UnixListener::bind_addr(&address).expect("nobody else has the name");
        let accepted_client = UnixStream::connect_addr(&address).expect("it listens");
        let (_server, _) = listener.accept().expect("one client waits");
        let waiting_client = UnixStream::connect_addr(&address).expect("it listens");

        let deadline = Instant::now() + Duration::from_secs(10);
        let mut buffer = vec![0; BUFFER_LEN];
        let mut table = DiagTable::new(deadline, &mut buffer);
        let bound = [b"\0", name.as_bytes()].concat();
        let mut waiting = Vec::new();
        let mut inode = SocketInode(0);
        let dump = table.dump(Ask::Listening, &mut |row| {
            if row.name == Some(&bound) {
                inode = row.inode;
                waiting.push(row.waiting);
            }
        });
        dump.expect("sock_diag is there");
        assert_eq!(waiting, [Some(1)]);

        let mut icons = Vec::new();
        let dump = table.dump(Ask::Backlogs, &mut |row| {
            if row.inode == inode {
                icons.extend(row.icons());
            }
        });
        dump.expect("sock_diag is there");
        assert_eq!(icons, [inode_of(&waiting_client)]);

        let mut peers = Vec::new();
        let dump = table.dump(Ask::Connected, &mut |row| {
            if row.name == Some(&bound) {
                peers.extend(row.peer);
            }
        });
        dump.expect("sock_diag is there");
        assert_eq!(peers, [inode_of(&accepted_client)]);
    }

    #[test]
    fn a_passed_deadline_and_a_small_buffer_are_errors() {
        let (_one, _other) = UnixStream::pair().expect("two sockets, so that there are rows");
        let mut rows = 0;
        let mut buffer = vec![0; BUFFER_LEN];
        let dump = DiagTable::new(Instant::now(), &mut buffer).dump(Ask::Connected, &mut |_| rows += 1);
        assert!(matches!(dump, Err(DumpError::Deadline)), "{dump:?} after {rows} rows");

        let deadline = Instant::now() + Duration::from_secs(10);
        let dump = DiagTable::new(deadline, &mut [0; 64]).dump(Ask::Connected, &mut |_| {});
        assert!(matches!(dump, Err(DumpError::TooLarge(_))), "{dump:?}");
    }

    fn inode_of(stream: &UnixStream) -> SocketInode {
        let inode = rustix::fs::fstat(stream).expect("it is open").st_ino;
        SocketInode(u32::try_from(inode).expect("inodes of sockets have 32 bits"))
    }
}
