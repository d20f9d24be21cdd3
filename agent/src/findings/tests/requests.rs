//! Findings about the requests of clients.

use super::*;
use crate::model::connect::{Connects, ConnectsSeen};
use crate::model::engine::EngineKind;
use crate::model::request::{ApiVersion, Operation, Request, Requests};

/// A node whose engine received these requests of a process, with this version of the API.
fn asked(kind: EngineKind, operations: &[Operation], minor: Option<u8>) -> Report {
    let mut node = with_engine();
    let engine = &mut known(&mut node.engines)[0];
    engine.kind = kind;
    let listener = engine.listeners[0].id.clone();
    let mut requests = Requests::default();
    for operation in operations {
        let request = Request {
            operation: *operation,
            version: minor.map(ApiVersion),
        };
        requests.add(request, node.taken);
    }
    let connects = Connects {
        listener,
        process: Some(process(1, "/usr/bin/docker")),
        count: 1,
        first: node.taken,
        last: node.taken,
        requests,
    };
    node.connects = Sighting::full(ConnectsSeen {
        events: events(),
        connects: vec![connects],
        answer: 1,
    });
    judge(&node)
}

fn found(report: &Report, code: Code) -> Option<(Severity, &Finding)> {
    let mut findings = report.findings.iter().filter(|finding| finding.code == code);
    findings.next().map(|finding| (finding.severity, finding))
}

#[test]
fn the_advice_is_for_the_clients_requests() {
    use Operation::{Build, Logs, Push, Read, System};
    let advice_for = |operations: &[Operation]| {
        let report = asked(EngineKind::Dockerd, operations, None);
        let (_, finding) = found(&report, Code::SocketClient).expect("it is a client");
        (finding.message.clone(), finding.advice.clone())
    };
    let (message, advice) = advice_for(&[System, Read]);
    assert!(message.ends_with("; asks for: read"), "{message}");
    assert!(advice.contains("crictl") && !advice.contains("BuildKit"), "{advice}");
    let (message, advice) = advice_for(&[System, Build, Build, Read, Logs, Push]);
    assert!(message.ends_with("; asks for: build, read, push, logs"), "{message}");
    assert!(
        advice.starts_with("Build images in a pod with rootless BuildKit"),
        "{advice}"
    );
    let (message, advice) = advice_for(&[]);
    assert!(!message.contains("asks for"), "{message}");
    assert!(advice.starts_with("Move this client off the Docker socket"), "{advice}");
}

#[test]
fn a_version_that_newer_engines_refuse_is_reported_for_dockers_clients() {
    use EngineKind::{Dockerd, Podman};
    let severity = |kind, minor| {
        let report = asked(kind, &[Operation::Read], minor);
        found(&report, Code::OldDockerApi).map(|(severity, _)| severity)
    };
    assert_eq!(severity(Dockerd, Some(24)), Some(Severity::Warning));
    assert_eq!(severity(Dockerd, Some(39)), Some(Severity::Warning));
    assert_eq!(severity(Dockerd, Some(40)), Some(Severity::Info));
    assert_eq!(severity(Dockerd, Some(43)), Some(Severity::Info));
    assert_eq!(severity(Dockerd, Some(44)), None);
    assert_eq!(severity(Dockerd, None), None);
    assert_eq!(severity(Podman, Some(24)), None);
}
