//! The whole fleet in a few figures: counts, the remaining users, and the worst Nodes. Pure, and bounded for any fleet: items
//! beyond a bound are counted.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::cluster::Where;
use super::days::{DAYS, DayUse};
use super::look::Ending;
use super::notes;
use super::readiness::ReadyFor;
use super::row::{Clients, Doubt, NodeRow, User, severity};
use crate::findings::readiness::answer::Answer;
use crate::findings::report::{Code, Verdict};
use crate::model::disuse::DockerFree;

/// The number of users that are distinguished while the fleet is read.
const USERS: usize = 10_000;
/// The number of namespaces, runtimes and versions of castoff that are distinguished.
const KINDS: usize = 1_000;
/// The number of users in the summary.
pub const USERS_SHOWN: usize = 100;
/// The number of Nodes in the summary.
pub const NODES_SHOWN: usize = 200;
/// The number of users that are kept for each of those Nodes.
const USERS_OF_A_NODE: usize = 4;

/// A number of Nodes, and what they have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Count<T> {
    /// The thing that is counted.
    pub what: T,
    /// The number of Nodes.
    pub nodes: u64,
}

/// One user over all Nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserCount {
    /// The user.
    #[serde(flatten)]
    pub user: User,
    /// The number of Nodes.
    pub nodes: u64,
    /// Connections that are open now, on all of them.
    pub connections: u64,
}

/// The answers of all Nodes for one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadyCount {
    /// The target, as it is typed.
    pub target: String,
    /// Nodes that are ready.
    pub ready: u64,
    /// Nodes that are not.
    pub not_ready: u64,
    /// Nodes for which castoff cannot tell.
    pub cannot_tell: u64,
    /// Nodes that are not ready, or may not be ready, by the rule that decides.
    pub obstacles: Vec<Count<Code>>,
}

impl ReadyCount {
    fn most_first(&self) -> Self {
        let mut count = self.clone();
        count
            .obstacles
            .sort_by_key(|obstacle| (Reverse(obstacle.nodes), obstacle.what));
        count
    }

    fn add(&mut self, ready: &ReadyFor) {
        for code in &ready.obstacles {
            match self.obstacles.iter_mut().find(|count| count.what == *code) {
                Some(count) => count.nodes += 1,
                None => self.obstacles.push(Count { what: *code, nodes: 1 }),
            }
        }
        *match ready.answer {
            Answer::Ready => &mut self.ready,
            Answer::NotReady => &mut self.not_ready,
            Answer::CannotTell => &mut self.cannot_tell,
        } += 1;
    }
}

/// The Nodes on one day of the last week.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DayCount {
    /// The number of days before the current one, in UTC.
    pub days_ago: u64,
    /// Nodes on which Docker was used.
    pub used: u64,
    /// Nodes on which it was not used.
    pub unused: u64,
    /// Nodes of which that is not known.
    pub unknown: u64,
}

/// The state of the fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The number of Nodes.
    pub nodes: u64,
    /// True if those are all Nodes: no list broke off, and the look was not stopped.
    pub complete: bool,
    /// Nodes by verdict, worst first; every verdict is listed.
    pub verdicts: Vec<Count<Verdict>>,
    /// Nodes without a current verdict, by the reason.
    pub doubts: Vec<Count<Doubt>>,
    /// The answers for the targets of `--for`, in the same order.
    pub readiness: Vec<ReadyCount>,
    /// The users of engines, most Nodes first; at most [`USERS_SHOWN`].
    pub users: Vec<UserCount>,
    /// The number of further users; a lower bound where there are more than 10,000.
    pub more_users: u64,
    /// Uses by namespace; null for the host and everything else outside Kubernetes.
    pub namespaces: Vec<Count<Option<String>>>,
    /// Nodes by runtime and its version.
    pub runtimes: Vec<Count<String>>,
    /// Nodes by the last Kubernetes 1.x minor whose kubelet starts on their runtime, the lowest first; null if no release drops it.
    /// Nodes that report none are left out.
    pub kubelet_ceilings: Vec<Count<Option<u32>>>,
    /// The use on each day of the last week, the oldest first.
    pub days: Vec<DayCount>,
    /// Nodes on which Docker is proven to be unused, by how many days at least: 7, 14 and 35.
    pub docker_free: Vec<Count<u64>>,
    /// Agents by version.
    pub versions: Vec<Count<String>>,
    /// Agents' pods on Nodes that are not in the list.
    pub stray_pods: u64,
    /// Nodes with more than one ready agent.
    pub doubled_nodes: u64,
    /// The reasons why this is incomplete, in words.
    pub notes: Vec<String>,
    /// The number of requests that were sent.
    pub requests: u64,
    /// The duration in milliseconds.
    pub duration_millis: u64,
}

/// Adds up rows.
#[derive(Debug, Default)]
pub struct Tally {
    nodes: u64,
    verdicts: BTreeMap<Verdict, u64>,
    doubts: BTreeMap<Doubt, u64>,
    readiness: Vec<ReadyCount>,
    users: BTreeMap<User, (u64, u64)>,
    more_users: u64,
    namespaces: BTreeMap<Option<String>, u64>,
    runtimes: BTreeMap<String, u64>,
    versions: BTreeMap<String, u64>,
    ceilings: BTreeMap<u32, u64>,
    /// The number of Nodes without a ceiling.
    unlimited: u64,
    /// Nodes on which Docker was used, and was not, on each of the last days; the current one first.
    days: [(u64, u64); DAYS],
    docker_free: [u64; DockerFree::SPANS.len()],
    worst: BTreeMap<(u8, Reverse<u64>, String), NodeRow>,
}

impl Tally {
    /// Counts `row`, and keeps it where it is one of the worst.
    pub fn add(&mut self, row: &NodeRow) {
        self.nodes += 1;
        *self.verdicts.entry(row.verdict).or_default() += 1;
        if let Some(doubt) = row.doubt {
            *self.doubts.entry(doubt).or_default() += 1;
        }
        row.readiness.iter().for_each(|ready| self.add_answer(ready));
        if let Some(clients) = row.clients.seen() {
            self.add_users(clients);
        }
        if let Some(Some(runtime)) = row.runtime.seen() {
            count(&mut self.runtimes, format!("{} {}", runtime.name, runtime.version));
        }
        match row.kubelet_ceiling.seen() {
            Some(Some(minor)) => count(&mut self.ceilings, *minor),
            Some(None) => self.unlimited += 1,
            None => {}
        }
        for ((used, unused), day) in self.days.iter_mut().zip(row.week) {
            match day {
                DayUse::Used => *used += 1,
                DayUse::Unused => *unused += 1,
                DayUse::Unknown => {}
            }
        }
        if let Some(version) = row.agent.as_ref().and_then(|agent| agent.version.as_ref()) {
            count(&mut self.versions, version.clone());
        }
        if let Some(Some(free)) = row.docker_free.seen() {
            for (nodes, span) in self.docker_free.iter_mut().zip(DockerFree::SPANS) {
                *nodes += u64::from(free.days >= span);
            }
        }
        self.keep(row);
    }

    fn add_answer(&mut self, ready: &ReadyFor) {
        let at = self.readiness.iter().position(|count| count.target == ready.target);
        let at = at.unwrap_or_else(|| {
            self.readiness.push(ReadyCount {
                target: ready.target.clone(),
                ready: 0,
                not_ready: 0,
                cannot_tell: 0,
                obstacles: Vec::new(),
            });
            self.readiness.len() - 1
        });
        self.readiness[at].add(ready);
    }

    fn add_users(&mut self, clients: &Clients) {
        self.more_users += clients.more_users;
        for used in &clients.users {
            count(&mut self.namespaces, used.user.namespace.clone());
            if self.users.len() >= USERS && !self.users.contains_key(&used.user) {
                self.more_users += 1;
                continue;
            }
            let (nodes, connections) = self.users.entry(used.user.clone()).or_default();
            *nodes += 1;
            *connections = connections.saturating_add(used.connections);
        }
    }

    fn keep(&mut self, row: &NodeRow) {
        let clients = row.clients.seen().map_or(0, |clients| clients.now + clients.before);
        let rank = (severity(row.verdict), Reverse(clients), row.node.clone());
        let full = self.worst.len() >= NODES_SHOWN;
        if full && self.worst.last_key_value().is_some_and(|(last, _)| *last < rank) {
            return;
        }
        let mut row = row.clone();
        if let super::row::Reported::Known(clients) | super::row::Reported::AtLeast(clients) = &mut row.clients {
            let over = clients.users.len().saturating_sub(USERS_OF_A_NODE);
            clients.more_users += over as u64;
            clients.users.truncate(USERS_OF_A_NODE);
        }
        self.worst.insert(rank, row);
        if self.worst.len() > NODES_SHOWN {
            self.worst.pop_last();
        }
    }

    /// The number of Nodes that were counted.
    pub const fn nodes(&self) -> u64 {
        self.nodes
    }

    /// The worst Nodes, worst first; at most [`NODES_SHOWN`].
    pub fn worst(&self) -> impl Iterator<Item = &NodeRow> {
        self.worst.values()
    }

    fn kubelet_ceilings(&self) -> Vec<Count<Option<u32>>> {
        let limited = self.ceilings.iter().map(|(minor, nodes)| (Some(*minor), *nodes));
        let all = limited.chain((self.unlimited > 0).then_some((None, self.unlimited)));
        all.map(|(what, nodes)| Count { what, nodes }).collect()
    }

    fn days(&self) -> Vec<DayCount> {
        let day = |(days_ago, &(used, unused)): (usize, &(u64, u64))| DayCount {
            days_ago: days_ago as u64,
            used,
            unused,
            unknown: self.nodes - used - unused,
        };
        self.days.iter().enumerate().map(day).rev().collect()
    }

    fn notes(&self, ending: Option<&Ending>, place: &Where) -> Vec<String> {
        let count = |doubt| self.doubts.get(&doubt).copied().unwrap_or(0);
        notes::notes(ending, place, count(Doubt::Refused), count(Doubt::Unauthenticated))
    }

    /// Returns the figures with the notes of the look; `ending` is none if it was stopped.
    pub fn summary(&self, ending: Option<&Ending>, place: &Where, requests: u64, duration_millis: u64) -> Summary {
        let mut users: Vec<UserCount> = self
            .users
            .iter()
            .map(|(user, &(nodes, connections))| UserCount {
                user: user.clone(),
                nodes,
                connections,
            })
            .collect();
        users.sort_by(|a, b| {
            let by_size = (b.nodes, b.connections).cmp(&(a.nodes, a.connections));
            by_size.then_with(|| a.user.cmp(&b.user))
        });
        let more_users = self.more_users + users.len().saturating_sub(USERS_SHOWN) as u64;
        users.truncate(USERS_SHOWN);
        let verdicts = Verdict::ALL.iter().map(|verdict| Count {
            what: *verdict,
            nodes: self.verdicts.get(verdict).copied().unwrap_or(0),
        });
        let free = DockerFree::SPANS.into_iter().zip(self.docker_free);
        let free = free.map(|(what, nodes)| Count { what, nodes });
        Summary {
            nodes: self.nodes,
            complete: ending.is_some_and(|ending| ending.broken.is_empty()),
            verdicts: verdicts.collect(),
            doubts: most_first(&self.doubts),
            readiness: self.readiness.iter().map(ReadyCount::most_first).collect(),
            users,
            more_users,
            namespaces: most_first(&self.namespaces),
            runtimes: most_first(&self.runtimes),
            kubelet_ceilings: self.kubelet_ceilings(),
            days: self.days(),
            docker_free: free.collect(),
            versions: most_first(&self.versions),
            stray_pods: ending.map_or(0, |ending| ending.left.strays.len() as u64),
            doubled_nodes: ending.map_or(0, |ending| ending.left.doubled),
            notes: self.notes(ending, place),
            requests,
            duration_millis,
        }
    }
}

fn count<K: Ord>(counts: &mut BTreeMap<K, u64>, what: K) {
    if counts.len() < KINDS || counts.contains_key(&what) {
        *counts.entry(what).or_default() += 1;
    }
}

fn most_first<T: Clone + Ord>(counts: &BTreeMap<T, u64>) -> Vec<Count<T>> {
    let counts = counts.iter().map(|(what, &nodes)| Count {
        what: what.clone(),
        nodes,
    });
    let mut counts: Vec<Count<T>> = counts.collect();
    counts.sort_by_key(|count| Reverse(count.nodes));
    counts
}

#[cfg(test)]
mod tests;
