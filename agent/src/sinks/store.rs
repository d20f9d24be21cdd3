//! The state file: first and last seen of each client, so that "Docker-free for N days" survives the agent.
//!
//! The only file on the node that castoff writes. A bad one is set aside and never deleted; a failed write is reported each time
//! and stops nothing. Every function blocks on the disk: call it off the async runtime. `docs/adr/0003-state-file.md` explains
//! why it is a JSON file.

mod document;
mod file;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzzing;
mod keeper;

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::model::reading::{Gap, Hides, Reason};
pub use document::DocumentError;
pub use keeper::{Loaded, Saved, StateKeeper};

/// An error of the state file.
#[derive(Debug, Error)]
pub enum StateError {
    /// It exists and could not be read. It stays where it is until castoff has something to write.
    #[error("read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The host's error.
        source: io::Error,
    },
    /// It was read and is not a valid history: truncated, garbage, too large, or of another version.
    #[error("{} is not a history of clients", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The error.
        source: DocumentError,
    },
    /// A bad file could not be set aside, so nothing may be written in its place.
    #[error("set {} aside", .path.display())]
    SetAside {
        /// The file.
        path: PathBuf,
        /// The host's error.
        source: io::Error,
    },
    /// A directory, a FIFO, a socket or a device is in its place.
    #[error("{} is not a regular file", .path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// The history could not be encoded in a form that castoff would read again.
    #[error("write down {}", .path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: DocumentError,
    },
    /// It could not be written. The last good one is unchanged.
    #[error("write {}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The host's error.
        source: io::Error,
    },
}

impl StateError {
    /// The reason from the closed list.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Read { source, .. } | Self::SetAside { source, .. } | Self::Write { source, .. } => {
                Reason::of(source)
            }
            Self::Corrupt { source, .. } | Self::Encode { source, .. } => match source {
                DocumentError::TooLarge => Reason::TooLarge,
                _ => Reason::Malformed,
            },
            Self::NotAFile { .. } => Reason::HostError,
        }
    }

    /// The gap in the report. A lost history hides earlier clients; one that could not be written hides nothing yet.
    pub fn gap(&self) -> Gap {
        let (asked, hides) = match self {
            Self::Read { path, .. } | Self::Corrupt { path, .. } => (path, Hides::Client),
            Self::SetAside { path, .. }
            | Self::NotAFile { path }
            | Self::Encode { path, .. }
            | Self::Write { path, .. } => (path, Hides::Detail),
        };
        Gap::new(
            self.reason(),
            hides,
            format!("state file {}", asked.display()),
            Gap::chain(self),
        )
    }
}

#[cfg(test)]
mod tests;
