//! How the node's labels stand: what was last seen of them, and every request that was made for it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::reading::{Gap, Reading, codes};
use super::time::Timestamp;

codes! {
    /// How the labels reach the node.
    Way {
        /// castoff applies them through the API server.
        Api = "api",
        /// A file that Node Feature Discovery reads.
        Nfd = "nfd",
    }
}

codes! {
    /// What a request is for.
    Verb {
        /// See what the node has.
        Read = "read",
        /// Change it.
        Write = "write",
    }
}

codes! {
    /// How a request ended. Closed, because it is a metric label.
    Outcome {
        /// As it should.
        Succeeded = "succeeded",
        /// There is no service account, or the kubeconfig is missing or makes no sense: nothing was sent.
        Unconfigured = "unconfigured",
        /// Nobody accepts at the API server's address, or its name leads nowhere.
        Unreachable = "unreachable",
        /// The connection was made and not secured: another authority, a handshake that broke off.
        TlsFailed = "tls-failed",
        /// No answer within the deadline.
        DeadlineExceeded = "deadline-exceeded",
        /// 401: the token or the certificate is not accepted.
        Unauthenticated = "unauthenticated",
        /// 403: the account may not do this, or an admission policy refuses it.
        Forbidden = "forbidden",
        /// 404: there is no Node of this name.
        NotFound = "not-found",
        /// 409: the Node is another than the one that was read.
        Conflict = "conflict",
        /// 429: the API server asks for patience.
        Throttled = "throttled",
        /// Any other 4xx: the API server does not accept the request.
        Rejected = "rejected",
        /// 5xx.
        ServerError = "server-error",
        /// Not what the API promises: HTML, cut off, far too large, an unexpected status.
        BadAnswer = "bad-answer",
        /// The Node belongs to another machine: nothing was changed.
        WrongNode = "wrong-node",
        /// The host refused to write the file.
        HostError = "host-error",
    }
}

/// Requests of one kind since the agent started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Requests {
    /// The purpose of the request.
    pub verb: Verb,
    /// How they ended.
    pub outcome: Outcome,
    /// How many.
    pub count: u64,
}

/// Labels that were seen on the node, or written and confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PublishedLabels {
    /// By their full key.
    pub labels: BTreeMap<String, String>,
    /// When they were last confirmed.
    pub confirmed: Timestamp,
}

/// How the labels stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Publishing {
    /// How the labels reach the node.
    pub way: Way,
    /// What the node is known to have: absent before there is anything to publish, unknown where the last attempt
    /// failed, whatever the node may still have from before.
    pub labels: Reading<PublishedLabels>,
    /// Why the last attempt failed; none where it did not.
    pub failing: Option<Outcome>,
    /// When the labels were last confirmed.
    pub last_success: Option<Timestamp>,
    /// The requests that were sent, or the writes of the file.
    pub requests: Vec<Requests>,
}

impl Publishing {
    /// Nothing was published yet.
    pub const fn new(way: Way) -> Self {
        Self {
            way,
            labels: Reading::Absent,
            failing: None,
            last_success: None,
            requests: Vec::new(),
        }
    }

    /// Counts one request.
    pub fn count(&mut self, verb: Verb, outcome: Outcome) {
        match self
            .requests
            .binary_search_by_key(&(verb, outcome), |r| (r.verb, r.outcome))
        {
            Ok(at) => self.requests[at].count += 1,
            Err(at) => self.requests.insert(
                at,
                Requests {
                    verb,
                    outcome,
                    count: 1,
                },
            ),
        }
    }

    /// The node has these labels.
    pub fn confirm(&mut self, labels: BTreeMap<String, String>, at: Timestamp) {
        self.failing = None;
        self.last_success = Some(at);
        self.labels = Reading::Known(PublishedLabels { labels, confirmed: at });
    }

    /// It is not known what the node has: an attempt ended so, and left this gap.
    pub fn doubt(&mut self, outcome: Outcome, gap: Gap) {
        self.failing = Some(outcome);
        self.labels = Reading::Unknown(gap);
    }
}

codes! {
    /// Why an event was not made.
    Dropped {
        /// More were waiting than castoff keeps.
        QueueFull = "queue-full",
        /// It waited for the API server until it was no news any more.
        TooOld = "too-old",
        /// 403: the account may not make events there.
        Forbidden = "forbidden",
        /// The namespace is gone, or going.
        Gone = "gone",
        /// The API server does not accept it.
        Rejected = "rejected",
    }
}

/// Events of one outcome since the agent started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventRequests {
    /// How they ended. An event that was there already counts as succeeded.
    pub outcome: Outcome,
    /// How many.
    pub count: u64,
}

/// Events that were not made, since the agent started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DroppedEvents {
    /// Why.
    pub reason: Dropped,
    /// How many.
    pub count: u64,
}

/// How the events stand that tell of new clients and exposures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Events {
    /// Why the last request failed; none where it did not.
    pub failing: Option<Outcome>,
    /// When an event was last made.
    pub last_success: Option<Timestamp>,
    /// Events that wait to be sent.
    pub waiting: u32,
    /// The requests that were sent.
    pub requests: Vec<EventRequests>,
    /// Events that were not made.
    pub dropped: Vec<DroppedEvents>,
}

impl Events {
    /// Counts one request.
    pub fn count(&mut self, outcome: Outcome, at: Timestamp) {
        match self.requests.binary_search_by_key(&outcome, |r| r.outcome) {
            Ok(found) => self.requests[found].count += 1,
            Err(place) => self.requests.insert(place, EventRequests { outcome, count: 1 }),
        }
        self.failing = (outcome != Outcome::Succeeded).then_some(outcome);
        if outcome == Outcome::Succeeded {
            self.last_success = Some(at);
        }
    }

    /// Counts an event that is not made.
    pub fn drop_one(&mut self, reason: Dropped) {
        match self.dropped.binary_search_by_key(&reason, |d| d.reason) {
            Ok(found) => self.dropped[found].count += 1,
            Err(place) => self.dropped.insert(place, DroppedEvents { reason, count: 1 }),
        }
    }

    /// Sets how many wait.
    pub fn set_waiting(&mut self, waiting: usize) {
        self.waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
    }
}

/// How publishing stands, which is put beside a report when it is served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// How the node's labels stand; none where castoff was not asked to keep any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publishing: Option<Publishing>,
    /// How the events stand; none where castoff was not asked to make any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Events>,
}
