//! The results of earlier looks: the first and last time and the hours of each client, the first and last time of each
//! exposure, and the hours in which a look saw everything. It is bounded, and the state file keeps it across restarts.
//!
//! A client is kept under the name of its current pod. A pod of the same workload takes over from one that has no connection any
//! more: it keeps the other's first time, hours and requests. Connects are counted for each pod alone. The same holds for the
//! mount of a container.

mod clock;
mod records;

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::time::Duration;

use super::client::{ClientIdentity, ClientKey, OpenClient};
use super::disuse::{Count, Disuse, DisuseLook};
use super::engine::Api;
use super::exposure::{ExposureKey, Mounted};
use super::hours::Hours;
use super::identity::{ProcessKey, SocketInode};
use super::last_connect::Moment;
use super::reading::Gap;
use super::request::Requests;
use super::socket::SocketName;
use super::time::Timestamp;
use super::timeline::Timeline;
pub use clock::Clocks;
use clock::LastClocks;
use records::{bound, hand_over};

/// The times, connects and requests of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRecord {
    /// The first time.
    pub first: Timestamp,
    /// The last time, with a connection open or made.
    pub last: Timestamp,
    /// The number of known connects, of this pod alone where the client is one: those that the kernel reported, else those that
    /// one look saw and the look before had not.
    pub connects: u64,
    /// Its requests, as far as the kernel reported them.
    pub requests: Requests,
    /// True if only the kernel reported it, and no look saw an open connection.
    pub by_event: bool,
    /// The hours in which a connection was seen open, or made.
    pub hours: Hours,
    /// True if it was seen to be the node's own runtime or its kubelet: then its history is that of the runtime.
    pub as_runtime: bool,
}

/// The times of a container's mount of a socket, and the mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExposureRecord {
    /// The first time.
    pub first: Timestamp,
    /// The last time.
    pub last: Timestamp,
    /// The mount when it was last seen.
    pub mount: Mounted,
}

/// Every client and exposure that was seen, at most [`History::LIMIT`] and [`History::EXPOSURES`]. Clients of each kind and of
/// each owner take turns ([`super::turns`]); of one owner the order is: open connections, then those of the last week, then those
/// that have been known for longest, then those that were seen last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    clients: BTreeMap<ClientKey, ClientRecord>,
    exposures: BTreeMap<ExposureKey, ExposureRecord>,
    /// Hours in which at least one look could have seen every client.
    looked: Hours,
    /// The open sockets of the last look, which are not kept over a restart.
    open: BTreeMap<ClientKey, BTreeSet<SocketInode>>,
    mounted: BTreeSet<ExposureKey>,
    /// The last time at which any container, with or without a known name, had a read-only mount of a socket of the
    /// node's Docker.
    readonly_mounted: Option<Timestamp>,
    /// The last connect to each listener that was judged, under the key of [`ClientIdentity::Unseen`].
    marks: BTreeMap<ClientKey, Moment>,
    /// Connects that are later than the start of the look that saw their mark: the next look judges them.
    early: BTreeMap<ClientKey, Early>,
    /// The listeners with a connection that is new in the last look.
    connected: BTreeSet<ClientKey>,
    /// For each listener, the time of the last connect that the kernel reported to the last look.
    reported: BTreeMap<ClientKey, Timestamp>,
    /// True if a use of the node's Docker was recorded since the last look was counted.
    used: bool,
    disuse: Disuse,
    clocks: LastClocks,
    forgotten: u64,
}

/// A connect that may be later than the list of connections of the look that saw its mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Early {
    mark: Moment,
    /// True if that look saw a new connection to the listener.
    connected: bool,
}

impl History {
    /// The number of listeners whose last connect is remembered.
    pub const MARKS: usize = 256;

    /// The number of clients that are remembered: 110 pods' containers with room for churn, at most about 1 MiB of state.
    pub const LIMIT: usize = 2048;

    /// The number of exposures that are remembered.
    pub const EXPOSURES: usize = 512;

    /// Restores a history from its records. Two records of one client, from before its name was folded, become one.
    pub fn restore(
        clients: impl IntoIterator<Item = (ClientKey, ClientRecord)>,
        exposures: impl IntoIterator<Item = (ExposureKey, ExposureRecord)>,
        looked: Hours,
        marks: impl IntoIterator<Item = (ClientKey, Moment)>,
    ) -> Self {
        let mut history = Self {
            exposures: exposures.into_iter().collect(),
            looked,
            marks: marks.into_iter().collect(),
            ..Self::default()
        };
        for (key, seen) in clients {
            history.add_client(key.lasting(), seen);
        }
        let is_readonly = |(key, seen): &(&ExposureKey, &ExposureRecord)| seen.mount.readonly && is_use(&key.client);
        let readonly = history.exposures.iter().filter(is_readonly);
        history.readonly_mounted = readonly.map(|(_, seen)| seen.last).max();
        history.bound();
        history.forgotten = 0;
        history
    }

    fn add_client(&mut self, key: ClientKey, seen: ClientRecord) {
        match self.clients.get_mut(&key) {
            Some(same) => same.merge(&seen),
            None => drop(self.clients.insert(key, seen)),
        }
    }

    fn add_exposure(&mut self, key: ExposureKey, seen: ExposureRecord) {
        match self.exposures.get_mut(&key) {
            Some(same) => same.merge(seen),
            None => drop(self.exposures.insert(key, seen)),
        }
    }

    /// Adds an earlier history, which was read after the first look.
    pub fn absorb(&mut self, mut before: Self) {
        self.adopt_clocks(&mut before);
        for (key, mark) in before.marks {
            self.forget_repeated(&key, mark);
            self.marks.entry(key).or_insert(mark);
        }
        for (key, seen) in before.clients {
            self.add_client(key, seen);
        }
        for (key, seen) in before.exposures {
            self.add_exposure(key, seen);
        }
        self.looked.absorb(&before.looked);
        self.readonly_mounted = self.readonly_mounted.max(before.readonly_mounted);
        self.disuse.absorb(before.disuse);
        hand_over(&mut self.clients, &self.open.keys().cloned().collect());
        hand_over(&mut self.exposures, &self.mounted);
        self.bound();
    }

    /// Forgets a connect by an unseen client that was judged twice, the second time by a look that had no record of the
    /// first.
    fn forget_repeated(&mut self, listener: &ClientKey, mark: Moment) {
        let at = Timestamp::from_unix(mark.as_secs());
        if let Some(seen) = self.clients.get_mut(listener).filter(|seen| seen.first == at) {
            seen.connects = seen.connects.saturating_sub(1);
            if seen.connects == 0 {
                self.clients.remove(listener);
            }
        }
    }

    /// Adds one look at the time `at`.
    pub fn record(&mut self, at: Timestamp, open: &[OpenClient]) {
        self.connected.clear();
        self.reported.clear();
        for client in open {
            self.used |= is_use(&client.key);
            let before = self.open.get(&client.key);
            let new = client
                .sockets
                .iter()
                .filter(|s| !before.is_some_and(|b| b.contains(s)))
                .count();
            let seen = self.clients.entry(client.key.clone()).or_insert(ClientRecord {
                by_event: true,
                ..ClientRecord::at(at)
            });
            seen.see(at, client, new as u64);
            let listener = ClientKey {
                identity: ClientIdentity::Unseen,
                ..client.key.clone()
            };
            if let Some(reported) = client.connects.as_ref().filter(|reported| reported.count > 0) {
                let last = self.reported.entry(listener.clone()).or_insert(reported.last);
                *last = reported.last.max(*last);
            }
            if new > 0 {
                self.connected.insert(listener);
            }
        }
        let is_new = |client: &OpenClient| !self.open.contains_key(&client.key);
        if open.len() != self.open.len() || open.iter().any(is_new) {
            hand_over(
                &mut self.clients,
                &open.iter().map(|client| client.key.clone()).collect(),
            );
        }
        self.open = open
            .iter()
            .map(|client| (client.key.clone(), client.sockets.clone()))
            .collect();
        self.bound();
    }

    /// Marks the `open` clients that are one of `runtime`, the processes of the node's kubelet and of its runtime.
    pub fn mark_runtime(&mut self, open: &[OpenClient], runtime: &BTreeSet<ProcessKey>) {
        for client in open {
            let is_runtime = client.processes().any(|process| runtime.contains(&process.key));
            if let Some(seen) = self.clients.get_mut(&client.key) {
                seen.as_runtime |= is_runtime;
            }
        }
    }

    /// Adds the last connects to listeners by the times of their files, from the look that [`History::record`] added last and
    /// that began at `begun`. A connect that no connection of that look explains is one by a client that no look saw.
    ///
    /// A connect later than `begun` may be later than the look's list of connections; the next look judges it.
    ///
    /// Returns the times of the connects that no look saw.
    pub fn record_marks(&mut self, begun: Moment, marks: &[(ClientKey, Moment)]) -> Vec<Timestamp> {
        let mut unseen = Vec::new();
        let early = mem::take(&mut self.early);
        for (key, mark) in marks {
            let before = early.get(key);
            let judged = match before {
                _ if *mark <= begun => Some(*mark),
                before => before.map(|before| before.mark),
            };
            if *mark > begun {
                let connected = self.explains(key, *mark);
                self.early.insert(key.clone(), Early { mark: *mark, connected });
            }
            let last = self.marks.get(key);
            // If the clock was set back, the last judged connect is in the future.
            let is_new = |mark: &Moment| last.is_none_or(|last| last < mark || (*last > begun && last != mark));
            let Some(mark) = judged.filter(is_new) else {
                continue;
            };
            let is_first = self.marks.insert(key.clone(), mark).is_none();
            let at = Timestamp::from_unix(mark.as_secs());
            let explained = self.explains(key, mark) || before.is_some_and(|before| before.connected);
            if !(explained || is_first && self.covers(key, at)) {
                self.record_unseen(key, at);
                unseen.push(at);
            }
        }
        self.bound();
        unseen
    }

    /// True if the last look saw a new connection to an engine's socket with a file, and the kernel reported no connect to it.
    pub fn has_unreported(&self) -> bool {
        let has_file = |key: &&ClientKey| key.api == Api::Docker && matches!(key.listener, SocketName::Path(_));
        let mut connected = self.connected.iter().filter(has_file);
        connected.any(|listener| !self.reported.contains_key(listener))
    }

    /// True if the last look saw the client that connected: a new connection, or a connect that the kernel reported at that time.
    fn explains(&self, listener: &ClientKey, mark: Moment) -> bool {
        // The file's clock is up to a tick behind the record's, and both are cut to seconds.
        let is_of_then = |reported: &Timestamp| reported.as_unix() + 1 >= mark.as_secs();
        self.connected.contains(listener) || self.reported.get(listener).is_some_and(is_of_then)
    }

    /// True if a client of the listener was known around that time. If no mark of the listener is remembered, the first
    /// mark may be that client's.
    fn covers(&self, listener: &ClientKey, at: Timestamp) -> bool {
        self.clients.iter().any(|(key, seen)| {
            let is_of_it = key.listener == listener.listener
                && (key.engine, key.api) == (listener.engine, listener.api)
                && key.scope == listener.scope;
            is_of_it && at <= seen.last && seen.first.since(at) <= SKEW
        })
    }

    fn record_unseen(&mut self, key: &ClientKey, at: Timestamp) {
        self.used |= is_use(key);
        let seen = self.clients.entry(key.clone()).or_insert(ClientRecord::at(at));
        seen.last = seen.last.max(at);
        seen.hours.mark(at);
        seen.connects = seen.connects.saturating_add(1);
    }

    /// The last connect to each listener that was judged, for the state file.
    pub fn marks(&self) -> impl Iterator<Item = (&ClientKey, Moment)> {
        self.marks.iter().map(|(key, mark)| (key, *mark))
    }

    /// Adds the containers that had a mount of a socket at the time `at`.
    pub fn record_exposures(&mut self, at: Timestamp, mounted: &BTreeMap<ExposureKey, Mounted>) {
        // No source returns a mount of a process in no container.
        let is_container = |key: &ExposureKey| key.client.identity != ClientIdentity::Unnamed;
        for (key, mount) in mounted.iter().filter(|(key, _)| is_container(key)) {
            let seen = self.exposures.entry(key.clone()).or_insert_with(|| ExposureRecord {
                first: at,
                last: at,
                mount: mount.clone(),
            });
            seen.last = seen.last.max(at);
            seen.mount.clone_from(mount);
        }
        let now: BTreeSet<ExposureKey> = mounted.keys().filter(|key| is_container(key)).cloned().collect();
        if now != self.mounted {
            hand_over(&mut self.exposures, &now);
        }
        self.mounted = now;
        self.bound();
    }

    /// Gives exposures that were recorded without a name the key that they have now.
    pub fn rename_exposures(&mut self, renamed: Vec<(ExposureKey, ExposureKey)>) {
        for (before, now) in renamed {
            let Some(seen) = self.exposures.remove(&before) else {
                continue;
            };
            self.mounted.remove(&before);
            self.add_exposure(now, seen);
        }
    }

    /// Records that a container has a read-only mount of a socket of the node's Docker at the time `at`.
    pub fn mark_readonly_mounted(&mut self, at: Timestamp) {
        self.readonly_mounted = self.readonly_mounted.max(Some(at));
    }

    /// The last time at which a container had such a mount: a connect through it leaves no mark.
    pub const fn readonly_mounted(&self) -> Option<Timestamp> {
        self.readonly_mounted
    }

    /// Records that nothing hid a client from the look at the time `at`: a client that it did not see did not exist.
    pub fn mark_whole(&mut self, at: Timestamp) {
        self.looked.mark(at);
    }

    /// Continues with the count from the state file.
    #[must_use]
    pub fn with_disuse(mut self, count: Option<Count>) -> Self {
        self.disuse = count.map(Disuse::restore).unwrap_or_default();
        self
    }

    /// The time for which the node's Docker is proven to be unused.
    pub const fn disuse(&self) -> &Disuse {
        &self.disuse
    }

    /// Counts a look that was recorded, or returns the reason why it does not count.
    pub fn count_disuse(&mut self, look: Result<DisuseLook, Gap>) {
        let used = mem::take(&mut self.used);
        match look {
            Ok(look) => self.disuse.take_in(DisuseLook {
                used: used || look.used,
                ..look
            }),
            Err(gap) => self.disuse.stop(gap),
        }
    }

    /// Hours in which at least one look could have seen every client.
    pub const fn looked(&self) -> &Hours {
        &self.looked
    }

    /// The hours up to `now` of the clients with these keys, merged.
    pub fn timeline<'a>(&self, now: Timestamp, keys: impl IntoIterator<Item = &'a ClientKey>) -> Timeline {
        let seen = keys.into_iter().filter_map(|key| self.clients.get(key));
        let hours: Vec<&Hours> = seen.map(|seen| &seen.hours).collect();
        Timeline::new(now, &hours, &self.looked)
    }

    /// Every remembered client.
    pub fn clients(&self) -> impl Iterator<Item = (&ClientKey, &ClientRecord)> {
        self.clients.iter()
    }

    /// Every remembered exposure.
    pub fn exposures(&self) -> impl Iterator<Item = (&ExposureKey, &ExposureRecord)> {
        self.exposures.iter()
    }

    /// Returns the record of `key`.
    pub fn get(&self, key: &ClientKey) -> Option<&ClientRecord> {
        self.clients.get(key)
    }

    /// The number of clients and exposures that were dropped for lack of room since the start.
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    fn bound(&mut self) {
        if let Some(surplus @ 1..) = self.marks.len().checked_sub(Self::MARKS) {
            let mut by_age: Vec<Moment> = self.marks.values().copied().collect();
            by_age.sort_unstable();
            self.marks.retain(|_, mark| *mark >= by_age[surplus]);
        }
        let open = &self.open;
        self.forgotten += bound(&mut self.clients, Self::LIMIT, |key| open.contains_key(key));
        let mounted = &self.mounted;
        self.forgotten += bound(&mut self.exposures, Self::EXPOSURES, |key| mounted.contains(key));
    }
}

impl ClientRecord {
    /// Returns the record of a client that was seen at this time only, with nothing counted yet.
    fn at(at: Timestamp) -> Self {
        Self {
            first: at,
            last: at,
            connects: 0,
            requests: Requests::default(),
            by_event: false,
            hours: Hours::default(),
            as_runtime: false,
        }
    }

    /// Adds one look at the time `at`, with `new` connections that the look before had not.
    fn see(&mut self, at: Timestamp, client: &OpenClient, new: u64) {
        let mut connects = new;
        if let Some(reported) = &client.connects {
            // The clock may have been set since.
            let (first, last) = (reported.first.min(at), reported.last.min(at));
            self.first = self.first.min(first);
            // The client appeared with the first of these connects, not with the previous look.
            self.last = if self.connects == 0 { last } else { self.last.max(last) };
            self.hours.mark(first);
            self.hours.mark(last);
            connects = connects.max(reported.count);
            self.requests.absorb(&reported.requests);
        }
        if client.is_open() {
            self.by_event = false;
            self.last = self.last.max(at);
            self.hours.mark(at);
        }
        self.connects = self.connects.saturating_add(connects);
    }

    /// Adds another record of the same client.
    fn merge(&mut self, other: &Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.connects = self.connects.saturating_add(other.connects);
        self.requests.absorb(&other.requests);
        self.by_event &= other.by_event;
        self.hours.absorb(&other.hours);
        self.as_runtime |= other.as_runtime;
    }
}

impl ExposureRecord {
    /// Adds another record of the same mount.
    fn merge(&mut self, before: Self) {
        self.first = self.first.min(before.first);
        if before.last > self.last {
            (self.last, self.mount) = (before.last, before.mount);
        }
    }
}

/// True if a connection of this client is a use of the node's Docker.
fn is_use(key: &ClientKey) -> bool {
    key.api == Api::Docker && key.scope.is_of_node()
}

/// The time by which a clock may be set back without a message.
const SKEW: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests;
