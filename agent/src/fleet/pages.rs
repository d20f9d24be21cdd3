//! Reads one list to its end, page by page, as fast as the receiver takes the pages.

use tokio::sync::mpsc;

use super::cluster::Cluster;
use super::join::{AgentPod, Node};
use super::table::Page;
use crate::apiserver::refusal::Refusal;
use crate::apiserver::retry::{is_temporary, wait};
use crate::model::publishing::Outcome;

/// The number of attempts at one page, each after a longer wait.
const ATTEMPTS: u32 = 5;
/// The number of times that a list may expire: the API server keeps one for five minutes.
const RENEWALS: u32 = 1000;
/// The maximum number of pages of one list; a million Nodes have 4,000.
const PAGES: u32 = 4000;

/// A list of the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// The Nodes.
    Nodes,
    /// The agents' pods.
    Pods,
}

/// An item from the lists.
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
        /// True if no page of it was read.
        at_once: bool,
    },
}

impl List {
    /// Reads the list to its end, or until the receiver is dropped.
    pub(super) async fn read(self, mut cluster: Cluster, found: mpsc::Sender<Found>) {
        if let Err((refusal, at_once)) = self.read_pages(&mut cluster, &found).await {
            let list = self;
            // If the receiver is dropped, the page is not needed.
            let _ = found.send(Found::Broke { list, refusal, at_once }).await;
        }
    }

    async fn read_pages(self, cluster: &mut Cluster, found: &mpsc::Sender<Found>) -> Result<(), (Refusal, bool)> {
        let (mut next, mut pages, mut attempt, mut renewals) = (String::new(), 0, 0, 0);
        while pages < PAGES {
            let (page, token) = match self.page(cluster, &next).await {
                Err(refusal) if refusal.is_expired && renewals < RENEWALS && pages > 0 => {
                    renewals += 1;
                    // The rest in its current state; where the server offers none, the whole list again, which the join
                    // tolerates.
                    next = refusal.resume.unwrap_or_default();
                    continue;
                }
                Err(refusal) if attempt < ATTEMPTS && is_worth_waiting(&refusal, pages > 0) => {
                    wait(&refusal, &mut attempt).await;
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

/// Retry if the server throttles, but not if it cannot be reached: a person is waiting for the result.
fn is_worth_waiting(refusal: &Refusal, begun: bool) -> bool {
    refusal.outcome == Outcome::Throttled || (begun && is_temporary(refusal))
}
