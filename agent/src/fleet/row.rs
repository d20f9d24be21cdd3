//! One line of the fleet: a Node, what holds for it, and what that rests on. Its JSON form is a published interface, as the
//! report's is.

use schemars::JsonSchema;
use serde::Serialize;

use super::readiness::ReadyFor;
use crate::findings::report::Verdict;
use crate::model::reading::codes;
use crate::model::time::Timestamp;

codes! {
    /// Why a Node's verdict is not what an agent on it says now.
    Doubt {
        /// Another operating system than Linux: no agent can run there.
        NotLinux = "not-linux",
        /// No machine of its own (a virtual kubelet, Fargate): no agent can run there.
        VirtualNode = "virtual-node",
        /// There is no agent's pod on it.
        NoAgent = "no-agent",
        /// There is one, and it does not run.
        AgentNotReady = "agent-not-ready",
        /// It did not answer, or the way to it failed.
        NoAnswer = "no-answer",
        /// The account may not ask it.
        Refused = "refused",
        /// The agent wants a token, and castoff got none or the agent refuses it; or the API server wants one.
        Unauthenticated = "unauthenticated",
        /// It answered with something that is no report.
        NotUnderstood = "not-understood",
        /// Its report is of a form that this castoff does not read.
        OtherSchema = "other-schema",
        /// Its report is of another node.
        OtherNode = "other-node",
        /// Its last look was long ago.
        Stale = "stale",
        /// It looked, and cannot tell.
        AgentCannotTell = "agent-cannot-tell",
    }
}

/// One fact of a report. Unknown is not zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "state", content = "value", rename_all = "kebab-case")]
#[schemars(rename = "Reported_of_{T}")]
pub enum Reported<T> {
    /// This is all of it.
    Known(T),
    /// There may be more: something that the agent could not see may hide it.
    AtLeast(T),
    /// Nobody told.
    Unknown,
}

impl<T> Reported<T> {
    /// What was told, all of it or not.
    pub const fn seen(&self) -> Option<&T> {
        match self {
            Self::Known(value) | Self::AtLeast(value) => Some(value),
            Self::Unknown => None,
        }
    }

    /// The same of a look that may be long ago: there may be more by now.
    pub(super) fn weakened(self, long_ago: bool) -> Self {
        match self {
            Self::Known(value) if long_ago => Self::AtLeast(value),
            told => told,
        }
    }
}

/// The agent, and its look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentSeen {
    /// Its pod.
    pub pod: String,
    /// Its version, as its report says.
    pub version: Option<String>,
    /// When its look began, by its own clock.
    pub look: Option<Timestamp>,
    /// How long before its answer that was, in seconds, by the same clock.
    pub age_seconds: Option<u64>,
}

/// The node's runtime.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeSeen {
    /// `containerd`, `cri-o`, `docker`.
    pub name: String,
    /// As the runtime spells it.
    pub version: String,
}

codes! {
    /// What kind of thing uses an engine.
    UserKind {
        /// Pods of a workload; a pod, where its workload is not known.
        Workload = "workload",
        /// A container that an engine runs by itself.
        EngineContainer = "engine-container",
        /// A unit or a program of the host.
        Host = "host",
        /// Another machine, over TCP.
        Remote = "remote",
        /// The connection was seen and its holder could not be named.
        Unnamed = "unnamed",
        /// Something that this castoff has no word for.
        Other = "other",
    }
}

/// Who uses an engine, by what is to be changed: a workload rather than each of its pods.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// The kind of user.
    pub kind: UserKind,
    /// The namespace, of a workload.
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
    /// Who.
    #[serde(flatten)]
    pub user: User,
    /// Connections that are open now.
    pub connections: u64,
    /// When one was last seen.
    pub last_seen: Option<Timestamp>,
}

/// Who uses the node's engines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Clients {
    /// How many hold a connection now.
    pub now: u64,
    /// How many did within the agent's window, and do not now.
    pub before: u64,
    /// Who they are, most connections first; at most [`Clients::USERS`].
    pub users: Vec<Use>,
    /// How many more there are.
    pub more_users: u64,
}

impl Clients {
    /// How many are named for one node.
    pub const USERS: usize = 64;
}

/// A Node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeRow {
    /// Its name.
    pub node: String,
    /// The node's verdict.
    pub verdict: Verdict,
    /// Why, in one sentence.
    pub reason: String,
    /// Why that is not what an agent says now; none where it is.
    pub doubt: Option<Doubt>,
    /// The agent; none where there is none.
    pub agent: Option<AgentSeen>,
    /// The runtime; null in a known state is a node without one.
    pub runtime: Reported<Option<RuntimeSeen>>,
    /// The last Kubernetes 1.x minor whose kubelet starts on the runtime; null in a known state: no release drops it.
    pub kubelet_ceiling: Reported<Option<u32>>,
    /// Who uses its engines.
    pub clients: Reported<Clients>,
    /// How many containers could reach one.
    pub exposures: Reported<u64>,
    /// How many containers engines run by themselves.
    pub shadow_containers: Reported<u64>,
    /// The answers for what was asked for with `--for`, in the order of the question.
    pub readiness: Vec<ReadyFor>,
    /// True if something hides which runtime the kubelet uses: an `in-use` node may be a `runtime` one.
    pub runtime_is_hidden: bool,
}

impl NodeRow {
    /// A Node of which nothing is known.
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
            runtime_is_hidden: true,
        }
    }

    /// Worst first: the verdict, then how many clients, then the name. What is not known may be worse than what is idle.
    pub fn rank(&self) -> impl Ord + use<> {
        let clients = self.clients.seen().map_or(0, |clients| clients.now + clients.before);
        (severity(self.verdict), std::cmp::Reverse(clients), self.node.clone())
    }
}

/// The verdict's place, worst first.
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
