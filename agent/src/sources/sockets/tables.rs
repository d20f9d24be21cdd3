//! The socket tables of many network namespaces, from the kernel or from a recording, and the namespaces that cannot be
//! entered.

use std::io;
use std::time::Instant;

use thiserror::Error;

use super::namespaces::Namespace;
use crate::model::identity::NetNs;
use crate::model::reading::{Gap, Hides, Reason};
use crate::model::snapshot::HolderMethod;
use crate::sources::kernel::diag::table::{DumpError, SocketTable};

/// The function that is called with each table in turn, possibly on another thread.
pub type Visitor<'a> = dyn FnMut(NetNs, &mut dyn SocketTable) + Send + 'a;

/// The tables of many network namespaces.
pub trait SocketTables {
    /// The method by which they are read.
    fn method(&self) -> HolderMethod;

    /// Starts a walk: all visits until the next walk share one deadline.
    fn begin(&mut self) {}

    /// Returns the deadline of this walk, for other work that is part of it. None means no limit.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Enters each of `namespaces` in turn and passes its table to `look`. Returns those that could not be entered. A
    /// namespace that has vanished is left out.
    fn visit(&mut self, namespaces: &[&Namespace], look: &mut Visitor<'_>) -> Vec<NotEntered>;
}

/// A network namespace that could not be entered.
#[derive(Debug)]
pub struct NotEntered {
    /// The namespace.
    pub netns: NetNs,
    /// The error.
    pub error: EnterError,
}

/// A network namespace whose table was not read, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// The namespace.
    pub netns: NetNs,
    /// The reason.
    pub reason: Reason,
    /// The error message.
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

    /// Returns the gap for it.
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

/// The error of entering a network namespace.
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
    /// The opened file is another namespace, or no namespace.
    #[error("{0} is not that namespace any more")]
    Another(String),
    /// The kernel did not let the thread enter it.
    #[error("setns (needs CAP_SYS_ADMIN)")]
    Enter(#[source] io::Error),
    /// No thread could be started.
    #[error("start a thread")]
    Thread(#[source] io::Error),
    /// The deadline of the walk passed before it was entered.
    #[error("no time left")]
    Deadline,
}

impl EnterError {
    /// Returns the reason for a gap.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Open { source, .. } | Self::Enter(source) | Self::Thread(source) => Reason::of(source),
            Self::Another(_) => Reason::NotFound,
            Self::Deadline => Reason::DeadlineExceeded,
        }
    }
}
