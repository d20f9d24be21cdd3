//! Daemons that serve the Docker API, and what they listen on.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::container::PodContainer;
use super::identity::{NetNs, SocketInode};
use super::process::Process;
use super::reading::codes;
use super::socket::{ListenerId, SocketName};

codes! {
    /// Which program an engine is.
    EngineKind {
        /// dockerd, of any vendor.
        Dockerd = "dockerd",
        /// Podman's API service.
        Podman = "podman",
        /// Something else that accepts on a Docker socket: a proxy, a fork, a test double.
        Other = "other",
    }
}

codes! {
    /// Which API a listener serves.
    Api {
        /// The Docker Engine API (Podman's service speaks it too).
        Docker = "docker",
        /// The Kubernetes Container Runtime Interface.
        Cri = "cri",
    }
}

/// One thing that an engine accepts on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// What it is known by.
    pub id: ListenerId,
    /// What it serves.
    pub api: Api,
    /// The name it was bound to, in the engine's own mount namespace.
    pub name: SocketName,
    /// The socket's own inode.
    pub socket: SocketInode,
    /// The network namespace it was found in.
    pub netns: NetNs,
    /// Whether the host's init holds it too (systemd's socket activation).
    pub activated: bool,
}

/// An engine as a source saw it, before it is known whose container it may be in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSighting {
    /// Which program.
    pub kind: EngineKind,
    /// Its process; none where only systemd's socket is there and nothing has started the engine.
    pub process: Option<Process>,
    /// What it accepts on. Empty for an engine that listens on no Unix socket.
    pub listeners: Vec<Listener>,
}

/// Who an engine serves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Scope {
    /// The host.
    Host,
    /// One user (rootless).
    User {
        /// That user.
        uid: u32,
    },
    /// It runs inside a pod (Docker-in-Docker).
    Pod(PodContainer),
    /// It runs inside a container that is of no pod, or of none that could be named.
    Container {
        /// The container's name, else its short id.
        name: String,
    },
    /// A machine outside of this node, whose socket is mounted here: no process of this node is seen to serve it.
    Outside,
}

impl Scope {
    /// The closed word for a metric label: `host`, `user`, `pod`, `container` or `outside`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::User { .. } => "user",
            Self::Pod(_) => "pod",
            Self::Container { .. } => "container",
            Self::Outside => "outside",
        }
    }

    /// Every word that [`Scope::code`] gives.
    pub const CODES: [&'static str; 5] = ["host", "user", "pod", "container", "outside"];

    /// Whether the engine belongs to the node, so that its clients and exposures count for the node's verdict, labels,
    /// totals and alerts (ADR 1). An engine inside a pod of the runtime's list goes with its pod, and not with the node's
    /// Docker. Every other scope counts, as does one that could not be found out.
    pub fn is_of_node(&self) -> bool {
        Self::is_code_of_node(self.code())
    }

    /// The same rule by the word of [`Scope::code`], for reports of other nodes.
    pub fn is_code_of_node(code: &str) -> bool {
        code != "pod"
    }

    /// Whether both serve the same: the host, a user, or the pods of one workload.
    pub fn continues(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Pod(this), Self::Pod(other)) => this.continues(other),
            _ => self == other,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::User { uid } => write!(f, "user {uid}"),
            Self::Pod(place) => place.fmt(f),
            Self::Container { name } => write!(f, "container {name}"),
            Self::Outside => f.write_str("outside this node"),
        }
    }
}

/// An engine of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Engine {
    /// Which program.
    pub kind: EngineKind,
    /// Who it serves.
    pub scope: Scope,
    /// Its process; none where only systemd's socket is there, and where castoff does not see it.
    pub process: Option<Process>,
    /// What it accepts on.
    pub listeners: Vec<Listener>,
}

impl Engine {
    /// Whether it is known not to run yet: systemd listens for it. Without that, one that has no process is only not
    /// seen.
    pub fn is_awaited(&self) -> bool {
        self.process.is_none() && self.listeners.iter().any(|listener| listener.activated)
    }
}
