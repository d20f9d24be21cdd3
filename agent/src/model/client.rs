//! Clients of an engine's listener.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::container::PodContainer;
use super::engine::{Api, EngineKind, Scope};
use super::identity::SocketInode;
use super::known_agent::KnownAgent;
use super::process::Process;
use super::reading::codes;
use super::request::Requests;
use super::socket::SocketName;
use super::time::Timestamp;
use super::timeline::Timeline;
use super::workload::{Unit, executable, generated};

/// A client's identity, in terms that outlive its processes: never a pid. A pod's name is the current one;
/// [`ClientIdentity::continues`] decides if it is the same client as before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum ClientIdentity {
    /// A container of a pod.
    Pod(PodContainer),
    /// A container that an engine runs by itself.
    EngineContainer {
        /// The engine that runs it, where that is known.
        engine: Option<EngineKind>,
        /// Its name, with a `*` for the part that was generated for this run alone; `without a known name` where neither the name
        /// nor the image is known, and the short id while a list of the runtime is missing.
        name: String,
        /// The image without its tag, where the name was generated.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        image: Option<String>,
    },
    /// A process of the host.
    Host {
        /// The unit of the host's init system, where the process is in one.
        unit: Option<Unit>,
        /// The executable's path, with a `*` for the part that changes with each run or release; else the kernel's name for the
        /// process.
        executable: String,
        /// The user it runs as.
        uid: Option<u32>,
    },
    /// A client on another machine, over TCP.
    Remote {
        /// The address that the connections come from; none for all addresses beyond the first [`OpenClient::REMOTES_SHOWN`].
        address: Option<IpAddr>,
    },
    /// The connection is seen, but its holder could not be named; a gap gives the reason.
    Unnamed,
    /// A client that connected, according to the times of the socket's file, and disconnected before a look could
    /// identify it.
    Unseen,
}

impl ClientIdentity {
    /// The closed word for a metric label: `pod`, `engine-container`, `host`, `remote`, `unnamed` or `unseen`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Pod(_) => "pod",
            Self::EngineContainer { .. } => "engine-container",
            Self::Host { .. } => "host",
            Self::Remote { .. } => "remote",
            Self::Unnamed => "unnamed",
            Self::Unseen => "unseen",
        }
    }

    /// Every word that [`ClientIdentity::code`] returns.
    pub const CODES: [&'static str; 6] = ["pod", "engine-container", "host", "remote", "unnamed", "unseen"];
}

impl ClientIdentity {
    /// Returns the client under the name that its next run has too.
    #[must_use]
    pub fn lasting(self) -> Self {
        match self {
            Self::Host { unit, executable, uid } => Self::Host {
                unit: unit.map(Unit::lasting),
                executable: generated::settle(executable, executable::lasting),
                uid,
            },
            Self::Pod(_) | Self::EngineContainer { .. } | Self::Remote { .. } | Self::Unnamed | Self::Unseen => self,
        }
    }

    /// True if this is the same client as `other`.
    pub fn continues(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Pod(this), Self::Pod(other)) => this.continues(other),
            _ => self == other || self.is_known_better_than(other),
        }
    }

    /// True if `other` may be the same process of the host before it executed another program: it has the same unit and
    /// the same user.
    pub(super) fn may_have_been(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Host { unit, uid, .. },
                Self::Host {
                    unit: before,
                    uid: uid_before,
                    ..
                },
            ) => (unit, uid) == (before, uid_before),
            _ => false,
        }
    }

    /// True if `other` is this program of the host by its name alone, because its process had ended before its path was
    /// read. Both have the same unit and the same user, so that no user can name another user's client.
    pub(super) fn is_known_better_than(&self, other: &Self) -> bool {
        let (
            Self::Host { unit, executable, uid },
            Self::Host {
                unit: other_unit,
                executable: name,
                uid: other_uid,
            },
        ) = (self, other)
        else {
            return false;
        };
        (unit, uid) == (other_unit, other_uid) && executable::is_file_name(executable, name)
    }
}

impl fmt::Display for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(place) => place.fmt(f),
            Self::EngineContainer { engine, name, image } => {
                if let Some(engine) = engine {
                    write!(f, "{engine} ")?;
                }
                write!(f, "container {}", container_label(name, image.as_deref()))
            }
            Self::Host {
                unit: Some(unit),
                executable,
                ..
            } => write!(f, "{unit} ({executable})"),
            Self::Host {
                unit: None,
                executable,
                uid: Some(uid),
            } => write!(f, "{executable} (user {uid})"),
            Self::Host {
                unit: None,
                executable,
                uid: None,
            } => f.write_str(executable),
            Self::Remote { address: Some(address) } => write!(f, "remote address {address}"),
            Self::Remote { address: None } => f.write_str("other remote addresses"),
            Self::Unnamed => f.write_str("a process that could not be named"),
            Self::Unseen => f.write_str("a client that no look saw"),
        }
    }
}

/// Separates the name of a container from the user in whose control group it is.
pub(super) const OF_USER: &str = " of user ";

/// Formats the name of an engine's container. No name contains a space, so one is never taken for another.
pub fn container_label(name: &str, image: Option<&str>) -> String {
    match image {
        Some(image) => format!("{name} of {image}"),
        None => name.to_owned(),
    }
}

/// The key of a client's history: its identity and the listener that it uses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientKey {
    /// The client's identity.
    pub identity: ClientIdentity,
    /// The engine's program.
    pub engine: EngineKind,
    /// The host, user, pod or container that the engine serves.
    pub scope: Scope,
    /// The API that the listener serves.
    pub api: Api,
    /// The listener's name: a restarted engine makes a new socket under the same name, and the client stays the same.
    pub listener: SocketName,
}

impl ClientKey {
    /// Returns the same client under the name that its next run has too.
    #[must_use]
    pub fn lasting(self) -> Self {
        Self {
            identity: self.identity.lasting(),
            ..self
        }
    }

    /// True if it may continue a client of another name: a container of a pod, or a program with a path.
    pub fn may_continue_others(&self) -> bool {
        let is_of_a_pod = matches!(self.identity, ClientIdentity::Pod(_)) || matches!(self.scope, Scope::Pod(_));
        is_of_a_pod || matches!(&self.identity, ClientIdentity::Host { executable, .. } if executable.starts_with('/'))
    }

    /// True if this is the same client of the same listener as `other`, whatever the pod's name.
    pub fn continues(&self, other: &Self) -> bool {
        self.is_of_one_listener(other) && self.identity.continues(&other.identity)
    }

    /// True if both use the same listener, whatever the name of the engine's pod.
    pub(super) fn is_of_one_listener(&self, other: &Self) -> bool {
        self.listener == other.listener
            && self.engine == other.engine
            && self.api == other.api
            && self.scope.continues(&other.scope)
    }
}

codes! {
    /// The evidence by which castoff knows a client.
    Origin {
        /// A look at the node's open connections.
        Polled = "polled",
        /// The kernel reported its connects, and no look has seen one of its connections open.
        Event = "event",
        /// The times of the socket's file.
        FileTimes = "file-times",
    }
}

/// A client's connections in one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenClient {
    /// The client, and the listener that it uses.
    pub key: ClientKey,
    /// Connections that are open and accepted.
    pub connections: u32,
    /// Connections that the engine has not accepted yet.
    pub pending: u32,
    /// The processes that hold them, at most [`Client::HOLDERS_SHOWN`].
    pub holders: Vec<Process>,
    /// The processes that made its connections and do not hold them, at most [`Client::HOLDERS_SHOWN`].
    pub connectors: Vec<Process>,
    /// The client's sockets: they tell the connections of one look from those of the look before.
    pub sockets: BTreeSet<SocketInode>,
    /// Its connects since the look before, as the kernel reported them; most are closed again.
    pub connects: Option<Connected>,
}

/// The connects and the requests of one client between two looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connected {
    /// The number of connects; 0 where it only sent requests on connections that had been open before.
    pub count: u64,
    /// The time of the first connect; without one, of the first request.
    pub first: Timestamp,
    /// The time of the last connect; without one, of the last request.
    pub last: Timestamp,
    /// The processes that connected, at most [`Client::HOLDERS_SHOWN`].
    pub processes: Vec<Process>,
    /// Its requests.
    pub requests: Requests,
}

impl OpenClient {
    /// True if it has a connection now, accepted or waiting.
    pub const fn is_open(&self) -> bool {
        self.connections > 0 || self.pending > 0
    }

    /// The processes that hold its connections, and those that connected since the look before.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        let connected = self.connects.iter().flat_map(|connects| &connects.processes);
        self.holders.iter().chain(connected)
    }

    /// The number of remote addresses of one listener that are clients of their own.
    pub const REMOTES_SHOWN: usize = 64;
}

/// A client in a report: its open connections, and its history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Client {
    /// The client, and the listener that it uses.
    #[serde(flatten)]
    pub key: ClientKey,
    /// The pod's uid as the runtime has it; none for a client that is no pod or whose pod is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// The known agent that its image or its executable has the name of. The user who starts a program chooses both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<KnownAgent>,
    /// Connections that are open and accepted now.
    pub connections: u32,
    /// Connections that the engine has not accepted yet.
    pub pending: u32,
    /// The processes that hold them now, at most [`Client::HOLDERS_SHOWN`].
    pub holders: Vec<Process>,
    /// The processes that made its connections and no longer hold them, if the kernel's iterator reports them: they
    /// passed the connections to a child or to another process. At most [`Client::HOLDERS_SHOWN`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub connectors: Vec<Process>,
    /// The evidence by which castoff knows it.
    pub origin: Origin,
    /// The time at which it was first seen.
    pub first_seen: Timestamp,
    /// The time at which it last connected, or a connection of it was last seen open.
    pub last_seen: Timestamp,
    /// The number of its connects, where the kernel reports connects. Else the number of looks that saw a connection which the
    /// look before had not seen: a lower bound.
    pub connects: u64,
    /// Its requests since it was first seen, where the kernel reports requests. Empty where none was seen.
    pub requests: Requests,
    /// True if it was seen to be the node's own runtime or its kubelet. `runtime-is-docker` already reports this use,
    /// so earlier connections of such a client do not count after the runtime has changed. An open connection counts
    /// like any other.
    #[serde(skip)]
    pub as_runtime: bool,
    /// The hours, of the last ones, in which a connection of it was seen.
    pub timeline: Timeline,
}

impl Client {
    /// The number of processes that are listed for one client.
    pub const HOLDERS_SHOWN: usize = 16;

    /// True if it has a connection now, accepted or waiting.
    pub const fn is_open(&self) -> bool {
        self.connections > 0 || self.pending > 0
    }
}
