//! Finds news in a report. The first report says what is there: after an upgrade of the agent, all of it is old.
//!
//! A client is new by the history, which outlives the agent: one that was first seen after this agent's first look. An
//! exposure is in no history, so it is new where no earlier report of this agent had it. Pods of one workload are one, here
//! as there: a rollout is no news.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::findings::report::Report;
use crate::model::client::{Client, ClientIdentity, ClientKey};
use crate::model::container::PodContainer;
use crate::model::engine::Api;
use crate::model::exposure::{Exposure, Via};
use crate::model::reading::codes;
use crate::model::time::Timestamp;

codes! {
    /// The news of an event. The code is its reason, as Kubernetes wants one.
    News {
        /// A container uses a Docker socket.
        Client = "DockerSocketClient",
        /// A container can reach a Docker socket.
        Exposure = "DockerSocketExposure",
    }
}

/// One piece of news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// The news.
    pub news: News,
    /// To whom.
    pub place: PodContainer,
    /// The pod's uid as the runtime has it.
    pub pod_uid: String,
    /// The client, or who could become one, and the listener.
    pub key: ClientKey,
    /// The mount, where it is an exposure.
    pub mount: Option<(Via, String)>,
    /// When it was first seen.
    pub at: Timestamp,
}

/// For how long the same is not said again after it was last seen.
const REST: Duration = Duration::from_secs(86_400);

/// The number that is remembered of each kind. Of a node with more there is no news.
const LIMIT: usize = 2048;

/// Clients or exposures that are no news, and when they were last seen.
#[derive(Debug, Default)]
struct Known(BTreeMap<ClientKey, Timestamp>);

impl Known {
    /// True if this one was not known until now.
    fn is_new(&mut self, key: &ClientKey, now: Timestamp) -> bool {
        if let Some(last) = self.0.get_mut(key) {
            *last = now;
            return false;
        }
        let continues = self.0.keys().any(|known| known.continues(key));
        if self.0.len() < LIMIT {
            self.0.insert(key.clone(), now);
        }
        !continues && self.0.contains_key(key)
    }

    fn forget(&mut self, now: Timestamp) {
        self.0.retain(|_, last| now.since(*last) < REST);
    }
}

/// The contents of the reports so far.
#[derive(Debug, Default)]
pub struct Novelty {
    /// When clients could first be seen.
    began: Option<Timestamp>,
    /// True if exposures could ever be seen.
    has_exposures: bool,
    clients: Known,
    exposures: Known,
}

impl Novelty {
    /// Finds news in the next report.
    pub fn take_in(&mut self, report: &Report) -> Vec<Occurrence> {
        let mut news = Vec::new();
        if let Some(clients) = report.clients.known() {
            let began = *self.began.get_or_insert(report.time);
            let is_fresh = |c: &&Client| c.first_seen > began && report.time.since(c.first_seen) < REST;
            let of_node = clients.iter().filter(|c| c.key.scope.is_of_node());
            let told = of_node.filter(is_fresh).filter_map(of_client);
            news.extend(told.filter(|n| self.clients.is_new(&n.key, report.time)));
        }
        if let Some(exposures) = report.exposures.known() {
            // What is used is told of as a client.
            let of_node = exposures.iter().filter(|e| e.scope.is_of_node());
            let told = of_node.filter_map(|e| Some((of_exposure(e, report.time)?, e.used)));
            let new = told.filter(|(n, used)| self.exposures.is_new(&n.key, report.time) && !used);
            let new: Vec<_> = new.map(|(occurrence, _)| occurrence).collect();
            if std::mem::replace(&mut self.has_exposures, true) {
                news.extend(new);
            }
        }
        self.clients.forget(report.time);
        self.exposures.forget(report.time);
        news
    }
}

/// None for what is no pod, is not open, or whose pod the runtime does not list: it is looked at again in the next report.
fn of_client(client: &Client) -> Option<Occurrence> {
    let ClientIdentity::Pod(place) = &client.key.identity else {
        return None;
    };
    let is_open = client.is_open();
    Some(Occurrence {
        news: News::Client,
        place: place.clone(),
        pod_uid: client
            .pod_uid
            .clone()
            .filter(|_| is_open && client.key.api == Api::Docker)?,
        key: client.key.clone(),
        mount: None,
        at: client.first_seen,
    })
}

/// None for what is no pod, whose pod the runtime does not list, or whose mount is gone.
fn of_exposure(exposure: &Exposure, now: Timestamp) -> Option<Occurrence> {
    exposure.mounted.then_some(())?;
    Some(Occurrence {
        news: News::Exposure,
        pod_uid: exposure.pod_uid.clone()?,
        key: exposure.key(),
        place: exposure.place()?.clone(),
        mount: Some((exposure.via, exposure.host_path.clone())),
        at: now,
    })
}

#[cfg(test)]
mod tests;
