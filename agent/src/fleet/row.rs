//! One row of the fleet: a Node, its verdict, and the evidence for it. Its JSON form is a published interface, as the report's
//! is.

use schemars::JsonSchema;
use serde::Serialize;

use super::days::Week;
use super::readiness::ReadyFor;
use crate::findings::report::Verdict;
use crate::model::reading::codes;
use crate::model::time::Timestamp;

codes! {
    /// The reason why a Node's verdict is not the current one of its agent.
    Doubt {
        /// Another operating system than Linux: no agent can run there.
        NotLinux = "not-linux",
        /// No machine of its own (a virtual kubelet, Fargate): no agent can run there.
        VirtualNode = "virtual-node",
        /// There is no agent's pod on it.
        NoAgent = "no-agent",
        /// There is an agent's pod, but it does not run.
        AgentNotReady = "agent-not-ready",
        /// It did not answer, or the connection to it failed.
        NoAnswer = "no-answer",
        /// The account is not allowed to ask it.
        Refused = "refused",
        /// The agent requires a token, and castoff got none or the agent refuses it; or the API server requires one.
        Unauthenticated = "unauthenticated",
        /// Its answer is not a report.
        NotUnderstood = "not-understood",
        /// Its report has a form that this castoff does not read.
        OtherSchema = "other-schema",
        /// Its report is about another node.
        OtherNode = "other-node",
        /// Its last look is too old.
        Stale = "stale",
        /// It looked, but could not tell.
        AgentCannotTell = "agent-cannot-tell",
    }
}

/// One fact of a report. Unknown is not zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "state", content = "value", rename_all = "kebab-case")]
#[schemars(rename = "Reported_of_{T}")]
pub enum Reported<T> {
    /// The complete value.
    Known(T),
    /// A lower bound: something that the agent could not see may hide more.
    AtLeast(T),
    /// The report does not contain it.
    Unknown,
}

impl<T> Reported<T> {
    /// Returns the reported value, complete or not.
    pub const fn seen(&self) -> Option<&T> {
        match self {
            Self::Known(value) | Self::AtLeast(value) => Some(value),
            Self::Unknown => None,
        }
    }

    /// Returns the fact as a lower bound, for an old look: there may be more by now.
    pub(super) fn weakened(self) -> Self {
        match self {
            Self::Known(value) => Self::AtLeast(value),
            other => other,
        }
    }
}

/// The agent, and its look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentSeen {
    /// Its pod.
    pub pod: String,
    /// Its version, from its report.
    pub version: Option<String>,
    /// The time at which its look began, by its own clock.
    pub look: Option<Timestamp>,
    /// The seconds from then until its answer, by the same clock.
    pub age_seconds: Option<u64>,
}

/// The node's runtime.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeSeen {
    /// `containerd`, `cri-o`, `docker`.
    pub name: String,
    /// The version as the runtime writes it.
    pub version: String,
}

codes! {
    /// The kind of a user of an engine.
    UserKind {
        /// The pods of a workload; a single pod where its workload is not known.
        Workload = "workload",
        /// A container that an engine runs by itself.
        EngineContainer = "engine-container",
        /// A unit or a program of the host.
        Host = "host",
        /// Another machine, over TCP.
        Remote = "remote",
        /// The connection was seen and its holder could not be named.
        Unnamed = "unnamed",
        /// A kind that this castoff does not know.
        Other = "other",
    }
}

/// A user of an engine, by the thing to change: a workload rather than each of its pods.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// The kind of user.
    pub kind: UserKind,
    /// The namespace of a workload.
    pub namespace: Option<String>,
    /// `Deployment builder`, `pod builder-0`, `backup.service`, a program's path.
    pub name: String,
}

impl std::fmt::Display for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.namespace, self.kind) {
            (Some(namespace), _) => write!(f, "{namespace}/{}", self.name),
            (None, UserKind::EngineContainer) => write!(f, "container {}", self.name),
            (None, _) => f.write_str(&self.name),
        }
    }
}

/// One user on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Use {
    /// The user.
    #[serde(flatten)]
    pub user: User,
    /// Connections that are open now.
    pub connections: u64,
    /// The time at which a connection was last seen.
    pub last_seen: Option<Timestamp>,
}

/// The users of the node's engines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Clients {
    /// The number of clients that hold a connection now.
    pub now: u64,
    /// The number of clients that held one within the agent's window, but not now.
    pub before: u64,
    /// The users, most connections first; at most [`Clients::USERS`].
    pub users: Vec<Use>,
    /// The number of further users.
    pub more_users: u64,
}

impl Clients {
    /// The number of users that are listed for one node.
    pub const USERS: usize = 64;
}

/// The time for which Docker is proven to be unused on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FreeSeen {
    /// The start of the time without use.
    pub since: Timestamp,
    /// The whole days that are proven.
    pub days: u64,
}

/// A Node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeRow {
    /// Its name.
    pub node: String,
    /// The node's verdict.
    pub verdict: Verdict,
    /// The reason in one sentence.
    pub reason: String,
    /// The reason why that is not the agent's current verdict; none if it is.
    pub doubt: Option<Doubt>,
    /// The agent; none if the Node has none.
    pub agent: Option<AgentSeen>,
    /// The runtime; null in a known state is a node without one.
    pub runtime: Reported<Option<RuntimeSeen>>,
    /// The last Kubernetes 1.x minor whose kubelet starts on the runtime; null in a known state: no release drops it.
    pub kubelet_ceiling: Reported<Option<u32>>,
    /// The users of its engines.
    pub clients: Reported<Clients>,
    /// The number of containers that could reach an engine.
    pub exposures: Reported<u64>,
    /// The number of containers that engines run by themselves.
    pub shadow_containers: Reported<u64>,
    /// The answers for the targets of `--for`, in the same order.
    pub readiness: Vec<ReadyFor>,
    /// The time for which Docker is proven to be unused; null in a known state: it is used.
    pub docker_free: Reported<Option<FreeSeen>>,
    /// The use on each of the last days. The summary has their sums.
    #[serde(skip)]
    pub week: Week,
    /// True if something hides the runtime that the kubelet uses: the verdict of an `in-use` node may really be `runtime`.
    pub runtime_is_hidden: bool,
}

impl NodeRow {
    /// Returns a Node of which nothing is known.
    pub fn unknown(node: impl Into<String>, doubt: Doubt, reason: impl Into<String>) -> Self {
        Self {
            node: node.into(),
            verdict: Verdict::Unknown,
            reason: reason.into(),
            doubt: Some(doubt),
            agent: None,
            runtime: Reported::Unknown,
            kubelet_ceiling: Reported::Unknown,
            clients: Reported::Unknown,
            exposures: Reported::Unknown,
            shadow_containers: Reported::Unknown,
            readiness: Vec::new(),
            docker_free: Reported::Unknown,
            week: Week::default(),
            runtime_is_hidden: true,
        }
    }

    /// The order of the worst first: the verdict, then the number of clients, then the name. `unknown` counts as worse than `idle`.
    pub fn rank(&self) -> impl Ord + use<> {
        let clients = self.clients.seen().map_or(0, |clients| clients.now + clients.before);
        (severity(self.verdict), std::cmp::Reverse(clients), self.node.clone())
    }
}

/// The rank of a verdict, worst first.
pub const fn severity(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Runtime => 0,
        Verdict::InUse => 1,
        Verdict::Exposed => 2,
        Verdict::Unknown => 3,
        Verdict::Idle => 4,
        Verdict::Clear => 5,
    }
}
