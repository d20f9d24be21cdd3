//! The listening sockets that each process held in the last look, and the settings of the engines among them.
//!
//! A memory is valid while the same sockets listen and the row of the process was not read again. When a listener is
//! added or removed, every process is read again. A listener that was passed to another process is found within 20
//! looks, because each row is read again once in 20 looks.

use std::collections::{BTreeMap, BTreeSet};

use super::settings::SettingsReader;
use crate::model::identity::{ProcessKey, SocketInode};
use crate::model::reading::Gap;
use crate::model::socket::ListeningSocket;
use crate::sources::processes::{ProcessReader, ProcessTable};

/// The memory of one look for the next.
#[derive(Debug, Default)]
pub struct ListenerMemory {
    listening: Vec<SocketInode>,
    held: BTreeMap<ProcessKey, Vec<SocketInode>>,
    pub(super) settings: SettingsReader,
}

impl ListenerMemory {
    /// Starts a look at these listening sockets and processes.
    pub(super) fn begin(&mut self, reader: &ProcessReader, table: &ProcessTable, listening: &[ListeningSocket]) {
        self.settings.begin();
        if self.listening.iter().ne(listening.iter().map(|socket| &socket.inode)) {
            self.held.clear();
            self.listening.clear();
            self.listening.extend(listening.iter().map(|socket| socket.inode));
        }
        let holds = |key: &ProcessKey| table.get(key.pid).is_some_and(|e| e.key == *key) && reader.was_kept(*key);
        self.held.retain(|key, _| holds(key));
    }

    /// True if a socket listens that did not in the last look. It may belong to an engine whose process ran another
    /// program before.
    pub fn finds_new(&self, listening: &[ListeningSocket]) -> bool {
        let is_new = |socket: &ListeningSocket| self.listening.binary_search(&socket.inode).is_err();
        !self.listening.is_empty() && listening.iter().any(is_new)
    }

    /// Returns the containerd namespaces that the node's dockerds have used, but the default one.
    pub const fn namespaces(&self) -> &BTreeSet<String> {
        self.settings.namespaces()
    }

    /// Returns the gap if this look could not read the settings of an engine that may name a port of its API.
    pub fn unread_settings(&self) -> Option<Gap> {
        self.settings.gap()
    }

    /// Returns the remembered sockets of a process.
    pub(super) fn get(&self, process: ProcessKey) -> Option<&[SocketInode]> {
        self.held.get(&process).map(Vec::as_slice)
    }

    /// Remembers the sockets of a process.
    pub(super) fn keep(&mut self, process: ProcessKey, held: Vec<SocketInode>) {
        self.held.insert(process, held);
    }
}
