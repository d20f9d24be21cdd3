//! What was seen before this look: of each client when first, when last and in which hours; and in which hours a look saw
//! all. Bounded; survives a restart through the state file.

use std::collections::{BTreeMap, BTreeSet};

use super::client::{ClientKey, OpenClient};
use super::hours::Hours;
use super::identity::SocketInode;
use super::time::Timestamp;
use super::timeline::Timeline;

/// When a client was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// First.
    pub first: Timestamp,
    /// Last, with a connection open.
    pub last: Timestamp,
    /// In how many looks a connection was seen that the look before had not.
    pub connects: u64,
    /// In which hours a connection was seen open.
    pub hours: Hours,
}

/// Every client that was seen, at most [`History::LIMIT`]; the longest unseen are forgotten first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    clients: BTreeMap<ClientKey, Seen>,
    /// Hours in which at least one look could have seen every client.
    looked: Hours,
    /// The sockets of the last look, which are not worth keeping over a restart.
    open: BTreeMap<ClientKey, BTreeSet<SocketInode>>,
    forgotten: u64,
}

impl History {
    /// How many clients are remembered: 110 pods' containers with room for churn, about 1 MiB of state at the most.
    pub const LIMIT: usize = 2048;

    /// A history that was kept somewhere.
    pub fn restore(clients: impl IntoIterator<Item = (ClientKey, Seen)>, looked: Hours) -> Self {
        let mut history = Self {
            clients: clients.into_iter().collect(),
            looked,
            ..Self::default()
        };
        history.bound();
        history
    }

    /// Takes in one look at the time `at`.
    pub fn record(&mut self, at: Timestamp, open: &[OpenClient]) {
        for client in open {
            let before = self.open.get(&client.key);
            let new = client
                .sockets
                .iter()
                .filter(|s| !before.is_some_and(|b| b.contains(s)))
                .count();
            let seen = self.clients.entry(client.key.clone()).or_insert(Seen {
                first: at,
                last: at,
                connects: 0,
                hours: Hours::default(),
            });
            seen.last = seen.last.max(at);
            seen.hours.mark(at);
            seen.connects = seen.connects.saturating_add(new as u64);
        }
        self.open = open
            .iter()
            .map(|client| (client.key.clone(), client.sockets.clone()))
            .collect();
        self.bound();
    }

    /// Tells that nothing hid a client from the look at the time `at`: who was not seen in it was not there.
    pub fn mark_whole(&mut self, at: Timestamp) {
        self.looked.mark(at);
    }

    /// Hours in which at least one look could have seen every client.
    pub const fn looked(&self) -> &Hours {
        &self.looked
    }

    /// The hours up to `now` of the clients with these keys, together.
    pub fn timeline<'a>(&self, now: Timestamp, keys: impl IntoIterator<Item = &'a ClientKey>) -> Timeline {
        let seen = keys.into_iter().filter_map(|key| self.clients.get(key));
        let hours: Vec<&Hours> = seen.map(|seen| &seen.hours).collect();
        Timeline::new(now, &hours, &self.looked)
    }

    /// Every remembered client.
    pub fn clients(&self) -> impl Iterator<Item = (&ClientKey, &Seen)> {
        self.clients.iter()
    }

    /// When `key` was seen.
    pub fn get(&self, key: &ClientKey) -> Option<&Seen> {
        self.clients.get(key)
    }

    /// How many clients were forgotten for lack of room since the start.
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    fn bound(&mut self) {
        while self.clients.len() > Self::LIMIT {
            let Some(oldest) = self
                .clients
                .iter()
                .min_by_key(|(_, seen)| seen.last)
                .map(|(key, _)| key.clone())
            else {
                return;
            };
            self.clients.remove(&oldest);
            self.forgotten += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::client::ClientIdentity;
    use crate::model::engine::{Api, EngineKind, Scope};
    use crate::model::socket::SocketName;

    fn open(name: usize, sockets: &[u32]) -> OpenClient {
        OpenClient {
            key: ClientKey {
                identity: ClientIdentity::EngineContainer {
                    engine: None,
                    name: name.to_string(),
                },
                engine: EngineKind::Dockerd,
                scope: Scope::Host,
                api: Api::Docker,
                listener: SocketName::Path("/run/docker.sock".into()),
            },
            connections: 1,
            pending: 0,
            holders: Vec::new(),
            sockets: sockets.iter().map(|s| SocketInode(*s)).collect(),
        }
    }

    #[test]
    fn a_connection_counts_once_however_often_it_is_seen() {
        let mut history = History::default();
        for (at, sockets) in [
            (1, vec![5]),
            (2, vec![5]),
            (3, vec![5, 6]),
            (4, vec![6]),
            (5, vec![]),
            (6, vec![6]),
        ] {
            history.record(Timestamp::from_unix(at), &[open(0, &sockets)]);
        }
        let seen = history.get(&open(0, &[]).key).expect("it was recorded");
        assert_eq!(seen.connects, 3, "5, 6, and 6 again after a look without it");
        assert_eq!((seen.first.as_unix(), seen.last.as_unix()), (1, 6));
    }

    #[test]
    fn the_longest_unseen_are_forgotten_first_and_counted() {
        let mut history = History::default();
        for n in 0..History::LIMIT + 10 {
            history.record(Timestamp::from_unix(n as u64), &[open(n, &[1])]);
        }
        assert_eq!(history.clients().count(), History::LIMIT);
        assert_eq!(history.forgotten(), 10);
        assert_eq!(history.get(&open(9, &[]).key), None);
        assert!(history.get(&open(10, &[]).key).is_some());
    }
}
