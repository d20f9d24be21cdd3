//! One look at the whole cluster: both lists and the agents concurrently, with a row for each Node as soon as it is known.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::agent_port::AgentPort;
use super::cluster::Cluster;
use super::join::{AgentPod, Join, LeftOver, NodeAndAgent};
use super::judge;
use super::pages::{Found, List};
use super::row::NodeRow;
use crate::apiserver::answer::Answer;
use crate::apiserver::refusal::Refusal;
use crate::apiserver::retry::wait;
use crate::findings::readiness::target::Target;
use crate::model::publishing::Outcome;
use crate::model::time::Timestamp;

/// The number of attempts at one agent while the API server throttles.
const ATTEMPTS: u32 = 5;
/// The wait before the second attempt at an agent whose answer broke off.
const PAUSE: Duration = Duration::from_millis(300);

/// The settings of a look.
#[derive(Clone, Debug)]
pub struct FleetSettings {
    /// The number of agents that are asked concurrently.
    pub at_once: usize,
    /// The maximum age of a report.
    pub stale_after: Duration,
    /// The targets that each Node is judged for.
    pub ready_for: Vec<Target>,
    /// The port on which the agents serve; none: found in one of their pods.
    pub agent_port: Option<AgentPort>,
}

/// The progress of a look.
#[derive(Debug, Default)]
pub struct Progress {
    listed: AtomicU64,
    expected: AtomicU64,
}

impl Progress {
    /// The number of Nodes that are listed so far.
    pub fn listed(&self) -> u64 {
        self.listed.load(Ordering::Relaxed)
    }

    /// The expected number of Nodes, from the API server's answers before all are listed.
    pub fn expected(&self) -> u64 {
        self.expected.load(Ordering::Relaxed)
    }
}

/// The result of a look besides the rows.
#[derive(Debug, Default)]
pub struct Ending {
    /// The number of agents' pods.
    pub pods: u64,
    /// The remainder of the join; its places have become rows.
    pub left: LeftOver,
    /// The lists that broke off, each with the answer: Nodes may be missing.
    pub broken: Vec<String>,
    /// A namespace where castoff runs, if it does not run in the one that was given.
    pub elsewhere: Option<String>,
}

/// Looks, and sends the rows to `rows` as they come; ends early if the receiver is dropped.
///
/// # Errors
/// An error if one of the lists could not be read at all.
pub async fn look(
    cluster: Cluster,
    settings: FleetSettings,
    progress: Arc<Progress>,
    rows: mpsc::Sender<NodeRow>,
) -> Result<Ending, Refusal> {
    // One page waits while others are read.
    let (found, pages) = mpsc::channel(1);
    let mut readers = JoinSet::new();
    readers.spawn(List::Nodes.read(cluster.clone(), found.clone()));
    readers.spawn(List::Pods.read(cluster.clone(), found));
    let mut looking = Looking {
        join: Some(Join::default()),
        waiting: VecDeque::new(),
        asking: JoinSet::new(),
        agent_port: settings.agent_port.clone(),
        ending: Ending::default(),
        nodes_are_complete: true,
        cluster,
        settings,
        progress,
        rows,
    };
    looking.run(pages).await?;
    let mut ending = looking.ending;
    if ending.pods == 0 {
        ending.elsewhere = looking.cluster.find_elsewhere().await;
    }
    Ok(ending)
}

struct Looking {
    /// None once both lists are read.
    join: Option<Join>,
    waiting: VecDeque<NodeAndAgent>,
    asking: JoinSet<NodeRow>,
    agent_port: Option<AgentPort>,
    ending: Ending,
    nodes_are_complete: bool,
    cluster: Cluster,
    settings: FleetSettings,
    progress: Arc<Progress>,
    rows: mpsc::Sender<NodeRow>,
}

impl Looking {
    async fn run(&mut self, mut pages: mpsc::Receiver<Found>) -> Result<(), Refusal> {
        loop {
            while self.asking.len() < self.settings.at_once
                && let Some(place) = self.waiting.pop_front()
            {
                self.start(place).await;
            }
            tokio::select! {
                // The next page is taken only when no Node waits: at most one page of Nodes waits for its turn.
                found = pages.recv(), if self.join.is_some() && self.waiting.is_empty() => match found {
                    Some(found) => self.take_in(found)?,
                    None => self.take_what_is_left(),
                },
                Some(done) = self.asking.join_next(), if !self.asking.is_empty() => {
                    let row = done.unwrap_or_else(|error| resume_unwind(error.into_panic()));
                    self.hand_on(row).await;
                }
                else => return Ok(()),
            }
            if self.rows.is_closed() {
                return Ok(());
            }
        }
    }

    fn take_in(&mut self, found: Found) -> Result<(), Refusal> {
        let Some(join) = &mut self.join else { return Ok(()) };
        match found {
            Found::Nodes(page) => {
                let here = page.items.len() as u64;
                let listed = self.progress.listed.fetch_add(here, Ordering::Relaxed) + here;
                let expected = listed + page.remaining.unwrap_or(0);
                self.progress.expected.fetch_max(expected, Ordering::Relaxed);
                self.waiting
                    .extend(page.items.into_iter().filter_map(|node| join.add_node(node)));
            }
            Found::Pods(page) => {
                self.waiting
                    .extend(page.items.into_iter().filter_map(|pod| join.add_pod(pod)));
            }
            Found::Broke {
                refusal, at_once: true, ..
            } => return Err(refusal),
            Found::Broke { list, refusal, .. } => {
                self.nodes_are_complete &= list != List::Nodes;
                self.ending.broken.push(refusal.to_string());
            }
        }
        Ok(())
    }

    fn take_what_is_left(&mut self) {
        let Some(join) = self.join.take() else { return };
        self.ending.pods = join.pods() as u64;
        let mut left = join.finish(self.nodes_are_complete && self.cluster.place().nodes.is_none());
        self.waiting.extend(std::mem::take(&mut left.places));
        self.ending.left = left;
    }

    async fn start(&mut self, place: NodeAndAgent) {
        let Some(pod) = place.pod.as_ref().filter(|pod| pod.may_answer()) else {
            let row = judge::without_agent(&place.node, place.pod.as_ref());
            return self.hand_on(row).await;
        };
        let agent_port = match &self.agent_port {
            Some(agent_port) => agent_port.clone(),
            None => self.cluster.find_agent_port(pod).await.unwrap_or_default(),
        };
        self.agent_port = Some(agent_port.clone());
        let (cluster, settings) = (self.cluster.clone(), self.settings.clone());
        self.asking.spawn(ask(cluster, place, agent_port, settings));
    }

    async fn hand_on(&self, mut row: NodeRow) {
        row.fill_readiness(&self.settings.ready_for);
        // If the receiver is dropped, the look ends with the next turn.
        let _ = self.rows.send(row).await;
    }
}

async fn ask(mut cluster: Cluster, place: NodeAndAgent, agent_port: AgentPort, settings: FleetSettings) -> NodeRow {
    let NodeAndAgent { node, pod: Some(pod) } = place else {
        return judge::without_agent(&place.node, None);
    };
    match fetch(&mut cluster, &pod, &agent_port).await {
        Ok(answer) => {
            let answer = judge::Answer {
                bytes: answer.bytes(),
                now: answer.date.unwrap_or_else(|| SystemTime::now().into()),
            };
            judge::answered(&node, &pod, &answer, &settings)
        }
        Err(refusal) => judge::refused(&node, &pod, &refusal),
    }
}

async fn fetch(cluster: &mut Cluster, pod: &AgentPod, agent_port: &AgentPort) -> Result<Answer, Refusal> {
    let (mut attempt, mut broke_off) = (0, false);
    loop {
        match cluster.fetch_report(pod, agent_port).await {
            Err(refusal) if refusal.outcome == Outcome::Throttled && attempt < ATTEMPTS => {
                wait(&refusal, &mut attempt).await;
            }
            Err(refusal)
                if !broke_off
                    && matches!(
                        refusal.outcome,
                        Outcome::Unreachable | Outcome::ServerError | Outcome::BadAnswer
                    ) =>
            {
                broke_off = true;
                tokio::time::sleep(PAUSE).await;
            }
            answer => return answer,
        }
    }
}

/// The current time by our own clock.
pub fn now() -> Timestamp {
    SystemTime::now().into()
}
