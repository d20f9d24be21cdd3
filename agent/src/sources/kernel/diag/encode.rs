//! Writes the kernel's replies that [`super`] reads, for tests and for recorded host trees.
//!
//! A recording is the concatenation of a dump's datagrams: rows in any state and order, then the end. castoff itself
//! never writes one. The numbers and the layout are the decoder's own constants.

use super::tcp::{self, TcpRow};
use super::{
    ATTR_ICONS, ATTR_NAME, ATTR_PEER, ATTR_RQLEN, ATTR_VFS, ATTRIBUTE_LEN, Envelope, HEADER_LEN, Kind, NLM_F_MULTI,
    NLMSG_DONE, NLMSG_ERROR, SOCK_DIAG_BY_FAMILY, State, aligned,
};
use crate::model::identity::{FileIdentity, SocketInode};

/// The facts of one socket, to be written as a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketFacts<'a> {
    /// The socket's inode.
    pub inode: SocketInode,
    /// Its type.
    pub kind: Kind,
    /// Its state.
    pub state: State,
    /// `sun_path` with its zero byte: the last byte of a path, or the first of an abstract name.
    pub name: Option<&'a [u8]>,
    /// The file it is bound to.
    pub file: Option<FileIdentity>,
    /// The peer.
    pub peer: Option<SocketInode>,
    /// The clients that wait. They are written, with their number, only for a listening socket.
    pub icons: &'a [SocketInode],
}

impl<'a> SocketFacts<'a> {
    /// Returns a stream socket that listens under `name`.
    pub const fn listening(inode: u32, name: &'a [u8], file: Option<FileIdentity>) -> Self {
        Self {
            inode: SocketInode(inode),
            kind: Kind::STREAM,
            state: State::LISTENING,
            name: Some(name),
            file,
            peer: None,
            icons: &[],
        }
    }

    /// Returns the server's end of an accepted connection, which has the name and the file of its listener.
    pub const fn accepted(inode: u32, name: &'a [u8], file: Option<FileIdentity>, client: u32) -> Self {
        Self {
            inode: SocketInode(inode),
            kind: Kind::STREAM,
            state: State::CONNECTED,
            name: Some(name),
            file,
            peer: Some(SocketInode(client)),
            icons: &[],
        }
    }

    /// Returns the client's end of a connection; `server` is 0 until it is accepted.
    pub const fn client(inode: u32, server: u32) -> Self {
        Self {
            inode: SocketInode(inode),
            kind: Kind::STREAM,
            state: State::CONNECTED,
            name: None,
            file: None,
            peer: Some(SocketInode(server)),
            icons: &[],
        }
    }
}

/// Writes the replies to one request.
#[derive(Clone, Debug)]
pub struct Reply {
    envelope: Envelope,
    bytes: Vec<u8>,
}

impl Reply {
    /// Creates an empty reply to `envelope`.
    pub const fn new(envelope: Envelope) -> Self {
        Self {
            envelope,
            bytes: Vec::new(),
        }
    }

    /// Returns a complete dump of `sockets`.
    pub fn dump(envelope: Envelope, sockets: &[SocketFacts<'_>]) -> Vec<u8> {
        let mut reply = Self::new(envelope);
        for socket in sockets {
            reply.row(socket);
        }
        reply.done();
        reply.bytes
    }

    /// Adds a socket.
    pub fn row(&mut self, socket: &SocketFacts<'_>) {
        let start = self.open_message(SOCK_DIAG_BY_FAMILY);
        self.bytes
            .extend_from_slice(&[super::AF_UNIX, socket.kind.0, socket.state.0, 0]);
        self.bytes.extend_from_slice(&socket.inode.0.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 8]); // cookie
        if let Some(name) = socket.name {
            self.attribute(ATTR_NAME, name);
        }
        if let Some(file) = socket.file {
            // MKDEV of include/linux/kdev_t.h: the inverse of `Device::from_kernel`.
            let dev = (file.device.major << 20) | file.device.minor;
            self.attribute(ATTR_VFS, &pair(file.inode, dev));
        }
        if let Some(peer) = socket.peer {
            self.attribute(ATTR_PEER, &peer.0.to_ne_bytes());
        }
        if socket.state == State::LISTENING {
            let icons: Vec<u8> = socket.icons.iter().flat_map(|i| i.0.to_ne_bytes()).collect();
            self.attribute(ATTR_ICONS, &icons);
            let waiting = u32::try_from(socket.icons.len()).unwrap_or(u32::MAX);
            self.attribute(ATTR_RQLEN, &pair(waiting, 128));
        }
        self.close_message(start);
    }

    /// Returns a complete dump of TCP sockets.
    pub fn tcp_dump(envelope: Envelope, sockets: &[TcpRow]) -> Vec<u8> {
        let mut reply = Self::new(envelope);
        for socket in sockets {
            let start = reply.open_message(SOCK_DIAG_BY_FAMILY);
            reply.bytes.extend_from_slice(&tcp::encode(socket));
            reply.close_message(start);
        }
        reply.done();
        reply.bytes
    }

    /// Ends the dump.
    pub fn done(&mut self) {
        let start = self.open_message(NLMSG_DONE);
        self.bytes.extend_from_slice(&0_i32.to_ne_bytes());
        self.close_message(start);
    }

    /// Ends the dump with an error, with a positive `errno`. The copy of the request that follows it in the protocol is
    /// left out.
    pub fn error(&mut self, errno: i32) {
        let start = self.open_message(NLMSG_ERROR);
        self.bytes.extend_from_slice(&errno.saturating_neg().to_ne_bytes());
        self.close_message(start);
    }

    /// Returns the bytes written so far.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn open_message(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]); // length, written by `close_message`
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&NLM_F_MULTI.to_ne_bytes());
        self.bytes.extend_from_slice(&self.envelope.sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&self.envelope.port.to_ne_bytes());
        debug_assert_eq!(self.bytes.len(), start + HEADER_LEN);
        start
    }

    fn close_message(&mut self, start: usize) {
        let length = u32::try_from(self.bytes.len() - start).expect("attributes are 64 KiB at most, and few");
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        self.bytes.resize(aligned(self.bytes.len()), 0);
    }

    /// Adds an attribute. A value that exceeds the 16-bit length is truncated.
    fn attribute(&mut self, kind: u16, value: &[u8]) {
        const LIMIT: usize = (u16::MAX as usize - ATTRIBUTE_LEN) & !3;
        let value = &value[..value.len().min(LIMIT)];
        let length = u16::try_from(ATTRIBUTE_LEN + value.len()).expect("cut to fit");
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(aligned(self.bytes.len()), 0);
    }
}

fn pair(first: u32, second: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&first.to_ne_bytes());
    bytes[4..].copy_from_slice(&second.to_ne_bytes());
    bytes
}
