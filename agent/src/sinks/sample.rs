//! A report with an item of every kind, for tests of the sinks. Not a likely node.

mod clients;
mod node;

use crate::findings::readiness::Grounds;
use crate::findings::report::{API_VERSION, Code, Finding, KubeletCeiling, Report, Severity, Verdict};
use crate::model::client::ClientIdentity;
use crate::model::container::{PodContainer, ShadowContainer};
use crate::model::disuse::{Began, DockerFree, Proof};
use crate::model::engine::{EngineKind, Scope};
use crate::model::exposure::{Access, Exposure, Via};
use crate::model::host::CgroupVersion;
use crate::model::hours::Hours;
use crate::model::identity::ContainerId;
use crate::model::known_agent::{AgentBasis, AgentKind, KnownAgent};
use crate::model::publishing::Standing;
use crate::model::reading::{Gap, Hides, Reading, Reason};
use crate::model::relay::{Relay, RelayBasis, RelayClient, RelayPoint};
use crate::model::snapshot::HolderMethod;
use crate::model::socket::SocketName;
use crate::model::time::Timestamp;
use crate::model::timeline::Timeline;
use crate::model::workload::Unit;

pub(crate) use clients::{host_client, key, place, pod_client};

/// 2026-11-24T12:00:00Z.
pub(crate) const NOW: u64 = 1_795_521_600;

/// The time `seconds` before the report.
pub(crate) const fn ago(seconds: u64) -> Timestamp {
    Timestamp::from_unix(NOW - seconds)
}

/// A report with an item of every kind.
pub(crate) fn report() -> Report {
    Report {
        api_version: API_VERSION,
        kind: "NodeReport",
        castoff_version: "0.1.0",
        node: Some("worker-3".to_owned()),
        time: ago(0),
        verdict: Verdict::InUse,
        verdict_reason: "5 clients hold connections to a Docker socket; pod ci/builder-0 (build) has 3".to_owned(),
        runtime: Reading::Known(node::runtime()),
        refused_endpoints: node::refused(),
        daemon_config: Reading::Known(node::daemon_config()),
        shared_containerd: Reading::Absent,
        orphaned_shims: Reading::Known(Vec::new()),
        readiness: Vec::new(),
        kubelet_ceiling: Reading::Known(KubeletCeiling::Minor(35)),
        kubelet: Reading::Known(node::kubelet()),
        cgroups: Reading::Known(CgroupVersion::V2),
        containers: Reading::Known(34),
        pods: Reading::Known(12),
        engines: Reading::Known(node::engines()),
        clients: Reading::Known(clients::all()),
        docker_free: Reading::Absent,
        timeline: clients::timeline(true),
        relays: Reading::Known(vec![relay()]),
        exposures: Reading::Known(exposures()),
        runtime_clients: Reading::Known(clients::of_runtime()),
        runtime_exposures: Reading::Known(runtime_exposures()),
        shadow_containers: Reading::Known(shadows()),
        findings: findings(),
        connect_events: Reading::Known(node::connect_events()),
        holder_method: Some(HolderMethod::SockDiag),
        iterator_refused: Some("BPF iterators: needs Linux 5.8, this is 5.4".to_owned()),
        sources: node::sources(),
    }
}

/// A socket proxy, and one client behind it.
fn relay() -> Relay {
    let host = |unit: &str, executable: &str| ClientIdentity::Host {
        unit: Some(Unit::System { name: unit.to_owned() }),
        executable: executable.to_owned(),
        uid: Some(0),
    };
    Relay {
        identity: host("socket-proxy.service", "/usr/sbin/haproxy"),
        listeners: vec![RelayPoint {
            name: SocketName::Tcp(([127, 0, 0, 1], 2375).into()),
            basis: Some(RelayBasis::Port),
        }],
        upstream: vec![SocketName::Path("/run/docker.sock".to_owned())],
        clients: vec![RelayClient {
            identity: host("deploy.service", "/usr/local/bin/deploy"),
            connections: 2,
            passed_on: true,
        }],
        loops: false,
    }
}

/// Labels that were published and events that were made.
pub(crate) fn standing() -> Standing {
    Standing {
        publishing: Some(node::publishing()),
        events: Some(node::events()),
    }
}

/// A node without Docker, fully seen.
pub(crate) fn clear() -> Report {
    let mut report = report();
    report.verdict = Verdict::Clear;
    report.verdict_reason = "no engine runs here and nothing of one is left".to_owned();
    report.refused_endpoints.clear();
    report.kubelet_ceiling = Reading::Known(KubeletCeiling::None);
    report.engines = Reading::Known(Vec::new());
    report.clients = Reading::Known(Vec::new());
    report.timeline = Timeline::new(ago(0), &[], &(0..168).map(|hours| ago(hours * 3_600)).collect());
    report.docker_free = Reading::Known(DockerFree {
        since: ago(16 * 86_400),
        days: 16,
        by: Proof::Looks,
        began: Began::AfterUse,
    });
    report.relays = Reading::Known(Vec::new());
    report.exposures = Reading::Known(Vec::new());
    report.runtime_clients = Reading::Known(Vec::new());
    report.runtime_exposures = Reading::Known(Vec::new());
    report.shadow_containers = Reading::Known(Vec::new());
    report.findings.clear();
    for source in &mut report.sources {
        source.gaps.clear();
        source.up = true;
    }
    report
}

/// A clear node with targets: one for each answer.
pub(crate) fn asked() -> Report {
    let mut report = clear();
    if let Reading::Known(runtime) = &mut report.runtime {
        runtime.cgroup_driver = Reading::Absent;
        runtime.silenced_deprecations = vec!["io.containerd.deprecation/cri-registry-mirrors".to_owned()];
    }
    let grounds = Grounds::of(&report);
    let targets = ["kubelet=1.38", "containerd=1.7", "docker=removed"];
    let targets = targets.map(|target| target.parse().expect("a target"));
    report.readiness = targets.map(|target| grounds.judge(target)).into();
    report
}

/// A node of which nothing could be seen.
pub(crate) fn blind() -> Report {
    let gap = || {
        Gap::new(
            Reason::PermissionDenied,
            Hides::Engine,
            "/proc/1/fd",
            "Permission denied (os error 13)",
        )
    };
    let mut report = clear();
    report.node = None;
    report.verdict = Verdict::Unknown;
    report.verdict_reason = "the engines could not be looked for".to_owned();
    report.runtime = Reading::Unknown(Gap::new(
        Reason::PermissionDenied,
        Hides::Runtime,
        "connect /run/containerd/containerd.sock",
        "Permission denied (os error 13)",
    ));
    report.kubelet_ceiling = Reading::Unknown(gap());
    report.kubelet = Reading::Absent;
    report.cgroups = Reading::Unknown(gap());
    report.containers = Reading::Unknown(gap());
    report.pods = Reading::Unknown(gap());
    report.engines = Reading::Unknown(gap());
    report.clients = Reading::Unknown(gap());
    report.timeline = Timeline::new(ago(0), &[], &Hours::default());
    report.docker_free = Reading::Unknown(gap());
    report.daemon_config = Reading::Absent;
    report.relays = Reading::Unknown(gap());
    report.exposures = Reading::Unknown(gap());
    report.runtime_clients = Reading::Unknown(gap());
    report.runtime_exposures = Reading::Unknown(gap());
    report.shadow_containers = Reading::Unknown(gap());
    report.connect_events = Reading::Absent;
    report.holder_method = None;
    report.iterator_refused = None;
    for source in &mut report.sources {
        source.up = false;
        source.gaps = vec![gap()];
    }
    report
}

fn exposures() -> Vec<Exposure> {
    let exposure = |pod: &str, container: &str, via, host: &str, inside: &str, used| Exposure {
        identity: ClientIdentity::Pod(PodContainer {
            namespace: "ci".to_owned(),
            pod: pod.to_owned(),
            container: Some(container.to_owned()),
            workload: clients::workload(pod),
        }),
        pod_uid: Some("0a1b2c3d-0000-4000-8000-00000000beef".to_owned()),
        agent: None,
        engine: EngineKind::Dockerd,
        scope: Scope::Host,
        listener: SocketName::Path("/run/docker.sock".to_owned()),
        via,
        host_path: host.to_owned(),
        container_path: inside.to_owned(),
        readonly: via == Via::Directory,
        access: if used { Access::Allowed } else { Access::Denied },
        mounted: via == Via::Socket,
        first_seen: ago(2 * 86_400),
        last_seen: ago(if via == Via::Socket { 0 } else { 3_600 }),
        used,
    };
    vec![
        exposure(
            "builder-0",
            "build",
            Via::Socket,
            "/var/run/docker.sock",
            "/var/run/docker.sock",
            true,
        ),
        exposure("log-shipper-x7k2p", "ship", Via::Directory, "/run", "/host/run", false),
        // The same container by a second mount: one series, not two of one name.
        exposure(
            "log-shipper-x7k2p",
            "ship",
            Via::Directory,
            "/var/run",
            "/host/var/run",
            false,
        ),
        Exposure {
            identity: ClientIdentity::EngineContainer {
                engine: Some(EngineKind::Dockerd),
                name: "watchtower".to_owned(),
                image: None,
            },
            pod_uid: None,
            agent: Some(KnownAgent {
                name: "Watchtower",
                kind: AgentKind::Updater,
                by: AgentBasis::Image,
            }),
            access: Access::Unknown,
            ..exposure("", "", Via::Socket, "/run/docker.sock", "/var/run/docker.sock", false)
        },
    ]
}

/// One of the exposures, of containerd's socket.
fn runtime_exposures() -> Vec<Exposure> {
    let of_runtime = |exposure: Exposure| Exposure {
        engine: EngineKind::Other,
        listener: SocketName::Path("/run/containerd/containerd.sock".to_owned()),
        ..exposure
    };
    exposures().into_iter().skip(1).take(1).map(of_runtime).collect()
}

fn shadows() -> Vec<ShadowContainer> {
    vec![
        ShadowContainer {
            id: ContainerId("4c5f8a2b9d1e0f3a6b7c8d9e0f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c".to_owned()),
            engine: EngineKind::Dockerd,
            scope: Scope::Host,
            name: Some("legacy-cron".to_owned()),
            image: Some("registry.example/legacy-cron:2.1".to_owned()),
        },
        ShadowContainer {
            id: ContainerId("9d1e0f3a6b7c".to_owned()),
            engine: EngineKind::Podman,
            scope: Scope::User { uid: 1000 },
            name: None,
            image: None,
        },
    ]
}

fn findings() -> Vec<Finding> {
    let finding = |code, severity, subject: &str, message: &str, advice: &str| Finding {
        code,
        severity,
        subject: subject.to_owned(),
        message: message.to_owned(),
        advice: advice.to_owned(),
    };
    vec![
        finding(
            Code::SocketClient,
            Severity::Critical,
            "pod ci/builder-0 (build)",
            "It holds 3 connections to dockerd's /run/docker.sock and has done so for 3 days.",
            "Build with rootless BuildKit or Buildah in the pod instead.",
        ),
        finding(
            Code::SocketClient,
            Severity::Critical,
            "backup.service (/usr/bin/docker)",
            "It used dockerd's /run/docker.sock 2 hours ago.",
            "List with crictl; copy volumes from /var/lib/kubelet.",
        ),
        finding(
            Code::SocketExposure,
            Severity::Warning,
            "pod ci/log-shipper-x7k2p (ship)",
            "It mounts /run, which leads to dockerd's /run/docker.sock; it was not seen using it.",
            "Mount /var/log/pods alone.",
        ),
        finding(
            Code::KubeletCeiling,
            Severity::Warning,
            "containerd 1.6.20",
            "It does not answer RuntimeConfig: Kubernetes 1.35 is the last whose kubelet starts on it.",
            "Move to containerd 2 before the kubelet goes past 1.35.",
        ),
        finding(
            Code::BlindSpot,
            Severity::Info,
            "holders",
            "13 processes could not be looked into.",
            "Run as root, or give CAP_SYS_PTRACE.",
        ),
    ]
}
