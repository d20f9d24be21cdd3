//! The connected sockets that may belong to a listener, collected in the sweep that finds the listeners.
//!
//! The listeners of interest are known only after the sweep, so this keeps the few facts of each socket that could
//! matter: a server's end has its listener's file or name, and a client that waits to be accepted has no peer yet.
//! These are less than half of a node's sockets, at 48 bytes each, and they make a second sweep over all network
//! namespaces unnecessary.

use super::tables::Unseen;
use crate::model::identity::{FileIdentity, NetNs, SocketInode};
use crate::sources::kernel::diag::{Kind, SocketRow, State};

/// The result of one sweep.
#[derive(Debug, Default)]
pub struct Connected {
    /// The sockets.
    pub sockets: Vec<ConnectedSocket>,
    /// The namespaces that were not read.
    pub unseen: Vec<Unseen>,
    /// The number of namespaces that were read.
    pub looked: usize,
}

/// One connected socket.
#[derive(Debug)]
pub struct ConnectedSocket {
    /// The network namespace in which it was seen.
    pub netns: NetNs,
    inode: SocketInode,
    kind: Kind,
    peer: Option<SocketInode>,
    name: Option<Box<[u8]>>,
    file: Option<FileIdentity>,
}

impl ConnectedSocket {
    /// Keeps the facts of a row; returns none if it cannot belong to a listener.
    pub(in crate::sources) fn of(netns: NetNs, row: &SocketRow<'_>) -> Option<Self> {
        let waits = row.peer.is_none_or(|peer| peer.0 == 0);
        let matters = row.kind.connects() && (row.file.is_some() || row.name.is_some() || waits);
        matters.then(|| Self {
            netns,
            inode: row.inode,
            kind: row.kind,
            peer: row.peer,
            name: row.name.map(Into::into),
            file: row.file,
        })
    }

    /// Returns the row again.
    pub fn row(&self) -> SocketRow<'_> {
        let mut row = SocketRow::bare(self.inode, State::CONNECTED);
        row.kind = self.kind;
        row.name = self.name.as_deref();
        row.file = self.file;
        row.peer = self.peer;
        row
    }
}
