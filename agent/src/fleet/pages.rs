//! Reads one list to its end, page by page, as fast as the pages are taken.

use tokio::sync::mpsc;

use super::cluster::Cluster;
use super::join::{AgentPod, Node};
use super::table::Page;
use crate::apiserver::patience::{passes, rest};
use crate::apiserver::refusal::Refusal;
use crate::model::publishing::Outcome;

/// Attempts at one page, each after a longer wait.
const ATTEMPTS: u32 = 5;
/// How often a list may expire under us: the API server keeps one for five minutes.
const RENEWALS: u32 = 1000;
/// Pages of one list at most; a million Nodes have 4,000.
const PAGES: u32 = 4000;

/// A list of the API server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// The Nodes.
    Nodes,
    /// The agents' pods.
    Pods,
}

/// What the lists bring.
#[derive(Debug)]
pub(super) enum Found {
    /// A page of Nodes.
    Nodes(Page<Node>),
    /// A page of agents' pods.
    Pods(Page<AgentPod>),
    /// A list broke off.
    Broke {
        /// The list.
        list: List,
        /// The answer.
        refusal: Refusal,
        /// True if not one page of it was read.
        at_once: bool,
    },
}

impl List {
    /// Reads it until all is read or nobody takes it.
    pub(super) async fn read(self, mut cluster: Cluster, found: mpsc::Sender<Found>) {
        if let Err((refusal, at_once)) = self.read_pages(&mut cluster, &found).await {
            let list = self;
            // Nobody takes it: nobody needs it.
            let _ = found.send(Found::Broke { list, refusal, at_once }).await;
        }
    }

    async fn read_pages(self, cluster: &mut Cluster, found: &mpsc::Sender<Found>) -> Result<(), (Refusal, bool)> {
        let (mut next, mut pages, mut attempt, mut renewals) = (String::new(), 0, 0, 0);
        while pages < PAGES {
            let (page, token) = match self.page(cluster, &next).await {
                Err(refusal) if refusal.is_expired && renewals < RENEWALS && pages > 0 => {
                    renewals += 1;
                    // The rest as it is by now; where the server offers none, all of it again, which the join bears.
                    next = refusal.resume.unwrap_or_default();
                    continue;
                }
                Err(refusal) if attempt < ATTEMPTS && is_worth_waiting(&refusal, pages > 0) => {
                    rest(&refusal, &mut attempt).await;
                    continue;
                }
                Err(refusal) => return Err((refusal, pages == 0)),
                Ok(page) => page,
            };
            (pages, attempt) = (pages + 1, 0);
            if found.send(page).await.is_err() {
                return Ok(());
            }
            match token {
                Some(token) => next = token,
                None => return Ok(()),
            }
        }
        let what = format!("more than {PAGES} pages, which no cluster has");
        Err((Refusal::new(Outcome::BadAnswer, "list", what), false))
    }

    async fn page(self, cluster: &mut Cluster, next: &str) -> Result<(Found, Option<String>), Refusal> {
        Ok(match self {
            Self::Nodes => {
                let mut page = cluster.list_nodes(next).await?;
                let token = page.next.take();
                (Found::Nodes(page), token)
            }
            Self::Pods => {
                let mut page = cluster.list_pods(next).await?;
                let token = page.next.take();
                (Found::Pods(page), token)
            }
        })
    }
}

/// A person who has just typed the command waits for a server that asks for patience, not for one that is not there.
fn is_worth_waiting(refusal: &Refusal, begun: bool) -> bool {
    refusal.outcome == Outcome::Throttled || (begun && passes(refusal))
}
