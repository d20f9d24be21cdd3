//! What was seen before this look: of each client when first, when last and in which hours; and in which hours a look saw
//! all. Bounded; survives a restart through the state file.
//!
//! A client is kept under the name of its pod of now. A pod of the same workload takes over from one that has no
//! connection any more: it was first seen when the other was, and has its hours. Connects are each pod's own.

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
    /// In how many looks a connection was seen that the look before had not, of this pod where it is one.
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
        let is_new = |client: &OpenClient| !self.open.contains_key(&client.key);
        if open.len() != self.open.len() || open.iter().any(is_new) {
            self.hand_over(open);
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

    /// Gives each open client what is known of those that it continues, and forgets those of them that are gone.
    fn hand_over(&mut self, open: &[OpenClient]) {
        let now: BTreeSet<&ClientKey> = open.iter().map(|client| &client.key).collect();
        for key in &now {
            let others = self
                .clients
                .iter()
                .filter(|(other, _)| *other != *key && other.continues(key));
            let (mut first, mut gone) = (None, Vec::new());
            for (other, seen) in others {
                first = Some(first.map_or(seen.first, |first: Timestamp| first.min(seen.first)));
                if !now.contains(other) {
                    gone.push(other.clone());
                }
            }
            let gone: Vec<Seen> = gone.iter().filter_map(|other| self.clients.remove(other)).collect();
            if let (Some(first), Some(seen)) = (first, self.clients.get_mut(*key)) {
                seen.first = seen.first.min(first);
                for other in gone {
                    seen.hours.absorb(&other.hours);
                }
            }
        }
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
    use crate::model::container::PodContainer;
    use crate::model::engine::{Api, EngineKind, Scope};
    use crate::model::socket::SocketName;
    use crate::model::workload::owner::{Workload, WorkloadKind};

    fn open(name: usize, sockets: &[u32]) -> OpenClient {
        OpenClient {
            key: ClientKey {
                identity: ClientIdentity::EngineContainer {
                    engine: None,
                    name: name.to_string(),
                    image: None,
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

    /// A client in a pod of a Deployment, or of what may be one.
    fn in_pod(pod: &str, certain: bool) -> OpenClient {
        let mut client = open(0, &[1]);
        client.key.identity = ClientIdentity::Pod(PodContainer {
            namespace: "ci".to_owned(),
            pod: pod.to_owned(),
            container: Some("build".to_owned()),
            workload: Some(Workload {
                kind: WorkloadKind::Deployment,
                name: "builder".to_owned(),
                certain,
            }),
        });
        client
    }

    fn kept(history: &History) -> Vec<(String, u64)> {
        let kept = history.clients();
        kept.map(|(key, seen)| (key.identity.to_string(), seen.first.as_unix()))
            .collect()
    }

    #[test]
    fn a_rollout_makes_no_new_client() {
        let at = Timestamp::from_unix;
        let (old, new, other) = (in_pod("a", true), in_pod("b", true), in_pod("c", false));
        let mut history = History::default();
        history.record(at(1), std::slice::from_ref(&old));
        history.record(at(2), &[old.clone(), new.clone()]);
        let both = [("pod ci/a (build)".to_owned(), 1), ("pod ci/b (build)".to_owned(), 1)];
        assert_eq!(kept(&history), both);
        history.record(at(3), &[]);
        assert_eq!(kept(&history), both, "nobody took over yet");
        history.record(at(4 + 7_200), std::slice::from_ref(&new));
        assert_eq!(kept(&history), [("pod ci/b (build)".to_owned(), 1)]);
        let hours = history.get(&new.key).map(|seen| seen.hours.iter().collect::<Vec<_>>());
        assert_eq!(hours, Some(vec![at(0), at(7_200)]), "and what was seen of the other");
        history.record(at(5 + 7_200), &[other]);
        history.record(at(6 + 7_200), &[in_pod("d", false)]);
        let apart = [("b", 1), ("c", 7_205), ("d", 7_206)];
        let apart = apart.map(|(pod, first)| (format!("pod ci/{pod} (build)"), first));
        assert_eq!(kept(&history), apart, "a guess takes over from nobody");
        // A state file of before workloads were known.
        let mut before = in_pod("a", true);
        if let ClientIdentity::Pod(place) = &mut before.key.identity {
            place.workload = None;
        }
        let seen = Seen {
            first: at(1),
            last: at(2),
            connects: 1,
            hours: Hours::default(),
        };
        let mut history = History::restore([(before.key, seen)], Hours::default());
        history.record(at(9), &[old]);
        assert_eq!(kept(&history), [("pod ci/a (build)".to_owned(), 1)], "the same pod");
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
