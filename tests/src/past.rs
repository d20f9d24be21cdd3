//! The memory of an earlier agent: a state file, written by castoff itself.

use std::path::Path;
use std::time::{Instant, SystemTime};

use anyhow::Result;
use castoff::model::client::{ClientIdentity, ClientKey};
use castoff::model::engine::{Api, EngineKind, Scope};
use castoff::model::history::{ClientRecord, History};
use castoff::model::hours::Hours;
use castoff::model::request::Requests;
use castoff::model::socket::SocketName;
use castoff::model::time::Timestamp;
use castoff::sinks::store::StateKeeper;

/// Returns the time this many hours ago.
pub fn ago(hours: u64) -> Timestamp {
    let now = Timestamp::from(SystemTime::now());
    Timestamp::from_unix(now.as_unix().saturating_sub(hours * 3_600))
}

/// Returns the hours of the last week for which `is_one` returns true; its argument is the number of hours ago.
pub fn hours(is_one: impl Fn(u64) -> bool) -> Hours {
    (0..Hours::SPAN).rev().filter(|hours| is_one(*hours)).map(ago).collect()
}

/// Returns a client of the host's dockerd that was seen in these hours.
pub fn client(identity: ClientIdentity, listener: &str, seen: Hours) -> (ClientKey, ClientRecord) {
    let key = ClientKey {
        identity,
        engine: EngineKind::Dockerd,
        scope: Scope::Host,
        api: Api::Docker,
        listener: SocketName::Path(listener.to_owned()),
    };
    let last = seen.iter().last().unwrap_or(ago(0));
    let seen = ClientRecord {
        first: ago(200),
        last,
        connects: seen.iter().count() as u64,
        hours: seen,
        requests: Requests::default(),
        by_event: false,
        as_runtime: false,
    };
    (key, seen)
}

/// Writes the state file.
///
/// # Errors
/// The file cannot be written.
pub fn save(clients: Vec<(ClientKey, ClientRecord)>, looked: Hours, state: &Path) -> Result<()> {
    let mut keeper = StateKeeper::load(state, StateKeeper::REST).keeper;
    keeper.save(&History::restore(clients, [], looked, []), Instant::now())?;
    Ok(())
}
