//! Daemons that serve the Docker API, and their listeners.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::container::PodContainer;
use super::identity::{NetNs, SocketInode};
use super::last_connect::LastConnect;
use super::process::{Owner, Process};
use super::reading::codes;
use super::socket::{ListenerId, SocketName};

codes! {
    /// The program of an engine.
    EngineKind {
        /// dockerd, of any vendor.
        Dockerd = "dockerd",
        /// Podman's API service.
        Podman = "podman",
        /// Another program that accepts connections on a Docker socket: a proxy, a fork, a test double.
        Other = "other",
    }
}

codes! {
    /// The API that a listener serves.
    Api {
        /// The Docker Engine API (Podman's service serves it too).
        Docker = "docker",
        /// The Kubernetes Container Runtime Interface.
        Cri = "cri",
    }
}

codes! {
    /// The security of a TCP listener.
    Security {
        /// None: anyone who reaches the port controls the engine.
        Plain = "plain",
        /// TLS without client certificates: anyone who reaches the port controls the engine.
        Tls = "tls",
        /// TLS, and only clients with a certificate are accepted.
        VerifiedTls = "verified-tls",
    }
}

impl Security {
    /// The port that the engine uses by default: IANA's `docker` and `docker-s`.
    pub const fn usual_port(self) -> u16 {
        match self {
            Self::Plain => 2375,
            Self::Tls | Self::VerifiedTls => 2376,
        }
    }
}

codes! {
    /// The evidence for the security of a listener. castoff never connects to it.
    SecurityBasis {
        /// The arguments and the configuration of a daemon that root runs.
        Settings = "settings",
        /// The port alone: 2376 is for TLS by convention.
        Port = "port",
    }
}

/// The known security of a TCP listener, and the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Transport {
    /// The security of the listener.
    pub security: Security,
    /// The evidence for it.
    pub basis: SecurityBasis,
}

/// A socket that an engine accepts connections on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// The identity of the listener.
    pub id: ListenerId,
    /// The API that it serves.
    pub api: Api,
    /// The name it was bound to, in the engine's own mount namespace.
    pub name: SocketName,
    /// The socket's own inode.
    pub socket: SocketInode,
    /// The network namespace it was found in.
    pub netns: NetNs,
    /// True if the host's init holds it too (systemd's socket activation).
    pub activated: bool,
    /// The security of a TCP listener; none for a Unix socket, which the file's permissions guard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// The last connect; none if it was not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_connect: Option<LastConnect>,
}

/// The containerd that a dockerd uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Containerd {
    /// One that it started itself. Also used for programs other than dockerd, and for an ordinary user's engine.
    Own,
    /// The one at this socket, with every link followed: dockerd is configured to use it.
    Configured(String),
    /// The one at containerd's usual socket, which it found there.
    Found,
    /// It could not be determined.
    Unknown,
}

/// An engine as a source saw it, before it is joined with its container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSighting {
    /// The engine's program.
    pub kind: EngineKind,
    /// Its process; none if only systemd's socket is there and nothing has started the engine.
    pub process: Option<Process>,
    /// The ordinary user whose own systemd listens for it. Only for an engine without a process.
    pub awaited_by: Option<u32>,
    /// The containerd that it runs its containers by.
    pub containerd: Containerd,
    /// Its listeners. Empty for an engine that listens on nothing that castoff sees.
    pub listeners: Vec<Listener>,
}

impl EngineSighting {
    /// True for the host's own dockerd: root runs it, in no container.
    pub fn is_dockerd_of_host(&self) -> bool {
        let process = self.process.as_ref();
        self.kind == EngineKind::Dockerd
            && process.is_some_and(|process| process.uid == Some(0) && process.membership.containers.is_empty())
    }

    /// True if an ordinary user runs it, in castoff's user namespace: its settings and its gaps concern that user alone.
    pub fn is_of_user(&self) -> bool {
        self.owner().uid.is_some_and(|uid| uid != 0)
    }

    /// The owner of its process, else the user whose systemd listens for it. A listener without a known holder counts as the
    /// node's.
    pub fn owner(&self) -> Owner {
        let awaited = || Owner {
            uid: self.awaited_by,
            container: None,
        };
        self.process.as_ref().map_or_else(awaited, Process::owner)
    }
}

/// The host, user, pod or container that an engine serves.
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
    /// It runs inside a container of no pod, or of a pod that could not be named.
    Container {
        /// The container's name, else its short id.
        name: String,
    },
    /// A machine outside this node, whose socket is mounted here: no process of this node is seen to serve it.
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

    /// Every word that [`Scope::code`] returns.
    pub const CODES: [&'static str; 5] = ["host", "user", "pod", "container", "outside"];

    /// True if the engine belongs to the node, so that its clients and exposures count for the node's verdict, labels, totals and
    /// alerts (ADR 1). An engine inside a pod that the runtime lists is removed with its pod, not with the node's Docker. Every
    /// other scope counts, and so does one that is not known.
    pub fn is_of_node(&self) -> bool {
        Self::is_code_of_node(self.code())
    }

    /// Applies the same rule to a word of [`Scope::code`], for reports of other nodes.
    pub fn is_code_of_node(code: &str) -> bool {
        code != "pod"
    }

    /// True if both serve the same: the host, a user, or the pods of one workload.
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
    /// The engine's program.
    pub kind: EngineKind,
    /// The host, user, pod or container that it serves.
    pub scope: Scope,
    /// Its process; none if only systemd's socket is there, or if castoff does not see it.
    pub process: Option<Process>,
    /// The sockets that it accepts on.
    pub listeners: Vec<Listener>,
}

impl Engine {
    /// True if the engine is known not to run yet: systemd listens for it. Otherwise an engine without a process is one whose
    /// process castoff does not see.
    pub fn is_awaited(&self) -> bool {
        self.process.is_none() && self.listeners.iter().any(|listener| listener.activated)
    }
}
