//! Decides which rows of a socket table belong to a watched listener. Pure.
//!
//! An accepted socket has the bound file and the name of its listener (`unix_stream_connect` of `net/unix/af_unix.c`),
//! whatever path its client used. A listener is matched by its file and never by its name. An abstract name has no
//! file; it can only be reached from its own network namespace, and so it is only matched there.

use std::borrow::Cow;

use crate::model::identity::{FileIdentity, NetNs, SocketInode};
use crate::model::socket::{ListenerId, ListeningSocket, SocketName};
use crate::sources::kernel::diag::SocketRow;
use crate::sources::sockets::listening::bound_name;

/// The watched listeners, indexed for lookups.
#[derive(Debug)]
pub(super) struct Watched<'a> {
    listeners: &'a [ListeningSocket],
    files: Vec<(FileIdentity, usize)>,
    abstract_names: Vec<(NetNs, &'a str, usize)>,
    pending: Vec<(SocketInode, usize)>,
}

impl<'a> Watched<'a> {
    pub(super) fn new(listeners: &'a [ListeningSocket]) -> Self {
        let mut watched = Self {
            listeners,
            files: Vec::new(),
            abstract_names: Vec::new(),
            pending: Vec::new(),
        };
        for (index, listener) in listeners.iter().enumerate() {
            match (&listener.file, &listener.name) {
                (Some(file), _) => watched.files.push((*file, index)),
                (None, SocketName::Abstract(name)) => {
                    watched.abstract_names.push((listener.netns, name, index));
                }
                (None, SocketName::Path(_) | SocketName::Tcp(_)) => {}
            }
            watched
                .pending
                .extend(listener.pending.iter().map(|client| (*client, index)));
        }
        watched.files.sort_unstable();
        watched.pending.sort_unstable();
        watched
    }

    /// Returns the listener with this index.
    pub(super) fn listener(&self, index: usize) -> Option<&'a ListeningSocket> {
        self.listeners.get(index)
    }

    /// Returns the index of the listener whose own socket this is.
    pub(super) fn find(&self, socket: SocketInode) -> Option<usize> {
        self.listeners.iter().position(|listener| listener.inode == socket)
    }

    /// Returns the index of the listener that is bound to this file.
    pub(super) fn find_file(&self, file: FileIdentity) -> Option<usize> {
        let at = self.files.binary_search_by_key(&file, |(file, _)| *file).ok()?;
        self.files.get(at).map(|(_, index)| *index)
    }

    /// Returns the ID of the listener.
    pub(super) fn id(&self, index: usize) -> Option<ListenerId> {
        self.listener(index)?.id()
    }

    /// Returns the clients that wait to be accepted, with the index of their listener, by inode.
    pub(super) fn pending(&self) -> &[(SocketInode, usize)] {
        &self.pending
    }

    /// Returns the listener that the socket with this inode is waiting for.
    pub(super) fn waits_for(&self, client: SocketInode) -> Option<usize> {
        let at = self.pending.binary_search_by_key(&client, |(inode, _)| *inode).ok()?;
        self.pending.get(at).map(|(_, index)| *index)
    }

    /// Returns the listener that accepted the connection, if this row of `netns` is the server's end of one.
    pub(super) fn accepted_by(&self, netns: NetNs, row: &SocketRow<'_>) -> Option<usize> {
        if !row.kind.connects() {
            return None;
        }
        match (row.file, row.name) {
            (Some(file), _) => self.find_file(file),
            (None, Some(name @ [0, rest @ ..])) => {
                let found = |(place, watched, _): &&(NetNs, &str, usize)| {
                    *place == netns && (watched.as_bytes() == rest || same_after_decoding(name, watched))
                };
                self.abstract_names.iter().find(found).map(|(_, _, index)| *index)
            }
            (None, _) => None,
        }
    }
}

/// Compares a name that is not plain UTF-8 in the form in which it is shown.
fn same_after_decoding(name: &[u8], watched: &str) -> bool {
    let is_plain = !name[1..].contains(&0) && matches!(String::from_utf8_lossy(name), Cow::Borrowed(_));
    !is_plain && matches!(bound_name(name), Some(SocketName::Abstract(shown)) if shown == watched)
}
