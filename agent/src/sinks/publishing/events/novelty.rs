//! Finds news in a report. Nothing in the first report is news: after an upgrade of the agent, all of it is old.
//!
//! A client is new if, according to the history, it was first seen after this agent's first look. The history outlives
//! the agent. Exposures are not compared with the history: an exposure is new if no earlier report of this agent
//! contained it. Pods of one workload count as one in both cases, so a rollout is not news.

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
    /// The news in an event. The code is the event's reason, in Kubernetes' form.
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
    /// The pod and container that it concerns.
    pub place: PodContainer,
    /// The pod's uid as the runtime has it.
    pub pod_uid: String,
    /// The client, or the container that could become one, and the listener.
    pub key: ClientKey,
    /// The mount, where it is an exposure.
    pub mount: Option<(Via, String)>,
    /// The time at which it was first seen.
    pub at: Timestamp,
}

/// The time after the last sighting for which it is not reported again.
const REST: Duration = Duration::from_secs(86_400);

/// The number of items of each kind that are remembered. A node with more gets no news about them.
const LIMIT: usize = 2048;

/// Clients or exposures that are not news, and the time at which they were last seen.
#[derive(Debug, Default)]
struct Known(BTreeMap<ClientKey, Timestamp>);

impl Known {
    /// True if this one was not known before.
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
    /// The time from which clients could be seen.
    began: Option<Timestamp>,
    /// True if exposures could be seen at least once.
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
            let fresh = of_node.filter(is_fresh).filter_map(of_client);
            news.extend(fresh.filter(|n| self.clients.is_new(&n.key, report.time)));
        }
        if let Some(exposures) = report.exposures.known() {
            // An exposure that is used is reported as a client.
            let of_node = exposures.iter().filter(|e| e.scope.is_of_node());
            let exposed = of_node.filter_map(|e| Some((of_exposure(e, report.time)?, e.used)));
            let new = exposed.filter(|(n, used)| self.exposures.is_new(&n.key, report.time) && !used);
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

/// None for a client that is not a pod, has no open connection, or whose pod the runtime does not list: the next report
/// may list it.
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

/// None for an exposure that does not belong to a pod, whose pod the runtime does not list, or whose mount is gone.
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
