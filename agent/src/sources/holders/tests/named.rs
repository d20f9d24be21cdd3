//! Finds the processes that hold a connection, on a recorded procfs: in the same namespace, elsewhere, several, late
//! ones, none.

use super::*;
use crate::sources::recorded::RecordedHost;

/// Returns a node whose pod namespace has one accepted connection, with socket 41 at the client's end.
fn one_connection() -> Node {
    Node::new().round(&[(HOST, &[]), (POD, &[SocketFacts::accepted(40, NAME, FILE, 41)])])
}

/// Looks at `host` with the process table as it was before `late` ran.
fn find_with(host: &RecordedHost, tables: &Node, late: impl FnOnce()) -> Sighting<ConnectionsSeen> {
    find_until(host, tables, None, late)
}

/// Does the same, with a deadline of the walk.
fn find_until(
    host: &RecordedHost,
    tables: &Node,
    deadline: Option<Instant>,
    late: impl FnOnce(),
) -> Sighting<ConnectionsSeen> {
    let proc = host.paths().proc;
    let mut reader = host.reader();
    let table = reader
        .read_table()
        .reading
        .known()
        .cloned()
        .expect("processes were recorded");
    let namespaces = find_namespaces(&proc, &table);
    late();
    let processes = ProcessView {
        proc: &proc,
        reader: &mut reader,
        table: &table,
        namespaces: &namespaces,
        memory: &mut HolderMemory::default(),
        iterator: &mut HolderIterator::off(),
    };
    find_connections(
        &mut Rounds(tables.rounds.clone(), deadline),
        processes,
        Watch::of(&[docker(&[])]),
        None,
    )
}

fn find_on(host: &RecordedHost, tables: &Node) -> Sighting<ConnectionsSeen> {
    find_with(host, tables, || {})
}

/// Returns the pids that hold each connection.
fn holders(sighting: &Sighting<ConnectionsSeen>) -> Vec<Vec<u32>> {
    let connections = &sighting.reading.known().expect("something was looked into").connections;
    let pids = |connection: &Connection| connection.holders.iter().map(|holder| holder.key.pid.0).collect();
    connections.iter().map(pids).collect()
}

#[test]
fn every_process_of_the_namespace_with_a_descriptor_is_a_holder() {
    let host = RecordedHost::new();
    host.process(1, 0, "init").netns(HOST.0).socket(3);
    host.process(5, 1, "engine").netns(HOST.0).socket(1).socket(40);
    host.process(7, 1, "client").netns(POD.0).socket(41).socket(41);
    host.process(8, 7, "forked").netns(POD.0).socket(2).socket(41);
    host.process(9, 1, "other").netns(POD.0).socket(4100);
    let sighting = find_on(&host, &one_connection());
    assert_eq!(holders(&sighting), [[7, 8]]);
    assert_eq!(reasons(&sighting), []);
}

#[test]
fn a_holder_elsewhere_is_found_if_the_namespace_has_none() {
    let host = RecordedHost::new();
    host.process(1, 0, "init").netns(HOST.0);
    host.process(7, 1, "sender").netns(POD.0);
    // It received the descriptor, or has moved to this namespace since.
    host.process(9, 1, "receiver").netns(HOST.0).socket(41);
    let sighting = find_on(&host, &one_connection());
    assert_eq!(holders(&sighting), [[9]]);
    assert_eq!(reasons(&sighting), []);
}

#[test]
fn a_process_started_after_the_table_was_read_is_found() {
    let host = RecordedHost::new();
    host.process(1, 0, "init").netns(HOST.0);
    host.process(7, 1, "pause").netns(POD.0);
    let sighting = find_with(&host, &one_connection(), || {
        host.process(11, 1, "late").netns(POD.0).socket(41);
    });
    assert_eq!(holders(&sighting), [[11]]);
    assert_eq!(reasons(&sighting), []);
}

#[test]
fn a_connection_without_a_holder_is_kept_with_a_gap() {
    let host = RecordedHost::new();
    host.process(1, 0, "init").netns(HOST.0);
    let gone = host.process(7, 1, "gone").netns(POD.0).socket(41).path("");
    let unreadable = host.process(8, 1, "unreadable").netns(POD.0).path("fd");
    fs::remove_dir(&unreadable).expect("it is empty");
    fs::write(&unreadable, "").expect("a file where a directory is expected");
    let sighting = find_with(&host, &one_connection(), || {
        fs::remove_dir_all(gone).expect("it was recorded");
    });
    assert_eq!(holders(&sighting), [Vec::<u32>::new()]);
    // The unreadable process may be the holder. The other has ended, which is no gap.
    assert_eq!(reasons(&sighting), [(Reason::HostError, Hides::Identity, 1)]);
}

#[test]
fn a_walk_past_its_deadline_gives_the_connection_and_a_gap() {
    let host = RecordedHost::new();
    host.process(1, 0, "init").netns(HOST.0);
    host.process(7, 1, "client").netns(POD.0).socket(41);
    let sighting = find_until(&host, &one_connection(), Some(Instant::now()), || {});
    assert_eq!(holders(&sighting), [Vec::<u32>::new()]);
    assert_eq!(reasons(&sighting), [(Reason::DeadlineExceeded, Hides::Identity, 2)]);
}

#[test]
fn many_processes_are_walked_on_several_threads_and_none_is_missed() {
    let host = RecordedHost::new();
    host.process(1, 0, "init").netns(HOST.0);
    let clients: Vec<u32> = (0..150).map(|n| 1000 + n).collect();
    for client in &clients {
        host.process(*client, 1, "client").netns(POD.0).socket(*client);
    }
    let rows: Vec<SocketFacts<'_>> = clients
        .iter()
        .map(|client| SocketFacts::accepted(*client + 5000, NAME, FILE, *client))
        .collect();
    let sighting = find_on(&host, &Node::new().round(&[(POD, &rows)]));
    assert_eq!(
        holders(&sighting),
        clients.iter().map(|client| [*client]).collect::<Vec<_>>()
    );
    assert_eq!(reasons(&sighting), []);
}

#[test]
fn by_name_the_pod_is_known_and_not_the_process() {
    const POD_GROUP: &str = "/kubepods/burstable/pod0a1b2c3d-1111-2222-3333-444455556666/";
    let accepted = "Num\n0: 00000003 00000000 00000000 0001 03 88 /run/docker.sock\n";
    let container = |letter: &str| format!("{POD_GROUP}{}", letter.repeat(64));
    for (group, expected) in [
        (container("b"), vec![vec![7]]),
        ("/system.slice/x.service".into(), vec![vec![]]),
        (format!("/docker/{}", "c".repeat(64)), vec![vec![]]),
    ] {
        let host = RecordedHost::new();
        host.process(1, 0, "init").netns(HOST.0);
        let pause = host.process(7, 1, "pause").netns(POD.0).cgroup(&container("a"));
        host.process(8, 1, "app").netns(POD.0).cgroup(&group).socket(41);
        fs::create_dir(pause.path("net")).expect("a directory");
        fs::write(pause.path("net/unix"), accepted).expect("a file");
        let sighting = find_on(&host, &Node::new().round(&[]).refuse(POD));
        assert_eq!(holders(&sighting), expected);
        assert_eq!(reasons(&sighting), [(Reason::PermissionDenied, Hides::Identity, 1)]);
        // There are two containers, so the container of the first process proves nothing.
        let seen = sighting.reading.known().expect("it is known");
        let all = seen.connections.iter().flat_map(|connection| &connection.holders);
        assert!(
            all.clone().all(|holder| holder.membership.containers.is_empty()),
            "{group}"
        );
    }
}
