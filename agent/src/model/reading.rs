//! Three-valued knowledge: the answer of a source is known, absent, or unknown *for a reason*. Unknown is never zero and never
//! "clean"; an error never becomes a default.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The answer of a source to one question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", content = "value", rename_all = "kebab-case")]
#[schemars(rename = "Reading_of_{T}")]
pub enum Reading<T> {
    /// The source answered.
    Known(T),
    /// The source answered that there is nothing.
    Absent,
    /// The source did not answer, or its answer could not be understood.
    Unknown(Gap),
}

impl<T> Reading<T> {
    /// Returns the answer, if there is one.
    pub const fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Absent | Self::Unknown(_) => None,
        }
    }

    /// Returns the gap, if there is no answer.
    pub const fn gap(&self) -> Option<&Gap> {
        match self {
            Self::Unknown(gap) => Some(gap),
            Self::Known(_) | Self::Absent => None,
        }
    }

    /// Returns the same reading with a reference to its answer.
    pub fn as_ref(&self) -> Reading<&T> {
        match self {
            Self::Known(value) => Reading::Known(value),
            Self::Absent => Reading::Absent,
            Self::Unknown(gap) => Reading::Unknown(gap.clone()),
        }
    }

    /// Returns the reading that `f` makes of the answer.
    pub fn and_then<U>(self, f: impl FnOnce(T) -> Reading<U>) -> Reading<U> {
        match self {
            Self::Known(value) => f(value),
            Self::Absent => Reading::Absent,
            Self::Unknown(gap) => Reading::Unknown(gap),
        }
    }

    /// Returns the same reading with `f` applied to the answer.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Reading<U> {
        match self {
            Self::Known(value) => Reading::Known(f(value)),
            Self::Absent => Reading::Absent,
            Self::Unknown(gap) => Reading::Unknown(gap),
        }
    }
}

impl<T> Reading<Vec<T>> {
    /// The items that were seen; empty where there are none or where they are not known.
    pub fn items(&self) -> &[T] {
        self.known().map_or(&[], Vec::as_slice)
    }
}

/// The result of one source in one cycle: its reading, and the parts that it could not see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting<T> {
    /// The answer as far as it was seen.
    pub reading: Reading<T>,
    /// The parts that were not seen. A `reading` of `Known` with gaps is partial.
    pub gaps: Vec<Gap>,
}

impl<T> Sighting<T> {
    /// Returns a full answer.
    pub const fn full(value: T) -> Self {
        Self {
            reading: Reading::Known(value),
            gaps: Vec::new(),
        }
    }

    /// Returns the answer that there is nothing.
    pub const fn absent() -> Self {
        Self {
            reading: Reading::Absent,
            gaps: Vec::new(),
        }
    }

    /// Returns no answer, with the reason.
    pub const fn unknown(gap: Gap) -> Self {
        Self {
            reading: Reading::Unknown(gap),
            gaps: Vec::new(),
        }
    }

    /// Returns an answer without the parts that `gaps` name.
    pub const fn partial(value: T, gaps: Vec<Gap>) -> Self {
        Self {
            reading: Reading::Known(value),
            gaps,
        }
    }

    /// Every gap: that of the reading itself, and the others.
    pub fn all_gaps(&self) -> impl Iterator<Item = &Gap> {
        self.reading.gap().into_iter().chain(&self.gaps)
    }
}

/// Something that could not be seen: the question, the answer, and the kind of fact that is hidden.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// The reason, from a closed list: the only error text that reaches a metric.
    pub reason: Reason,
    /// The question: a path, an RPC on an endpoint, a namespace. For people; bounded by [`Gap::TEXT_LIMIT`].
    pub asked: String,
    /// The answer, in the words of the kernel or the peer. For people; bounded likewise.
    pub answer: String,
    /// The kind of fact that may be missing because of it.
    pub hides: Hides,
    /// The number of similar gaps that were folded into this one; at least 1.
    pub count: u32,
}

impl Gap {
    /// The maximum length of `asked` and of `answer`, in bytes each.
    pub const TEXT_LIMIT: usize = 256;

    /// A single gap. Texts over the limit are cut at a character and end in `…`.
    pub fn new(reason: Reason, hides: Hides, asked: impl fmt::Display, answer: impl fmt::Display) -> Self {
        Self {
            reason,
            asked: bounded(asked),
            answer: bounded(answer),
            hides,
            count: 1,
        }
    }

    /// Formats an error and its sources as one line, for `answer`.
    pub fn chain(error: &dyn std::error::Error) -> String {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        text
    }

    /// Adds `gap` to `gaps`, or counts it where one of the same reason hides the same: a node with 10,000 unreadable processes
    /// has one gap with a count of 10,000 that names the first.
    pub fn fold_into(self, gaps: &mut Vec<Self>) {
        match gaps
            .iter_mut()
            .find(|g| g.reason == self.reason && g.hides == self.hides)
        {
            Some(same) => same.count = same.count.saturating_add(self.count),
            None => gaps.push(self),
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.asked, self.answer)?;
        if self.count > 1 {
            write!(f, " (and {} more alike)", self.count - 1)?;
        }
        Ok(())
    }
}

fn bounded(text: impl fmt::Display) -> String {
    let mut text = text.to_string();
    if text.len() > Gap::TEXT_LIMIT {
        let mut end = Gap::TEXT_LIMIT - '…'.len_utf8();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Declares a closed list of kebab-case codes: the enum, all its values in order, and each one's code.
macro_rules! codes {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $code:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        pub enum $name { $($(#[$doc])* #[serde(rename = $code)] $variant),+ }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The code, as used in metrics, labels and JSON.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.code())
            }
        }
    };
}
pub(crate) use codes;

codes! {
    /// The reason why something could not be seen. Closed, because it is a metric label.
    Reason {
        /// The kernel or the peer denied permission.
        PermissionDenied = "permission-denied",
        /// The path, process or service that was named does not exist.
        NotFound = "not-found",
        /// Something is there, but nothing accepts.
        ConnectionRefused = "connection-refused",
        /// No answer within the deadline.
        DeadlineExceeded = "deadline-exceeded",
        /// The peer does not know the call.
        Unimplemented = "unimplemented",
        /// The peer answered with an error of its own.
        PeerError = "peer-error",
        /// The answer is not what the protocol allows: garbage, truncated, another service.
        ProtocolError = "protocol-error",
        /// The answer is larger than castoff's limit.
        TooLarge = "too-large",
        /// The path is a directory, a file or a dangling link.
        NotASocket = "not-a-socket",
        /// The kernel lacks the interface (a module that is not loaded, `hidepid`, another PID namespace).
        NoKernelSupport = "no-kernel-support",
        /// A file was read and could not be understood.
        Malformed = "malformed",
        /// More than castoff keeps.
        LimitReached = "limit-reached",
        /// It depends on another fact that could not be seen.
        DependsOnAnother = "depends-on-another",
        /// Any other error of the host.
        HostError = "host-error",
    }
}

impl Reason {
    /// The reason for an error of the operating system.
    pub fn of(error: &std::io::Error) -> Self {
        use std::io::ErrorKind as K;
        match error.kind() {
            K::PermissionDenied => Self::PermissionDenied,
            K::NotFound => Self::NotFound,
            K::ConnectionRefused => Self::ConnectionRefused,
            K::TimedOut | K::WouldBlock => Self::DeadlineExceeded,
            K::FileTooLarge => Self::TooLarge,
            K::Unsupported => Self::NoKernelSupport,
            K::InvalidData | K::UnexpectedEof => Self::Malformed,
            _ => Self::HostError,
        }
    }

    /// Returns one sentence with the fix.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::PermissionDenied => "castoff needs root with the capabilities of the chart; in a pod also hostPID.",
            Self::NotFound => "Check the path; in a pod, also check that the host's directory is mounted.",
            Self::ConnectionRefused => "Start the service behind it, or remove the endpoint from the settings.",
            Self::DeadlineExceeded => "Check if the peer hangs; if it is only slow, give castoff a longer deadline.",
            Self::Unimplemented => "Upgrade the peer: this version does not know the call.",
            Self::PeerError => "See the peer's own log for the cause.",
            Self::ProtocolError => "Check that the endpoint belongs to the service that is expected there.",
            Self::TooLarge => "Check the peer: its answer is much larger than expected.",
            Self::NotASocket => "Check the path: it does not lead to a socket.",
            Self::NoKernelSupport => "Load the kernel's unix_diag module, and run castoff in the host's PID namespace.",
            Self::Malformed => "Look at the file: it does not have the expected format.",
            Self::LimitReached => "Check the node: it exceeds the limit of what castoff keeps.",
            Self::DependsOnAnother => "Fix the other gap that the message names.",
            Self::HostError => "See the answer, and the kernel's log.",
        }
    }
}

codes! {
    /// The kind of fact that a gap may hide; decides which claims the verdict may still make.
    Hides {
        /// The runtime that the kubelet uses.
        Runtime = "runtime",
        /// An engine or one of its listeners.
        Engine = "engine",
        /// That a client holds a connection.
        Client = "client",
        /// The identity of a client that is seen.
        Identity = "identity",
        /// A container that could reach a listener.
        Exposure = "exposure",
        /// A container that Docker runs by itself.
        ShadowContainer = "shadow-container",
        /// A detail that does not affect the verdict.
        Detail = "detail",
    }
}

codes! {
    /// The parts of castoff that look at the host.
    Source {
        /// The process table.
        Processes = "processes",
        /// The kubelet's flags and configuration files.
        Kubelet = "kubelet",
        /// The runtime, over CRI.
        Runtime = "runtime",
        /// The engines and their listeners.
        Engines = "engines",
        /// The connections to the listeners and the processes that hold them.
        Holders = "holders",
        /// The connects that the kernel reports.
        Connects = "connects",
        /// The containers that could reach a listener.
        Mounts = "mounts",
        /// Files of the host: units, binaries, data, cgroup version.
        HostFiles = "host-files",
        /// The facts of earlier looks, from the state file.
        History = "history",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_of_one_kind_are_counted_not_listed() {
        let mut gaps = Vec::new();
        for pid in 0..10_000 {
            Gap::new(
                Reason::PermissionDenied,
                Hides::Identity,
                format!("/proc/{pid}/fd"),
                "EACCES",
            )
            .fold_into(&mut gaps);
        }
        Gap::new(Reason::PermissionDenied, Hides::Client, "netns 7", "EPERM").fold_into(&mut gaps);
        assert_eq!(gaps.iter().map(|g| g.count).collect::<Vec<_>>(), [10_000, 1]);
        assert_eq!(gaps[0].to_string(), "/proc/0/fd: EACCES (and 9999 more alike)");
    }

    #[test]
    fn long_answers_are_cut_at_a_character() {
        let gap = Gap::new(Reason::PeerError, Hides::Runtime, "Version", "ä".repeat(10_000));
        assert!(gap.answer.len() <= Gap::TEXT_LIMIT);
        assert!(gap.answer.ends_with("ä…"));
    }
}
