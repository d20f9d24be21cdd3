//! Which agent is on which Node, while both lists are still being read: a Node goes on as soon as a ready agent's pod on it
//! is known. Pure. What has gone on is remembered by hashes of eight bytes; only what waits for its other half is kept.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

/// A Node as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// What the API server prints as its status: `Ready`, `NotReady`, `Ready,SchedulingDisabled`.
    pub status: String,
    /// Why no agent can run on it, where that is so.
    pub barren: Option<Barren>,
}

/// Why no agent can run on a Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Barren {
    /// Another operating system than Linux.
    System(String),
    /// There is no machine behind it: a virtual kubelet, Fargate. Which label says so.
    Virtual(String),
}

/// An agent's pod as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentPod {
    /// Its name.
    pub name: String,
    /// The Node it is on, as the pod says.
    pub node: String,
    /// True if all its containers are ready and it is to stay.
    pub ready: bool,
    /// What the API server prints as its status: `Running`, `ImagePullBackOff`, `Terminating`.
    pub status: String,
}

impl AgentPod {
    /// True if something may answer: a container runs, ready or not.
    pub fn may_answer(&self) -> bool {
        self.ready || matches!(self.status.as_str(), "Running" | "Terminating")
    }

    /// What is best to ask, of several on one Node.
    const fn rank(&self) -> u8 {
        match (self.ready, self.status.as_bytes()) {
            (true, _) => 0,
            (false, b"Running") => 1,
            (false, b"Terminating") => 2,
            (false, _) => 3,
        }
    }
}

/// A Node, and the agent to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAndAgent {
    /// The Node.
    pub node: Node,
    /// Its agent; none where it has none.
    pub pod: Option<AgentPod>,
}

/// What is left when both lists are read to their end.
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

/// What waits for its other half.
#[derive(Debug)]
enum Half {
    Node(Node),
    Pod(AgentPod),
    /// A Node with an agent that is not ready: a ready one may follow.
    Unready(NodeAndAgent),
}

/// The join.
#[derive(Debug, Default)]
pub struct Join {
    waiting: HashMap<String, Half>,
    gone_on: HashSet<u64>,
    pods: HashSet<u64>,
    hash: RandomState,
    doubled: u64,
    unplaced: u64,
}

impl Join {
    /// Takes a Node; gives it back with its agent where that is known.
    pub fn add_node(&mut self, node: Node) -> Option<NodeAndAgent> {
        // A list that was read anew brings a Node again.
        if self.gone_on.contains(&self.hash.hash_one(&node.name)) {
            return None;
        }
        match self.waiting.entry(node.name.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(Half::Node(node));
                None
            }
            Entry::Occupied(mut entry) => {
                let Half::Pod(pod) = entry.get() else {
                    return None;
                };
                let place = NodeAndAgent {
                    node,
                    pod: Some(pod.clone()),
                };
                if pod.ready {
                    entry.remove();
                    return Some(self.go_on(place));
                }
                entry.insert(Half::Unready(place));
                None
            }
        }
    }

    /// Takes an agent's pod; gives its Node with it where that is known and the pod is ready.
    pub fn add_pod(&mut self, pod: AgentPod) -> Option<NodeAndAgent> {
        // What has done its work (the job that removes labels, an evicted agent) is no agent.
        if matches!(pod.status.as_str(), "Completed" | "Succeeded" | "Evicted") {
            return None;
        }
        // A list that was read anew brings a pod again.
        if !self.pods.insert(self.hash.hash_one(&pod.name)) {
            return None;
        }
        if pod.node.is_empty() || pod.node == "<none>" {
            self.unplaced += 1;
            return None;
        }
        if self.gone_on.contains(&self.hash.hash_one(&pod.node)) {
            self.doubled += u64::from(pod.ready);
            return None;
        }
        match self.waiting.entry(pod.node.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(Half::Pod(pod));
                None
            }
            Entry::Occupied(mut entry) => match entry.get_mut() {
                Half::Pod(other) => {
                    self.doubled += u64::from(pod.ready && other.ready);
                    if pod.rank() < other.rank() {
                        *other = pod;
                    }
                    None
                }
                Half::Node(node) | Half::Unready(NodeAndAgent { node, pod: None }) => {
                    let place = NodeAndAgent {
                        node: node.clone(),
                        pod: Some(pod),
                    };
                    self.settle(place)
                }
                Half::Unready(NodeAndAgent { node, pod: Some(other) }) => {
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
            return Some(self.go_on(place));
        }
        self.waiting.insert(place.node.name.clone(), Half::Unready(place));
        None
    }

    fn go_on(&mut self, place: NodeAndAgent) -> NodeAndAgent {
        // Two names of one hash among 100,000: one in four thousand million fleets.
        self.gone_on.insert(self.hash.hash_one(&place.node.name));
        place
    }

    /// How many agents' pods there are.
    pub fn pods(&self) -> usize {
        self.pods.len()
    }

    /// What is left. Where the list of Nodes broke off, a pod without one is no stray.
    pub fn finish(self, nodes_are_complete: bool) -> LeftOver {
        let mut left = LeftOver {
            doubled: self.doubled,
            unplaced: self.unplaced,
            ..LeftOver::default()
        };
        for half in self.waiting.into_values() {
            match half {
                Half::Node(node) => left.places.push(NodeAndAgent { node, pod: None }),
                Half::Unready(place) => left.places.push(place),
                Half::Pod(pod) if nodes_are_complete => left.strays.push(pod),
                Half::Pod(_) => {}
            }
        }
        left.places.sort_by(|a, b| a.node.name.cmp(&b.node.name));
        left.strays.sort_by(|a, b| a.name.cmp(&b.name));
        left
    }
}

#[cfg(test)]
mod tests;
