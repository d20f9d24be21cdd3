//! Joins agents with Nodes while both lists are still being read: a Node is passed on as soon as a ready agent's pod on it is
//! known. Pure. Hashes of eight bytes mark what was passed on; only Nodes and pods that wait for each other are kept.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

/// A listed Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// The status that the API server prints: `Ready`, `NotReady`, `Ready,SchedulingDisabled`.
    pub status: String,
    /// The reason why no agent can run on it, if there is one.
    pub unsupported: Option<Unsupported>,
}

/// The reason why no agent can run on a Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsupported {
    /// An operating system other than Linux.
    System(String),
    /// There is no machine behind it (a virtual kubelet, Fargate), as this label shows.
    Virtual(String),
}

/// A listed pod of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentPod {
    /// Its name.
    pub name: String,
    /// The Node that it is on, by its spec.
    pub node: String,
    /// True if all its containers are ready and it is not terminating.
    pub ready: bool,
    /// The status that the API server prints: `Running`, `ImagePullBackOff`, `Terminating`.
    pub status: String,
}

impl AgentPod {
    /// True if it may answer: a container runs, ready or not.
    pub fn may_answer(&self) -> bool {
        self.ready || matches!(self.status.as_str(), "Running" | "Terminating")
    }

    /// The order in which several pods on one Node are preferred.
    const fn rank(&self) -> u8 {
        match (self.ready, self.status.as_bytes()) {
            (true, _) => 0,
            (false, b"Running") => 1,
            (false, b"Terminating") => 2,
            (false, _) => 3,
        }
    }
}

/// A Node, and the agent that is asked for its report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAndAgent {
    /// The Node.
    pub node: Node,
    /// Its agent, if it has one.
    pub pod: Option<AgentPod>,
}

/// The remainder when both lists are read to their end.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LeftOver {
    /// Nodes without a ready agent.
    pub places: Vec<NodeAndAgent>,
    /// Agents' pods on Nodes that are not in the list.
    pub strays: Vec<AgentPod>,
    /// Nodes that have more than one ready agent.
    pub doubled: u64,
    /// Agents' pods that are on no Node yet.
    pub unplaced: u64,
}

/// A Node or a pod that waits for its counterpart.
#[derive(Debug)]
enum Waiting {
    Node(Node),
    Pod(AgentPod),
    /// A Node with an agent that is not ready: a ready one may follow.
    Unready(NodeAndAgent),
}

/// The join.
#[derive(Debug, Default)]
pub struct Join {
    waiting: HashMap<String, Waiting>,
    passed_on: HashSet<u64>,
    pods: HashSet<u64>,
    hash: RandomState,
    doubled: u64,
    unplaced: u64,
}

impl Join {
    /// Adds a Node; returns it with its agent if that is known.
    pub fn add_node(&mut self, node: Node) -> Option<NodeAndAgent> {
        // A list that is read again contains a Node again.
        if self.passed_on.contains(&self.hash.hash_one(&node.name)) {
            return None;
        }
        match self.waiting.entry(node.name.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(Waiting::Node(node));
                None
            }
            Entry::Occupied(mut entry) => {
                let Waiting::Pod(pod) = entry.get() else {
                    return None;
                };
                let place = NodeAndAgent {
                    node,
                    pod: Some(pod.clone()),
                };
                if pod.ready {
                    entry.remove();
                    return Some(self.pass_on(place));
                }
                entry.insert(Waiting::Unready(place));
                None
            }
        }
    }

    /// Adds an agent's pod; returns its Node with it if that is known and the pod is ready.
    pub fn add_pod(&mut self, pod: AgentPod) -> Option<NodeAndAgent> {
        // A pod that has finished (the job that removes labels, an evicted agent) is no agent.
        if matches!(pod.status.as_str(), "Completed" | "Succeeded" | "Evicted") {
            return None;
        }
        // A list that is read again contains a pod again.
        if !self.pods.insert(self.hash.hash_one(&pod.name)) {
            return None;
        }
        if pod.node.is_empty() || pod.node == "<none>" {
            self.unplaced += 1;
            return None;
        }
        if self.passed_on.contains(&self.hash.hash_one(&pod.node)) {
            self.doubled += u64::from(pod.ready);
            return None;
        }
        match self.waiting.entry(pod.node.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(Waiting::Pod(pod));
                None
            }
            Entry::Occupied(mut entry) => match entry.get_mut() {
                Waiting::Pod(other) => {
                    self.doubled += u64::from(pod.ready && other.ready);
                    if pod.rank() < other.rank() {
                        *other = pod;
                    }
                    None
                }
                Waiting::Node(node) | Waiting::Unready(NodeAndAgent { node, pod: None }) => {
                    let place = NodeAndAgent {
                        node: node.clone(),
                        pod: Some(pod),
                    };
                    self.settle(place)
                }
                Waiting::Unready(NodeAndAgent { node, pod: Some(other) }) => {
                    let better = if pod.rank() < other.rank() { pod } else { other.clone() };
                    let place = NodeAndAgent {
                        node: node.clone(),
                        pod: Some(better),
                    };
                    self.settle(place)
                }
            },
        }
    }

    fn settle(&mut self, place: NodeAndAgent) -> Option<NodeAndAgent> {
        if place.pod.as_ref().is_some_and(|pod| pod.ready) {
            self.waiting.remove(&place.node.name);
            return Some(self.pass_on(place));
        }
        self.waiting.insert(place.node.name.clone(), Waiting::Unready(place));
        None
    }

    fn pass_on(&mut self, place: NodeAndAgent) -> NodeAndAgent {
        // In a fleet of 100,000 names, the probability that two share a hash is one in four billion.
        self.passed_on.insert(self.hash.hash_one(&place.node.name));
        place
    }

    /// The number of agents' pods.
    pub fn pods(&self) -> usize {
        self.pods.len()
    }

    /// Returns the remainder. Where the list of Nodes broke off, a pod without a Node is no stray.
    pub fn finish(self, nodes_are_complete: bool) -> LeftOver {
        let mut left = LeftOver {
            doubled: self.doubled,
            unplaced: self.unplaced,
            ..LeftOver::default()
        };
        for half in self.waiting.into_values() {
            match half {
                Waiting::Node(node) => left.places.push(NodeAndAgent { node, pod: None }),
                Waiting::Unready(place) => left.places.push(place),
                Waiting::Pod(pod) if nodes_are_complete => left.strays.push(pod),
                Waiting::Pod(_) => {}
            }
        }
        left.places.sort_by(|a, b| a.node.name.cmp(&b.node.name));
        left.strays.sort_by(|a, b| a.name.cmp(&b.name));
        left
    }
}

#[cfg(test)]
mod tests;
