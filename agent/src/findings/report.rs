//! The report about a node. Its JSON form is a published interface: `apiVersion` changes when a field changes its meaning or is
//! removed; fields may be added.

use schemars::JsonSchema;
use serde::Serialize;

use super::readiness::answer::Readiness;
use crate::model::client::Client;
use crate::model::connect::ConnectEvents;
use crate::model::container::ShadowContainer;
use crate::model::daemon_config::DaemonConfig;
use crate::model::disuse::DockerFree;
use crate::model::engine::Engine;
use crate::model::exposure::Exposure;
use crate::model::host::{CgroupVersion, OrphanedShim};
use crate::model::kubelet::Kubelet;
use crate::model::reading::{Gap, Reading, Source, codes};
use crate::model::relay::Relay;
use crate::model::runtime::{RefusedEndpoint, Runtime};
use crate::model::snapshot::HolderMethod;
use crate::model::time::Timestamp;
use crate::model::timeline::Timeline;

codes! {
    /// The state of a node, worst first; `unknown` is outside this order.
    Verdict {
        /// The kubelet's own runtime is Docker.
        Runtime = "runtime",
        /// A client used an engine now or within the window.
        InUse = "in-use",
        /// A client could use an engine, but none did.
        Exposed = "exposed",
        /// There is an engine, but no use of it.
        Idle = "idle",
        /// There is no Docker on the node.
        Clear = "clear",
        /// castoff could not see enough to decide.
        Unknown = "unknown",
    }
}

codes! {
    /// The severity of a finding.
    Severity {
        /// Needs attention now.
        Critical = "critical",
        /// Needs attention.
        Warning = "warning",
        /// Information only.
        Info = "info",
    }
}

codes! {
    /// The stable codes of castoff's findings.
    Code {
        /// The kubelet uses dockershim or cri-dockerd.
        RuntimeIsDocker = "runtime-is-docker",
        /// The runtime has no CRI v1.
        CriV1alpha2Only = "cri-v1alpha2-only",
        /// The newest kubelet that this runtime can serve.
        KubeletCeiling = "kubelet-ceiling",
        /// The runtime's release line is out of support.
        RuntimeEndOfLife = "runtime-end-of-life",
        /// A socket answers but does not serve CRI.
        CriPluginOff = "cri-plugin-off",
        /// The runtime reports deprecated use.
        RuntimeDeprecation = "runtime-deprecation",
        /// The node is on cgroup v1.
        CgroupV1 = "cgroup-v1",
        /// A client uses a Docker socket.
        SocketClient = "socket-client",
        /// A client of an engine passes the Docker API on, or may do so.
        DockerRelay = "docker-relay",
        /// A client requests a version of the Docker API that newer engines refuse.
        OldDockerApi = "old-docker-api",
        /// A container can reach a Docker socket and was not seen using it.
        SocketExposure = "socket-exposure",
        /// A container can reach a Docker socket that no process of this node serves.
        ForeignSocket = "foreign-socket",
        /// A client uses the runtime's own socket.
        RuntimeSocketClient = "runtime-socket-client",
        /// A container can reach the runtime's own socket and was not seen using it.
        RuntimeSocketExposure = "runtime-socket-exposure",
        /// A container mounts a Docker socket that is not there.
        DanglingMount = "dangling-mount",
        /// A container mounts a Docker socket that no process serves any more.
        StaleMount = "stale-mount",
        /// A container mounts the socket of dockershim or cri-dockerd.
        DockershimMount = "dockershim-mount",
        /// A container mounts Docker's data, logs or configuration.
        DockerFiles = "docker-files",
        /// An engine runs inside a pod.
        DockerInDocker = "docker-in-docker",
        /// An engine accepts on TCP.
        DockerTcp = "docker-tcp",
        /// Docker runs containers that Kubernetes does not know.
        ShadowContainers = "shadow-containers",
        /// Docker is installed, enabled or has data here, but is not used.
        EngineLeftOver = "engine-left-over",
        /// Docker and the kubelet share one containerd.
        SharedContainerd = "shared-containerd",
        /// The runtime lacks settings that Docker has here.
        DaemonConfig = "daemon-config",
        /// A file of the host calls Docker.
        DockerCaller = "docker-caller",
        /// castoff's table does not contain this release.
        UnknownRelease = "unknown-release",
        /// Support of a version of Kubernetes has ended.
        KubeletEndOfLife = "kubelet-end-of-life",
        /// A range of ids for the kubelet's pods reaches the last id.
        SubidRange = "subid-range",
        /// The host has a user `kubelet` and no `getsubids`.
        GetsubidsMissing = "getsubids-missing",
        /// The shim of running containers is no longer on the disk.
        ShimOrphan = "shim-orphan",
        /// The runtime does not serve the metrics of pods over CRI.
        CriMetrics = "cri-metrics",
        /// The runtime's project supports no upgrade from the one release to the other.
        RuntimeUpgradePath = "runtime-upgrade-path",
        /// A source could not read something.
        BlindSpot = "blind-spot",
    }
}

/// One conclusion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The code of the conclusion.
    pub code: Code,
    /// The severity.
    pub severity: Severity,
    /// The subject in a few words: `pod ci/builder-0 (build)`, `containerd 1.6.20`.
    pub subject: String,
    /// One sentence: the conclusion and its evidence.
    pub message: String,
    /// One sentence: the action to take. `castoff explain CODE` shows more.
    pub advice: String,
}

/// The result of one source in the cycle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// The source.
    pub source: Source,
    /// True if it gave an answer (known or absent). It may still have gaps.
    pub up: bool,
    /// The duration in microseconds.
    pub duration_micros: u64,
    /// The facts that it could not see.
    pub gaps: Vec<Gap>,
}

/// The newest kubelet that the runtime can serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", tag = "kind", content = "minor")]
pub enum KubeletCeiling {
    /// No release of Kubernetes that castoff knows drops this runtime.
    None,
    /// The last Kubernetes 1.x minor whose kubelet starts on it.
    Minor(u32),
}

/// castoff's report about a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// `castoff.dev/v1`.
    pub api_version: &'static str,
    /// `NodeReport`.
    pub kind: &'static str,
    /// castoff's own version.
    pub castoff_version: &'static str,
    /// The node's name, where it is known.
    pub node: Option<String>,
    /// The time at which the look began.
    pub time: Timestamp,
    /// The node's verdict.
    pub verdict: Verdict,
    /// The reason in one sentence. For `unknown`, the reason why castoff could not decide.
    pub verdict_reason: String,
    /// The runtime.
    pub runtime: Reading<Runtime>,
    /// Endpoints that did not answer.
    pub refused_endpoints: Vec<RefusedEndpoint>,
    /// The newest kubelet that the runtime can serve.
    pub kubelet_ceiling: Reading<KubeletCeiling>,
    /// The kubelet.
    pub kubelet: Reading<Kubelet>,
    /// The control group version.
    pub cgroups: Reading<CgroupVersion>,
    /// Running containers and ready pods that the runtime lists.
    pub containers: Reading<u32>,
    /// Ready pods that the runtime lists.
    pub pods: Reading<u32>,
    /// The engines of this node.
    pub engines: Reading<Vec<Engine>>,
    /// The clients that use them, now or within the window; open ones first, then by last seen.
    pub clients: Reading<Vec<Client>>,
    /// The time for which the node's Docker is proven to be unused; absent while it is used. A socket whose mount keeps
    /// access times daily counts as used for 24 hours after its last connect.
    pub docker_free: Reading<DockerFree>,
    /// The hours, of the last ones, in which any of them was seen.
    pub timeline: Timeline,
    /// Clients of the engines that pass the Docker API on to clients of their own, or may do so.
    pub relays: Reading<Vec<Relay>>,
    /// The containers that could reach them.
    pub exposures: Reading<Vec<Exposure>>,
    /// Clients of the runtime's own socket, now or within the window, except the kubelet, the runtime and its tools. They do not
    /// use Docker. Their `engine` is `other` and their `api` is `cri`.
    pub runtime_clients: Reading<Vec<Client>>,
    /// Containers that could reach that socket.
    pub runtime_exposures: Reading<Vec<Exposure>>,
    /// Containers outside Kubernetes.
    pub shadow_containers: Reading<Vec<ShadowContainer>>,
    /// The reason why the containerd that serves the kubelet is Docker's too; absent where it is not.
    pub shared_containerd: Reading<String>,
    /// Docker's settings compared with the runtime's; absent where Docker has none, or castoff does not know the runtime.
    pub daemon_config: Reading<DaemonConfig>,
    /// The shims of the kubelet's containers that are no longer on the disk; absent where no containerd has its state.
    pub orphaned_shims: Reading<Vec<OrphanedShim>>,
    /// The conclusions, most severe first.
    pub findings: Vec<Finding>,
    /// The answers for the targets of `--for`, in the same order.
    pub readiness: Vec<Readiness>,
    /// The state of the connects that the kernel reports; absent where it was not asked to.
    pub connect_events: Reading<ConnectEvents>,
    /// The method that found the connections; none if they could not be read.
    pub holder_method: Option<HolderMethod>,
    /// The reason why the kernel's iterator was not used to find the holders of connections; none if it was used, or not
    /// wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iterator_refused: Option<String>,
    /// The result of each source.
    pub sources: Vec<SourceStatus>,
}

/// The value of [`Report::api_version`].
pub const API_VERSION: &str = "castoff.dev/v1";
