//! The records of `sock_diag`: the requests, and the rows decoded from the replies. This file has Unix sockets; [`tcp`]
//! has TCP sockets.
//!
//! Pure: bytes in, borrowed rows out, without an allocation per row. Bytes that the protocol does not allow are a typed
//! error, never a panic and never fewer rows than the kernel sent. `netlink.rs` reads the socket.
//!
//! Relies on netlink(7), `sock_diag(7)`, and these files of Linux 6.12:
//! <https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/unix_diag.h> (the layout),
//! <https://github.com/torvalds/linux/blob/v6.12/net/unix/diag.c> (the contents). The interface exists since 3.3.

mod ask;
#[cfg(any(test, feature = "recorded"))]
pub mod encode;
pub(crate) mod netlink;
pub mod table;
pub mod tcp;
#[cfg(test)]
mod tests;

use thiserror::Error;

pub use self::ask::Ask;
use self::tcp::TcpRow;
use crate::model::identity::{Device, FileIdentity, SocketInode};

// <https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/netlink.h>
const HEADER_LEN: usize = 16; // struct nlmsghdr: u32 len, u16 type, u16 flags, u32 seq, u32 pid
const ATTRIBUTE_LEN: usize = 4; // struct nlattr: u16 len, u16 type
const ALIGNMENT: usize = 4; // NLMSG_ALIGNTO, NLA_ALIGNTO
const NLA_TYPE_MASK: u16 = 0x3fff;
const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;
#[cfg(any(test, feature = "recorded"))]
const NLM_F_MULTI: u16 = 0x02;
const NLM_F_DUMP_INTR: u16 = 0x10;
// <https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/sock_diag.h>
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const AF_UNIX: u8 = 1; // these three of include/linux/socket.h
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
// struct unix_diag_msg: u8 family, u8 type, u8 state, u8 pad, u32 ino, u32 cookie[2]
const ROW_LEN: usize = 16;
const ATTR_NAME: u16 = 0;
const ATTR_VFS: u16 = 1; // struct unix_diag_vfs: u32 ino, u32 dev
const ATTR_PEER: u16 = 2;
const ATTR_ICONS: u16 = 3;
const ATTR_RQLEN: u16 = 4; // struct unix_diag_rqlen: u32 rqueue, u32 wqueue
// <https://github.com/torvalds/linux/blob/v6.12/include/net/tcp_states.h>
const TCP_ESTABLISHED: u8 = 1;
const TCP_LISTEN: u8 = 10;

const _: () = assert!(HEADER_LEN.is_multiple_of(ALIGNMENT) && ATTRIBUTE_LEN.is_multiple_of(ALIGNMENT));
const _: () = assert!(size_of::<[u32; 3]>() + size_of::<[u16; 2]>() == HEADER_LEN);
const _: () = assert!(size_of::<[u8; 4]>() + size_of::<[u32; 3]>() == ROW_LEN);

/// A socket's state, by the kernel's number. Unix sockets use the numbers of TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State(pub u8);

impl State {
    /// Connected: a client's end after connect(2), or a server's end after accept(2).
    pub const CONNECTED: Self = Self(TCP_ESTABLISHED);
    /// Accepts connections.
    pub const LISTENING: Self = Self(TCP_LISTEN);
}

/// A socket's type: `SOCK_*` of socket(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind(pub u8);

impl Kind {
    /// `SOCK_STREAM`.
    pub const STREAM: Self = Self(1);
    /// `SOCK_DGRAM`.
    pub const DATAGRAM: Self = Self(2);
    /// `SOCK_SEQPACKET`.
    pub const SEQUENCED: Self = Self(5);

    /// True if sockets of this type listen and accept.
    pub const fn connects(self) -> bool {
        matches!(self, Self::STREAM | Self::SEQUENCED)
    }
}

/// One socket, borrowed from the bytes that the kernel sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketRow<'a> {
    /// Its inode, which is never 0: the kernel leaves out sockets without one, which are closed or not accepted yet.
    pub inode: SocketInode,
    /// Its type.
    pub kind: Kind,
    /// Its state.
    pub state: State,
    /// `sun_path` of the bound address: a path with its final zero byte, or a zero byte and an abstract name. An
    /// accepted socket has its listener's.
    pub name: Option<&'a [u8]>,
    /// The file it is bound to. An accepted socket has its listener's.
    pub file: Option<FileIdentity>,
    /// The peer; 0 if it is closed or was not accepted yet.
    pub peer: Option<SocketInode>,
    /// For a listener, the number of connections that wait to be accepted; for other sockets, the unread bytes.
    pub waiting: Option<u32>,
    icons: &'a [u8],
}

impl<'a> SocketRow<'a> {
    /// Returns a row without attributes.
    pub(crate) const fn bare(inode: SocketInode, state: State) -> Self {
        Self {
            inode,
            kind: Kind::STREAM,
            state,
            name: None,
            file: None,
            peer: None,
            waiting: None,
            icons: &[],
        }
    }

    /// The inodes of the client ends, in any network namespace, that wait to be accepted; 0 for one that is closed by
    /// now.
    pub fn icons(&self) -> impl Iterator<Item = SocketInode> + use<'a> {
        let (whole, _) = self.icons.as_chunks::<4>();
        whole.iter().map(|inode| SocketInode(u32::from_ne_bytes(*inode)))
    }
}

/// One message of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A Unix socket.
    SocketRow(SocketRow<'a>),
    /// A TCP socket.
    Tcp(TcpRow),
    /// The dump is complete.
    Done,
    /// The kernel ended the dump with this error number (positive).
    Refused(i32),
    /// The tables changed during the dump, so rows may be missing or duplicated: the dump has to be repeated.
    Interrupted,
    /// Messages were lost.
    Overrun,
}

/// A reply that cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// A message or attribute has a length that exceeds the rest, or is shorter than its own header.
    #[error("{what} says {said} bytes and {left} are left")]
    Length {
        /// The message or attribute.
        what: &'static str,
        /// The length in its header.
        said: usize,
        /// The remaining bytes, including its header.
        left: usize,
    },
    /// The reply belongs to another request or another socket.
    #[error("reply to request {sequence} of port {port}")]
    NotOurs {
        /// `nlmsg_seq`.
        sequence: u32,
        /// `nlmsg_pid`.
        port: u32,
    },
    /// A type of message that does not belong in a dump.
    #[error("message type {0}")]
    Type(u16),
    /// A row of another address family.
    #[error("row of address family {0}")]
    Family(u8),
    /// A row without an inode.
    #[error("row without an inode")]
    NoInode,
}

/// The addressee of the expected reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The sequence number of the request.
    pub sequence: u32,
    /// The port of the requesting socket.
    pub port: u32,
}

impl Envelope {
    /// Returns the addressee of the first message in `bytes`.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            sequence: u32_at(bytes, 8)?,
            port: u32_at(bytes, 12)?,
        })
    }
}

/// The messages of one datagram. Ends after an error.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
    envelope: Envelope,
}

impl<'a> Messages<'a> {
    /// Reads `datagram`, which must be addressed to `envelope`.
    pub const fn new(datagram: &'a [u8], envelope: Envelope) -> Self {
        Self {
            rest: datagram,
            envelope,
        }
    }

    fn take_next(&mut self) -> Result<Option<Message<'a>>, DecodeError> {
        while !self.rest.is_empty() {
            let Some((length, kind, flags)) = read_header(self.rest) else {
                return Err(length_error("datagram", HEADER_LEN, self.rest));
            };
            if length < HEADER_LEN || length > self.rest.len() {
                return Err(length_error("message", length, self.rest));
            }
            let (sequence, port) = (u32_at(self.rest, 8), u32_at(self.rest, 12));
            if (sequence, port) != (Some(self.envelope.sequence), Some(self.envelope.port)) {
                return Err(DecodeError::NotOurs {
                    sequence: sequence.unwrap_or(0),
                    port: port.unwrap_or(0),
                });
            }
            let payload = &self.rest[HEADER_LEN..length];
            self.rest = self.rest.get(aligned(length)..).unwrap_or_default();
            if kind != NLMSG_NOOP {
                return decode_message(kind, flags, payload).map(Some);
            }
        }
        Ok(None)
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let taken = self.take_next();
        if taken.is_err() {
            self.rest = &[];
        }
        taken.transpose()
    }
}

fn decode_message(kind: u16, flags: u16, payload: &[u8]) -> Result<Message<'_>, DecodeError> {
    match kind {
        _ if flags & NLM_F_DUMP_INTR != 0 => Ok(Message::Interrupted),
        SOCK_DIAG_BY_FAMILY => match payload.first() {
            Some(&(AF_INET | AF_INET6)) => tcp::decode(payload).map(Message::Tcp),
            _ => decode_row(payload).map(Message::SocketRow),
        },
        NLMSG_OVERRUN => Ok(Message::Overrun),
        // Both begin with an `int`: 0 or a negative error number. DONE without one still means done.
        NLMSG_DONE if payload.is_empty() => Ok(Message::Done),
        NLMSG_DONE | NLMSG_ERROR => match u32_at(payload, 0).map(u32::cast_signed) {
            None => Err(length_error("error number", 4, payload)),
            Some(0) if kind == NLMSG_DONE => Ok(Message::Done),
            Some(number) if number < 0 => Ok(Message::Refused(number.saturating_neg())),
            // An acknowledgement, which was not requested, or a number that is not an error.
            Some(_) => Err(DecodeError::Type(kind)),
        },
        other => Err(DecodeError::Type(other)),
    }
}

fn decode_row(payload: &[u8]) -> Result<SocketRow<'_>, DecodeError> {
    let (Some(head), Some(inode)) = (payload.get(..ROW_LEN), u32_at(payload, 4)) else {
        return Err(length_error("row", ROW_LEN, payload));
    };
    if head[0] != AF_UNIX {
        return Err(DecodeError::Family(head[0]));
    }
    if inode == 0 {
        return Err(DecodeError::NoInode);
    }
    let mut row = SocketRow {
        kind: Kind(head[1]),
        ..SocketRow::bare(SocketInode(inode), State(head[2]))
    };
    let mut rest = &payload[ROW_LEN..];
    while !rest.is_empty() {
        let (Some(length), Some(kind)) = (u16_at(rest, 0).map(usize::from), u16_at(rest, 2)) else {
            return Err(length_error("row", ATTRIBUTE_LEN, rest));
        };
        if length < ATTRIBUTE_LEN || length > rest.len() {
            return Err(length_error("attribute", length, rest));
        }
        decode_attribute(&mut row, kind & NLA_TYPE_MASK, &rest[ATTRIBUTE_LEN..length])?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
    }
    Ok(row)
}

fn decode_attribute<'a>(row: &mut SocketRow<'a>, kind: u16, value: &'a [u8]) -> Result<(), DecodeError> {
    match kind {
        // Empty: not bound to a name.
        ATTR_NAME => row.name = Some(value).filter(|name| !name.is_empty()),
        ATTR_VFS => match (u32_at(value, 0), u32_at(value, 4)) {
            (Some(inode), Some(dev)) => {
                row.file = Some(FileIdentity {
                    device: Device::from_kernel(dev),
                    inode,
                });
            }
            _ => return Err(length_error("file attribute", 8, value)),
        },
        ATTR_PEER => match u32_at(value, 0) {
            Some(inode) => row.peer = Some(SocketInode(inode)),
            None => return Err(length_error("peer attribute", 4, value)),
        },
        ATTR_ICONS if value.len().is_multiple_of(4) => row.icons = value,
        ATTR_ICONS => {
            return Err(length_error(
                "backlog attribute",
                value.len().next_multiple_of(4),
                value,
            ));
        }
        ATTR_RQLEN => match u32_at(value, 0) {
            Some(waiting) => row.waiting = Some(waiting),
            None => return Err(length_error("queue attribute", 8, value)),
        },
        // An attribute of a newer kernel, or one that is always sent (UNIX_DIAG_SHUTDOWN).
        _ => {}
    }
    Ok(())
}

fn read_header(bytes: &[u8]) -> Option<(usize, u16, u16)> {
    let _whole = bytes.get(..HEADER_LEN)?;
    let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
    Some((length, u16_at(bytes, 4)?, u16_at(bytes, 6)?))
}

const fn length_error(what: &'static str, said: usize, rest: &[u8]) -> DecodeError {
    DecodeError::Length {
        what,
        said,
        left: rest.len(),
    }
}

const fn aligned(length: usize) -> usize {
    length.next_multiple_of(ALIGNMENT)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_ne_bytes(*word))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|word| u16::from_ne_bytes(*word))
}
