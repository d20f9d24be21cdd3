//! Which process held which listening sockets in the last look.
//!
//! It holds as long as the same sockets listen and the process's row is the one of an earlier reading. So a listener that
//! is new or gone lets every process be asked again, and a listener that was handed on is found within 20 looks, in which
//! each row is read anew once.

use std::collections::BTreeMap;

use crate::model::identity::{ProcessKey, SocketInode};
use crate::model::socket::ListeningSocket;
use crate::sources::processes::{ProcessReader, ProcessTable};

/// What one look remembers for the next.
#[derive(Debug, Default)]
pub struct ListenerMemory {
    listening: Vec<SocketInode>,
    held: BTreeMap<ProcessKey, Vec<SocketInode>>,
}

impl ListenerMemory {
    /// Begins a look at these listening sockets and processes.
    pub(super) fn begin(&mut self, reader: &ProcessReader, table: &ProcessTable, listening: &[ListeningSocket]) {
        if self.listening.iter().ne(listening.iter().map(|socket| &socket.inode)) {
            self.held.clear();
            self.listening.clear();
            self.listening.extend(listening.iter().map(|socket| socket.inode));
        }
        let holds = |key: &ProcessKey| table.get(key.pid).is_some_and(|e| e.key == *key) && reader.was_kept(*key);
        self.held.retain(|key, _| holds(key));
    }

    /// True if one listens that did not in the last look: perhaps an engine's, whose process was another program before.
    pub fn finds_new(&self, listening: &[ListeningSocket]) -> bool {
        let is_new = |socket: &ListeningSocket| self.listening.binary_search(&socket.inode).is_err();
        !self.listening.is_empty() && listening.iter().any(is_new)
    }

    /// What is remembered of a process.
    pub(super) fn get(&self, process: ProcessKey) -> Option<&[SocketInode]> {
        self.held.get(&process).map(Vec::as_slice)
    }

    /// Remembers what was read of one.
    pub(super) fn keep(&mut self, process: ProcessKey, held: Vec<SocketInode>) {
        self.held.insert(process, held);
    }
}
