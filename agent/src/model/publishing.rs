//! The state of the node's labels: the values that were last seen, and the requests that were made.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::reading::{Gap, Reading, codes};
use super::time::Timestamp;

codes! {
    /// The way in which the labels reach the node.
    Way {
        /// castoff applies them through the API server.
        Api = "api",
        /// A file that Node Feature Discovery reads.
        Nfd = "nfd",
    }
}

codes! {
    /// The purpose of a request.
    Verb {
        /// Reads the node's labels.
        Read = "read",
        /// Changes them.
        Write = "write",
    }
}

codes! {
    /// The result of a request. Closed, because it is a metric label.
    Outcome {
        /// It succeeded.
        Succeeded = "succeeded",
        /// There is no service account, or the kubeconfig is missing or invalid: nothing was sent.
        Unconfigured = "unconfigured",
        /// Nothing accepts at the API server's address, or its name does not resolve.
        Unreachable = "unreachable",
        /// The connection was made but not secured: another authority, or a handshake that broke off.
        TlsFailed = "tls-failed",
        /// No answer within the deadline.
        DeadlineExceeded = "deadline-exceeded",
        /// 401: the token or the certificate is not accepted.
        Unauthenticated = "unauthenticated",
        /// 403: the account may not do this, or an admission policy refuses it.
        Forbidden = "forbidden",
        /// 404: there is no Node of this name.
        NotFound = "not-found",
        /// 409: the Node is not the one that was read.
        Conflict = "conflict",
        /// 429: the API server asks the client to wait.
        Throttled = "throttled",
        /// Any other 4xx: the API server does not accept the request.
        Rejected = "rejected",
        /// 5xx.
        ServerError = "server-error",
        /// A response that the API does not allow: HTML, cut off, far too large, or with an unexpected status.
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
    /// The result of the requests.
    pub outcome: Outcome,
    /// Their number.
    pub count: u64,
}

/// Labels that were seen on the node, or written and confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PublishedLabels {
    /// The labels by their full key.
    pub labels: BTreeMap<String, String>,
    /// The time at which they were last confirmed.
    pub confirmed: Timestamp,
}

/// The state of the labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Publishing {
    /// The way in which the labels reach the node.
    pub way: Way,
    /// The labels that the node is known to have: absent before there is anything to publish, unknown where the last attempt
    /// failed, whatever labels the node may still have from before.
    pub labels: Reading<PublishedLabels>,
    /// The reason why the last attempt failed; none if it succeeded.
    pub failing: Option<Outcome>,
    /// The time at which the labels were last confirmed.
    pub last_success: Option<Timestamp>,
    /// The requests that were sent, or the writes of the file.
    pub requests: Vec<Requests>,
}

impl Publishing {
    /// Returns the state before anything was published.
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

    /// Records that the node has these labels.
    pub fn confirm(&mut self, labels: BTreeMap<String, String>, at: Timestamp) {
        self.failing = None;
        self.last_success = Some(at);
        self.labels = Reading::Known(PublishedLabels { labels, confirmed: at });
    }

    /// Records that the node's labels are not known: an attempt had this outcome, and left this gap.
    pub fn doubt(&mut self, outcome: Outcome, gap: Gap) {
        self.failing = Some(outcome);
        self.labels = Reading::Unknown(gap);
    }
}

codes! {
    /// The reason why an event was not made.
    Dropped {
        /// More were waiting than castoff keeps.
        QueueFull = "queue-full",
        /// It waited for the API server until it was out of date.
        TooOld = "too-old",
        /// 403: the account may not create events there.
        Forbidden = "forbidden",
        /// The namespace is deleted, or is being deleted.
        Gone = "gone",
        /// The API server does not accept it.
        Rejected = "rejected",
    }
}

/// Events of one outcome since the agent started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventRequests {
    /// The result of the requests. An event that existed already counts as succeeded.
    pub outcome: Outcome,
    /// Their number.
    pub count: u64,
}

/// Events that were not made, since the agent started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DroppedEvents {
    /// The reason.
    pub reason: Dropped,
    /// Their number.
    pub count: u64,
}

/// The state of the events that report new clients and exposures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Events {
    /// The reason why the last request failed; none if it succeeded.
    pub failing: Option<Outcome>,
    /// The time at which an event was last made.
    pub last_success: Option<Timestamp>,
    /// The number of events that wait to be sent.
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

    /// Sets the number of events that wait.
    pub fn set_waiting(&mut self, waiting: usize) {
        self.waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
    }
}

/// The state of publishing, which is added to a report when it is served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// The state of the node's labels; none if castoff does not publish labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publishing: Option<Publishing>,
    /// The state of the events; none if castoff does not publish events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Events>,
}
