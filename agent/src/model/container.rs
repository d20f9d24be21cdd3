//! Pods and containers as the runtime lists them, and containers that an engine runs by itself.

use schemars::JsonSchema;
use serde::Serialize;

use super::engine::EngineKind;
use super::identity::{ContainerId, Pid};
use super::reading::Reading;

/// A pod sandbox, from `ListPodSandbox`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// The sandbox's id, which is also the id of its pause container where it has one.
    pub sandbox: ContainerId,
    /// `metadata.namespace` of the pod.
    pub namespace: String,
    /// `metadata.name` of the pod.
    pub name: String,
    /// `metadata.uid` as the kubelet gave it to the runtime; a hash for a static pod.
    pub uid: String,
    /// Whether the sandbox is ready.
    pub ready: bool,
}

/// A running container, from `ListContainers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its id.
    pub id: ContainerId,
    /// The sandbox it belongs to.
    pub sandbox: ContainerId,
    /// The container's name in the pod's spec.
    pub name: String,
    /// The image as the spec names it.
    pub image: String,
    /// What it mounts, from `ContainerStatus`; unknown where that call failed.
    pub mounts: Reading<Vec<Mount>>,
}

/// One mount that the kubelet asked the runtime for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The path on the host as it was asked for: not canonical, perhaps a link.
    pub host_path: String,
    /// The path in the container.
    pub container_path: String,
    /// Whether it is mounted read-only. Makes no difference to a socket.
    pub readonly: bool,
}

/// A container that runs under an engine's own supervisor (`containerd-shim … -namespace moby`, `conmon`), whether or
/// not Kubernetes knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupervisedContainer {
    /// Its id.
    pub id: ContainerId,
    /// Whose container it is.
    pub engine: EngineKind,
    /// The supervisor's process.
    pub supervisor: Pid,
    /// The supervisor's own place: a nested engine's containers are supervised inside the pod of that engine.
    pub inside: Option<ContainerId>,
    /// The name the engine gave it, where a file of the engine's tells.
    pub name: Option<String>,
    /// The image the engine started it from, where a file of the engine's tells.
    pub image: Option<String>,
}

/// A container that Docker or Podman runs on this node and that Kubernetes does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShadowContainer {
    /// Its id.
    pub id: ContainerId,
    /// Whose container it is.
    pub engine: EngineKind,
    /// The name the engine gave it, where that is known.
    pub name: Option<String>,
    /// The image, where that is known.
    pub image: Option<String>,
}
