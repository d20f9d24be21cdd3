//! Containers that could reach a listener.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::client::ClientKey;
use super::container::PodContainer;
use super::engine::{EngineKind, Scope};
use super::identity::ContainerId;
use super::reading::codes;
use super::socket::{ListenerId, SocketName};
use super::time::Timestamp;
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

/// A container's way to a listener, in words that survive the container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExposureKey {
    /// Who could use what, as the client that it would be.
    pub client: ClientKey,
    /// The mount point in the container, which is in the pod's template, as the path on the host need not be.
    pub container_path: String,
}

/// A container's way to a listener when it was last seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mounted {
    /// How the mount leads to the listener.
    pub via: Via,
    /// The path on the host as the pod names it.
    pub host_path: String,
    /// Whether it is read-only.
    pub readonly: bool,
}

/// A container that could reach a listener, as it is reported: it has the mount now, or had it within the window.
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
    /// Whether the container has the mount now.
    pub mounted: bool,
    /// When the mount was first seen, in this pod or an earlier one of its workload.
    pub first_seen: Timestamp,
    /// When it was last seen.
    pub last_seen: Timestamp,
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
