//! How the events stand, shared between who sends them and who reports it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::publishing::{Dropped, DroppedEvents, EventRequests, Events, Outcome};
use crate::model::time::Timestamp;

/// One account, many hands.
#[derive(Clone, Debug, Default)]
pub struct EventLedger(Arc<Mutex<Account>>);

#[derive(Debug, Default)]
struct Account {
    failing: Option<Outcome>,
    last_success: Option<Timestamp>,
    waiting: u32,
    requests: BTreeMap<Outcome, u64>,
    dropped: BTreeMap<Dropped, u64>,
}

impl EventLedger {
    /// Counts one request.
    pub fn count(&self, outcome: Outcome, at: Timestamp) {
        self.with(|account| {
            *account.requests.entry(outcome).or_default() += 1;
            if outcome == Outcome::Succeeded {
                account.last_success = Some(at);
                account.failing = None;
            } else {
                account.failing = Some(outcome);
            }
        });
    }

    /// Nothing could be sent.
    pub fn fail(&self, outcome: Outcome) {
        self.with(|account| account.failing = Some(outcome));
    }

    /// Counts an event that is not made.
    pub fn drop_one(&self, reason: Dropped) {
        self.with(|account| *account.dropped.entry(reason).or_default() += 1);
    }

    /// So many wait.
    pub fn set_waiting(&self, waiting: usize) {
        self.with(|account| account.waiting = u32::try_from(waiting).unwrap_or(u32::MAX));
    }

    /// How it stands now.
    pub fn read(&self) -> Events {
        self.with(|account| Events {
            failing: account.failing,
            last_success: account.last_success,
            waiting: account.waiting,
            requests: account
                .requests
                .iter()
                .map(|(&outcome, &count)| EventRequests { outcome, count })
                .collect(),
            dropped: account
                .dropped
                .iter()
                .map(|(&reason, &count)| DroppedEvents { reason, count })
                .collect(),
        })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Account) -> T) -> T {
        // Every change is a few assignments that cannot panic.
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
