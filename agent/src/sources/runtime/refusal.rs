//! The reasons why a call on a runtime failed, from castoff's closed list.

use std::error::Error;
use std::io;
use std::time::Duration;

use tonic::{Code, Status};

use super::convert::printable;
use crate::model::reading::{Gap, Hides, Reason};
use crate::model::runtime::CriApi;
use crate::sources::kernel::refusal::{Right, explain};

/// Prefixes of the messages that tonic makes itself for an answer that is not gRPC. A runtime's own messages do not
/// begin with them.
const OF_A_BROKEN_ANSWER: [&str; 6] = [
    "failed to decode Protobuf message",
    "grpc-status header missing",
    "h2 protocol error",
    "protocol error",
    "Missing response message",
    "Unexpected EOF decoding stream",
];

/// A call that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The deadline of the call passed.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The deadline of all calls together passed before this one.
    #[error("not asked: no time was left")]
    NotSent,
    /// The connection failed, or the runtime returned an error.
    #[error("{}", describe(.0))]
    Refused(Box<Status>),
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

impl CallError {
    /// Returns the reason, from the closed list.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Timeout(_) | Self::NotSent => Reason::DeadlineExceeded,
            Self::Refused(status) => reason_of(status),
        }
    }

    /// True if the runtime reports that it has no such container.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(status) if status.code() == Code::NotFound && host_error(status).is_none())
    }

    /// True if the connection was closed before an answer.
    pub(crate) fn is_lost_connection(&self) -> bool {
        matches!(self, Self::Refused(status) if status.source().is_some()) && self.reason() == Reason::ProtocolError
    }

    /// Returns the gap for a call of `method` on the socket at `path`.
    pub(crate) fn gap(&self, hides: Hides, api: CriApi, method: &str, path: &str) -> Gap {
        Gap::new(self.reason(), hides, format!("{method} (CRI {api}) on {path}"), self)
    }
}

fn reason_of(status: &Status) -> Reason {
    if let Some(error) = host_error(status) {
        return match Reason::of(error) {
            // A connection that was lost, or a socket of another type.
            Reason::HostError | Reason::Malformed => Reason::ProtocolError,
            reason => reason,
        };
    }
    let broken = OF_A_BROKEN_ANSWER.iter().any(|b| status.message().starts_with(b));
    match status.code() {
        _ if broken => Reason::ProtocolError,
        Code::Unimplemented => Reason::Unimplemented,
        Code::DeadlineExceeded => Reason::DeadlineExceeded,
        Code::PermissionDenied | Code::Unauthenticated => Reason::PermissionDenied,
        // A message over the limit. A sender reports one of these codes; tonic as the receiver reports the other.
        Code::ResourceExhausted | Code::OutOfRange => Reason::TooLarge,
        // A status that was sent by the runtime has no source on this side.
        _ if status.source().is_some() => Reason::ProtocolError,
        _ => Reason::PeerError,
    }
}

/// Returns the operating system's error that caused a status, if there is one.
fn host_error(status: &Status) -> Option<&io::Error> {
    let mut cause = status.source();
    while let Some(error) = cause {
        // An error without a number is a wrapper of a protocol layer.
        if let Some(error) = error.downcast_ref::<io::Error>().filter(|e| e.raw_os_error().is_some()) {
            return Some(error);
        }
        cause = error.source();
    }
    None
}

fn describe(status: &Status) -> String {
    match host_error(status) {
        Some(error) => explain(error, Right::Root),
        None => match status.source() {
            Some(cause) => printable(Gap::chain(cause).as_bytes()),
            None => printable(format!("{:?}: {}", status.code(), status.message()).as_bytes()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_of_a_runtime_become_reasons() {
        for (status, reason) in [
            (
                Status::unimplemented("unknown service runtime.v1.RuntimeService"),
                Reason::Unimplemented,
            ),
            (
                Status::unimplemented("grpc-status header missing, mapped from HTTP status code 404"),
                Reason::ProtocolError,
            ),
            (
                Status::deadline_exceeded("context deadline exceeded"),
                Reason::DeadlineExceeded,
            ),
            (Status::permission_denied("no"), Reason::PermissionDenied),
            (
                Status::resource_exhausted("trying to send message larger than max"),
                Reason::TooLarge,
            ),
            (
                Status::out_of_range("Error, decoded message length too large"),
                Reason::TooLarge,
            ),
            (
                Status::internal("failed to decode Protobuf message: buffer underflow"),
                Reason::ProtocolError,
            ),
            (
                Status::internal("Unexpected EOF decoding stream."),
                Reason::ProtocolError,
            ),
            (Status::internal("disk is on fire"), Reason::PeerError),
            (Status::unavailable("server is not initialized yet"), Reason::PeerError),
            (Status::unknown("some error of Go"), Reason::PeerError),
            (Status::not_found("container"), Reason::PeerError),
            (
                Status::from_error(Box::new(io::Error::from_raw_os_error(13))),
                Reason::PermissionDenied,
            ),
            (
                Status::from_error(Box::new(io::Error::from_raw_os_error(2))),
                Reason::NotFound,
            ),
            (
                Status::from_error(Box::new(io::Error::from_raw_os_error(111))),
                Reason::ConnectionRefused,
            ),
            (
                Status::from_error(Box::new(io::Error::from_raw_os_error(11))),
                Reason::DeadlineExceeded,
            ),
            (
                Status::from_error(Box::new(io::Error::from_raw_os_error(104))),
                Reason::ProtocolError,
            ),
        ] {
            let text = format!("{status:?}");
            assert_eq!(CallError::from(status).reason(), reason, "{text}");
        }
        assert_eq!(CallError::Timeout(Duration::ZERO).reason(), Reason::DeadlineExceeded);
    }

    #[test]
    fn only_the_runtimes_own_answer_means_that_a_container_is_gone() {
        assert!(CallError::from(Status::not_found("gone")).is_not_found());
        let no_socket = Status::from_error(Box::new(io::Error::from_raw_os_error(2)));
        assert!(!CallError::from(no_socket).is_not_found());
    }

    #[test]
    fn a_missing_right_is_named_and_a_hostile_message_is_escaped() {
        let error = CallError::from(Status::from_error(Box::new(io::Error::from_raw_os_error(13))));
        let gap = error.gap(Hides::Runtime, CriApi::V1, "Version", "/run/x.sock");
        assert_eq!(gap.asked, "Version (CRI v1) on /run/x.sock");
        assert!(gap.answer.ends_with("; needs root"), "{gap}");
        let gap = CallError::from(Status::unknown("\u{1b}[2Jgone\n")).gap(Hides::Runtime, CriApi::V1, "Version", "/x");
        assert!(!gap.answer.contains(char::is_control), "{gap:?}");
    }
}
