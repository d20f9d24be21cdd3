use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use tempfile::TempDir;

use super::*;
use crate::model::socket::ListenerId;
use crate::sources::kernel::diag::encode::{Reply, SocketFacts};
use crate::sources::kernel::diag::tcp::{TcpAsk, TcpRow};
use crate::sources::kernel::diag::{Envelope, Kind, Message, Messages};
use crate::sources::processes::{ProcessEntry, ProcessTable};
use crate::sources::sockets::namespaces::find_namespaces;
use crate::sources::sockets::recorded::RecordedTables;
use crate::sources::sockets::tables::{NotEntered, Visitor};

const HOST: NetNs = NetNs(10);
const POD: NetNs = NetNs(20);
const ENVELOPE: Envelope = Envelope { sequence: 1, port: 2 };

fn file(inode: u64) -> FileIdentity {
    FileIdentity::from_stat(0x19, inode)
}

/// Returns one process in each namespace: 1 in the host's, 2 in the pod's.
fn namespaces(proc: &Path) -> Namespaces {
    let entries = [(1, HOST), (2, POD)].map(|(pid, netns)| ProcessEntry::in_netns(pid, Some(netns)));
    find_namespaces(
        proc,
        &ProcessTable {
            entries: entries.into(),
        },
    )
}

fn record(directory: &TempDir, netns: NetNs, bytes: &[u8]) {
    fs::write(RecordedTables::file(directory.path(), netns), bytes).expect("a file");
}

fn find(directory: &TempDir) -> Sighting<Vec<ListeningSocket>> {
    let mut tables = RecordedTables::new(directory.path().into());
    find_listening_sockets(&mut tables, directory.path(), &namespaces(directory.path()))
}

fn reasons(sighting: &Sighting<Vec<ListeningSocket>>) -> Vec<(Reason, Hides)> {
    sighting.all_gaps().map(|gap| (gap.reason, gap.hides)).collect()
}

#[test]
fn listeners_of_all_namespaces_have_their_waiting_clients() {
    let directory = TempDir::new().expect("a temporary directory");
    let waiting = [SocketInode(7), SocketInode(0)];
    let docker = SocketFacts {
        icons: &waiting,
        ..SocketFacts::listening(3, b"/run/docker.sock\0", Some(file(99)))
    };
    let datagram = SocketFacts {
        kind: Kind::DATAGRAM,
        ..SocketFacts::listening(5, b"/dev/log\0", Some(file(98)))
    };
    let unnamed = SocketFacts {
        name: None,
        ..SocketFacts::listening(6, b"", None)
    };
    let rows = [
        SocketFacts::accepted(4, b"/run/docker.sock\0", Some(file(99)), 8),
        docker.clone(),
        docker, // it moved in its hash chain, so it is dumped twice
        datagram,
        unnamed,
    ];
    record(&directory, HOST, &Reply::dump(ENVELOPE, &rows));
    let packets = SocketFacts {
        kind: Kind::SEQUENCED,
        ..SocketFacts::listening(2, b"\0a\0\xff", None)
    };
    record(&directory, POD, &Reply::dump(ENVELOPE, &[packets]));

    let seen = find(&directory);
    assert_eq!(reasons(&seen), []);
    let sockets = seen.reading.known().expect("both were read");
    let [packets, docker] = sockets.as_slice() else {
        panic!("{sockets:?}");
    };
    assert_eq!(docker.id(), Some(ListenerId::File(file(99))));
    assert_eq!(docker.name, SocketName::Path("/run/docker.sock".into()));
    assert_eq!((docker.netns, &*docker.pending), (HOST, &[SocketInode(7)][..]));
    assert_eq!(packets.id(), Some(ListenerId::Abstract(POD, "a@\u{fffd}".into())));
}

#[test]
fn redundant_slashes_are_not_part_of_the_name() {
    let path = |path: &str| SocketName::Path(path.into());
    for (bound, name) in [
        // Podman 3.0 binds the rest of `unix:///run/podman/podman.sock` after `unix:`, which has too many slashes.
        (&b"///run/podman/podman.sock"[..], path("/run/podman/podman.sock")),
        (b"/run//user/1000///docker.sock", path("/run/user/1000/docker.sock")),
        (b"docker//x.sock", path("docker/x.sock")),
        (b"/run/docker.sock", path("/run/docker.sock")),
        (b"//", path("/")),
    ] {
        assert_eq!(bound_name(bound), Some(name.clone()));
        assert_eq!(printed_name(bound), name);
    }
    let abstract_name = SocketName::Abstract("//x".into());
    assert_eq!(bound_name(b"\0//x"), Some(abstract_name.clone()));
    assert_eq!(printed_name(b"@//x"), abstract_name);
}

#[test]
fn an_unreadable_namespace_hides_an_engine() {
    let directory = TempDir::new().expect("a temporary directory");
    let whole = Reply::dump(ENVELOPE, &[SocketFacts::listening(3, b"/x\0", Some(file(1)))]);
    record(&directory, HOST, &whole);
    let mut no_handler = Reply::new(ENVELOPE);
    no_handler.error(2);
    for (bytes, reason) in [
        (no_handler.into_bytes(), Reason::NoKernelSupport),
        (b"garbage that is longer than a header".to_vec(), Reason::ProtocolError),
        (Vec::new(), Reason::ProtocolError),
        (whole[..whole.len() - 20].to_vec(), Reason::ProtocolError),
    ] {
        record(&directory, POD, &bytes);
        let seen = find(&directory);
        assert_eq!(reasons(&seen), [(reason, Hides::Engine)]);
        assert_eq!(seen.reading.known().map(Vec::len), Some(1));
    }
    fs::write(directory.path().join("20.refused"), "").expect("a file");
    assert_eq!(reasons(&find(&directory)), [(Reason::PermissionDenied, Hides::Engine)]);
    fs::write(directory.path().join("10.refused"), "").expect("a file");
    let nothing = find(&directory);
    assert_eq!(
        nothing.reading.gap().map(|gap| (gap.reason, gap.count)),
        Some((Reason::PermissionDenied, 2))
    );
}

#[test]
fn no_namespace_at_all_is_unknown() {
    let directory = TempDir::new().expect("a temporary directory");
    let mut tables = RecordedTables::new(directory.path().into());
    let seen = find_listening_sockets(&mut tables, directory.path(), &Namespaces::default());
    assert_eq!(seen.reading.gap().map(|gap| gap.reason), Some(Reason::DependsOnAnother));
}

#[test]
fn names_are_used_if_the_kernel_cannot_be_asked() {
    let directory = TempDir::new().expect("a temporary directory");
    fs::write(directory.path().join("20.refused"), "").expect("a file");
    let proc = directory.path().join("2");
    fs::create_dir_all(proc.join("net")).expect("a directory");
    fs::create_dir_all(proc.join("root/run")).expect("a directory");
    let socket = std::os::unix::net::UnixListener::bind(proc.join("root/run/d.sock")).expect("a fresh name");
    let table = |name: &str| {
        let row = format!("00000000: 00000002 00000000 00010000 0001 01 77 {name}");
        fs::write(proc.join("net/unix"), format!("Num RefCount\n{row}\n")).expect("a file");
    };
    table("/run/d.sock");
    let seen = find(&directory);
    assert_eq!(reasons(&seen), []);
    let found = seen.reading.known().expect("by name");
    assert_eq!((found[0].inode, found[0].netns), (SocketInode(77), POD));
    assert!(found[0].file.is_some());
    // Without its file the owner of the socket cannot be determined.
    table("/run/other.sock");
    assert_eq!(reasons(&find(&directory)), [(Reason::PermissionDenied, Hides::Engine)]);
    drop(socket);
}

/// Answers like the kernel when a backlog is longer than it lists: the dump ends early.
struct CutBacklogs(BTreeMap<NetNs, Vec<u8>>);

impl SocketTables for CutBacklogs {
    fn method(&self) -> crate::model::snapshot::HolderMethod {
        crate::model::snapshot::HolderMethod::SockDiag
    }

    fn visit(&mut self, _: &[&Namespace], look: &mut Visitor<'_>) -> Vec<NotEntered> {
        for (netns, bytes) in &self.0 {
            look(*netns, &mut CutBacklog(bytes));
        }
        Vec::new()
    }
}

struct CutBacklog<'a>(&'a [u8]);

impl SocketTable for CutBacklog<'_> {
    fn dump_tcp(&mut self, _: TcpAsk, _: &mut dyn FnMut(&TcpRow)) -> Result<(), DumpError> {
        Ok(())
    }

    fn dump(&mut self, ask: Ask, each: &mut dyn FnMut(&SocketRow<'_>)) -> Result<(), DumpError> {
        for message in Messages::new(self.0, ENVELOPE) {
            if let (Message::SocketRow(row), Ask::Listening) = (message?, ask) {
                each(&row);
            }
        }
        Ok(())
    }
}

#[test]
fn a_backlog_too_long_to_list_is_reported_and_hides_no_listener() {
    for (length, unlisted) in [(600, 600), (1, 0)] {
        let waiting = vec![SocketInode(5); length];
        let socket = SocketFacts {
            icons: &waiting,
            ..SocketFacts::listening(3, b"/x\0", Some(file(1)))
        };
        let bytes = Reply::dump(ENVELOPE, &[socket]);
        let mut tables = CutBacklogs(BTreeMap::from([(HOST, bytes)]));
        let seen = find_listening_sockets(
            &mut tables,
            Path::new("/nonexistent"),
            &namespaces(Path::new("/nonexistent")),
        );
        let found = seen.reading.known().expect("one listens");
        assert_eq!(found.iter().map(|l| l.unlisted).collect::<Vec<_>>(), [unlisted]);
    }
}

#[test]
fn a_flood_of_listeners_displaces_none_that_engines_hold() {
    let directory = TempDir::new().expect("a temporary directory");
    let mut rows: Vec<SocketFacts<'_>> = (10..40).map(|n| SocketFacts::listening(n, b"/tmp/x\0", None)).collect();
    rows.push(SocketFacts::listening(50, b"/run/docker.sock\0", Some(file(1))));
    rows.push(SocketFacts::listening(51, b"/srv/engine.sock\0", Some(file(2))));
    record(&directory, HOST, &Reply::dump(ENVELOPE, &rows));
    let mut tables = RecordedTables::new(directory.path().into());
    let mut seen = find_sockets(&mut tables, directory.path(), &namespaces(directory.path()), true);
    seen.bound_to(3, &|_| BTreeSet::from([SocketInode(51)]));
    let kept: Vec<u32> = seen
        .listening
        .reading
        .known()
        .expect("they listen")
        .iter()
        .map(|l| l.inode.0)
        .collect();
    assert_eq!(kept, [10, 50, 51]);
    assert_eq!(reasons(&seen.listening), [(Reason::LimitReached, Hides::Detail)]);
}

#[test]
fn a_limit_that_cuts_sockets_of_engines_may_hide_an_engine() {
    let directory = TempDir::new().expect("a temporary directory");
    let rows: Vec<SocketFacts<'_>> = (10..14)
        .map(|n| SocketFacts::listening(n, b"/tmp/docker.sock\0", None))
        .collect();
    record(&directory, HOST, &Reply::dump(ENVELOPE, &rows));
    let mut tables = RecordedTables::new(directory.path().into());
    let mut seen = find_sockets(&mut tables, directory.path(), &namespaces(directory.path()), true);
    seen.bound_to(3, &|_| BTreeSet::new());
    assert_eq!(reasons(&seen.listening), [(Reason::LimitReached, Hides::Engine)]);
}
