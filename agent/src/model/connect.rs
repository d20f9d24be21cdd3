//! Connects that the kernel reported as they happened, and the method that reports them.

use schemars::JsonSchema;
use serde::Serialize;

use super::process::Process;
use super::reading::codes;
use super::request::Requests;
use super::socket::ListenerId;
use super::time::Timestamp;

codes! {
    /// The method by which the kernel reports connects.
    ConnectMethod {
        /// A program on entry of `security_unix_stream_connect`.
        Fentry = "fentry",
        /// A BPF LSM program on the hook `unix_stream_connect`.
        Lsm = "lsm",
        /// A kprobe on `security_unix_stream_connect`.
        Kprobe = "kprobe",
        /// A program on the exit of every system call, which makes each system call slower.
        SyscallExit = "syscall-exit",
    }
}

/// A method that was not used, and the reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefusedMethod {
    /// The method.
    pub method: ConnectMethod,
    /// The missing feature, or the kernel's answer.
    pub answer: String,
}

/// Connects of one client to one listener since the look before, whether or not it still runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connects {
    /// The listener.
    pub listener: ListenerId,
    /// The last process that connected; none if the kernel counted the connects without their process.
    pub process: Option<Process>,
    /// The number of connects; 0 where there were only requests on connections that had been open before.
    pub count: u64,
    /// The time of the first connect; without one, of the first request.
    pub first: Timestamp,
    /// The time of the last connect; without one, of the last request.
    pub last: Timestamp,
    /// The client's requests.
    pub requests: Requests,
}

/// The number of connects that were attributed, by the evidence that named the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attributions {
    /// By the process itself, which was still running.
    pub process: u64,
    /// By the kernel's record alone: the process had ended.
    pub record: u64,
    /// Not at all: there was no record, or no room for one more client.
    pub none: u64,
}

impl Attributions {
    /// Returns each figure with its word for a metric label.
    pub const fn by_source(self) -> [(&'static str, u64); 3] {
        [("process", self.process), ("record", self.record), ("none", self.none)]
    }
}

/// The result of a self-test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SelfTest {
    /// The time of the self-test.
    pub at: Timestamp,
    /// The reason why it failed; none if it passed.
    pub failure: Option<String>,
}

/// The state of connect events in one look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectEvents {
    /// The method in use; absent if none is.
    pub method: Option<ConnectMethod>,
    /// The methods that come before it and were not used, with the reason.
    pub refused: Vec<RefusedMethod>,
    /// The time since which the method is in use; absent if none is.
    pub since: Option<Timestamp>,
    /// The last self-test of the method: a connect of castoff's own that the kernel has to report. None before the first.
    pub self_test: Option<SelfTest>,
    /// The number of listeners that are watched.
    pub listeners: u32,
    /// Connects that the kernel recorded since castoff started.
    pub recorded: u64,
    /// Connects since castoff started for which the kernel had no room; they count as those of an unnamed client.
    pub lost: u64,
    /// The attribution of those connects.
    pub attributed: Attributions,
    /// The state of the requests that the kernel reports.
    pub requests: RequestEvents,
}

/// The state of the requests that the kernel reports on watched connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestEvents {
    /// The method that runs, if any.
    pub method: Option<ConnectMethod>,
    /// The methods that come before it and were not used, with the reason.
    pub refused: Vec<RefusedMethod>,
    /// Requests, and pieces of them, that the kernel recorded since castoff started.
    pub recorded: u64,
    /// Requests since castoff started for which the kernel had no room: they are counted for no client.
    pub lost: u64,
}

/// Connect events of one look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectsSeen {
    /// The state of connect events.
    pub events: ConnectEvents,
    /// The connects since the last look that the agent took in.
    pub connects: Vec<Connects>,
    /// The number of this answer, by which the agent confirms that it took it in.
    pub answer: u64,
}
