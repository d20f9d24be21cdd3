//! Which rows of a socket table belong to a watched listener. Pure.
//!
//! An accepted socket carries the bound file and the name of its listener (`unix_stream_connect` of `net/unix/af_unix.c`),
//! whatever path its client used. A listener is known by its file, never by its name; an abstract name, which has no
//! file, can only be reached from its own network namespace, and so can only be found there.

use std::borrow::Cow;

use crate::model::identity::{FileIdentity, NetNs, SocketInode};
use crate::model::socket::{ListenerId, ListeningSocket, SocketName};
use crate::sources::kernel::diag::SocketRow;
use crate::sources::sockets::listening::bound_name;

/// The watched listeners, arranged for looking up.
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

    /// The listener by its index.
    pub(super) fn listener(&self, index: usize) -> Option<&'a ListeningSocket> {
        self.listeners.get(index)
    }

    /// The index of the listener whose own socket this is.
    pub(super) fn find(&self, socket: SocketInode) -> Option<usize> {
        self.listeners.iter().position(|listener| listener.inode == socket)
    }

    /// The index of the listener that is bound to this file.
    pub(super) fn find_file(&self, file: FileIdentity) -> Option<usize> {
        let at = self.files.binary_search_by_key(&file, |(file, _)| *file).ok()?;
        self.files.get(at).map(|(_, index)| *index)
    }

    /// The files that the listeners are bound to.
    pub(super) fn files(&self) -> impl Iterator<Item = FileIdentity> {
        self.files.iter().map(|(file, _)| *file)
    }

    /// What the listener is known by.
    pub(super) fn id(&self, index: usize) -> Option<ListenerId> {
        self.listener(index)?.id()
    }

    /// Clients that wait to be accepted, with their listener, by inode.
    pub(super) fn pending(&self) -> &[(SocketInode, usize)] {
        &self.pending
    }

    /// The listener for which the socket with this inode waits.
    pub(super) fn waits_for(&self, client: SocketInode) -> Option<usize> {
        let at = self.pending.binary_search_by_key(&client, |(inode, _)| *inode).ok()?;
        self.pending.get(at).map(|(_, index)| *index)
    }

    /// The listener that accepted the connection whose server's end this row of `netns` is.
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

/// Names that are not plain UTF-8 are compared as they are shown.
fn same_after_decoding(name: &[u8], watched: &str) -> bool {
    let is_plain = !name[1..].contains(&0) && matches!(String::from_utf8_lossy(name), Cow::Borrowed(_));
    !is_plain && matches!(bound_name(name), Some(SocketName::Abstract(shown)) if shown == watched)
}
