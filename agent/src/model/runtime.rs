//! The node's container runtime as it answers over CRI.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::container::{Container, EndedContainer, Pod};
use super::identity::FileIdentity;
use super::kubelet::EndpointCandidate;
use super::reading::{Gap, Reading, Sighting, codes};

codes! {
    /// A version of the Container Runtime Interface.
    CriApi {
        /// `runtime.v1`, from Kubernetes 1.23 on; the only one a kubelet from 1.26 on speaks.
        V1 = "v1",
        /// `runtime.v1alpha2`.
        V1alpha2 = "v1alpha2",
    }
}

codes! {
    /// How a runtime makes control groups.
    CgroupDriver {
        /// Through systemd.
        Systemd = "systemd",
        /// By the file system.
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
    /// True if it holds.
    pub status: bool,
    /// One word, for machines.
    pub reason: String,
    /// For people.
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

/// An endpoint that was tried before the one that answered, and why it was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefusedEndpoint {
    /// The candidate.
    #[serde(flatten)]
    pub candidate: EndpointCandidate,
    /// What was asked and what came back.
    pub refusal: Gap,
}

/// The runtime that answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Runtime {
    /// The endpoint that was taken.
    pub endpoint: EndpointCandidate,
    /// Its path after every link was followed; a name like `dockershim.sock` proves nothing.
    pub canonical_path: String,
    /// The CRI version it was asked in.
    pub api: CriApi,
    /// `runtime_name` of `Version`: `containerd`, `cri-o`, `docker`.
    pub name: String,
    /// `runtime_version` of `Version`, as the runtime spells it.
    pub version: String,
    /// What `Status` says.
    pub conditions: Reading<Vec<Condition>>,
    /// What the runtime itself says is deprecated; absent where it does not report such things.
    pub deprecations: Reading<Vec<Deprecation>>,
    /// The ids of deprecated uses that the runtime was told to leave out of them.
    pub silenced_deprecations: Vec<String>,
    /// What `RuntimeConfig` says; absent where the runtime has no such call, which is a fact of its own.
    pub cgroup_driver: Reading<CgroupDriver>,
    /// True if it serves the metrics of pods (`ListMetricDescriptors`); absent where its version of CRI has no such call.
    pub pod_metrics: Reading<bool>,
}

/// What the runtime said of itself and of what it runs.
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
    /// Those of the containers that were asked for by their ids which have ended, and are still listed.
    pub ended: Vec<EndedContainer>,
}
