//! Encodes a history as the bytes of a state file, and decodes them: one JSON object; a truncated file is never valid.
//!
//! Version 1 had no hours. It is read; each client then has the hours in which it was first and last seen. Version 2
//! had no exposures and no images of containers. It is read; exposures start again. Version 3 had no marks of last
//! connects. It is read. Version 4 had no requests. It is read. Version 5 had no count of the time without use. It is
//! read, and the count starts again. Version 6 had no clocks. It is read. Version 7 had no time of the last read-only
//! mount. It is read; the exposures in it show that time for containers with a name.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::model::client::ClientKey;
use crate::model::disuse::Count;
use crate::model::exposure::{ExposureKey, Mounted};
use crate::model::history::{ClientRecord, Clocks, ExposureRecord, History};
use crate::model::hours::Hours;
use crate::model::last_connect::Moment;
use crate::model::request::Requests;
use crate::model::time::Timestamp;

const FORMAT: &str = "castoff-state";
const VERSION: u32 = 8;
const WITHOUT_HOURS: u32 = 1;

/// The maximum size of a state file in bytes, for reading and writing: [`History::LIMIT`] clients and [`History::EXPOSURES`]
/// exposures with the longest names that the kernel allows, escaped, are smaller.
pub(super) const SIZE_LIMIT: u64 = 80 << 20;

/// An error in a document.
#[derive(Debug, Error)]
pub enum DocumentError {
    /// It is empty: another program's failed write. castoff's own shortest document contains the name of its format.
    #[error("the file is empty")]
    Empty,
    /// It is larger than castoff's limit.
    #[error("over {SIZE_LIMIT} bytes")]
    TooLarge,
    /// It is not JSON of this form, or it is truncated.
    #[error("not the expected JSON")]
    Json(#[source] serde_json::Error),
    /// It is JSON of another program.
    #[error("the format is not {FORMAT}")]
    OtherFormat,
    /// Another release of castoff wrote it.
    #[error("version {0} instead of {VERSION}")]
    OtherVersion(u32),
    /// A client was seen last before it was seen first.
    #[error("client {0} was last seen before it was first seen")]
    Implausible(usize),
    /// An exposure was seen last before it was seen first.
    #[error("exposure {0} was last seen before it was first seen")]
    ImplausibleExposure(usize),
}

/// The part of a document of any version that contains its version.
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
    #[serde(default, skip_serializing_if = "Hours::is_empty", with = "hours")]
    looked: Hours,
    clients: Vec<Entry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    exposures: Vec<ExposureEntry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    marks: Vec<MarkEntry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    docker_free: Option<Count>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    clocks: Option<Clocks>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    readonly_mounted: Option<Timestamp>,
}

/// The last connect to a listener that was judged.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MarkEntry {
    listener: ClientKey,
    seconds: u64,
    nanoseconds: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ExposureEntry {
    exposure: ExposureKey,
    mount: Mounted,
    first_seen: Timestamp,
    last_seen: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    client: ClientKey,
    first_seen: Timestamp,
    last_seen: Timestamp,
    connects: u64,
    #[serde(default, skip_serializing_if = "Hours::is_empty", with = "hours")]
    hours: Hours,
    /// Left out where it is false, and by earlier releases of castoff.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    as_runtime: bool,
    /// Likewise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    by_event: bool,
    #[serde(default, skip_serializing_if = "Requests::is_empty")]
    requests: Requests,
}

/// A set of hours as the newest of them and its bits: four in each hexadecimal digit, the newest hour in the highest bit of the
/// first digit.
mod hours {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::model::hours::Hours;
    use crate::model::time::Timestamp;

    const HOUR: u64 = 3_600;

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Written {
        newest: Timestamp,
        bits: String,
    }

    pub(super) fn serialize<S: Serializer>(hours: &Hours, serializer: S) -> Result<S::Ok, S::Error> {
        let newest = hours.iter().last().unwrap_or(Timestamp::from_unix(0));
        let has = |back: u64| newest.as_unix() >= back * HOUR && hours.contains(before(newest, back));
        let digit = |first: u64| (0..4).fold(0, |digit, bit| digit << 1 | u32::from(has(first + bit)));
        let digits = (0..Hours::SPAN)
            .step_by(4)
            .filter_map(|first| char::from_digit(digit(first), 16));
        let bits = digits.collect::<String>().trim_end_matches('0').to_owned();
        Written { newest, bits }.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Hours, D::Error> {
        let Written { newest, bits } = Written::deserialize(deserializer)?;
        if bits.len() as u64 > Hours::SPAN / 4 {
            return Err(D::Error::custom("more hours than a week has"));
        }
        let mut hours = Hours::default();
        for (at, digit) in bits.chars().enumerate() {
            let digit = digit
                .to_digit(16)
                .ok_or_else(|| D::Error::custom("no hexadecimal digit"))?;
            for bit in (0..4).filter(|bit| digit & (8 >> bit) != 0) {
                let back = at as u64 * 4 + bit;
                if newest.as_unix() < back * HOUR {
                    return Err(D::Error::custom("an hour before 1970"));
                }
                hours.mark(before(newest, back));
            }
        }
        Ok(hours)
    }

    fn before(newest: Timestamp, hours: u64) -> Timestamp {
        Timestamp::from_unix(newest.as_unix() - hours * HOUR)
    }
}

/// Encodes the history as a document.
pub(super) fn encode(history: &History) -> Result<Vec<u8>, DocumentError> {
    let document = Document {
        format: FORMAT.to_owned(),
        version: VERSION,
        looked: *history.looked(),
        clients: history
            .clients()
            .map(|(key, seen)| Entry {
                client: key.clone(),
                first_seen: seen.first,
                last_seen: seen.last,
                connects: seen.connects,
                hours: seen.hours,
                as_runtime: seen.as_runtime,
                by_event: seen.by_event,
                requests: seen.requests.clone(),
            })
            .collect(),
        exposures: history
            .exposures()
            .map(|(key, seen)| ExposureEntry {
                exposure: key.clone(),
                mount: seen.mount.clone(),
                first_seen: seen.first,
                last_seen: seen.last,
            })
            .collect(),
        marks: history
            .marks()
            .map(|(key, mark)| MarkEntry {
                listener: key.clone(),
                seconds: mark.as_secs(),
                nanoseconds: mark.subsec_nanos(),
            })
            .collect(),
        docker_free: history.disuse().count().cloned(),
        clocks: history.clocks().cloned(),
        readonly_mounted: history.readonly_mounted(),
    };
    let mut bytes = serde_json::to_vec(&document).map_err(DocumentError::Json)?;
    bytes.push(b'\n');
    match u64::try_from(bytes.len()) {
        Ok(len) if len <= SIZE_LIMIT => Ok(bytes),
        _ => Err(DocumentError::TooLarge),
    }
}

/// Decodes the history in a document.
pub(super) fn decode(bytes: &[u8]) -> Result<History, DocumentError> {
    if bytes.is_empty() {
        return Err(DocumentError::Empty);
    }
    let header: Header = serde_json::from_slice(bytes).map_err(DocumentError::Json)?;
    if header.format != FORMAT {
        return Err(DocumentError::OtherFormat);
    }
    if !(WITHOUT_HOURS..=VERSION).contains(&header.version) {
        return Err(DocumentError::OtherVersion(header.version));
    }
    let document: Document = serde_json::from_slice(bytes).map_err(DocumentError::Json)?;
    if let Some(at) = document.clients.iter().position(|e| e.last_seen < e.first_seen) {
        return Err(DocumentError::Implausible(at));
    }
    if let Some(at) = document.exposures.iter().position(|e| e.last_seen < e.first_seen) {
        return Err(DocumentError::ImplausibleExposure(at));
    }
    let exposures = document.exposures.into_iter().map(|entry| {
        let seen = ExposureRecord {
            first: entry.first_seen,
            last: entry.last_seen,
            mount: entry.mount,
        };
        (entry.exposure, seen)
    });
    let known = document.clients.into_iter().map(|entry| {
        let mut hours = entry.hours;
        if header.version == WITHOUT_HOURS {
            hours = [entry.first_seen, entry.last_seen].into_iter().collect();
        }
        let seen = ClientRecord {
            first: entry.first_seen,
            last: entry.last_seen,
            connects: entry.connects,
            hours,
            as_runtime: entry.as_runtime,
            by_event: entry.by_event,
            requests: entry.requests,
        };
        (entry.client, seen)
    });
    let marks = document.marks.into_iter().map(|entry| {
        // More nanoseconds than a second has would be added to the seconds.
        let nanoseconds = entry.nanoseconds.min(999_999_999);
        (entry.listener, Moment::new(entry.seconds, nanoseconds))
    });
    let mut history = History::restore(known, exposures, document.looked, marks);
    if let Some(last) = document.readonly_mounted {
        history.mark_readonly_mounted(last);
    }
    Ok(history.with_disuse(document.docker_free).with_clocks(document.clocks))
}
