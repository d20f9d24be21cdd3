//! Containers that could reach a listener.

use std::cmp::Reverse;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::client::{ClientIdentity, ClientKey, container_label};
use super::container::PodContainer;
use super::engine::{Api, EngineKind, Scope};
use super::identity::{ContainerId, FileIdentity};
use super::known_agent::KnownAgent;
use super::reading::codes;
use super::socket::{ListenerId, SocketName};
use super::time::Timestamp;
use super::workload::Membership;
use super::workload::owner::Workload;

codes! {
    /// The way in which a mount leads to a listener.
    Via {
        /// The socket itself is mounted, under whatever name.
        Socket = "socket",
        /// A directory above it is mounted: `/run`, `/var/run`, `/`.
        Directory = "directory",
    }
}

codes! {
    /// The right of the user that a container runs as to open a socket now, by the socket's owner and mode.
    Access {
        /// It may.
        Allowed = "allowed",
        /// It may not. Another user of the same container may, and a change of the socket's mode could allow it.
        Denied = "denied",
        /// No process of the container could be checked, or the mount maps users to others.
        Unknown = "unknown",
    }
}

impl Access {
    /// Returns a number that is greater for a wider right.
    const fn rank(self) -> u8 {
        match self {
            Self::Denied => 0,
            Self::Unknown => 1,
            Self::Allowed => 2,
        }
    }
}

/// A mount of a container that leads to a listener, by device and inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The container that mounts it, by the control groups around it.
    pub membership: Membership,
    /// The socket that it leads to.
    pub reached: Reached,
    /// The way in which the mount leads to it.
    pub via: Via,
    /// The path on the host as the pod names it.
    pub host_path: String,
    /// The mount point in the container.
    pub container_path: String,
    /// True if it is read-only, which does not prevent the use of a socket.
    pub readonly: bool,
    /// True if it is read-only for any process of the container: a connect through it leaves no mark.
    pub is_readonly_somewhere: bool,
    /// The container's right to open the socket.
    pub access: Access,
}

impl Reach {
    /// Adds the rights that another process of the container has at the same mount point.
    pub fn add_rights(&mut self, other: &Self) {
        self.readonly &= other.readonly;
        self.is_readonly_somewhere |= other.is_readonly_somewhere;
        if other.access.rank() > self.access.rank() {
            self.access = other.access;
        }
    }
}

/// The socket that a mount leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reached {
    /// An engine's listener.
    Listener(ListenerId),
    /// A socket with an engine's name on which no process of this node is seen to listen. It may be live: castoff does not
    /// open it.
    Unseen {
        /// The socket's file.
        file: FileIdentity,
        /// The engine that its name suggests.
        kind: EngineKind,
        /// Its path on the host.
        name: SocketName,
    },
}

codes! {
    /// The reason why a mount that is named as a Docker socket leads to no listener.
    Lost {
        /// Nothing is there.
        Missing = "missing",
        /// A directory is there: runtimes make one where the path of a mount is missing.
        Directory = "directory",
        /// An ordinary file is there.
        File = "file",
        /// A socket is there that nothing listens on any more.
        Stale = "stale",
        /// It is the socket of dockershim or cri-dockerd, which goes away with it.
        Dockershim = "dockershim",
    }
}

/// A mount of a container that is named as a Docker socket and leads to no listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostMount {
    /// The container that mounts it, by the control groups around it.
    pub membership: Membership,
    /// The path on the host as the pod names it.
    pub host_path: String,
    /// The mount point in the container.
    pub container_path: String,
    /// The reason.
    pub state: Lost,
}

codes! {
    /// The files of Docker that a mount leads to.
    DockerFiles {
        /// Its data: images, layers, volumes.
        Data = "data",
        /// The logs of its containers.
        Logs = "logs",
        /// Its configuration.
        Configuration = "configuration",
    }
}

/// A mount of a container that leads to Docker's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesMount {
    /// The container that mounts them, by the control groups around it.
    pub membership: Membership,
    /// The files.
    pub files: DockerFiles,
    /// The path on the host as the pod names it.
    pub host_path: String,
    /// The mount point in the container.
    pub container_path: String,
}

/// A container's mount of a listener, in terms that outlive the container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExposureKey {
    /// The client that the container would be, and the listener.
    pub client: ClientKey,
    /// The mount point in the container. It is in the pod's template; the path on the host need not be.
    pub container_path: String,
    /// The container, if a later look may find its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unnamed: Option<UnnamedContainer>,
}

/// A container without a name, or without the name of its pod: the facts by which a later look may find them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnnamedContainer {
    /// The containers around its processes, outermost first, except those that a user claims.
    pub containers: Vec<ContainerId>,
    /// The uid of its pod, as the path of its control group has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// Its pod's sandbox, and its own name in the pod, if the runtime listed the container without its pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_sandbox: Option<(ContainerId, String)>,
}

/// A container's mount of a listener when it was last seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mounted {
    /// The way in which the mount leads to the listener.
    pub via: Via,
    /// The path on the host as the pod names it.
    pub host_path: String,
    /// True if it is read-only.
    pub readonly: bool,
    /// The container's right to open the socket.
    pub access: Access,
}

impl Mounted {
    /// Returns the mount that permits more, of two containers with one name.
    #[must_use]
    pub fn wider(self, other: Self) -> Self {
        let rank = |mount: &Self| (mount.access.rank(), !mount.readonly, Reverse(mount.host_path.clone()));
        if rank(&other) > rank(&self) { other } else { self }
    }
}

/// A container that could reach a listener, in a report: it has the mount now, or had it within the window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Exposure {
    /// The container, named as a client in it would be.
    #[serde(flatten, serialize_with = "serialize_names")]
    #[schemars(with = "Names<'static>")]
    pub identity: ClientIdentity,
    /// The pod's uid as the runtime has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// The known agent that its image has the name of. The user who creates the container chooses the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<KnownAgent>,
    /// The engine's program.
    pub engine: EngineKind,
    /// The host, user, pod or container that the engine serves.
    pub scope: Scope,
    /// The listener's name in the engine's mount namespace.
    pub listener: SocketName,
    /// The way in which the mount leads to it.
    pub via: Via,
    /// The path on the host as the pod names it.
    pub host_path: String,
    /// The mount point in the container.
    pub container_path: String,
    /// True if it is read-only, which does not prevent the use of a socket.
    pub readonly: bool,
    /// The container's right to open the socket now.
    pub access: Access,
    /// True if the container has the mount now. One that does not run has it at its next start.
    pub mounted: bool,
    /// The time at which the mount was first seen, in this container or an earlier one of its workload.
    pub first_seen: Timestamp,
    /// The time at which it was last seen.
    pub last_seen: Timestamp,
    /// True if this container was ever seen using the listener, in this pod or an earlier one of its workload.
    pub used: bool,
}

impl Exposure {
    /// Adds the mount of another container of the same name.
    pub fn merge(&mut self, other: &Self) {
        let mount = |of: &Self| Mounted {
            via: of.via,
            host_path: of.host_path.clone(),
            readonly: of.readonly,
            access: of.access,
        };
        let theirs = if self.mounted == other.mounted {
            mount(self).wider(mount(other))
        } else if self.mounted {
            mount(self)
        } else {
            mount(other)
        };
        (self.via, self.host_path) = (theirs.via, theirs.host_path);
        (self.readonly, self.access) = (theirs.readonly, theirs.access);
        self.mounted |= other.mounted;
        self.first_seen = self.first_seen.min(other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
        self.used |= other.used;
    }

    /// The key that a client in this container would have.
    pub fn key(&self) -> ClientKey {
        ClientKey {
            identity: self.identity.clone(),
            engine: self.engine,
            scope: self.scope.clone(),
            api: Api::Docker,
            listener: self.listener.clone(),
        }
    }

    /// The container's place in a pod; none for a container of no pod.
    pub const fn place(&self) -> Option<&PodContainer> {
        match &self.identity {
            ClientIdentity::Pod(place) => Some(place),
            _ => None,
        }
    }

    /// The workload of its pod, as far as its sandbox shows.
    pub fn workload(&self) -> Option<&Workload> {
        self.place()?.workload.as_ref()
    }
}

/// A container's names as they are published.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Names<'a> {
    /// The pod's namespace; null for a container of no pod, or of one that is not known.
    namespace: Option<&'a str>,
    /// The pod's name; null likewise.
    pod: Option<&'a str>,
    /// The container's name, else its short id; null where only the pod is known.
    container: Option<String>,
    /// The workload of the pod, as far as its sandbox shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    workload: Option<&'a Workload>,
    /// The engine that runs a container of no pod, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    run_by: Option<EngineKind>,
}

fn serialize_names<S: Serializer>(identity: &ClientIdentity, serializer: S) -> Result<S::Ok, S::Error> {
    let (pod, container, run_by) = match identity {
        ClientIdentity::Pod(place) => (Some(place), place.container.clone(), None),
        ClientIdentity::EngineContainer { engine, name, image } => {
            (None, Some(container_label(name, image.as_deref())), *engine)
        }
        ClientIdentity::Host { executable, .. } => (None, Some(executable.clone()), None),
        ClientIdentity::Remote { .. } | ClientIdentity::Unnamed | ClientIdentity::Unseen => (None, None, None),
    };
    let names = Names {
        namespace: pod.map(|place| place.namespace.as_str()),
        pod: pod.map(|place| place.pod.as_str()),
        container,
        workload: pod.and_then(|place| place.workload.as_ref()),
        run_by,
    };
    names.serialize(serializer)
}
