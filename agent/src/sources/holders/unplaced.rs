//! Connections that an engine holds and that no socket table shows. Their client made them in a network namespace that
//! no process and no mount refers to any more, because the client moved away (setns(2)) or because only one of its
//! threads is in there. The connection itself keeps the namespace alive.
//!
//! castoff cannot see if a client still holds the other end. Therefore the result is gaps and never connections, so
//! that the verdict is not better than the node may be. Before Linux 5.15 streams cannot be recognised, and nothing is
//! found. Tables are read again only if an engine has a stream that is in none of this look's tables and is not known
//! to be something else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::model::engine::EngineSighting;
use crate::model::identity::SocketInode;
use crate::model::reading::{Gap, Hides, Reason};
use crate::sources::engines::held::HeldSocket;
use crate::sources::kernel::diag::table::collect_dump;
use crate::sources::kernel::diag::{Ask, SocketRow, State};
use crate::sources::processes::ProcessReader;
use crate::sources::sockets::namespaces::{Namespace, find_namespaces};
use crate::sources::sockets::protocol::Protocol;
use crate::sources::sockets::tables::SocketTables;

/// Finds such connections, and remembers the engines' sockets that are not accepted connections and never will be.
#[derive(Debug, Default)]
pub struct Unplaced {
    explained: BTreeSet<SocketInode>,
}

impl Unplaced {
    /// Returns the gaps that hide a client among the sockets that `engines` hold. Those in `shown` are in this look's
    /// tables: a client that was seen in them may have moved away since.
    pub fn find_gaps(
        &mut self,
        tables: &mut dyn SocketTables,
        reader: &mut ProcessReader,
        proc: &Path,
        (engines, held): (&[EngineSighting], &BTreeMap<SocketInode, HeldSocket>),
        shown: &BTreeSet<SocketInode>,
    ) -> Vec<Gap> {
        self.explained.retain(|socket| held.contains_key(socket));
        let is_doubtful = |(socket, held): &(&SocketInode, &HeldSocket)| {
            held.protocol == Protocol::UnixStream && !self.explained.contains(socket) && !shown.contains(socket)
        };
        let doubtful: BTreeMap<&SocketInode, &HeldSocket> = held.iter().filter(is_doubtful).collect();
        if doubtful.is_empty() {
            return Vec::new();
        }
        // The current namespaces: a pod may have been created since the process table of this look was read.
        let table = reader.read_table_anew();
        let Some(table) = table.reading.known() else {
            return Vec::new();
        };
        let namespaces = find_namespaces(proc, table);
        let plan: Vec<&Namespace> = namespaces.known.iter().collect();
        let (mut found, mut complete) = (BTreeMap::new(), true);
        let refused = tables.visit(&plan, &mut |_, table| {
            let pick =
                &mut |row: &SocketRow<'_>| doubtful.contains_key(&row.inode).then(|| (row.inode, is_accepted(row)));
            match collect_dump(table, Ask::Any, pick) {
                Ok(sockets) => found.extend(sockets),
                Err(_) => complete = false,
            }
        });
        let mut gaps = Vec::new();
        // If not all could be searched, the connection may be in one of those, and the search for clients has reported
        // that gap.
        if complete && refused.is_empty() && namespaces.unnamed.is_empty() {
            for (socket, held) in doubtful.iter().filter(|(socket, _)| !found.contains_key(**socket)) {
                let is_of_user = engines.get(held.engine).is_some_and(EngineSighting::is_of_user);
                find_gap(reader, **socket, held, is_of_user, &mut gaps);
            }
        }
        let others = found.iter().filter(|(_, is_accepted)| !**is_accepted);
        self.explained.extend(others.map(|(socket, _)| *socket));
        gaps
    }
}

/// True if a socket is the server's end of a connection. A socket that was only created, or that listens, is none.
fn is_accepted(row: &SocketRow<'_>) -> bool {
    row.state == State::CONNECTED && (row.name.is_some() || row.file.is_some())
}

/// Reports a connection, unless it was closed meanwhile: then it need not have been in any table.
fn find_gap(reader: &ProcessReader, socket: SocketInode, held: &HeldSocket, is_of_user: bool, gaps: &mut Vec<Gap>) {
    if reader.read_socket_at(held.pid, held.descriptor) == Some(socket) {
        let asked = format_args!("socket:[{}] of the engine with pid {}", socket.0, held.pid);
        let answer =
            "made in a network namespace without a process or a mount; castoff cannot see the holder of its other end";
        let hides = if is_of_user { Hides::Detail } else { Hides::Client };
        Gap::new(Reason::NotFound, hides, asked, answer).fold_into(gaps);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::engine::EngineKind;
    use crate::model::snapshot::HolderMethod;
    use crate::sources::kernel::diag::encode::{Reply, SocketFacts};
    use crate::sources::kernel::diag::table::{DumpError, SocketTable};
    use crate::sources::kernel::diag::tcp::{TcpAsk, TcpRow};
    use crate::sources::kernel::diag::{Envelope, Message, Messages};
    use crate::sources::recorded::RecordedHost;
    use crate::sources::sockets::tables::{NotEntered, Visitor};

    /// The table of one namespace, which has these sockets or cannot be read.
    struct Table<'a>(Option<&'a [SocketFacts<'a>]>, u32);

    impl SocketTable for Table<'_> {
        fn dump_tcp(&mut self, _: TcpAsk, _: &mut dyn FnMut(&TcpRow)) -> Result<(), DumpError> {
            Ok(())
        }

        fn dump(&mut self, ask: Ask, each: &mut dyn FnMut(&SocketRow<'_>)) -> Result<(), DumpError> {
            self.1 += 1;
            let envelope = Envelope { sequence: 1, port: 1 };
            let sockets = self.0.ok_or(DumpError::Unended)?;
            for message in Messages::new(&Reply::dump(envelope, sockets), envelope) {
                if let Message::SocketRow(row) = message?
                    && ask.takes(row.state)
                {
                    each(&row);
                }
            }
            Ok(())
        }
    }

    impl SocketTables for Table<'_> {
        fn method(&self) -> HolderMethod {
            HolderMethod::SockDiag
        }

        fn visit(&mut self, namespaces: &[&Namespace], look: &mut Visitor<'_>) -> Vec<NotEntered> {
            look(namespaces[0].netns, self);
            Vec::new()
        }
    }

    /// Returns the gaps of a look at an engine of this user, which holds the streams 77 and 78, and 79, which is no
    /// stream.
    fn look(unplaced: &mut Unplaced, uid: u32, table: &mut Table<'_>, shown: &[u32]) -> Vec<(Hides, u32)> {
        let host = RecordedHost::new();
        let process = host.process(800, 1, "dockerd").netns(7);
        process
            .socket(77)
            .socket(78)
            .socket(79)
            .file("status", format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n"));
        let mut reader = host.reader();
        let entry = reader.read_table().reading.known().expect("it is recorded").entries[0].clone();
        let engines = [EngineSighting {
            kind: EngineKind::Dockerd,
            process: reader.describe(&entry),
            awaited_by: None,
            containerd: crate::model::engine::Containerd::Own,
            listeners: Vec::new(),
        }];
        let protocols = [Protocol::UnixStream, Protocol::UnixStream, Protocol::Other];
        let held = (77..).zip(3..).zip(protocols).map(|((socket, descriptor), protocol)| {
            let held = HeldSocket {
                engine: 0,
                pid: entry.key.pid,
                descriptor,
                protocol,
            };
            (SocketInode(socket), held)
        });
        let held: BTreeMap<SocketInode, HeldSocket> = held.collect();
        let shown = shown.iter().map(|inode| SocketInode(*inode)).collect();
        let gaps = unplaced.find_gaps(table, &mut reader, &host.paths().proc, (&engines, &held), &shown);
        gaps.iter().map(|gap| (gap.hides, gap.count)).collect()
    }

    #[test]
    fn an_engines_connection_that_is_in_no_table_hides_a_client() {
        let name = b"/run/docker.sock\0";
        let accepted = |inode| SocketFacts::accepted(inode, name, None, 9);
        let mut unplaced = Unplaced::default();
        let mut look = |table: &mut Table<'_>, shown: &[u32]| look(&mut unplaced, 0, table, shown);
        assert_eq!(look(&mut Table(None, 0), &[]), [], "the other source has said it");
        assert_eq!(look(&mut Table(Some(&[]), 0), &[]), [(Hides::Client, 2)]);
        assert_eq!(look(&mut Table(Some(&[accepted(77)]), 0), &[78]), []);
        let mut table = Table(Some(&[]), 0);
        assert_eq!(
            (look(&mut table, &[77, 78]), table.1),
            (vec![], 0),
            "this look has them already"
        );
        assert_eq!(
            look(&mut Table(Some(&[]), 0), &[78]),
            [(Hides::Client, 1)],
            "its client was seen before and has moved away since"
        );
    }

    #[test]
    fn a_socket_that_is_not_accepted_is_searched_once_and_hides_no_client() {
        let listening = SocketFacts::listening(77, b"/run/docker.sock\0", None);
        let only_made = SocketFacts {
            state: State(7), // TCP_CLOSE of include/net/tcp_states.h
            ..SocketFacts::client(78, 0)
        };
        let mut unplaced = Unplaced::default();
        assert_eq!(
            look(&mut unplaced, 0, &mut Table(Some(&[listening, only_made]), 0), &[]),
            []
        );
        let mut table = Table(Some(&[]), 0);
        assert_eq!((look(&mut unplaced, 0, &mut table, &[]), table.1), (vec![], 0));
    }

    #[test]
    fn an_ordinary_users_engine_hides_no_client_of_the_nodes() {
        assert_eq!(
            look(&mut Unplaced::default(), 1000, &mut Table(Some(&[]), 0), &[]),
            [(Hides::Detail, 2)]
        );
    }
}
