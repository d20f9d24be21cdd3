//! The bytes of a state file ↔ a history. Version 1: one JSON object; a file that ends early is never a valid one.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::model::client::ClientKey;
use crate::model::history::{History, Seen};
use crate::model::time::Timestamp;

const FORMAT: &str = "castoff-state";
const VERSION: u32 = 1;

/// Bytes of a state file at most, read or written: [`History::LIMIT`] clients with the longest names that the kernel
/// allows, escaped, stay below.
pub(super) const SIZE_LIMIT: u64 = 64 << 20;

/// What is wrong with a document.
#[derive(Debug, Error)]
pub enum DocumentError {
    /// It is empty: a write of somebody else's that never happened. castoff's own shortest has its format's name.
    #[error("the file is empty")]
    Empty,
    /// It has more bytes than castoff reads.
    #[error("over {SIZE_LIMIT} bytes")]
    TooLarge,
    /// It is not JSON of this form, or it ends early.
    #[error("not the expected JSON")]
    Json(#[source] serde_json::Error),
    /// It is something else's JSON.
    #[error("the format is not {FORMAT}")]
    OtherFormat,
    /// Another release of castoff wrote it.
    #[error("version {0} instead of {VERSION}")]
    OtherVersion(u32),
    /// A client was seen last before it was seen first.
    #[error("client {0} was last seen before it was first seen")]
    Implausible(usize),
}

/// Enough of a document of any version to tell which it is.
#[derive(Deserialize)]
struct Header {
    format: String,
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    format: String,
    version: u32,
    clients: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    client: ClientKey,
    first_seen: Timestamp,
    last_seen: Timestamp,
    connects: u64,
}

/// The history as a document.
pub(super) fn encode(history: &History) -> Result<Vec<u8>, DocumentError> {
    let document = Document {
        format: FORMAT.to_owned(),
        version: VERSION,
        clients: history
            .clients()
            .map(|(key, seen)| Entry {
                client: key.clone(),
                first_seen: seen.first,
                last_seen: seen.last,
                connects: seen.connects,
            })
            .collect(),
    };
    let mut bytes = serde_json::to_vec(&document).map_err(DocumentError::Json)?;
    bytes.push(b'\n');
    match u64::try_from(bytes.len()) {
        Ok(len) if len <= SIZE_LIMIT => Ok(bytes),
        _ => Err(DocumentError::TooLarge),
    }
}

/// The history in a document.
pub(super) fn decode(bytes: &[u8]) -> Result<History, DocumentError> {
    if bytes.is_empty() {
        return Err(DocumentError::Empty);
    }
    let header: Header = serde_json::from_slice(bytes).map_err(DocumentError::Json)?;
    if header.format != FORMAT {
        return Err(DocumentError::OtherFormat);
    }
    if header.version != VERSION {
        return Err(DocumentError::OtherVersion(header.version));
    }
    let document: Document = serde_json::from_slice(bytes).map_err(DocumentError::Json)?;
    if let Some(at) = document.clients.iter().position(|e| e.last_seen < e.first_seen) {
        return Err(DocumentError::Implausible(at));
    }
    let mut clients = document.clients;
    // Not written by this release: keep what the history would, without its search for the oldest one by one.
    clients.sort_by_key(|entry| std::cmp::Reverse(entry.last_seen));
    clients.truncate(History::LIMIT);
    Ok(History::restore(clients.into_iter().map(|entry| {
        (
            entry.client,
            Seen {
                first: entry.first_seen,
                last: entry.last_seen,
                connects: entry.connects,
            },
        )
    })))
}
