//! Recorded socket tables, one file for each network namespace, so that everything above the kernel can be tested
//! without one.
//!
//! `<directory>/<inode of the namespace>.diag` has the kernel's own bytes: the datagrams of a dump in sequence, with
//! sockets in any state ([`crate::sources::kernel::diag::encode`] writes such files). A namespace without a file could
//! be entered and has no Unix sockets. `<inode>.tcp` has its TCP sockets in the same format. A namespace with a file
//! `<inode>.refused` could not be entered.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::namespaces::Namespace;
use super::tables::{EnterError, NotEntered, SocketTables, Visitor};
use crate::model::identity::NetNs;
use crate::model::snapshot::HolderMethod;
use crate::sources::kernel::diag::table::{DumpError, SocketTable};
use crate::sources::kernel::diag::tcp::{TcpAsk, TcpRow};
use crate::sources::kernel::diag::{Ask, Envelope, Message, Messages, SocketRow};

/// The extension of a file of TCP sockets.
const TCP: &str = "tcp";

/// Recorded tables.
#[derive(Clone, Debug)]
pub struct RecordedTables {
    directory: PathBuf,
}

impl RecordedTables {
    /// Returns the tables in `directory`.
    pub const fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Returns the path of the table of `netns`.
    pub fn file(directory: &Path, netns: NetNs) -> PathBuf {
        directory.join(format!("{}.diag", netns.0))
    }

    /// Returns the path of its TCP sockets.
    pub fn tcp_file(directory: &Path, netns: NetNs) -> PathBuf {
        Self::file(directory, netns).with_extension(TCP)
    }
}

impl SocketTables for RecordedTables {
    fn method(&self) -> HolderMethod {
        HolderMethod::SockDiag
    }

    fn visit(&mut self, namespaces: &[&Namespace], look: &mut Visitor<'_>) -> Vec<NotEntered> {
        let mut not_entered = Vec::new();
        for namespace in namespaces {
            let netns = namespace.netns;
            let path = Self::file(&self.directory, netns);
            if path.with_extension("refused").exists() {
                let error = EnterError::Enter(io::ErrorKind::PermissionDenied.into());
                not_entered.push(NotEntered { netns, error });
            } else {
                look(netns, &mut RecordedTable { path });
            }
        }
        not_entered
    }
}

struct RecordedTable {
    path: PathBuf,
}

impl SocketTable for RecordedTable {
    fn dump(&mut self, ask: Ask, each: &mut dyn FnMut(&SocketRow<'_>)) -> Result<(), DumpError> {
        replay(&self.path, &mut |record| match record {
            Message::SocketRow(row) if ask.takes(row.state) => each(row),
            _ => {}
        })
    }

    fn dump_tcp(&mut self, ask: TcpAsk, each: &mut dyn FnMut(&TcpRow)) -> Result<(), DumpError> {
        replay(&self.path.with_extension(TCP), &mut |record| match record {
            Message::Tcp(row) if ask.takes(row) => each(row),
            _ => {}
        })
    }
}

/// Calls `each` with the records in the file at `path`; with none if there is no such file.
fn replay(path: &Path, each: &mut dyn FnMut(&Message<'_>)) -> Result<(), DumpError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            let path = path.display().to_string();
            return Err(DumpError::Recording { path, source });
        }
    };
    let envelope = Envelope::of(&bytes).ok_or(DumpError::Unended)?;
    for message in Messages::new(&bytes, envelope) {
        match message? {
            record @ (Message::SocketRow(_) | Message::Tcp(_)) => each(&record),
            Message::Done => return Ok(()),
            Message::Refused(errno) => return Err(DumpError::Refused(io::Error::from_raw_os_error(errno))),
            Message::Interrupted | Message::Overrun => return Err(DumpError::Interrupted),
        }
    }
    Err(DumpError::Unended)
}
