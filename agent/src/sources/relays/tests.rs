use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use super::*;
use crate::model::identity::{FileIdentity, NetNs, Pid};
use crate::model::relay::ClientEnd;
use crate::model::socket::{ConnectionState, SocketName};
use crate::sources::kernel::diag::{SocketRow, State};
use crate::sources::recorded::RecordedHost;
use crate::sources::sockets::connected::{Connected, ConnectedSocket};
use crate::sources::sockets::protocol::ProtocolMemory;
use crate::sources::sockets::tcp::{TcpClient, TcpConnection, TcpSeen};

const HOST: NetNs = NetNs(10);

fn socket(inode: u32, name: SocketName, file: Option<FileIdentity>) -> ListeningSocket {
    ListeningSocket {
        inode: SocketInode(inode),
        netns: HOST,
        name,
        file,
        pending: Vec::new(),
        unlisted: 0,
    }
}

/// `/run/front.sock`.
fn front(inode: u32) -> ListeningSocket {
    let file = FileIdentity::from_stat(0x19, 7);
    socket(inode, SocketName::Path("/run/front.sock".to_owned()), Some(file))
}

fn ssh() -> ListeningSocket {
    socket(22, SocketName::Tcp(([0, 0, 0, 0], 22).into()), None)
}

fn run(host: &RecordedHost, pid: u32, parent: u32, executable: &str, sockets: &[u32]) {
    let process = host.process(pid, parent, "x").exe(executable).in_host_root();
    sockets.iter().fold(process, |process, socket| process.socket(*socket));
}

/// Returns the server's end `inode` of a connection to the front, whose client's end is `client`.
fn accepted(inode: u32, client: u32) -> ConnectedSocket {
    let mut row = SocketRow::bare(SocketInode(inode), State::CONNECTED);
    (row.name, row.file) = (Some(&b"/run/front.sock\0"[..]), front(1).file);
    row.peer = Some(SocketInode(client));
    ConnectedSocket::of(HOST, &row).expect("it has a name")
}

fn over_tcp(server: u32, client: TcpClient) -> TcpConnection {
    TcpConnection {
        listener: SocketInode(22),
        server: SocketInode(server),
        state: ConnectionState::Accepted,
        client,
    }
}

/// Finds the relays among the processes of `host` that hold the connections `outgoing` to an engine: pid and inode.
fn find(
    host: &RecordedHost,
    outgoing: &[(u32, u32)],
    connected: Vec<ConnectedSocket>,
    tcp: &TcpSeen,
    front: ListeningSocket,
) -> Vec<RelaySighting> {
    let mut reader = host.reader();
    let table = reader.read_table();
    let table = table.reading.known().expect("the processes are recorded");
    let engine = ListenerId::Abstract(HOST, "engine".to_owned());
    let connection = |(pid, inode): &(u32, u32)| {
        let entry = table
            .entries
            .iter()
            .find(|entry| entry.key.pid.0 == *pid)
            .expect("it is recorded");
        let holders = vec![reader.describe(entry).expect("it is recorded")];
        Connection {
            listener: engine.clone(),
            ..crate::model::sample::connection(*inode, holders)
        }
    };
    let outgoing: Vec<Connection> = outgoing.iter().map(connection).collect();
    let mut candidates = Candidates::default();
    candidates.add(&reader, table, &outgoing, &|_| false);
    assert!(candidates.read_sockets(&reader, &host.paths().proc, &mut ProtocolMemory::default()));
    let held = candidates.held();
    let connected = Connected {
        sockets: connected,
        ..Connected::default()
    };
    let ends = Ends::new(&held, Some(&connected), tcp);
    let listening: Vec<ListeningSocket> = std::iter::once(front).chain(tcp.listening.iter().cloned()).collect();
    candidates.find_listeners(&listening, &ends, &|_| Role::Other);
    candidates.count_steps();
    candidates.into_relays()
}

fn told(relays: &[RelaySighting]) -> Vec<(String, Option<RelayBasis>, Vec<ClientEnd>)> {
    let listeners = relays
        .iter()
        .flat_map(|relay| relay.listeners.iter().map(move |listener| (relay, listener)));
    let each = listeners.map(|(relay, listener)| {
        let passed = relay.passed.iter().filter(|(id, _)| *id == listener.id);
        (
            listener.name.to_string(),
            listener.basis,
            passed.map(|(_, end)| *end).collect(),
        )
    });
    each.collect()
}

#[test]
fn a_process_for_each_client_proves_the_clients_use() {
    let host = RecordedHost::new();
    run(&host, 10, 1, "/usr/bin/socat", &[1]);
    run(&host, 11, 10, "/usr/bin/socat", &[50, 60]);
    let relays = find(
        &host,
        &[(11, 60)],
        vec![accepted(50, 70)],
        &TcpSeen::default(),
        front(1),
    );
    let end = ClientEnd::Socket(SocketInode(70));
    let expected = ("/run/front.sock".to_owned(), Some(RelayBasis::Process), vec![end]);
    assert_eq!(told(&relays), [expected]);
    assert_eq!(relays[0].process.key.pid.0, 10);
}

#[test]
fn a_relay_with_a_closed_listener_is_known_by_its_connection() {
    let host = RecordedHost::new();
    run(&host, 10, 1, "/usr/bin/socat", &[50, 60]);
    let relays = find(
        &host,
        &[(10, 60)],
        vec![accepted(50, 70)],
        &TcpSeen::default(),
        front(50),
    );
    let end = ClientEnd::Socket(SocketInode(70));
    assert_eq!(
        told(&relays),
        [("/run/front.sock".to_owned(), Some(RelayBasis::Process), vec![end])]
    );
}

#[test]
fn a_web_server_proves_nothing_against_its_visitors() {
    let host = RecordedHost::new();
    // Pre-forked workers, each with its own connection to the engine, hold the listener.
    run(&host, 10, 1, "/usr/bin/web", &[1]);
    run(&host, 11, 10, "/usr/bin/web", &[1, 50, 60]);
    run(&host, 12, 10, "/usr/bin/web", &[1, 51, 61]);
    let connected = vec![accepted(50, 70), accepted(51, 71)];
    let relays = find(&host, &[(11, 60), (12, 61)], connected, &TcpSeen::default(), front(1));
    assert_eq!(told(&relays), [("/run/front.sock".to_owned(), None, Vec::new())]);
}

#[test]
fn a_forwarding_over_ssh_accuses_no_other_session() {
    let host = RecordedHost::new();
    run(&host, 10, 1, "/usr/sbin/sshd", &[22]);
    run(&host, 11, 10, "/usr/sbin/sshd", &[50, 60]);
    run(&host, 12, 10, "/usr/sbin/sshd", &[51]);
    let address = [192, 0, 2, 9].into();
    let tcp = TcpSeen {
        listening: vec![ssh()],
        connections: vec![
            over_tcp(50, TcpClient::Remote(address)),
            over_tcp(51, TcpClient::Remote([192, 0, 2, 8].into())),
        ],
        gaps: Vec::new(),
    };
    let relays = find(&host, &[(11, 60)], Vec::new(), &tcp, front(1));
    let end = ClientEnd::Remote(address);
    assert_eq!(
        told(&relays),
        [("tcp://0.0.0.0:22".to_owned(), Some(RelayBasis::Process), vec![end])]
    );
}

const OF_USER: &str = "/user.slice/user-1000.slice/session-1.scope";

fn of_container() -> String {
    format!("/docker/{}", "4f2a".repeat(16))
}

/// Pids of as many programs as are kept.
fn flood() -> std::ops::Range<u32> {
    1_000..1_000 + u32::try_from(RELAYS_KEPT).expect("it fits")
}

fn run_as(host: &RecordedHost, pid: u32, uid: u32, group: &str) {
    let client = host.process(pid, 1, "x").exe(&format!("/srv/{pid}")).in_host_root();
    let status = format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n");
    client.cgroup(group).file("status", status);
}

/// Adds a connection of each of these processes.
fn add(candidates: &mut Candidates, reader: &ProcessReader, table: &ProcessTable, pids: &[u32]) {
    let holder = |pid: &u32| Process {
        key: table.get(Pid(*pid)).expect("it is recorded").key,
        ..crate::model::sample::process(*pid, "/srv/client")
    };
    let connections: Vec<Connection> = pids
        .iter()
        .map(|pid| crate::model::sample::connection(*pid, vec![holder(pid)]))
        .collect();
    candidates.add(reader, table, &connections, &|_| false);
}

#[test]
fn a_client_is_read_once_in_a_look() {
    let host = RecordedHost::new();
    flood().for_each(|pid| run_as(&host, pid, 1_000, OF_USER));
    run_as(&host, 2_000, 1_000, OF_USER);
    let mut reader = host.reader();
    let table = reader.read_table();
    let table = table.reading.known().expect("the processes are recorded");
    let mut candidates = Candidates::default();
    let all: Vec<u32> = flood().chain([2_000]).collect();
    add(&mut candidates, &reader, table, &all);
    assert!(candidates.gap().is_some());
    // If the first was read again, it would have ended. If the last was, it would be one of root.
    let proc = host.paths().proc;
    std::fs::rename(proc.join("1000"), proc.join("ended")).expect("it is recorded");
    run_as(&host, 2_000, 0, "/system.slice/proxy.service");
    candidates.relays.values_mut().for_each(|relay| relay.outgoing.clear());
    add(&mut candidates, &reader, table, &[1_000, 2_000]);
    let connected = candidates.relays.values().filter(|relay| !relay.outgoing.is_empty());
    assert_eq!(
        connected.map(|relay| relay.process.key.pid.0).collect::<Vec<_>>(),
        [1_000]
    );
}

#[test]
fn a_flood_of_a_user_displaces_no_relay_of_root_or_of_a_container() {
    let host = RecordedHost::new();
    flood().for_each(|pid| run_as(&host, pid, 1_000, OF_USER));
    run_as(&host, 2_000, 99, &of_container());
    run_as(&host, 2_001, 0, "/system.slice/proxy.service");
    let mut reader = host.reader();
    let table = reader.read_table();
    let table = table.reading.known().expect("the processes are recorded");
    let mut candidates = Candidates::default();
    let mut look = |pids: Vec<u32>| {
        add(&mut candidates, &reader, table, &pids);
        let kept: Vec<u32> = candidates.relays.keys().map(|key| key.pid.0).collect();
        (kept, candidates.gap().map(|gap| (gap.reason, gap.answer)))
    };
    let (kept, gap) = look(flood().collect());
    assert_eq!((kept.len(), gap), (RELAYS_KEPT, None));
    let told = |count| format!("{count} programs use an engine, 256 are kept");
    for (pid, count) in [(2_000, 257), (2_001, 258)] {
        let (kept, gap) = look(vec![pid]);
        assert_eq!(gap, Some((Reason::LimitReached, told(count))));
        assert!(
            kept.len() == RELAYS_KEPT && kept.contains(&pid),
            "{pid} is kept: {kept:?}"
        );
    }
    let (kept, gap) = look(flood().collect());
    assert_eq!(gap, Some((Reason::LimitReached, told(258))), "no client counts twice");
    assert!(kept.contains(&2_000) && kept.contains(&2_001), "{kept:?}");
}

#[test]
fn relays_that_a_user_proves_keep_out_no_new_client_of_a_container() {
    let host = RecordedHost::new();
    flood().for_each(|pid| run_as(&host, pid, 1_000, OF_USER));
    run_as(&host, 2_000, 99, &of_container());
    let mut reader = host.reader();
    let table = reader.read_table();
    let table = table.reading.known().expect("the processes are recorded");
    let mut candidates = Candidates::default();
    add(&mut candidates, &reader, table, &flood().collect::<Vec<_>>());
    candidates.relays.values_mut().for_each(prove);
    add(&mut candidates, &reader, table, &[2_000]);
    let kept: Vec<u32> = candidates.relays.keys().map(|key| key.pid.0).collect();
    assert_eq!(kept.len(), RELAYS_KEPT);
    assert!(kept.ends_with(&[2_000]), "{kept:?}");
}

/// Adds a listener with evidence.
fn prove(relay: &mut RelaySighting) {
    relay.listeners.push(RelayListener {
        id: ListenerId::Abstract(HOST, "front".to_owned()),
        name: SocketName::Abstract("front".to_owned()),
        socket: SocketInode(1),
        netns: HOST,
        basis: Some(RelayBasis::Pairs),
        accepted: 2,
        steps: Steps::default(),
    });
}

#[test]
fn a_flood_of_a_container_displaces_no_proven_relay() {
    let host = RecordedHost::new();
    run_as(&host, 2_000, 1_000, OF_USER);
    flood().for_each(|pid| run_as(&host, pid, 0, &of_container()));
    run_as(&host, 2_001, 0, "/system.slice/proxy.service");
    let mut reader = host.reader();
    let table = reader.read_table();
    let table = table.reading.known().expect("the processes are recorded");
    let mut candidates = Candidates::default();
    add(&mut candidates, &reader, table, &[2_000]);
    let proven = table.get(Pid(2_000)).expect("it is recorded").key;
    prove(candidates.relays.get_mut(&proven).expect("it is kept"));
    add(&mut candidates, &reader, table, &flood().collect::<Vec<_>>());
    assert!(candidates.relays.contains_key(&proven));
    // Root's programs come first, and take the place of one that is not proven.
    add(&mut candidates, &reader, table, &[2_001]);
    let kept: Vec<u32> = candidates.relays.keys().map(|key| key.pid.0).collect();
    assert_eq!(kept.len(), RELAYS_KEPT);
    assert!(kept.ends_with(&[2_000, 2_001]), "{kept:?}");
}

#[test]
fn only_sockets_that_may_be_tcp_are_searched_in_the_tables_of_tcp() {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (stream, _other) = UnixStream::pair().expect("two sockets");
    let [tcp, stream] = [tcp.as_fd(), stream.as_fd()].map(|socket| {
        let inode = rustix::fs::fstat(socket).expect("its status").st_ino;
        SocketInode(u32::try_from(inode).expect("an inode of a socket"))
    });
    let mut reader = ProcessReader::new("/proc".into());
    let table = reader.read_table();
    let table = table.reading.known().expect("the table of this machine");
    let own = table.get(Pid(std::process::id())).expect("this process").key;
    let mut candidates = Candidates::default();
    candidates.members.insert(own, [own].into());
    assert!(candidates.read_sockets(&reader, Path::new("/proc"), &mut ProtocolMemory::default()));
    assert!(candidates.held().is_superset(&[tcp, stream].into()));
    assert!(candidates.tcp().contains(&tcp) && !candidates.tcp().contains(&stream));
}
