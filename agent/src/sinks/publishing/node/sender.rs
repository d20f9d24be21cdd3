//! The task that keeps the Node's labels in agreement with the reports.

use std::time::{Instant, SystemTime};

use tokio::sync::watch;

use super::object::{Difference, Node};
use super::server::{Part, Patch, Server};
use crate::apiserver::access::Access;
use crate::apiserver::pace::{Need, Pace, Paces, chance};
use crate::apiserver::refusal::Refusal;
use crate::apiserver::sender::Sender;
use crate::findings::report::Report;
use crate::model::machine::Machine;
use crate::model::publishing::{Outcome, Publishing};
use crate::model::reading::Gap;
use crate::model::time::Timestamp;
use crate::sinks::publishing::labels::Wanted;
use crate::sinks::publishing::labels::prefix::Prefix;
use crate::sinks::publishing::labels::settled::Settled;

/// The settings of the sender of labels.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// The Node's name.
    pub node: String,
    /// The prefix of the labels' keys.
    pub prefix: Prefix,
    /// The access to the API server.
    pub access: Access,
    /// The machine that the Node must be.
    pub machine: Machine,
    /// The pace.
    pub paces: Paces,
}

/// Keeps one Node's labels, as a [`Sender`].
#[derive(Debug)]
pub struct NodeSender {
    settings: NodeSettings,
    standing: watch::Sender<Publishing>,
    settled: Settled,
    wanted: Option<Wanted>,
    seen: Option<Node>,
    /// The uid of the Node that was compared with this machine.
    identified: Option<String>,
    failing: Option<Outcome>,
    pace: Pace,
}

impl NodeSender {
    /// Returns a sender that has sent nothing yet.
    pub fn new(settings: NodeSettings, standing: watch::Sender<Publishing>) -> Self {
        Self {
            settled: Settled::new(settings.prefix.clone(), chance()),
            pace: Pace::new(settings.paces, chance, Instant::now()),
            settings,
            standing,
            wanted: None,
            seen: None,
            identified: None,
            failing: None,
        }
    }

    /// The next request, and its time.
    fn next(&self) -> Option<(Need, Instant)> {
        let wanted = self.wanted.as_ref()?;
        let at = |need| (need, self.pace.when(need));
        let Some(seen) = &self.seen else {
            return Some(at(Need::Read));
        };
        // A write that failed may still have taken effect, so the labels that were seen before are no longer certain.
        let verify = at(if self.failing.is_some() {
            Need::Read
        } else {
            Need::Verify
        });
        Some(match seen.difference(wanted) {
            Difference::None => verify,
            Difference::Annotation => earlier(at(Need::Annotation), verify),
            Difference::Labels => earlier(at(Need::Labels), verify),
        })
    }

    async fn meet(&mut self, need: Need) {
        let outcome = self.exchange(need).await;
        let now = Instant::now();
        match outcome {
            Ok(()) => {
                self.pace.succeeded(now);
                if self.failing.take().is_some() {
                    tracing::info!(node = self.settings.node, "labels are published again");
                }
            }
            Err(refusal) => {
                self.pace.failed(now, refusal.retry_after);
                if matches!(
                    refusal.outcome,
                    Outcome::Conflict | Outcome::NotFound | Outcome::WrongNode
                ) {
                    // The Node is not the one that was read.
                    self.seen = None;
                    self.identified = None;
                }
                let gap = refusal.gap();
                self.standing
                    .send_modify(|standing| standing.doubt(refusal.outcome, gap));
                if self.failing.replace(refusal.outcome) != Some(refusal.outcome) {
                    tracing::warn!(reason = %refusal.outcome, error = Gap::chain(&refusal), "labels are not published");
                }
            }
        }
    }

    async fn exchange(&mut self, need: Need) -> Result<(), Refusal> {
        let reads = self.seen.is_none() || matches!(need, Need::Read | Need::Verify);
        let now = Instant::now();
        // Before anything can fail: an attempt counts against the allowance whatever its result.
        if reads {
            self.pace.read(now);
        } else {
            self.pace.wrote(now);
        }
        let mut server = Server::reach(&self.settings.access, &self.standing, self.settings.paces.deadline).await?;
        if reads {
            let node = self.read(&mut server).await?;
            self.see(node);
            let now = Instant::now();
            match self.difference() {
                Some(Difference::Annotation) if self.pace.when(Need::Annotation) <= now => self.pace.wrote(now),
                Some(Difference::Labels) if self.pace.when(Need::Labels) <= now => self.pace.wrote(now),
                _ => {
                    self.confirm();
                    return Ok(());
                }
            }
        }
        self.write(&mut server).await?;
        self.confirm();
        Ok(())
    }

    fn difference(&self) -> Option<Difference> {
        Some(self.seen.as_ref()?.difference(self.wanted.as_ref()?))
    }

    /// Reads the Node: its metadata, or all of it if it is not yet known to be this machine's.
    async fn read(&mut self, server: &mut Server) -> Result<Node, Refusal> {
        let name = &self.settings.node;
        if self.identified.is_some() {
            let node = server.get(name, Part::Metadata).await?;
            if node.uid == self.identified {
                return Ok(node);
            }
            self.pace.read(Instant::now());
        }
        let node = server.get(name, Part::Whole).await?;
        if self.settings.machine.is(&node.machine) == Some(false) {
            let what = "its kubelet reports another machine than this one; nothing was changed";
            return Err(Refusal::new(Outcome::WrongNode, format!("label node {name}"), what));
        }
        self.identified.clone_from(&node.uid);
        Ok(node)
    }

    async fn write(&mut self, server: &mut Server) -> Result<(), Refusal> {
        let (Some(seen), Some(wanted)) = (&self.seen, &self.wanted) else {
            return Ok(());
        };
        let name = &self.settings.node;
        let node = server.patch(name, Patch::Apply, &seen.apply(wanted)).await?;
        if node.difference(wanted) == Difference::Labels {
            let what = "the answer has other labels than those that were applied";
            return Err(Refusal::new(Outcome::BadAnswer, format!("label node {name}"), what));
        }
        tracing::info!(node = name, verdict = wanted.summary.verdict, "labels written");
        self.see(node);
        Ok(())
    }

    /// Records the Node's labels, and takes over the time of their last change and the time until which they are valid.
    fn see(&mut self, mut node: Node) {
        let Some(wanted) = &mut self.wanted else { return };
        node.keep_only(wanted);
        if let Some(until) = node.labels.get(&wanted.valid_until)
            && self.settled.adopt_validity(until)
        {
            wanted.labels.insert(wanted.valid_until.clone(), until.clone());
        }
        if node.labels == wanted.labels
            && let Some(summary) = node.summary(&wanted.annotation)
        {
            self.settled.adopt(summary.since);
            wanted.summary.since = summary.since;
        }
        self.seen = Some(node);
    }

    fn confirm(&self) {
        if let Some(seen) = &self.seen {
            let now = Timestamp::from(SystemTime::now());
            self.standing
                .send_modify(|standing| standing.confirm(seen.labels.clone(), now));
        }
    }
}

impl Sender<Report> for NodeSender {
    fn take_in(&mut self, report: &Report) {
        if let Some(wanted) = self.settled.take_in(report) {
            self.wanted = Some(wanted);
        }
    }

    fn due(&self) -> Option<Instant> {
        self.next().map(|(_, at)| at)
    }

    async fn send_due(&mut self) {
        if let Some((need, _)) = self.next() {
            self.meet(need).await;
        }
    }
}

fn earlier(a: (Need, Instant), b: (Need, Instant)) -> (Need, Instant) {
    if b.1 < a.1 { b } else { a }
}
