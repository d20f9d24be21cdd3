//! The sample's clients: one of each identity, and one with a deceptive name.

use std::net::IpAddr;

use super::{ago, node::process};
use crate::model::client::{Client, ClientIdentity, ClientKey, Origin};
use crate::model::container::PodContainer;
use crate::model::engine::{Api, EngineKind, Scope};
use crate::model::hours::Hours;
use crate::model::known_agent::{AgentBasis, AgentKind, KnownAgent};
use crate::model::process::Process;
use crate::model::request::{LowestApi, Operation, Requests};
use crate::model::socket::SocketName;
use crate::model::timeline::Timeline;
use crate::model::workload::Unit;
use crate::model::workload::owner::{Workload, WorkloadKind};

/// `identity` as a client of the host's dockerd.
pub(crate) fn key(identity: ClientIdentity) -> ClientKey {
    ClientKey {
        identity,
        engine: EngineKind::Dockerd,
        scope: Scope::Host,
        api: Api::Docker,
        listener: SocketName::Path("/run/docker.sock".to_owned()),
    }
}

/// A client that has been known for three days; last seen now if it has connections, else two hours ago.
pub(crate) fn client(identity: ClientIdentity, connections: u32, holders: Vec<Process>) -> Client {
    Client {
        key: key(identity),
        pod_uid: None,
        agent: None,
        connections,
        pending: 0,
        holders,
        connectors: Vec::new(),
        origin: Origin::Polled,
        first_seen: ago(3 * 86_400),
        last_seen: ago(if connections > 0 { 0 } else { 2 * 3_600 }),
        connects: 7,
        requests: requests(),
        as_runtime: false,
        timeline: timeline(connections > 0),
    }
}

/// `docker ps` and a build, by an old client.
fn requests() -> Requests {
    Requests {
        operations: [(Operation::Build, 2), (Operation::Read, 5), (Operation::System, 7)].into(),
        lowest_api: Some(LowestApi {
            minor: 41,
            last_seen: ago(7_200),
        }),
    }
}

/// castoff ran in the last four days except for six hours; the client was seen in some hours of each, and is connected now or
/// not.
pub(crate) fn timeline(now: bool) -> Timeline {
    let hours = |hours: &dyn Fn(u64) -> bool| {
        (0..96)
            .filter(|back| hours(*back))
            .map(|back| ago(back * 3_600))
            .collect()
    };
    let looked = hours(&|back| !(40..46).contains(&back));
    let seen: Hours = hours(&|back| (now && back < 5) || back == 2 || back == 72 || (back / 6 % 4 == 2 && back < 60));
    Timeline::new(ago(0), &[&seen], &looked)
}

/// A container of a pod in namespace `ci`.
pub(crate) fn place(pod: &str, container: Option<&str>) -> PodContainer {
    PodContainer {
        namespace: "ci".to_owned(),
        pod: pod.to_owned(),
        container: container.map(str::to_owned),
        workload: workload(pod),
    }
}

/// The workload of the sample's pods; uncertain for one that looks like a daemon set's.
pub(super) fn workload(pod: &str) -> Option<Workload> {
    let (kind, name, certain) = match pod {
        "sidecar-injector-7d9c5b6f4-x2v8q" => (WorkloadKind::Deployment, "sidecar-injector", true),
        "builder-0" => (WorkloadKind::StatefulSet, "builder", true),
        "log-shipper-x7k2p" => (WorkloadKind::DaemonSet, "log-shipper", false),
        _ => return None,
    };
    Some(Workload {
        kind,
        name: name.to_owned(),
        certain,
    })
}

/// An agent that queries containerd itself.
pub(super) fn of_runtime() -> Vec<Client> {
    let agent = pod_client("node-agent-9k2xd", Some("agent"), 1);
    let key = ClientKey {
        engine: EngineKind::Other,
        api: Api::Cri,
        listener: SocketName::Path("/run/containerd/containerd.sock".to_owned()),
        ..agent.key.clone()
    };
    vec![Client {
        key,
        requests: Requests::default(),
        agent: Some(KnownAgent {
            name: "Datadog Agent",
            kind: AgentKind::Telemetry,
            by: AgentBasis::Image,
        }),
        ..agent
    }]
}

/// The same place as a client.
pub(crate) fn pod_client(pod: &str, container: Option<&str>, connections: u32) -> Client {
    client(ClientIdentity::Pod(place(pod, container)), connections, Vec::new())
}

/// A process of the host.
pub(crate) fn host_client(unit: Option<Unit>, executable: &str, uid: Option<u32>, connections: u32) -> Client {
    client(
        ClientIdentity::Host {
            unit,
            executable: executable.to_owned(),
            uid,
        },
        connections,
        Vec::new(),
    )
}

pub(super) fn all() -> Vec<Client> {
    let mut build = pod_client("builder-0", Some("build"), 3);
    build.holders = vec![
        process(4711, "/usr/bin/docker", 0, None),
        process(4712, "/usr/bin/docker-compose", 1000, None),
    ];
    let mut waiting = pod_client("sidecar-injector-7d9c5b6f4-x2v8q", None, 0);
    waiting.pending = 2;
    waiting.first_seen = ago(180);
    waiting.last_seen = ago(0);
    let mut rootless = host_client(
        Some(Unit::User {
            uid: 1000,
            name: "vscode.service".to_owned(),
        }),
        "/home/ada/.vscode/extensions/ms-azuretools.vscode-docker/bin/docker",
        Some(1000),
        1,
    );
    rootless.key.engine = EngineKind::Podman;
    rootless.key.scope = Scope::User { uid: 1000 };
    rootless.key.listener = SocketName::Abstract("podman\u{1b}[31m".to_owned());
    let mut nested = client(
        ClientIdentity::EngineContainer {
            engine: None,
            name: "4c5f8a2b9d1e".to_owned(),
            image: None,
        },
        1,
        vec![process(9220, "/usr/bin/python3.11", 0, None)],
    );
    nested.key.scope = Scope::Pod(place("dind-runner-5c9f", Some("dind")));
    let mut second_listener = pod_client("builder-0", Some("build"), 1);
    second_listener.key.listener = SocketName::Path("/opt/build/docker.sock".to_owned());
    second_listener.first_seen = ago(9);
    let address = Some(IpAddr::from([192, 0, 2, 17]));
    let mut remote = client(ClientIdentity::Remote { address }, 2, Vec::new());
    remote.key.listener = SocketName::Tcp(([0, 0, 0, 0], 2375).into());
    vec![
        build,
        second_listener,
        waiting,
        client(
            ClientIdentity::EngineContainer {
                engine: Some(EngineKind::Dockerd),
                name: "portainer".to_owned(),
                image: None,
            },
            2,
            vec![process(5150, "/portainer", 0, None)],
        ),
        nested,
        rootless,
        host_client(None, "evil\u{1b}]0;owned\u{7}\n\"name\\", None, 1),
        remote,
        client(ClientIdentity::Unnamed, 1, Vec::new()),
        Client {
            origin: Origin::FileTimes,
            ..client(ClientIdentity::Unseen, 0, Vec::new())
        },
        host_client(
            Some(Unit::System {
                name: "backup.service".to_owned(),
            }),
            "/usr/bin/docker",
            Some(0),
            0,
        ),
        host_client(Some(Unit::Session { uid: 1001 }), "/usr/bin/docker", Some(1001), 0),
    ]
}
