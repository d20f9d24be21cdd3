//! Three-valued knowledge: what a source returned is known, absent or unknown *because of something*. Unknown is
//! never zero and never "clean"; an error never becomes a default.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The answer of a source to one question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", content = "value", rename_all = "kebab-case")]
#[schemars(rename = "Reading_of_{T}")]
pub enum Reading<T> {
    /// Asked, and this is the answer.
    Known(T),
    /// Asked, and there is nothing there.
    Absent,
    /// Could not be asked, or the answer could not be understood.
    Unknown(Gap),
}

impl<T> Reading<T> {
    /// The answer, where there is one.
    pub const fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Absent | Self::Unknown(_) => None,
        }
    }

    /// Why there is no answer, where that is so.
    pub const fn gap(&self) -> Option<&Gap> {
        match self {
            Self::Unknown(gap) => Some(gap),
            Self::Known(_) | Self::Absent => None,
        }
    }

    /// The same reading, of the answer where it is.
    pub fn as_ref(&self) -> Reading<&T> {
        match self {
            Self::Known(value) => Reading::Known(value),
            Self::Absent => Reading::Absent,
            Self::Unknown(gap) => Reading::Unknown(gap.clone()),
        }
    }

    /// The reading of something within the answer.
    pub fn and_then<U>(self, f: impl FnOnce(T) -> Reading<U>) -> Reading<U> {
        match self {
            Self::Known(value) => f(value),
            Self::Absent => Reading::Absent,
            Self::Unknown(gap) => Reading::Unknown(gap),
        }
    }

    /// The same reading of a part of the answer.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Reading<U> {
        match self {
            Self::Known(value) => Reading::Known(f(value)),
            Self::Absent => Reading::Absent,
            Self::Unknown(gap) => Reading::Unknown(gap),
        }
    }
}

impl<T> Reading<Vec<T>> {
    /// The items that were seen: none where nothing is there or where that is not known.
    pub fn items(&self) -> &[T] {
        self.known().map_or(&[], Vec::as_slice)
    }
}

/// What one source saw in one cycle: its reading, and the parts that it could not see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting<T> {
    /// The answer as far as it was seen.
    pub reading: Reading<T>,
    /// What was not seen beside it. A `reading` of `Known` with gaps is partial.
    pub gaps: Vec<Gap>,
}

impl<T> Sighting<T> {
    /// A full answer.
    pub const fn full(value: T) -> Self {
        Self {
            reading: Reading::Known(value),
            gaps: Vec::new(),
        }
    }

    /// Asked, and there is nothing there.
    pub const fn absent() -> Self {
        Self {
            reading: Reading::Absent,
            gaps: Vec::new(),
        }
    }

    /// No answer at all.
    pub const fn unknown(gap: Gap) -> Self {
        Self {
            reading: Reading::Unknown(gap),
            gaps: Vec::new(),
        }
    }

    /// An answer that misses what `gaps` name.
    pub const fn partial(value: T, gaps: Vec<Gap>) -> Self {
        Self {
            reading: Reading::Known(value),
            gaps,
        }
    }

    /// Every gap: of the reading itself and beside it.
    pub fn all_gaps(&self) -> impl Iterator<Item = &Gap> {
        self.reading.gap().into_iter().chain(&self.gaps)
    }
}

/// One thing that could not be seen: what was asked, what came back, and what that hides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// Why, from a closed list: the only error text that reaches a metric.
    pub reason: Reason,
    /// What was asked: a path, an RPC on an endpoint, a namespace. For people; bounded by [`Gap::TEXT_LIMIT`].
    pub asked: String,
    /// What came back, as the kernel or the peer said it. For people; bounded likewise.
    pub answer: String,
    /// The kind of fact that may be missing because of it.
    pub hides: Hides,
    /// How many alike were folded into this one; at least 1.
    pub count: u32,
}

impl Gap {
    /// Bytes that `asked` and `answer` hold at most, each.
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

    /// The chain of an error and its sources as one line, for `answer`.
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

    /// Adds `gap` to `gaps`, or counts it where one of the same reason hides the same: a node with 10,000
    /// unreadable processes has one gap of 10,000, which names the first.
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

            /// The code as it stands in metrics, labels and JSON.
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
    /// Why something could not be seen. Closed, because it is a metric label.
    Reason {
        /// The kernel or the peer refused for lack of a right.
        PermissionDenied = "permission-denied",
        /// No such path, process or service where one had been named.
        NotFound = "not-found",
        /// Something is there and nobody accepts.
        ConnectionRefused = "connection-refused",
        /// No answer within the deadline.
        DeadlineExceeded = "deadline-exceeded",
        /// The peer does not know the call.
        Unimplemented = "unimplemented",
        /// The peer answered with an error of its own.
        PeerError = "peer-error",
        /// The answer is not what the protocol allows: garbage, truncated, another service.
        ProtocolError = "protocol-error",
        /// The answer is larger than castoff reads.
        TooLarge = "too-large",
        /// The path is a directory, a file or a dangling link.
        NotASocket = "not-a-socket",
        /// The kernel lacks the interface (a module that is not there, `hidepid`, another PID namespace).
        NoKernelSupport = "no-kernel-support",
        /// A file was read and could not be understood.
        Malformed = "malformed",
        /// More than castoff keeps.
        LimitReached = "limit-reached",
        /// It depends on something else that could not be seen.
        DependsOnAnother = "depends-on-another",
        /// Any other error of the host.
        HostError = "host-error",
    }
}

impl Reason {
    /// The reason that an error of the operating system amounts to.
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

    /// Says in one sentence how to see it after all.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::PermissionDenied => "castoff needs root with the capabilities of the chart; in a pod also hostPID.",
            Self::NotFound => "Check the path that was asked; in a pod, that the host's directory is mounted.",
            Self::ConnectionRefused => "Start the service behind it, or take the endpoint out of the settings.",
            Self::DeadlineExceeded => "See whether the peer hangs; if it is only slow, give castoff a longer deadline.",
            Self::Unimplemented => "Upgrade the peer: this version does not know the call.",
            Self::PeerError => "See the peer's own log for the cause.",
            Self::ProtocolError => "Check that the endpoint belongs to the service that is expected there.",
            Self::TooLarge => "Look at what the peer sends: it is far beyond what a node needs.",
            Self::NotASocket => "Check the path: it leads to something that is no socket.",
            Self::NoKernelSupport => "Load the kernel's unix_diag module, and run castoff in the host's PID namespace.",
            Self::Malformed => "Look at the file: it is not of the form that is expected.",
            Self::LimitReached => "Look at the node itself: there is more of it than castoff keeps.",
            Self::DependsOnAnother => "Fix the other gap that the message names.",
            Self::HostError => "See the answer, and the kernel's log.",
        }
    }
}

codes! {
    /// Which kind of fact a gap may hide; decides what the verdict may still claim.
    Hides {
        /// The runtime that the kubelet uses.
        Runtime = "runtime",
        /// An engine or one of its listeners.
        Engine = "engine",
        /// That a client holds a connection.
        Client = "client",
        /// Who a client is; that there is one is seen.
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
        /// Connects as the kernel tells of them.
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
