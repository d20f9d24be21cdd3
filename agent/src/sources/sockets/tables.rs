//! The socket tables of many network namespaces, whether the kernel answers or a recording, and the namespaces that
//! cannot be entered.

use std::io;
use std::time::Instant;

use thiserror::Error;

use super::namespaces::Namespace;
use crate::model::identity::NetNs;
use crate::model::reading::{Gap, Hides, Reason};
use crate::model::snapshot::HolderMethod;
use crate::sources::kernel::diag::table::{DumpError, SocketTable};

/// What is done with each table in turn. It may be called on another thread.
pub type Visitor<'a> = dyn FnMut(NetNs, &mut dyn SocketTable) + Send + 'a;

/// The tables of many network namespaces.
pub trait SocketTables {
    /// How they answer.
    fn method(&self) -> HolderMethod;

    /// Begins a walk: all visits from here on, to the next walk, take their time together.
    fn begin(&mut self) {}

    /// The end of this walk's time, for whatever else is a part of it. None: there is no limit.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Goes into each of `namespaces` in turn and shows its table to `look`. Returns those it could not go into; one
    /// that vanished is left out.
    fn visit(&mut self, namespaces: &[&Namespace], look: &mut Visitor<'_>) -> Vec<NotEntered>;
}

/// A network namespace that could not be entered.
#[derive(Debug)]
pub struct NotEntered {
    /// The namespace.
    pub netns: NetNs,
    /// Why.
    pub error: EnterError,
}

/// A network namespace whose table was not seen, with why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// The namespace.
    pub netns: NetNs,
    /// Why, in a word.
    pub reason: Reason,
    /// Why, in full.
    pub answer: String,
}

impl Unseen {
    /// Its table could not be dumped.
    pub fn not_dumped(netns: NetNs, error: &DumpError) -> Self {
        Self {
            netns,
            reason: error.reason(),
            answer: Gap::chain(error),
        }
    }

    /// It as a gap.
    pub fn gap(&self, hides: Hides) -> Gap {
        let asked = format_args!("Unix sockets of net:[{}]", self.netns.0);
        Gap::new(self.reason, hides, asked, &self.answer)
    }
}

impl From<NotEntered> for Unseen {
    fn from(refusal: NotEntered) -> Self {
        Self {
            netns: refusal.netns,
            reason: refusal.error.reason(),
            answer: Gap::chain(&refusal.error),
        }
    }
}

/// Why a network namespace could not be entered.
#[derive(Debug, Error)]
pub enum EnterError {
    /// Its file could not be opened.
    #[error("open {path} (needs CAP_SYS_PTRACE)")]
    Open {
        /// The file.
        path: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// The file that was opened is another namespace, or none.
    #[error("{0} is not that namespace any more")]
    Another(String),
    /// The kernel did not let the thread in.
    #[error("setns (needs CAP_SYS_ADMIN)")]
    Enter(#[source] io::Error),
    /// No thread could be started to go there.
    #[error("start a thread")]
    Thread(#[source] io::Error),
    /// The time for all namespaces was up before it was its turn.
    #[error("no time left")]
    Deadline,
}

impl EnterError {
    /// The reason for a gap.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Open { source, .. } | Self::Enter(source) | Self::Thread(source) => Reason::of(source),
            Self::Another(_) => Reason::NotFound,
            Self::Deadline => Reason::DeadlineExceeded,
        }
    }
}
