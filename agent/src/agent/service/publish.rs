//! The task that publishes labels, whichever way was asked for.

use std::sync::Arc;

use tokio::sync::watch;

use crate::config::Publish;
use crate::findings::report::Report;
use crate::model::machine::Machine;
use crate::model::publishing::Way;
use crate::sinks::publishing::labels::ledger::Ledger;
use crate::sinks::publishing::nfd::FeatureFile;
use crate::sinks::publishing::node::keeper::{NodeKeeper, Settings};

/// Publishes what the reports say.
pub(super) struct Publisher {
    ledger: Ledger,
    keeper: Keeper,
}

enum Keeper {
    Node(Box<NodeKeeper>),
    File(Box<FeatureFile>),
}

impl Publisher {
    /// Nothing is sent or written yet.
    pub(super) fn new(publish: &Publish, machine: Machine) -> Self {
        match publish.clone() {
            Publish::Api {
                node,
                prefix,
                access,
                paces,
            } => {
                let ledger = Ledger::new(Way::Api);
                let settings = Settings {
                    node,
                    prefix,
                    access,
                    machine,
                    paces,
                };
                Self {
                    keeper: Keeper::Node(Box::new(NodeKeeper::new(settings, ledger.clone()))),
                    ledger,
                }
            }
            Publish::Nfd { prefix, directory } => {
                let ledger = Ledger::new(Way::Nfd);
                Self {
                    keeper: Keeper::File(Box::new(FeatureFile::new(&directory, prefix, ledger.clone()))),
                    ledger,
                }
            }
        }
    }

    /// Where to read how it stands.
    pub(super) fn ledger(&self) -> Ledger {
        self.ledger.clone()
    }

    /// Publishes until `stop`.
    pub(super) async fn run(self, reports: watch::Receiver<Option<Arc<Report>>>, stop: impl Future<Output = ()>) {
        match self.keeper {
            Keeper::Node(keeper) => keeper.run(reports, stop).await,
            Keeper::File(file) => file.run(reports, stop).await,
        }
    }
}
