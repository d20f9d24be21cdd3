//! Clients of the runtime's own socket, and mounts that lead to it.

use super::*;
use crate::model::connect::{Connects, ConnectsSeen};
use crate::model::exposure::{Reach, Reached};
use crate::model::request::{Operation, Requests};
use crate::model::runtime_socket::RuntimeSocket;
use crate::model::socket::Connection;
use crate::model::workload::Manager;

fn runtime_socket_of(node: &mut Snapshot) -> &mut RuntimeSocket {
    match &mut node.runtime_socket {
        Reading::Known(socket) => socket,
        other => panic!("{other:?}"),
    }
}

fn to_runtime(connection: Connection) -> Connection {
    Connection {
        listener: containerd_socket(),
        ..connection
    }
}

/// The kubelet, `ctr` of root, an agent in the pod, and one connection without a holder.
fn used() -> Snapshot {
    let mut node = clear_node();
    let kubelet = process(700, "/usr/bin/kubelet");
    let in_pod = contained(910, Manager::CriContainerd, &[id(1)]);
    let connections = [
        connection(1, vec![kubelet]),
        connection(2, vec![process(900, "/usr/bin/ctr")]),
        connection(3, vec![in_pod]),
        connection(4, Vec::new()),
    ];
    known(&mut runtime_socket_of(&mut node).connections).connections = connections.map(to_runtime).into();
    node
}

fn reach_of_runtime() -> Reach {
    Reach {
        reached: Reached::Listener(containerd_socket()),
        ..reach()
    }
}

#[test]
fn a_client_beside_the_kubelet_is_named_and_changes_no_verdict() {
    let report = judge(&used());
    assert_eq!(report.verdict, Verdict::Clear);
    assert_eq!(report.clients, Reading::Known(Vec::new()));
    let clients = report.runtime_clients.items();
    let who: Vec<String> = clients.iter().map(|client| client.key.identity.to_string()).collect();
    assert_eq!(who, ["pod ci/builder-0 (build)"]);
    assert_eq!(codes(&report), [Code::RuntimeSocketClient]);
    assert_eq!(report.findings[0].severity, Severity::Info);
}

#[test]
fn a_client_is_a_warning_where_the_runtime_reports_cri_v1alpha2() {
    let mut node = used();
    known(&mut node.runtime.runtime).deprecations = Reading::Known(vec![Deprecation {
        id: "io.containerd.deprecation/cri-api-v1alpha2".into(),
        message: "CRI API v1alpha2 is deprecated".into(),
    }]);
    let report = judge(&node);
    let mut findings = report.findings.iter();
    let client = findings
        .find(|f| f.code == Code::RuntimeSocketClient)
        .expect("it is there");
    assert_eq!(client.severity, Severity::Warning);
    assert!(client.message.contains("v1alpha2"), "{}", client.message);
}

#[test]
fn a_gap_at_the_runtimes_socket_is_unknown_and_changes_no_verdict() {
    let mut node = clear_node();
    runtime_socket_of(&mut node).connections.gaps = vec![gap(Hides::Client)];
    let report = judge(&node);
    assert!(report.runtime_clients.gap().is_some());
    assert_eq!(report.verdict, Verdict::Clear);
    node.runtime_socket = Reading::Unknown(gap(Hides::Detail));
    let report = judge(&node);
    assert!(report.runtime_clients.gap().is_some() && report.runtime_exposures.gap().is_some());
    assert_eq!(report.verdict, Verdict::Clear);
}

#[test]
fn a_mount_of_the_runtimes_socket_is_an_exposure_of_its_own() {
    let mut node = clear_node();
    known(&mut runtime_socket_of(&mut node).reaches).push(reach_of_runtime());
    let mut history = History::default();
    let report = judge_with(&node, &mut history, &[]);
    assert_eq!((report.verdict, report.exposures.items().len()), (Verdict::Clear, 0));
    assert_eq!(report.runtime_exposures.items().len(), 1);
    assert_eq!(codes(&report), [Code::RuntimeSocketExposure]);
    // Once the container uses the socket, it is a client and no longer an unused exposure.
    let in_pod = contained(910, Manager::CriContainerd, &[id(1)]);
    let connections = &mut known(&mut runtime_socket_of(&mut node).connections).connections;
    connections.push(to_runtime(connection(3, vec![in_pod])));
    let report = judge_with(&node, &mut history, &[]);
    assert!(report.runtime_exposures.items()[0].used);
    assert_eq!(codes(&report), [Code::RuntimeSocketClient]);
}

#[test]
fn clients_and_mounts_of_the_runtimes_socket_are_remembered_apart_from_dockers() {
    let mut node = used();
    known(&mut runtime_socket_of(&mut node).reaches).push(reach_of_runtime());
    let mut history = History::default();
    judge_with(&node, &mut history, &[]);
    node = clear_node();
    node.taken = Timestamp::from_unix(NOW.as_unix() + 3_600);
    let report = judge_with(&node, &mut history, &[]);
    let clients = report.runtime_clients.items();
    assert_eq!((clients.len(), clients[0].is_open()), (1, false));
    let exposures = report.runtime_exposures.items();
    assert_eq!((exposures.len(), exposures[0].mounted), (1, false));
    let of_docker = (report.clients.items().len(), report.exposures.items().len());
    assert_eq!((of_docker, report.verdict), ((0, 0), Verdict::Clear));
}

#[test]
fn connects_that_the_kernel_reported_count_without_their_requests() {
    let mut node = clear_node();
    let mut requests = Requests::default();
    requests.operations.insert(Operation::Build, 1);
    let connects = |process| Connects {
        listener: containerd_socket(),
        process,
        count: 2,
        first: NOW,
        last: NOW,
        requests: requests.clone(),
    };
    let kubelet = process(700, "/usr/bin/kubelet");
    let processes = [Some(kubelet), Some(process(900, "/usr/bin/agent")), None];
    node.connects = Sighting::full(ConnectsSeen {
        events: events(),
        connects: processes.map(connects).into(),
        answer: 1,
    });
    let report = judge(&node);
    let clients = report.runtime_clients.items();
    assert_eq!(clients.len(), 1, "{clients:?}");
    assert_eq!(clients[0].key.identity.to_string(), "/usr/bin/agent (user 0)");
    assert!(clients[0].requests.operations.is_empty());
    assert_eq!(report.verdict, Verdict::Clear);
}
