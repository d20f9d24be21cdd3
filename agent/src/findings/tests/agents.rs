//! Programs that have the name of a known agent.

use super::*;
use crate::model::connect::{Connects, ConnectsSeen};
use crate::model::container::SupervisedContainer;
use crate::model::exposure::{DockerFiles, FilesMount};
use crate::model::known_agent::AgentBasis;
use crate::model::process::Process;
use crate::model::request::{Operation, Request, Requests};
use crate::model::workload::{Manager, Membership};

const DATADOG: &str = "gcr.io/datadoghq/agent:7";
const UNKNOWN: &str = "registry.test/build:1";

/// A node on which the container of a pod, with this image and program, uses Docker.
fn used_by(image: &str, program: &str) -> Snapshot {
    let mut node = with_engine();
    image.clone_into(&mut known(&mut node.runtime.containers)[0].image);
    let client = Process {
        executable: Some(program.to_owned()),
        ..in_pod()
    };
    known(&mut node.connections)
        .connections
        .push(connection(5, vec![client]));
    node
}

fn in_pod() -> Process {
    contained(910, Manager::CriContainerd, &[id(1)])
}

/// Adds requests of the pod's container.
fn ask(node: &mut Snapshot, operations: &[Operation]) {
    let mut requests = Requests::default();
    for operation in operations {
        let request = Request {
            operation: *operation,
            version: None,
        };
        requests.add(request, NOW);
    }
    let connects = Connects {
        listener: docker_socket(),
        process: Some(in_pod()),
        count: 1,
        first: NOW,
        last: NOW,
        requests,
    };
    node.connects = Sighting::full(ConnectsSeen {
        events: events(),
        connects: vec![connects],
        answer: 1,
    });
}

fn found(report: &Report, code: Code) -> &Finding {
    let mut findings = report.findings.iter();
    findings.find(|finding| finding.code == code).expect("it is found")
}

/// Returns a report without the texts that a known agent changes, and without the agents.
fn without_advice(mut report: Report) -> Report {
    for finding in &mut report.findings {
        finding.advice.clear();
        let claim = finding.message.find("; its image name matches ");
        finding.message.truncate(claim.unwrap_or(finding.message.len()));
    }
    report.clients = report.clients.map(|clients| {
        let each = clients.into_iter();
        each.map(|client| Client { agent: None, ..client }).collect()
    });
    report.exposures = report.exposures.map(|exposures| {
        let each = exposures.into_iter();
        each.map(|exposure| Exposure {
            agent: None,
            ..exposure
        })
        .collect()
    });
    report
}

#[test]
fn a_known_image_adds_advice_and_changes_nothing_else() {
    let judged = |image: &str| {
        let used = used_by(image, "/bin/client");
        let mut exposed = used.clone();
        known(&mut exposed.connections).connections.clear();
        known(&mut exposed.reaches).push(reach());
        [judge(&used), judge(&exposed)]
    };
    let expected = [
        (Code::SocketClient, Verdict::InUse),
        (Code::SocketExposure, Verdict::Exposed),
    ];
    let reports = judged(UNKNOWN).into_iter().zip(judged(DATADOG));
    for ((unknown, named), (code, verdict)) in reports.zip(expected) {
        assert_eq!((unknown.verdict, named.verdict), (verdict, verdict));
        let (general, own) = (found(&unknown, code), found(&named, code));
        let claim = format!("{}; its image name matches Datadog Agent", general.message);
        assert_eq!(own.message, claim);
        assert!(own.advice.starts_with("Upgrade to Agent 7.27 or newer"), "{own:?}");
        assert!(own.advice.ends_with(&general.advice), "the claim may be wrong: {own:?}");
        assert_eq!(without_advice(unknown), without_advice(named));
    }
}

#[test]
fn the_files_of_docker_have_the_agents_advice_for_them() {
    let advice = |files: DockerFiles| {
        let mut node = used_by(DATADOG, "/bin/client");
        node.files_mounts.push(FilesMount {
            membership: Membership::of_container(id(1), None),
            files,
            host_path: "/var/lib/docker".into(),
            container_path: "/docker".into(),
        });
        found(&judge(&node), Code::DockerFiles).advice.clone()
    };
    let logs = advice(DockerFiles::Logs);
    assert!(
        logs.starts_with("Let the Agent read the logs of pods from files"),
        "{logs}"
    );
    let data = advice(DockerFiles::Data);
    assert!(data.starts_with("Upgrade to Agent 7.27 or newer"), "{data}");
}

#[test]
fn the_image_of_a_container_counts_before_its_program() {
    let agent = |image: &str, program: &str| {
        let report = judge(&used_by(image, program));
        report.clients.items()[0].agent.map(|known| (known.name, known.by))
    };
    let telegraf = "/usr/bin/telegraf";
    assert_eq!(agent(DATADOG, telegraf), Some(("Datadog Agent", AgentBasis::Image)));
    assert_eq!(agent(UNKNOWN, telegraf), Some(("Telegraf", AgentBasis::Executable)));
    assert_eq!(
        agent("sha256:0c2ab1", telegraf),
        Some(("Telegraf", AgentBasis::Executable))
    );
    assert_eq!(agent(UNKNOWN, "/bin/client"), None);
}

#[test]
fn a_program_of_the_host_is_known_by_its_executable() {
    let mut node = with_engine();
    let client = process(1, "/usr/bin/telegraf");
    known(&mut node.connections)
        .connections
        .push(connection(5, vec![client]));
    let report = judge(&node);
    let finding = found(&report, Code::SocketClient);
    assert!(
        finding.message.ends_with("; its program name matches Telegraf"),
        "{finding:?}"
    );
    assert!(finding.advice.contains("[[inputs.kubernetes]]"), "{finding:?}");
}

#[test]
fn a_container_of_docker_is_known_by_the_image_in_its_record() {
    let agent = |container: SupervisedContainer| {
        let mut node = with_engine();
        known(&mut node.supervised).push(container);
        let client = contained(910, Manager::Docker, &[id(7)]);
        known(&mut node.connections)
            .connections
            .push(connection(5, vec![client]));
        judge(&node).clients.items()[0].agent.map(|known| known.name)
    };
    let of_image = |name: Option<&str>, image: &str| SupervisedContainer {
        image: Some(image.to_owned()),
        ..supervised(7, name)
    };
    let watchtower = "containrrr/watchtower:1.7.1";
    assert_eq!(agent(of_image(Some("updates"), watchtower)), Some("Watchtower"));
    assert_eq!(agent(of_image(Some("happy_einstein"), watchtower)), Some("Watchtower"));
    assert_eq!(agent(of_image(None, watchtower)), Some("Watchtower"));
    assert_eq!(agent(of_image(Some("watchtower"), UNKNOWN)), None);
    assert_eq!(agent(supervised(7, Some("watchtower"))), None);
}

#[test]
fn advice_for_requests_is_the_agents_own_where_it_has_some() {
    let mut node = used_by("docker.io/library/telegraf:1.30", "/bin/client");
    ask(&mut node, &[Operation::Logs, Operation::Logs, Operation::Build]);
    let report = judge(&node);
    let advice = &found(&report, Code::SocketClient).advice;
    let parts = ["[[inputs.kubernetes]]", "[[inputs.docker_log]]", "rootless BuildKit"];
    let at: Vec<Option<usize>> = parts.iter().map(|part| advice.find(part)).collect();
    assert!(at.is_sorted() && !at.contains(&None), "{advice}");
    assert!(!advice.contains("Read logs in /var/log/pods"), "{advice}");
}

#[test]
fn the_advice_for_dockers_socket_is_not_given_for_the_runtimes() {
    let mut node = used_by(DATADOG, "/bin/client");
    let mut to_runtime = known(&mut node.connections).connections.remove(0);
    to_runtime.listener = containerd_socket();
    let Reading::Known(socket) = &mut node.runtime_socket else {
        panic!("it is known")
    };
    known(&mut socket.connections).connections.push(to_runtime);
    let report = judge(&node);
    let finding = found(&report, Code::RuntimeSocketClient);
    assert!(
        finding.message.ends_with("; its image name matches Datadog Agent"),
        "{finding:?}"
    );
    assert!(
        finding.advice.starts_with("Set DD_CRI_SOCKET_PATH again"),
        "{finding:?}"
    );
    assert!(!finding.advice.contains("7.27"), "{finding:?}");
    assert_eq!(report.verdict, Verdict::Idle);
}

#[test]
fn a_build_is_advised_by_what_the_node_allows() {
    let advice = |change: Change| {
        let mut node = used_by(UNKNOWN, "/bin/client");
        ask(&mut node, &[Operation::Build]);
        change(&mut node);
        found(&judge(&node), Code::SocketClient).advice.clone()
    };
    let open = advice(|_| ());
    assert!(open.contains("which this node allows"), "{open}");
    let closed = advice(|node| known(&mut node.host).user_namespaces.limit = Reading::Known(0));
    assert!(closed.contains("user.max_user_namespaces is 0"), "{closed}");
    let unread = advice(|node| node.host = Sighting::unknown(gap(Hides::Detail)));
    assert!(unread.contains("could not read"), "{unread}");
}
