//! Nodes that no look saw in use, judged by the times of the socket's file.

use super::*;
use crate::model::client::ClientIdentity;
use crate::model::connect::ConnectsSeen;
use crate::model::exposure::Reach;
use crate::model::identity::{FileIdentity, NetNs};
use crate::model::last_connect::{LastConnect, ListenerClock, Moment, NoMark};
use crate::model::process::Process;
use crate::model::socket::{ListenerId, SocketName};
use crate::model::workload::Manager;

/// A node with an engine without a seen use; its socket's file shows `last_connect`.
fn node_with(last_connect: LastConnect) -> Snapshot {
    let mut node = with_engine();
    node.clocks = vec![ListenerClock {
        listener: docker_socket(),
        last_connect,
        mark: None,
    }];
    node
}

fn ago(seconds: u64) -> Timestamp {
    Timestamp::from_unix(NOW.as_unix() - seconds)
}

fn no_mark(because: NoMark) -> LastConnect {
    LastConnect::NoMark { because }
}

/// The report of a look that found the access time at `mark`, and no connection.
fn connected(last_connect: LastConnect, mark: Timestamp) -> Report {
    let mut node = node_with(last_connect);
    node.clocks[0].mark = Some(Moment::from_secs(mark.as_unix()));
    let joined = join::join(&node);
    let mut history = History::default();
    history.record(node.taken, joined.clients.items());
    history.record_marks(Moment::from_secs(NOW.as_unix()), &joined.marks);
    evaluate(&node, joined, &history, Vec::new(), &settings())
}

#[test]
fn a_use_that_no_look_saw_counts() {
    let report = connected(LastConnect::Exact { at: ago(60) }, ago(60));
    assert_eq!(report.verdict, Verdict::InUse);
    assert!(
        report
            .verdict_reason
            .starts_with("a client that no look saw connected to an engine")
    );
    let client = &report.clients.known().expect("they were seen")[0];
    assert_eq!(client.key.identity, ClientIdentity::Unseen);
    assert_eq!((client.origin, client.last_seen), (Origin::FileTimes, ago(60)));
    assert_eq!(codes(&report), [Code::SocketClient]);
    assert!(
        report.findings[0].advice.contains("--sample"),
        "{:?}",
        report.findings[0]
    );
}

#[test]
fn a_use_before_the_window_does_not_count() {
    let long_ago = ago(8 * DAY + 1);
    let report = connected(LastConnect::Exact { at: long_ago }, long_ago);
    assert_eq!(report.verdict, Verdict::Idle);
    assert!(
        report
            .verdict_reason
            .ends_with(&format!("no client connected to /run/docker.sock since {long_ago}"))
    );
    // Where access times are kept once a day, the last use may be a day later.
    assert_eq!(
        connected(LastConnect::AtLeast { at: long_ago }, long_ago).verdict,
        Verdict::Idle
    );
    let a_day_less = ago(8 * DAY - 1);
    assert_eq!(
        connected(LastConnect::AtLeast { at: a_day_less }, a_day_less).verdict,
        Verdict::InUse
    );
    assert_eq!(
        connected(LastConnect::Exact { at: a_day_less }, a_day_less).verdict,
        Verdict::Idle
    );
}

#[test]
fn a_socket_without_a_connect_is_reported() {
    let report = judge(&node_with(LastConnect::NoneSince { since: ago(30 * DAY) }));
    assert_eq!(report.verdict, Verdict::Idle);
    let since = ago(30 * DAY);
    assert!(
        report
            .verdict_reason
            .ends_with(&format!("no client connected to /run/docker.sock since {since}"))
    );
    let listener = &report.engines.known().expect("they were seen")[0].listeners[0];
    assert_eq!(listener.last_connect, Some(LastConnect::NoneSince { since }));
}

#[test]
fn idle_is_not_claimed_where_a_use_leaves_no_mark() {
    for because in [NoMark::Mount, NoMark::FileSystem, NoMark::Future, NoMark::Abstract] {
        let report = judge(&node_with(no_mark(because)));
        assert_eq!(report.verdict, Verdict::Unknown, "{because}");
        assert!(
            report.verdict_reason.contains("a use between two looks is not seen"),
            "{}",
            report.verdict_reason
        );
        assert!(
            report.verdict_reason.contains(because.words()),
            "{}",
            report.verdict_reason
        );
    }
    // No new client can connect, or another finding reports the port.
    for because in [NoMark::Removed, NoMark::Tcp] {
        assert_eq!(judge(&node_with(no_mark(because))).verdict, Verdict::Idle, "{because}");
    }
}

#[test]
fn no_mark_is_needed_where_the_kernel_reports_each_connect() {
    let mut node = node_with(no_mark(NoMark::Mount));
    node.connects = Sighting::full(ConnectsSeen {
        events: events(),
        connects: Vec::new(),
        answer: 1,
    });
    let report = judge(&node);
    assert_eq!(report.verdict, Verdict::Idle, "{}", report.verdict_reason);
    assert!(
        report
            .verdict_reason
            .contains("the kernel has reported each connect since")
    );
    let name = ListenerId::Abstract(NetNs(1), "docker".to_owned());
    node.clocks[0].last_connect = no_mark(NoMark::Abstract);
    node.clocks[0].listener = name.clone();
    known(&mut node.engines)[0].listeners[0].id = name;
    assert_eq!(judge(&node).verdict, Verdict::Unknown, "an abstract name has no file");
}

/// Adds a user's own program called `dockerd` before the node's engine, with a socket of that name.
fn add_engine_of_user(node: &mut Snapshot, id: ListenerId, name: SocketName, last_connect: LastConnect) {
    let mut engine = dockerd();
    engine.process = Some(Process {
        uid: Some(1000),
        ..process(900, "/home/u/dockerd")
    });
    engine.listeners[0].id = id.clone();
    engine.listeners[0].name = name;
    node.clocks.push(ListenerClock {
        listener: id,
        last_connect,
        mark: None,
    });
    known(&mut node.engines).insert(0, engine);
}

#[test]
fn a_users_socket_without_a_mark_does_not_take_the_nodes_answer_away() {
    let mut node = node_with(LastConnect::NoneSince { since: ago(30 * DAY) });
    let id = ListenerId::Abstract(NetNs(1), "user/docker.sock".to_owned());
    let name = SocketName::Abstract("user/docker.sock".to_owned());
    add_engine_of_user(&mut node, id, name, no_mark(NoMark::Abstract));
    let report = judge(&node);
    assert_eq!(report.verdict, Verdict::Idle, "{}", report.verdict_reason);
    // The node's own socket without a mark counts, whatever a user has.
    node.clocks[0].last_connect = no_mark(NoMark::Mount);
    let report = judge(&node);
    assert_eq!(report.verdict, Verdict::Unknown, "{}", report.verdict_reason);
    assert!(
        report.verdict_reason.contains("/run/docker.sock"),
        "{}",
        report.verdict_reason
    );
}

#[test]
fn the_reason_names_the_nodes_engine_and_not_a_users() {
    let path = "/tmp/u/docker.sock";
    let id = ListenerId::File(FileIdentity {
        inode: 99,
        ..file_of(&docker_socket())
    });
    let idle = |last_connect| {
        let mut node = node_with(last_connect);
        let later = LastConnect::NoneSince { since: ago(60) };
        add_engine_of_user(&mut node, id.clone(), SocketName::Path(path.into()), later);
        let report = judge(&node);
        known(&mut node.engines).pop();
        let without = judge(&node);
        assert_eq!((report.verdict, without.verdict), (Verdict::Idle, Verdict::Idle));
        (report.verdict_reason, without.verdict_reason)
    };
    let since = ago(30 * DAY);
    let (reason, of_user) = idle(LastConnect::NoneSince { since });
    assert!(reason.starts_with("dockerd runs (host)"), "{reason}");
    assert!(
        reason.ends_with(&format!("no client connected to /run/docker.sock since {since}")),
        "{reason}"
    );
    assert!(of_user.contains("user 1000") && of_user.contains(path), "{of_user}");
    let (reason, _) = idle(no_mark(NoMark::Tcp));
    assert!(!reason.contains(path), "{reason}");
}

fn file_of(listener: &ListenerId) -> FileIdentity {
    match listener {
        ListenerId::File(file) => *file,
        other => panic!("{other:?} has no file"),
    }
}

#[test]
fn exposed_says_which_uses_leave_no_mark() {
    let mut node = node_with(LastConnect::NoneSince { since: ago(DAY) });
    let mut mount = Reach {
        readonly: false,
        ..reach()
    };
    known(&mut node.reaches).push(mount.clone());
    let marked = judge(&node);
    assert_eq!(marked.verdict, Verdict::Exposed);
    assert!(
        !marked.verdict_reason.contains("between two looks"),
        "{}",
        marked.verdict_reason
    );
    mount.readonly = true;
    *known(&mut node.reaches) = vec![mount];
    let readonly = judge(&node);
    assert_eq!(readonly.verdict, Verdict::Exposed);
    assert!(
        readonly
            .verdict_reason
            .contains("if it comes through a read-only mount"),
        "{}",
        readonly.verdict_reason
    );
    node.clocks[0].last_connect = no_mark(NoMark::Mount);
    let unmarked = judge(&node);
    assert_eq!(unmarked.verdict, Verdict::Exposed);
    assert!(
        unmarked.verdict_reason.contains(NoMark::Mount.words()),
        "{}",
        unmarked.verdict_reason
    );
}

#[test]
fn the_socket_of_an_engine_inside_a_pod_does_not_count_for_the_node() {
    let mut node = node_with(LastConnect::Exact { at: ago(60) });
    let engine = &mut known(&mut node.engines)[0];
    engine.process = Some(contained(800, Manager::CriContainerd, &[id(1)]));
    node.clocks[0].mark = Some(Moment::from_secs(ago(60).as_unix()));
    let joined = join::join(&node);
    let mut history = History::default();
    history.record_marks(Moment::from_secs(NOW.as_unix()), &joined.marks);
    let report = evaluate(&node, joined, &history, Vec::new(), &settings());
    assert_eq!(report.verdict, Verdict::Clear);
    assert_eq!(report.clients.known().map(Vec::len), Some(1), "it is shown");
}
