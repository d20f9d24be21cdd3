//! An engine inside a pod does not belong to the node: it is shown, and counts for nothing else.

use super::*;
use crate::model::client::ClientIdentity;
use crate::model::engine::Scope;
use crate::model::exposure::{Reach, Reached};
use crate::model::identity::{Device, FileIdentity};
use crate::model::process::Process;
use crate::model::socket::{Connection, ListenerId};
use crate::model::workload::Manager;

fn socket_of_the_pod() -> ListenerId {
    ListenerId::File(FileIdentity {
        device: Device { major: 0, minor: 99 },
        inode: 7,
    })
}

fn in_the_pod(pid: u32) -> Process {
    contained(pid, Manager::CriContainerd, &[id(1)])
}

/// A clear node with dockerd inside the one pod; a client and a mount of it in the same pod.
fn docker_in_docker() -> Snapshot {
    let mut node = clear_node();
    let mut nested = dockerd();
    nested.process = Some(in_the_pod(70));
    nested.listeners[0].id = socket_of_the_pod();
    known(&mut node.engines).push(nested);
    known(&mut node.connections).connections.push(Connection {
        listener: socket_of_the_pod(),
        ..connection(5, vec![in_the_pod(71)])
    });
    known(&mut node.reaches).push(Reach {
        reached: Reached::Listener(socket_of_the_pod()),
        ..reach()
    });
    node
}

#[test]
fn an_engine_inside_a_pod_is_shown_and_leaves_the_node_clear() {
    let report = judge(&docker_in_docker());
    assert_eq!(report.verdict, Verdict::Clear, "{}", report.verdict_reason);
    assert!(report.verdict_reason.contains("1 engine runs inside pods"));
    assert_eq!(codes(&report), [Code::DockerInDocker]);
    let found = &report.findings[0];
    assert_eq!(found.subject, "pod ci/builder-0 (build)");
    assert!(
        found.message.ends_with("used by pod ci/builder-0 (build)"),
        "{}",
        found.message
    );
    assert_eq!(report.clients.known().expect("known").len(), 1, "listed with its scope");
    assert_eq!(report.exposures.known().expect("known").len(), 1);
    assert_eq!(report.timeline, judge(&clear_node()).timeline, "not the node's use");
}

#[test]
fn a_use_of_a_pods_engine_within_the_window_does_not_count_for_the_node() {
    let mut history = History::default();
    let mut node = docker_in_docker();
    judge_with(&node, &mut history, &[]);
    known(&mut node.connections).connections.clear();
    assert_eq!(judge_with(&node, &mut history, &[]).verdict, Verdict::Clear);
}

#[test]
fn beside_the_nodes_own_engine_a_pods_engine_changes_nothing() {
    let mut node = docker_in_docker();
    known(&mut node.engines).push(dockerd());
    let report = judge(&node);
    assert_eq!(report.verdict, Verdict::Idle);
    assert_eq!(codes(&report), [Code::DockerInDocker, Code::EngineLeftOver]);
    assert!(
        !report.findings[1].message.contains("pod"),
        "{}",
        report.findings[1].message
    );
    known(&mut node.connections)
        .connections
        .push(connection(6, vec![process(1, "/usr/bin/curl")]));
    let report = judge(&node);
    assert_eq!(report.verdict, Verdict::InUse);
    assert!(
        report.verdict_reason.starts_with("1 client holds"),
        "{}",
        report.verdict_reason
    );
}

#[test]
fn an_engine_counts_for_the_node_until_the_runtime_lists_its_pod() {
    let unlisted: [(&str, Change); 3] = [
        ("the runtime does not list it", |node| {
            known(&mut node.runtime.pods).clear();
            known(&mut node.runtime.containers).clear();
        }),
        ("the lists are unknown", |node| {
            node.runtime.pods = Sighting::unknown(gap(Hides::Identity));
            node.runtime.containers = Sighting::unknown(gap(Hides::Exposure));
        }),
        ("its process is not seen", |node| {
            known(&mut node.engines)[0].process = None;
        }),
    ];
    for (what, change) in unlisted {
        let mut node = docker_in_docker();
        change(&mut node);
        assert_eq!(judge(&node).verdict, Verdict::InUse, "{what}");
    }
}

#[test]
fn a_users_own_engine_counts_for_the_node_and_names_the_user() {
    let mut node = with_engine();
    let rootless = |engine: &mut EngineSighting| engine.process.as_mut().expect("runs").uid = Some(1000);
    rootless(&mut known(&mut node.engines)[0]);
    known(&mut node.connections)
        .connections
        .push(connection(5, vec![process(1, "/usr/bin/curl")]));
    let report = judge(&node);
    assert_eq!(report.verdict, Verdict::InUse);
    assert_eq!(
        report.verdict_reason,
        "1 client holds a connection to an engine of user 1000 now"
    );
    let client = &report.clients.known().expect("known")[0];
    assert_eq!(client.key.scope, Scope::User { uid: 1000 });
    assert!(matches!(client.key.identity, ClientIdentity::Host { .. }));
}
