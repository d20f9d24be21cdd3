//! The reason why a request failed.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use kube::client::AuthError;

use crate::model::publishing::Outcome;
use crate::model::reading::{Gap, Hides, Reason};
use crate::model::text::{cut_bytes, visible};

/// The maximum length of an answer in bytes: a peer may send a whole page of HTML.
const ANSWER_LIMIT: usize = 240;

/// The maximum length of an error about castoff's own files, in bytes: it may list the choices.
const OWN_LIMIT: usize = 2048;

/// A request that failed: the request and the answer, as a code of a closed list and in words.
#[derive(Debug, thiserror::Error)]
#[error("{asked}: {answer}")]
pub struct Refusal {
    /// The code from the closed list.
    pub outcome: Outcome,
    /// The request.
    pub asked: String,
    /// The answer, safe to print.
    pub answer: String,
    /// The wait that the server requests.
    pub retry_after: Option<Duration>,
    /// True if it was the next page of a list that the server no longer keeps (410).
    pub is_expired: bool,
    /// The token for the rest of that list in its current state.
    pub resume: Option<String>,
    /// True if the answer is a `Status`, as API servers send it. The answer of a pod behind the proxy is not one.
    pub is_status: bool,
}

impl Refusal {
    /// Returns a refusal without a requested wait.
    pub fn new(outcome: Outcome, asked: impl Into<String>, answer: impl fmt::Display) -> Self {
        Self::bounded(outcome, &asked.into(), &answer.to_string(), ANSWER_LIMIT)
    }

    /// Returns a refusal for a request that was not sent, because the credentials are missing or invalid.
    pub fn unconfigured(asked: impl Into<String>, answer: impl fmt::Display) -> Self {
        Self::bounded(Outcome::Unconfigured, &asked.into(), &answer.to_string(), OWN_LIMIT)
    }

    fn bounded(outcome: Outcome, asked: &str, answer: &str, limit: usize) -> Self {
        Self {
            outcome,
            asked: visible(asked).into_owned(),
            answer: cut_bytes(visible(answer), limit).into_owned(),
            retry_after: None,
            is_expired: false,
            resume: None,
            is_status: false,
        }
    }

    /// Returns a refusal for a request without an answer.
    pub fn of_transport(asked: impl Into<String>, error: &(dyn Error + 'static)) -> Self {
        Self::new(transport(error), asked, Gap::chain(error))
    }

    /// True if an agent behind the API server's proxy refused the reader, and not the API server itself.
    pub fn is_of_agent(&self) -> bool {
        !self.is_status && matches!(self.outcome, Outcome::Unauthenticated | Outcome::Forbidden)
    }

    /// The gap that it leaves in the knowledge of the node's labels. No verdict depends on them.
    pub fn gap(&self) -> Gap {
        Gap::new(
            reason(self.outcome),
            Hides::Detail,
            &self.asked,
            format!("{} ({})", self.answer, self.outcome),
        )
    }
}

/// Returns the kind of a connection failure.
fn transport(error: &(dyn Error + 'static)) -> Outcome {
    use hyper_util::client::legacy::Error as ClientError;
    let mut connecting = false;
    let mut unprepared = false;
    let mut io: Option<&io::Error> = None;
    let mut cause = Some(error);
    while let Some(error) = cause {
        connecting |= error.downcast_ref::<ClientError>().is_some_and(ClientError::is_connect);
        unprepared |= error.is::<kube::Error>() || error.is::<AuthError>();
        io = error.downcast_ref().map(innermost).or(io);
        cause = error.source();
    }
    // The TLS library's errors come wrapped in one of these kinds, and never with an OS error number.
    let tls = |e: &io::Error| e.raw_os_error().is_none() && e.kind() == io::ErrorKind::InvalidData;
    let broke_off = |e: &io::Error| e.raw_os_error().is_none() && e.kind() == io::ErrorKind::UnexpectedEof;
    match io {
        _ if unprepared => Outcome::Unconfigured,
        Some(e) if tls(e) || (connecting && broke_off(e)) => Outcome::TlsFailed,
        Some(e) if e.kind() == io::ErrorKind::TimedOut => Outcome::DeadlineExceeded,
        Some(e) if e.raw_os_error().is_some() => Outcome::Unreachable,
        _ if connecting => Outcome::Unreachable,
        _ => Outcome::BadAnswer,
    }
}

/// Returns the innermost error: an `io::Error` may wrap another, and `source` skips the one that is wrapped.
fn innermost(mut error: &io::Error) -> &io::Error {
    while let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
        error = inner;
    }
    error
}

fn reason(outcome: Outcome) -> Reason {
    match outcome {
        Outcome::Unconfigured | Outcome::NotFound | Outcome::WrongNode => Reason::NotFound,
        Outcome::Unreachable => Reason::ConnectionRefused,
        Outcome::DeadlineExceeded => Reason::DeadlineExceeded,
        Outcome::Unauthenticated | Outcome::Forbidden => Reason::PermissionDenied,
        Outcome::Throttled => Reason::LimitReached,
        Outcome::TlsFailed | Outcome::BadAnswer => Reason::ProtocolError,
        Outcome::HostError => Reason::HostError,
        Outcome::Conflict | Outcome::Rejected | Outcome::ServerError | Outcome::Succeeded => Reason::PeerError,
    }
}
