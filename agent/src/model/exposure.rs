//! Containers that could reach a listener.

use schemars::JsonSchema;
use serde::Serialize;

use super::container::PodContainer;
use super::engine::{EngineKind, Scope};
use super::identity::ContainerId;
use super::reading::codes;
use super::socket::{ListenerId, SocketName};
use super::workload::owner::Workload;

codes! {
    /// How a mount leads to a listener.
    Via {
        /// The socket itself is mounted, under whatever name.
        Socket = "socket",
        /// A directory above it is mounted: `/run`, `/var/run`, `/`.
        Directory = "directory",
    }
}

/// A mount of a container that leads to a listener, by device and inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The container that mounts it.
    pub container: ContainerId,
    /// The listener it leads to.
    pub listener: ListenerId,
    /// How.
    pub via: Via,
    /// The path on the host as the pod names it.
    pub host_path: String,
    /// The mount point in the container.
    pub container_path: String,
    /// Whether it is read-only, which does not keep anyone from a socket.
    pub readonly: bool,
}

/// A container that could reach a listener, as it is reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Exposure {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The container's name.
    pub container: String,
    /// What the pod belongs to, as far as its sandbox tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
    /// The pod's uid as the runtime has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// The engine's program.
    pub engine: EngineKind,
    /// Whom the engine serves.
    pub scope: Scope,
    /// The listener's name in the engine's mount namespace.
    pub listener: SocketName,
    /// How the mount leads to it.
    pub via: Via,
    /// The path on the host as the pod names it.
    pub host_path: String,
    /// The mount point in the container.
    pub container_path: String,
    /// Whether it is read-only, which does not keep anyone from a socket.
    pub readonly: bool,
    /// Whether this container was ever seen using the listener, in this pod or an earlier one of its workload.
    pub used: bool,
}

impl Exposure {
    /// The container, as a client would be named.
    pub fn place(&self) -> PodContainer {
        PodContainer {
            namespace: self.namespace.clone(),
            pod: self.pod.clone(),
            container: Some(self.container.clone()),
            workload: self.workload.clone(),
        }
    }
}
