//! What was seen before this look: first and last seen of each client. Bounded; survives a restart through the state
//! file.

use std::collections::{BTreeMap, BTreeSet};

use super::client::{ClientKey, OpenClient};
use super::identity::SocketInode;
use super::time::Timestamp;

/// When a client was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// First.
    pub first: Timestamp,
    /// Last, with a connection open.
    pub last: Timestamp,
    /// In how many looks a connection was seen that the look before had not.
    pub connects: u64,
}

/// Every client that was seen, at most [`History::LIMIT`]; the longest unseen are forgotten first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    clients: BTreeMap<ClientKey, Seen>,
    /// The sockets of the last look, which are not worth keeping over a restart.
    open: BTreeMap<ClientKey, BTreeSet<SocketInode>>,
    forgotten: u64,
}

impl History {
    /// How many clients are remembered: 110 pods' containers with room for churn, about 1 MiB of state at the most.
    pub const LIMIT: usize = 2048;

    /// A history that was kept somewhere.
    pub fn restore(clients: impl IntoIterator<Item = (ClientKey, Seen)>) -> Self {
        let mut history = Self {
            clients: clients.into_iter().collect(),
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
            });
            seen.last = seen.last.max(at);
            seen.connects = seen.connects.saturating_add(new as u64);
        }
        self.open = open
            .iter()
            .map(|client| (client.key.clone(), client.sockets.clone()))
            .collect();
        self.bound();
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
