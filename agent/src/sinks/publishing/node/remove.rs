//! Removes castoff's labels from Nodes, when castoff itself is uninstalled.
//!
//! First an apply gives up every field that castoff's field manager owns, of any prefix and any release; then, if one of
//! castoff's own names is still there because another manager set it too, a merge removes it. Other keys are never changed, and a
//! Node without any field of castoff's is not written to.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::object::Node;
use super::server::{Part, Patch, Server};
use crate::apiserver::access::Access;
use crate::apiserver::refusal::Refusal;
use crate::apiserver::retry::{is_temporary, wait};
use crate::model::publishing::{Outcome, Publishing, Way};
use crate::sinks::publishing::labels::prefix::Prefix;
use crate::sinks::publishing::labels::{READY_FOR, keys};

/// The number of Nodes in a page: their metadata are a few KiB each.
const PAGE: u32 = 250;
/// The number of Nodes that are processed concurrently.
const AT_A_TIME: usize = 8;
/// The number of attempts at one Node, each after a longer wait.
const ATTEMPTS: u32 = 5;
/// The timeout of one request.
const DEADLINE: Duration = Duration::from_secs(15);

/// The labels to remove, and the access to the API server.
#[derive(Clone, Debug)]
pub struct Removal {
    /// The prefix of the labels' keys.
    pub prefix: Prefix,
    /// The access to the API server.
    pub access: Access,
}

/// The outcome for one Node.
#[derive(Debug)]
pub struct Removed {
    /// Its name.
    pub node: String,
    /// True if anything was removed from it, or the reason why nothing could be.
    pub outcome: Result<bool, Refusal>,
}

impl Removal {
    /// Removes from the one Node `name`.
    pub async fn from_one(&self, name: &str) -> Result<bool, Refusal> {
        let mut server = self.reach().await?;
        self.persist(&mut server, name, None).await
    }

    /// Removes from every Node; a Node that is deleted in the meantime counts as done.
    ///
    /// # Errors
    /// If the Nodes cannot be listed. The result contains the errors about single Nodes.
    pub async fn from_all(&self) -> Result<Vec<Removed>, Refusal> {
        let nodes = self.list().await?;
        let left = Arc::new(Mutex::new(nodes.into_iter()));
        let mut workers = JoinSet::new();
        for _ in 0..AT_A_TIME {
            let (removal, left) = (self.clone(), Arc::clone(&left));
            let mut server = self.reach().await?;
            workers.spawn(async move {
                let mut done = Vec::new();
                loop {
                    let next = left.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(node) = next else { return done };
                    let name = node.name.clone();
                    let outcome = match removal.persist(&mut server, &name, Some(node)).await {
                        Err(refusal) if refusal.outcome == Outcome::NotFound => Ok(false),
                        outcome => outcome,
                    };
                    done.push(Removed { node: name, outcome });
                }
            });
        }
        let mut removed: Vec<Removed> = workers.join_all().await.into_iter().flatten().collect();
        removed.sort_by(|a, b| a.node.cmp(&b.node));
        Ok(removed)
    }

    async fn reach(&self) -> Result<Server, Refusal> {
        let uncounted = watch::Sender::new(Publishing::new(Way::Api));
        Server::reach(&self.access, &uncounted, DEADLINE).await
    }

    async fn list(&self) -> Result<Vec<Node>, Refusal> {
        let mut server = self.reach().await?;
        let (mut nodes, mut next) = (Vec::new(), String::new());
        loop {
            let mut attempt = 0;
            let page = loop {
                match server.list(PAGE, &next).await {
                    Err(refusal) if is_temporary(&refusal) && attempt < ATTEMPTS => wait(&refusal, &mut attempt).await,
                    answer => break answer?,
                }
            };
            page.next().unwrap_or_default().clone_into(&mut next);
            nodes.extend(page.items);
            if next.is_empty() {
                return Ok(nodes);
            }
        }
    }

    /// Retries while the failure may be temporary.
    async fn persist(&self, server: &mut Server, name: &str, mut seen: Option<Node>) -> Result<bool, Refusal> {
        let mut attempt = 0;
        loop {
            match self.remove(server, name, seen.take()).await {
                Err(refusal) if is_temporary(&refusal) && attempt < ATTEMPTS => wait(&refusal, &mut attempt).await,
                outcome => return outcome,
            }
        }
    }

    async fn remove(&self, server: &mut Server, name: &str, seen: Option<Node>) -> Result<bool, Refusal> {
        let node = match seen {
            Some(node) => node,
            None => server.get(name, Part::Metadata).await?,
        };
        let (mut labels, annotation) = keys(&self.prefix);
        // Only the labels show the targets that an agent judged.
        let ready_for = self.prefix.key(READY_FOR);
        labels.extend(node.labels.keys().filter(|key| key.starts_with(&ready_for)).cloned());
        let ours = |node: &Node| {
            labels.iter().any(|key| node.labels.contains_key(key)) || node.annotations.contains_key(&annotation)
        };
        if node.owned.is_empty() && !ours(&node) {
            return Ok(false);
        }
        let mut left = server.patch(name, Patch::Apply, &node.release()).await?;
        if ours(&left) {
            let merge = left.without(&labels, &annotation);
            left = server.patch(name, Patch::Merge, &merge).await?;
        }
        if ours(&left) {
            let what = "the answer still has the labels";
            return Err(Refusal::new(Outcome::BadAnswer, format!("label node {name}"), what));
        }
        Ok(true)
    }
}
