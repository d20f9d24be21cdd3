//! The node's container runtime, from its answers over CRI.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::container::{Container, EndedContainer, Pod};
use super::identity::FileIdentity;
use super::kubelet::EndpointCandidate;
use super::reading::{Gap, Reading, Sighting, codes};

codes! {
    /// A version of the Container Runtime Interface.
    CriApi {
        /// `runtime.v1`, since Kubernetes 1.23; the only one that a kubelet supports since 1.26.
        V1 = "v1",
        /// `runtime.v1alpha2`.
        V1alpha2 = "v1alpha2",
    }
}

codes! {
    /// The way in which a runtime makes control groups.
    CgroupDriver {
        /// Through systemd.
        Systemd = "systemd",
        /// Through the file system.
        Cgroupfs = "cgroupfs",
    }
}

/// A condition of `Status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `RuntimeReady`, `NetworkReady`, or one of the runtime's own.
    #[serde(rename = "type")]
    pub kind: String,
    /// The state of the condition.
    pub status: bool,
    /// The reason in one word, for machines.
    pub reason: String,
    /// The message for people.
    pub message: String,
}

/// A use that the runtime itself reports as deprecated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deprecation {
    /// The runtime's id for it, `io.containerd.deprecation/…`.
    pub id: String,
    /// The runtime's own words.
    pub message: String,
}

/// An endpoint that was tried before the one that answered, and the reason why it was not used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefusedEndpoint {
    /// The candidate.
    #[serde(flatten)]
    pub candidate: EndpointCandidate,
    /// The question and the answer.
    pub refusal: Gap,
}

/// The runtime that answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Runtime {
    /// The endpoint that is used.
    pub endpoint: EndpointCandidate,
    /// Its path with every link followed; a name like `dockershim.sock` proves nothing.
    pub canonical_path: String,
    /// The CRI version that is used.
    pub api: CriApi,
    /// `runtime_name` of `Version`: `containerd`, `cri-o`, `docker`.
    pub name: String,
    /// `runtime_version` of `Version`, as the runtime spells it.
    pub version: String,
    /// The conditions of `Status`.
    pub conditions: Reading<Vec<Condition>>,
    /// The uses that the runtime itself reports as deprecated; absent where it does not report such things.
    pub deprecations: Reading<Vec<Deprecation>>,
    /// The ids of deprecated uses that the runtime is configured not to report.
    pub silenced_deprecations: Vec<String>,
    /// The driver in `RuntimeConfig`; absent where the runtime has no such call, which is a fact of its own.
    pub cgroup_driver: Reading<CgroupDriver>,
    /// True if it serves the metrics of pods (`ListMetricDescriptors`); absent where its version of CRI has no such call.
    pub pod_metrics: Reading<bool>,
}

/// The runtime's answers about itself and about its pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeSighting {
    /// The runtime; absent where no candidate exists on this host at all.
    pub runtime: Sighting<Runtime>,
    /// The socket file that it answered on.
    pub socket: Option<FileIdentity>,
    /// Every candidate that did not answer.
    pub refused: Vec<RefusedEndpoint>,
    /// Its pods.
    pub pods: Sighting<Vec<Pod>>,
    /// Its running containers.
    pub containers: Sighting<Vec<Container>>,
    /// The containers of its ready pods that do not run and may be started again: created, or ended. No process is
    /// theirs, but their mounts are those of the next start. None if `containers` is not known.
    pub waiting: Vec<Container>,
    /// The requested containers that have ended and are still listed.
    pub ended: Vec<EndedContainer>,
}
