//! The records of clients and of mounts alike: a later one takes over from an earlier one, and their number is bounded.

use std::collections::{BTreeMap, BTreeSet};

use super::{ClientRecord, ExposureRecord};
use crate::model::client::{ClientIdentity, ClientKey};
use crate::model::exposure::ExposureKey;
use crate::model::time::Timestamp;
use crate::model::turns::in_turns;

/// The key of a record.
pub(super) trait Key: Ord + Clone {
    fn client(&self) -> &ClientKey;
    fn continues(&self, other: &Self) -> bool;
}

/// A record that is kept.
pub(super) trait Record {
    fn first(&self) -> Timestamp;
    fn last(&self) -> Timestamp;
    /// Takes over the data of a record whose first time is `first`, and of the records that are `gone`.
    fn inherit(&mut self, first: Timestamp, gone: Vec<Self>)
    where
        Self: Sized;
}

impl Key for ClientKey {
    fn client(&self) -> &ClientKey {
        self
    }

    fn continues(&self, other: &Self) -> bool {
        self.continues(other)
    }
}

impl Key for ExposureKey {
    fn client(&self) -> &ClientKey {
        &self.client
    }

    fn continues(&self, other: &Self) -> bool {
        let names = || match (&self.client.identity, &other.client.identity) {
            (ClientIdentity::Pod(this), ClientIdentity::Pod(unnamed)) => this.names(unnamed),
            _ => false,
        };
        self.container_path == other.container_path
            && (self.client.continues(&other.client) || (self.client.is_of_one_listener(&other.client) && names()))
    }
}

impl Record for ClientRecord {
    fn first(&self) -> Timestamp {
        self.first
    }

    fn last(&self) -> Timestamp {
        self.last
    }

    fn inherit(&mut self, first: Timestamp, gone: Vec<Self>) {
        self.first = self.first.min(first);
        for other in &gone {
            self.hours.absorb(&other.hours);
            self.requests.absorb(&other.requests);
        }
    }
}

impl Record for ExposureRecord {
    fn first(&self) -> Timestamp {
        self.first
    }

    fn last(&self) -> Timestamp {
        self.last
    }

    fn inherit(&mut self, first: Timestamp, _: Vec<Self>) {
        self.first = self.first.min(first);
    }
}

/// Gives each key of `now` the history of the keys that it continues, and removes the keys that are gone.
pub(super) fn hand_over<K: Key, R: Record>(records: &mut BTreeMap<K, R>, now: &BTreeSet<K>) {
    let heirs = now.iter().filter(|key| key.client().may_continue_others());
    for key in heirs {
        let others = records
            .iter()
            .filter(|(other, _)| *other != key && key.continues(other));
        let (mut first, mut gone) = (None, Vec::new());
        for (other, seen) in others {
            first = Some(first.map_or(seen.first(), |first: Timestamp| first.min(seen.first())));
            if !now.contains(other) {
                gone.push(other.clone());
            }
        }
        let gone: Vec<R> = gone.iter().filter_map(|other| records.remove(other)).collect();
        if let (Some(first), Some(seen)) = (first, records.get_mut(key)) {
            seen.inherit(first, gone);
        }
    }
}
/// Removes the records that exceed the limit, and returns their number.
pub(super) fn bound<K: Key, R: Record>(
    records: &mut BTreeMap<K, R>,
    limit: usize,
    is_open: impl Fn(&K) -> bool,
) -> u64 {
    let surplus = records.len().saturating_sub(limit);
    let Some(now) = records.values().map(R::last).max().filter(|_| surplus > 0) else {
        return 0;
    };
    let mut best_first: Vec<(&K, &R)> = records.iter().collect();
    best_first.sort_by_cached_key(|(key, record)| {
        let is_recent = now.since(record.last()).as_secs() < WEEK;
        let known_for = record.last().since(record.first());
        std::cmp::Reverse((is_open(key), is_recent, known_for, record.last()))
    });
    let kept = in_turns(best_first, |(key, _)| (&key.client().identity, &key.client().scope));
    let dropped: Vec<K> = kept[limit..].iter().map(|(key, _)| (*key).clone()).collect();
    for key in &dropped {
        records.remove(key);
    }
    surplus as u64
}

const WEEK: u64 = 7 * 86_400;
