//! From recorded socket tables to connections, and (in `named`) to the processes that hold them.

mod named;
mod remembered;

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::model::identity::FileIdentity;
use crate::model::socket::{ConnectionState, ListenerId, SocketName};
use crate::sources::kernel::diag::Envelope;
use crate::sources::kernel::diag::encode::{Reply, SocketFacts};
use crate::sources::sockets::namespaces::{Namespace, find_namespaces};
use crate::sources::sockets::recorded::RecordedTables;
use crate::sources::sockets::tables::{NotEntered, Visitor};

const HOST: NetNs = NetNs(10);
const POD: NetNs = NetNs(20);
const NAME: &[u8] = b"/run/docker.sock\0";

/// The listener's file, and another one.
const FILE: Option<FileIdentity> = Some(FileIdentity::from_stat(0x19, 99));
const OTHER_FILE: Option<FileIdentity> = Some(FileIdentity::from_stat(0x19, 98));

fn docker(pending: &[u32]) -> ListeningSocket {
    ListeningSocket {
        inode: SocketInode(1),
        netns: HOST,
        name: SocketName::Path("/run/docker.sock".into()),
        file: FILE,
        pending: pending.iter().copied().map(SocketInode).collect(),
        unlisted: 0,
    }
}

fn abstract_listener() -> ListeningSocket {
    ListeningSocket {
        inode: SocketInode(2),
        netns: HOST,
        name: SocketName::Abstract("docker@".into()),
        file: None,
        pending: Vec::new(),
        unlisted: 0,
    }
}

/// Recorded tables, with another directory of them for each round; the last one is used again. Also the deadline of the
/// walk.
struct Rounds(Vec<PathBuf>, Option<Instant>);

impl SocketTables for Rounds {
    fn method(&self) -> HolderMethod {
        HolderMethod::SockDiag
    }

    fn deadline(&self) -> Option<Instant> {
        self.1
    }

    fn visit(&mut self, namespaces: &[&Namespace], look: &mut Visitor<'_>) -> Vec<NotEntered> {
        let now = if self.0.len() > 1 {
            self.0.remove(0)
        } else {
            self.0[0].clone()
        };
        RecordedTables::new(now).visit(namespaces, look)
    }
}

/// A node with one process in each namespace: 1 in the host's, 2 in the pod's. Neither is in its procfs.
struct Node {
    directory: TempDir,
    rounds: Vec<PathBuf>,
}

impl Node {
    fn new() -> Self {
        Self {
            directory: TempDir::new().expect("a temporary directory"),
            rounds: Vec::new(),
        }
    }

    /// Adds a round with these tables.
    fn round(mut self, tables: &[(NetNs, &[SocketFacts<'_>])]) -> Self {
        let directory = self.directory.path().join(self.rounds.len().to_string());
        fs::create_dir(&directory).expect("a fresh directory");
        for (netns, sockets) in tables {
            let bytes = Reply::dump(Envelope { sequence: 1, port: 2 }, sockets);
            fs::write(RecordedTables::file(&directory, *netns), bytes).expect("a file");
        }
        self.rounds.push(directory);
        self
    }

    fn refuse(self, netns: NetNs) -> Self {
        for round in &self.rounds {
            fs::write(round.join(format!("{}.refused", netns.0)), "").expect("a file");
        }
        self
    }

    /// Sets the table of Unix sockets, as text, of process `pid`.
    fn printed(self, pid: u32, rows: &str) -> Self {
        let net = self.directory.path().join(format!("proc/{pid}/net"));
        fs::create_dir_all(&net).expect("a directory");
        fs::write(net.join("unix"), format!("Num       RefCount\n{rows}")).expect("a file");
        self
    }

    fn find(&self, listeners: &[ListeningSocket]) -> Sighting<ConnectionsSeen> {
        self.find_by(&mut HolderIterator::off(), listeners)
    }

    fn find_by(&self, iterator: &mut HolderIterator, listeners: &[ListeningSocket]) -> Sighting<ConnectionsSeen> {
        let proc = self.directory.path().join("proc");
        let entries = [(1, HOST), (2, POD)].map(|(pid, netns)| ProcessEntry::in_netns(pid, Some(netns)));
        let table = ProcessTable {
            entries: entries.into(),
        };
        let namespaces = find_namespaces(&proc, &table);
        let processes = ProcessView {
            proc: &proc,
            reader: &mut ProcessReader::new(proc.clone()),
            table: &table,
            namespaces: &namespaces,
            memory: &mut HolderMemory::default(),
            iterator,
        };
        find_connections(
            &mut Rounds(self.rounds.clone(), None),
            processes,
            Watch::of(listeners),
            None,
        )
    }
}

type Seen = (u32, Option<NetNs>, ConnectionState);

fn seen(sighting: &Sighting<ConnectionsSeen>) -> Vec<Seen> {
    let connections = &sighting.reading.known().expect("something was looked into").connections;
    connections.iter().map(|c| (c.client.0, c.netns, c.state)).collect()
}

fn reasons(sighting: &Sighting<ConnectionsSeen>) -> Vec<(Reason, Hides, u32)> {
    sighting
        .all_gaps()
        .map(|gap| (gap.reason, gap.hides, gap.count))
        .collect()
}

#[test]
fn connections_are_known_by_the_listeners_file_in_any_namespace() {
    let node = Node::new().round(&[
        (
            HOST,
            &[
                SocketFacts::listening(1, NAME, FILE),
                SocketFacts::accepted(30, NAME, FILE, 31),
                SocketFacts::client(31, 30),
                // Another file under the same name: an engine in a pod, or the socket before a restart.
                SocketFacts::accepted(32, NAME, OTHER_FILE, 33),
                // The client has closed its end.
                SocketFacts::accepted(34, NAME, FILE, 0),
            ],
        ),
        (
            POD,
            &[
                SocketFacts::accepted(40, b"./d\0", FILE, 41),
                SocketFacts::accepted(40, b"./d\0", FILE, 41), // listed twice
            ],
        ),
    ]);
    let sighting = node.find(&[docker(&[])]);
    let accepted = ConnectionState::Accepted;
    assert_eq!(seen(&sighting), [(31, Some(HOST), accepted), (41, Some(POD), accepted)]);
    // No process is in this procfs, and nothing was refused: both connections are reported without a holder.
    assert_eq!(reasons(&sighting), [(Reason::NotFound, Hides::Identity, 2)]);
    assert_eq!(sighting.reading.known().map(|seen| seen.namespaces), Some(2));
}

#[test]
fn an_abstract_name_is_matched_in_its_own_namespace_only() {
    let row = [SocketFacts::accepted(30, b"\0docker\0", None, 31)];
    let other = [SocketFacts::accepted(40, b"\0docker\0", None, 41)];
    let node = Node::new().round(&[(HOST, &row), (POD, &other)]);
    let sighting = node.find(&[abstract_listener()]);
    assert_eq!(seen(&sighting), [(31, Some(HOST), ConnectionState::Accepted)]);
    let connections = &sighting.reading.known().expect("it was looked into").connections;
    assert_eq!(connections[0].listener, ListenerId::Abstract(HOST, "docker@".into()));
}

#[test]
fn a_waiting_client_is_pending_until_accepted_and_counted_once() {
    let icons = [51, 61, 71].map(SocketInode);
    let listener = SocketFacts {
        icons: &icons,
        ..SocketFacts::listening(1, NAME, FILE)
    };
    let node = Node::new().round(&[
        (HOST, &[listener, SocketFacts::accepted(60, NAME, FILE, 61)]),
        (POD, &[SocketFacts::client(51, 0)]),
    ]);
    let sighting = node.find(&[docker(&[51, 61, 71])]);
    assert_eq!(
        seen(&sighting),
        [
            (51, Some(POD), ConnectionState::Pending),
            (61, Some(HOST), ConnectionState::Accepted),
            (71, None, ConnectionState::Pending),
        ]
    );
}

#[test]
fn a_connection_closed_between_two_looks_is_left_out() {
    let icons = [SocketInode(51)];
    let listener = SocketFacts {
        icons: &icons,
        ..SocketFacts::listening(1, NAME, FILE)
    };
    let both = [
        SocketFacts::accepted(30, NAME, FILE, 31),
        SocketFacts::accepted(32, NAME, FILE, 33),
    ];
    let node = Node::new()
        .round(&[(HOST, &both)])
        .round(&[(HOST, &[listener, both[1].clone()])]);
    let sighting = node.find(&[docker(&[51, 53])]);
    let clients: Vec<u32> = seen(&sighting).iter().map(|seen| seen.0).collect();
    assert_eq!(clients, [33, 51]);
}

#[test]
fn a_namespace_that_cannot_be_entered_is_searched_by_name() {
    let refused = Node::new().round(&[(HOST, &[])]).refuse(POD);
    // Process 2 has no table either: it has ended, and its namespace with it.
    assert_eq!(reasons(&refused.find(&[docker(&[])])), []);

    let rows = "0: 00000003 00000000 00000000 0001 03 88 /run/docker.sock\n\
                0: 00000003 00000000 00000000 0001 02  0 /run/docker.sock\n\
                0: 00000003 00000000 00000000 0001 03 89 /run/other.sock\n\
                0: 00000003 00000000 00000000 0002 03 90 /run/docker.sock\n\
                0: 00000003 00000000 00010000 0001 01 91 /run/docker.sock\n";
    let sighting = refused.printed(2, rows).find(&[docker(&[])]);
    assert_eq!(seen(&sighting), [(0, Some(POD), ConnectionState::Accepted)]);
    assert_eq!(reasons(&sighting), [(Reason::PermissionDenied, Hides::Identity, 1)]);

    let garbage = Node::new().round(&[(HOST, &[])]).refuse(POD).printed(2, "");
    fs::write(garbage.directory.path().join("proc/2/net/unix"), b"\x7fELF\xff").expect("a file");
    let sighting = garbage.find(&[docker(&[])]);
    assert_eq!(reasons(&sighting), [(Reason::PermissionDenied, Hides::Client, 1)]);
}

#[test]
fn without_unix_diag_all_connections_are_found_by_name() {
    let node = Node::new().round(&[]);
    let mut no_handler = Reply::new(Envelope { sequence: 1, port: 2 });
    no_handler.error(2); // ENOENT
    let bytes = no_handler.into_bytes();
    for netns in [HOST, POD] {
        fs::write(RecordedTables::file(&node.rounds[0], netns), &bytes).expect("a file");
    }
    let waiting = "0: 00000003 00000000 00000000 0001 02  0 /run/docker.sock\n";
    let node = node.printed(1, "").printed(2, waiting);
    let sighting = node.find(&[docker(&[])]);
    assert_eq!(seen(&sighting), [(0, Some(POD), ConnectionState::Pending)]);
    assert_eq!(reasons(&sighting), [(Reason::NoKernelSupport, Hides::Identity, 1)]);
}

#[test]
fn no_readable_namespace_is_unknown_and_no_listener_is_an_empty_result() {
    let node = Node::new()
        .round(&[])
        .refuse(HOST)
        .refuse(POD)
        .printed(1, "")
        .printed(2, "");
    for pid in [1, 2] {
        fs::write(node.directory.path().join(format!("proc/{pid}/net/unix")), "?").expect("a file");
    }
    let sighting = node.find(&[docker(&[])]);
    let gap = sighting.reading.gap().expect("nothing was seen");
    assert_eq!(
        (gap.reason, gap.hides, gap.count),
        (Reason::PermissionDenied, Hides::Client, 2)
    );

    let idle = node.find(&[]);
    assert_eq!(seen(&idle), []);
    assert_eq!(reasons(&idle), []);
}

/// The recorded procfs is not a live one, so the iterator would be refused if it were asked.
#[test]
fn the_iterator_does_not_run_without_a_connection() {
    let listening = || SocketFacts::listening(1, NAME, FILE);
    let quiet = Node::new().round(&[(HOST, &[listening()]), (POD, &[])]);
    let connected = Node::new().round(&[
        (HOST, &[listening(), SocketFacts::accepted(30, NAME, FILE, 31)]),
        (POD, &[]),
    ]);
    for (node, is_asked) in [(quiet, false), (connected, true)] {
        let mut iterator = HolderIterator::new(true, node.directory.path().join("proc"));
        let sighting = node.find_by(&mut iterator, &[docker(&[])]);
        let seen = sighting.reading.known().expect("it was looked into");
        assert_eq!(seen.iterator_refused.is_some(), is_asked);
        assert_eq!(seen.method, HolderMethod::SockDiag);
        assert_eq!(seen.connections.len(), usize::from(is_asked), "the walk stays");
    }
}

#[test]
fn listeners_of_users_come_after_those_of_the_node() {
    let of_user = ListeningSocket {
        inode: SocketInode(3),
        file: OTHER_FILE,
        ..docker(&[])
    };
    let listeners = [of_user, abstract_listener(), docker(&[])];
    let watch = Watch {
        of_users: &BTreeSet::from([SocketInode(3)]),
        ..Watch::of(&listeners)
    };
    let files: Vec<_> = watch.files().into_iter().map(Some).collect();
    assert_eq!(files, [FILE, OTHER_FILE]);
}
