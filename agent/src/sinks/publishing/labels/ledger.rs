//! How publishing stands, shared between who publishes and who reports it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::publishing::{Outcome, PublishedLabels, Publishing, Requests, Verb, Way};
use crate::model::reading::{Gap, Reading};
use crate::model::time::Timestamp;

/// One account, many hands.
#[derive(Clone, Debug)]
pub struct Ledger(Arc<Mutex<Account>>);

#[derive(Debug)]
struct Account {
    way: Way,
    labels: Reading<PublishedLabels>,
    failing: Option<Outcome>,
    last_success: Option<Timestamp>,
    requests: BTreeMap<(Verb, Outcome), u64>,
}

impl Ledger {
    /// An account of nothing.
    pub fn new(way: Way) -> Self {
        Self(Arc::new(Mutex::new(Account {
            way,
            labels: Reading::Absent,
            failing: None,
            last_success: None,
            requests: BTreeMap::new(),
        })))
    }

    /// Counts one request.
    pub fn count(&self, verb: Verb, outcome: Outcome) {
        self.with(|account| *account.requests.entry((verb, outcome)).or_default() += 1);
    }

    /// The node has these labels.
    pub fn confirm(&self, labels: BTreeMap<String, String>, at: Timestamp) {
        self.with(|account| {
            account.failing = None;
            account.last_success = Some(at);
            account.labels = Reading::Known(PublishedLabels { labels, confirmed: at });
        });
    }

    /// What the node has is not known: an attempt ended so, and left this gap.
    pub fn doubt(&self, outcome: Outcome, gap: Gap) {
        self.with(|account| {
            account.failing = Some(outcome);
            account.labels = Reading::Unknown(gap);
        });
    }

    /// How it stands now.
    pub fn read(&self) -> Publishing {
        self.with(|account| Publishing {
            way: account.way,
            labels: account.labels.clone(),
            failing: account.failing,
            last_success: account.last_success,
            requests: account
                .requests
                .iter()
                .map(|(&(verb, outcome), &count)| Requests { verb, outcome, count })
                .collect(),
        })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Account) -> T) -> T {
        // Every change is a few assignments that cannot panic.
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
