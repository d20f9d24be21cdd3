//! The sample's runtime, kubelet, engines and sources.

use super::ago;
use super::clients::place;
use crate::findings::report::SourceStatus;
use crate::model::connect::{Attributions, ConnectEvents, ConnectMethod, RefusedMethod, RequestEvents, SelfTest};
use crate::model::daemon_config::{Carried, ComparedSetting, DaemonConfig, DockerSetting, RuntimeProgram};
use crate::model::engine::{Api, Engine, EngineKind, Listener, Scope};
use crate::model::identity::{ContainerId, Device, FileIdentity, NetNs, Pid, ProcessKey, SocketInode};
use crate::model::kubelet::{EndpointCandidate, EndpointOrigin, Kubelet};
use crate::model::last_connect::{LastConnect, NoMark};
use crate::model::process::Process;
use crate::model::publishing::{
    Dropped, DroppedEvents, EventRequests, Events, Outcome, PublishedLabels, Publishing, Requests, Verb, Way,
};
use crate::model::reading::{Gap, Hides, Reading, Reason, Source};
use crate::model::runtime::{CgroupDriver, Condition, CriApi, Deprecation, RefusedEndpoint, Runtime};
use crate::model::socket::{ListenerId, SocketName};
use crate::model::workload::{CgroupContainer, Manager, Membership, Unit};

/// A process of the host.
pub(crate) fn process(pid: u32, executable: &str, uid: u32, unit: Option<Unit>) -> Process {
    Process {
        key: ProcessKey {
            pid: Pid(pid),
            start: 4_711,
        },
        name: executable.rsplit('/').next().unwrap_or(executable).to_owned(),
        executable: Some(executable.to_owned()),
        uid: Some(uid),
        netns: Some(NetNs(4_026_531_840)),
        membership: Membership {
            containers: Vec::new(),
            pod_uid: None,
            unit,
        },
    }
}

/// A setting in each state.
pub(super) fn daemon_config() -> DaemonConfig {
    let row = |setting, docker: &str, runtime: Option<&str>, state, advice: &str| ComparedSetting {
        setting,
        docker: docker.to_owned(),
        runtime: runtime.map(str::to_owned),
        state,
        advice: advice.to_owned(),
    };
    DaemonConfig {
        docker: vec![
            "/etc/docker/daemon.json".to_owned(),
            "the arguments and proxies of dockerd (pid 812)".to_owned(),
        ],
        runtime: RuntimeProgram::Containerd,
        serves_kubelet: true,
        runtime_files: vec!["/etc/containerd/config.toml".to_owned()],
        settings: vec![
            row(
                DockerSetting::RegistryMirrors,
                "https://mirror.test",
                None,
                Carried::Missing,
                "In /etc/containerd/certs.d/docker.io/hosts.toml, add [host.\"https://mirror.test\"].",
            ),
            row(
                DockerSetting::CgroupDriver,
                "systemd",
                Some("systemd"),
                Carried::CarriedOver,
                "Nothing is to be done.",
            ),
            row(
                DockerSetting::LiveRestore,
                "true",
                None,
                Carried::NotApplicable,
                "Nothing is to be done: containers run on while the runtime restarts.",
            ),
            row(
                DockerSetting::InsecureRegistries,
                "10.20.0.0/16",
                None,
                Carried::Unknown,
                "containerd has no ranges of addresses: give each registry in it that pods use a hosts.toml of its own.",
            ),
        ],
        more: 0,
        not_compared: vec!["bip".to_owned()],
    }
}

/// fentry is refused, LSM runs.
pub(super) fn connect_events() -> ConnectEvents {
    ConnectEvents {
        method: Some(ConnectMethod::Lsm),
        refused: vec![RefusedMethod {
            method: ConnectMethod::Fentry,
            answer: "the kernel refuses the program: Operation not permitted (os error 1)".to_owned(),
        }],
        since: Some(ago(7_200)),
        self_test: Some(SelfTest {
            at: ago(7_190),
            failure: None,
        }),
        listeners: 2,
        recorded: 1_203,
        lost: 4,
        attributed: Attributions {
            process: 200,
            record: 1_003,
            none: 4,
        },
        requests: RequestEvents {
            method: None,
            refused: vec![RefusedMethod {
                method: ConnectMethod::Fentry,
                answer: "the kernel refuses the program: Operation not permitted (os error 1)".to_owned(),
            }],
            recorded: 0,
            lost: 0,
        },
    }
}

pub(super) fn runtime() -> Runtime {
    Runtime {
        endpoint: EndpointCandidate {
            path: "/run/containerd/containerd.sock".to_owned(),
            origin: EndpointOrigin::KubeletFlag {
                flag: "--container-runtime-endpoint".to_owned(),
            },
        },
        canonical_path: "/run/containerd/containerd.sock".to_owned(),
        api: CriApi::V1,
        name: "containerd".to_owned(),
        version: "1.6.20~ds1".to_owned(),
        conditions: Reading::Known(vec![Condition {
            kind: "RuntimeReady".to_owned(),
            status: true,
            reason: String::new(),
            message: String::new(),
        }]),
        deprecations: Reading::Known(vec![Deprecation {
            id: "io.containerd.deprecation/cri-api-v1alpha2".to_owned(),
            message: "CRI API v1alpha2 is deprecated".to_owned(),
        }]),
        silenced_deprecations: Vec::new(),
        pod_metrics: Reading::Known(true),
        cgroup_driver: Reading::Known(CgroupDriver::Systemd),
    }
}

pub(super) fn refused() -> Vec<RefusedEndpoint> {
    let refused = |path: &str, origin, reason, answer: &str| RefusedEndpoint {
        candidate: EndpointCandidate {
            path: path.to_owned(),
            origin,
        },
        refusal: Gap::new(reason, Hides::Detail, format!("connect {path}"), answer),
    };
    vec![
        refused(
            "/var/run/dockershim.sock",
            EndpointOrigin::KubeletFile {
                path: "/var/lib/kubelet/config.yaml".to_owned(),
            },
            Reason::NotFound,
            "No such file or directory (os error 2)",
        ),
        refused(
            "/run/crio/crio.sock",
            EndpointOrigin::WellKnown { of: "CRI-O".to_owned() },
            Reason::ConnectionRefused,
            "Connection refused (os error 111)",
        ),
    ]
}

pub(super) fn kubelet() -> Kubelet {
    Kubelet {
        program: Some("kubelet".to_owned()),
        dockershim: Some(false),
        endpoints: vec![runtime().endpoint],
        fail_cgroup_v1: Reading::Absent,
        subordinate_ids: Reading::Absent,
        process: None,
    }
}

/// One of each kind of last connect.
fn last_connect(inode: u32) -> LastConnect {
    match inode % 4 {
        0 => LastConnect::NoneSince {
            since: ago(40 * 86_400),
        },
        1 => LastConnect::Exact { at: ago(60) },
        2 => LastConnect::AtLeast { at: ago(7_200) },
        _ => LastConnect::NoMark { because: NoMark::Mount },
    }
}

fn listener(inode: u32, name: SocketName, activated: bool) -> Listener {
    let netns = NetNs(4_026_531_840);
    let id = match &name {
        SocketName::Path(_) => ListenerId::File(FileIdentity {
            device: Device { major: 0, minor: 25 },
            inode,
        }),
        SocketName::Abstract(name) => ListenerId::Abstract(netns, name.clone()),
        SocketName::Tcp(address) => ListenerId::Tcp(netns, *address),
    };
    Listener {
        id,
        api: Api::Docker,
        name,
        socket: SocketInode(inode + 1000),
        netns,
        activated,
        transport: None,
        last_connect: Some(last_connect(inode)),
    }
}

pub(super) fn engines() -> Vec<Engine> {
    let docker_unit = Some(Unit::System {
        name: "docker.service".to_owned(),
    });
    let mut nested = process(9100, "/usr/local/bin/dockerd", 0, None);
    nested.membership.containers = vec![CgroupContainer {
        user: None,
        id: ContainerId("77aa00".repeat(10)),
        manager: Manager::CriContainerd,
    }];
    vec![
        Engine {
            kind: EngineKind::Dockerd,
            scope: Scope::Host,
            process: Some(process(812, "/usr/sbin/dockerd", 0, docker_unit)),
            listeners: vec![
                listener(1281, SocketName::Path("/run/docker.sock".to_owned()), true),
                listener(1299, SocketName::Path("/opt/build/docker.sock".to_owned()), false),
            ],
        },
        Engine {
            kind: EngineKind::Dockerd,
            scope: Scope::Pod(place("dind-runner-5c9f", Some("dind"))),
            process: Some(nested),
            listeners: vec![listener(77, SocketName::Path("/var/run/docker.sock".to_owned()), false)],
        },
        Engine {
            kind: EngineKind::Podman,
            scope: Scope::User { uid: 1000 },
            process: None,
            listeners: vec![listener(
                2002,
                SocketName::Abstract("podman\u{1b}[31m".to_owned()),
                true,
            )],
        },
        Engine {
            kind: EngineKind::Other,
            scope: Scope::Host,
            process: None,
            listeners: Vec::new(),
        },
    ]
}

pub(super) fn sources() -> Vec<SourceStatus> {
    let identity = Gap {
        count: 13,
        ..Gap::new(
            Reason::PermissionDenied,
            Hides::Identity,
            "/proc/4123/fd",
            "Permission denied (os error 13)",
        )
    };
    let namespace = Gap::new(
        Reason::NoKernelSupport,
        Hides::Client,
        "sock_diag in network namespace 4026532841",
        "Protocol not supported (os error 93)",
    );
    Source::ALL
        .iter()
        .zip([2_311, 840, 15_020, 960, 41_777, 3_004, 155, 120])
        .map(|(source, duration_micros)| SourceStatus {
            source: *source,
            up: *source != Source::HostFiles,
            duration_micros,
            gaps: match source {
                Source::Holders => vec![identity.clone(), namespace.clone()],
                Source::HostFiles => {
                    vec![Gap::new(
                        Reason::Malformed,
                        Hides::Detail,
                        "/proc/mounts",
                        "line 7 has 2 fields",
                    )]
                }
                _ => Vec::new(),
            },
        })
        .collect()
}

pub(super) fn publishing() -> Publishing {
    let requests = |verb, outcome, count| Requests { verb, outcome, count };
    let labels = [
        ("castoff.dev/docker-dependency", "in-use"),
        ("castoff.dev/docker-engine", "dockerd_other_podman"),
    ];
    Publishing {
        way: Way::Api,
        labels: Reading::Known(PublishedLabels {
            labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            confirmed: ago(400),
        }),
        failing: None,
        last_success: Some(ago(400)),
        requests: vec![
            requests(Verb::Read, Outcome::Succeeded, 4),
            requests(Verb::Read, Outcome::Throttled, 1),
            requests(Verb::Write, Outcome::Succeeded, 2),
        ],
    }
}

pub(super) fn events() -> Events {
    Events {
        failing: Some(Outcome::Forbidden),
        last_success: Some(ago(3_600)),
        waiting: 1,
        requests: [(Outcome::Succeeded, 3), (Outcome::Forbidden, 2)]
            .map(|(outcome, count)| EventRequests { outcome, count })
            .into(),
        dropped: vec![DroppedEvents {
            reason: Dropped::Forbidden,
            count: 2,
        }],
    }
}
