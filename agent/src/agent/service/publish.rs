//! The tasks that publish to the cluster, and the receivers of their state.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::ServiceError;
use crate::apiserver::sender::{Sender, run};
use crate::config::Publish;
use crate::findings::report::Report;
use crate::model::machine::Machine;
use crate::model::publishing::{Events, Publishing, Way};
use crate::sinks::publishing::events::sender::{EventSender, EventSettings};
use crate::sinks::publishing::nfd::FeatureFile;
use crate::sinks::publishing::node::sender::{NodeSender, NodeSettings};

/// A task of the service: its name and its result.
pub(super) type Task = (&'static str, Result<(), ServiceError>);

/// The senders. Nothing is sent or written yet.
pub(super) struct Senders {
    node: Option<Box<NodeSender>>,
    file: Option<FeatureFile>,
    events: Option<EventSender>,
}

/// The receivers of their state; none for those that are not configured.
pub(super) type Standings = (Option<watch::Receiver<Publishing>>, Option<watch::Receiver<Events>>);

impl Senders {
    /// Makes the senders that are configured, on this `machine`.
    pub(super) fn new(labels: Option<Publish>, events: Option<EventSettings>, machine: Machine) -> (Self, Standings) {
        let (events, events_standing) = events.map(EventSender::new).unzip();
        let way = labels.as_ref().map(|labels| match labels {
            Publish::Api { .. } => Way::Api,
            Publish::Nfd { .. } => Way::Nfd,
        });
        let standing = way.map(|way| watch::Sender::new(Publishing::new(way)));
        let standings = (standing.as_ref().map(watch::Sender::subscribe), events_standing);
        let mut senders = Self {
            node: None,
            file: None,
            events,
        };
        match labels.zip(standing) {
            None => {}
            Some((
                Publish::Api {
                    node,
                    prefix,
                    access,
                    paces,
                },
                standing,
            )) => {
                let settings = NodeSettings {
                    node,
                    prefix,
                    access,
                    machine,
                    paces,
                };
                senders.node = Some(Box::new(NodeSender::new(settings, standing)));
            }
            Some((Publish::Nfd { prefix, directory }, standing)) => {
                senders.file = Some(FeatureFile::new(&directory, prefix, standing));
            }
        }
        (senders, standings)
    }

    /// Starts a task for each.
    pub(super) fn start(
        self,
        tasks: &mut JoinSet<Task>,
        reports: &watch::Receiver<Option<Arc<Report>>>,
        stopping: &CancellationToken,
    ) {
        if let Some(node) = self.node {
            spawn(tasks, "labels", *node, reports, stopping);
        }
        if let Some(file) = self.file {
            spawn(tasks, "labels", file, reports, stopping);
        }
        if let Some(events) = self.events {
            spawn(tasks, "events", events, reports, stopping);
        }
    }
}

fn spawn(
    tasks: &mut JoinSet<Task>,
    name: &'static str,
    sender: impl Sender<Report> + Send + 'static,
    reports: &watch::Receiver<Option<Arc<Report>>>,
    stopping: &CancellationToken,
) {
    let work = run(sender, reports.clone(), stopping.clone().cancelled_owned());
    tasks.spawn(async move {
        work.await;
        (name, Ok(()))
    });
}
