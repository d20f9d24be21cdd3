use super::*;
use crate::model::client::ClientIdentity;
use crate::model::engine::{Api, Containerd, EngineKind, Listener, Scope};
use crate::model::identity::{NetNs, SocketInode};
use crate::model::process::Process;
use crate::model::relay::{RelayBasis, RelayListener, RelaySighting, Steps};
use crate::model::socket::{Connection, ListenerId, SocketName};
use crate::model::workload::Manager;

fn front() -> ListenerId {
    ListenerId::Abstract(NetNs(1), "front".to_owned())
}

/// A relay of dockerd, with one client behind it.
fn relay(process: Process, basis: Option<RelayBasis>) -> RelaySighting {
    RelaySighting {
        process,
        upstream: [docker_socket()].into(),
        outgoing: [SocketInode(5)].into(),
        listeners: vec![RelayListener {
            id: front(),
            name: SocketName::Abstract("front".to_owned()),
            socket: SocketInode(9),
            netns: NetNs(1),
            basis,
            accepted: 1,
            steps: Steps::default(),
        }],
        connections: vec![behind()],
        passed: [].into(),
    }
}

fn behind() -> Connection {
    Connection {
        listener: front(),
        ..connection(6, vec![process(301, "/usr/bin/deploy")])
    }
}

/// Returns the engine that the look adds for a relay with evidence.
fn as_engine(relay: &RelaySighting) -> EngineSighting {
    EngineSighting {
        kind: EngineKind::Other,
        process: Some(relay.process.clone()),
        awaited_by: None,
        containerd: Containerd::Own,
        listeners: vec![Listener {
            id: front(),
            api: Api::Docker,
            name: SocketName::Abstract("front".to_owned()),
            socket: SocketInode(9),
            netns: NetNs(1),
            activated: false,
            transport: None,
            last_connect: None,
        }],
    }
}

fn with_relay(relay: RelaySighting) -> Snapshot {
    let mut node = with_engine();
    known(&mut node.connections)
        .connections
        .push(connection(5, vec![relay.process.clone()]));
    if relay.listeners.iter().any(|listener| listener.basis.is_some()) {
        known(&mut node.engines).push(as_engine(&relay));
        known(&mut node.connections).connections.push(behind());
    }
    known(&mut node.relays).push(relay);
    node
}

fn told(report: &Report) -> &Finding {
    let mut findings = report.findings.iter();
    findings
        .find(|finding| finding.code == Code::DockerRelay)
        .expect("the relay is told")
}

#[test]
fn a_relay_without_evidence_is_reported_and_makes_nobody_a_client_of_docker() {
    let report = judge(&with_relay(relay(process(300, "/usr/bin/traefik"), None)));
    let finding = told(&report);
    assert_eq!(finding.severity, Severity::Info);
    for words in ["may pass", "@front", "/usr/bin/deploy"] {
        assert!(finding.message.contains(words), "{}", finding.message);
    }
    let clients = report.clients.items().iter();
    let who: Vec<String> = clients.map(|client| client.key.identity.to_string()).collect();
    assert_eq!(who, ["/usr/bin/traefik (user 0)"]);
}

#[test]
fn who_is_behind_a_relay_in_a_pod_is_a_client_of_the_nodes_docker() {
    let in_pod = contained(300, Manager::CriContainerd, &[id(1)]);
    let report = judge(&with_relay(relay(in_pod, Some(RelayBasis::Requests))));
    assert_eq!(told(&report).severity, Severity::Warning);
    assert_eq!(told(&report).subject, "pod ci/builder-0 (build)");
    let mut clients = report.clients.items().iter();
    let is_behind = |client: &&Client| matches!(&client.key.identity, ClientIdentity::Host { executable, .. } if executable == "/usr/bin/deploy");
    let client = clients.find(is_behind).expect("it is a client");
    assert_eq!(client.key.scope, Scope::Host);
    assert!(!codes(&report).contains(&Code::DockerInDocker), "{:?}", codes(&report));
}

#[test]
fn a_relay_that_leads_to_itself_is_reported() {
    let mut of_itself = relay(process(300, "/usr/bin/socat"), None);
    of_itself.upstream.insert(front());
    let report = judge(&with_relay(of_itself));
    assert!(told(&report).message.ends_with("its connections lead back to itself"));
}

#[test]
fn a_relay_with_a_known_image_has_the_advice_for_it() {
    let in_pod = contained(300, Manager::CriContainerd, &[id(1)]);
    let mut node = with_relay(relay(in_pod, Some(RelayBasis::Pairs)));
    known(&mut node.runtime.containers)[0].image = "ghcr.io/tecnativa/docker-socket-proxy:v0.4".into();
    let report = judge(&node);
    let finding = told(&report);
    assert!(
        finding
            .message
            .ends_with("; its image name matches docker-socket-proxy"),
        "{finding:?}"
    );
    assert!(
        finding.advice.starts_with("A proxy narrows what its clients may ask"),
        "{finding:?}"
    );
}
