//! The state of the events. No series if castoff does not make events.

use super::catalogue as c;
use super::family::{Family, number};
use crate::model::publishing::{Dropped, Events, Outcome, Standing};

pub(super) fn families(standing: &Standing) -> Vec<Family> {
    let Some(events) = &standing.events else {
        return Vec::new();
    };
    let now = state(events);
    let failures = Outcome::ALL.iter().filter(|o| **o != Outcome::Succeeded);
    let mut states = Family::new(&c::EVENTS_STATE);
    for state in [MADE, PENDING].into_iter().chain(failures.map(|o| o.code())) {
        states.raise([state], if state == now { 1.0 } else { 0.0 });
    }
    let mut requests = Family::new(&c::EVENTS_REQUESTS);
    for outcome in Outcome::ALL {
        requests.add([outcome.code()], 0.0);
    }
    for counted in &events.requests {
        requests.add([counted.outcome.code()], number(counted.count));
    }
    let mut dropped = Family::new(&c::EVENTS_DROPPED);
    for reason in Dropped::ALL {
        dropped.add([reason.code()], 0.0);
    }
    for counted in &events.dropped {
        dropped.add([counted.reason.code()], number(counted.count));
    }
    let mut waiting = Family::new(&c::EVENTS_WAITING);
    waiting.add([], f64::from(events.waiting));
    let mut last_success = Family::new(&c::EVENTS_LAST_SUCCESS);
    if let Some(time) = events.last_success {
        last_success.raise([], number(time.as_unix()));
    }
    vec![states, requests, dropped, waiting, last_success]
}

const MADE: &str = "made";
const PENDING: &str = "pending";

/// The current state, one of the closed list.
fn state(events: &Events) -> &'static str {
    match (events.failing, events.last_success) {
        (Some(outcome), _) => outcome.code(),
        (None, Some(_)) => MADE,
        (None, None) => PENDING,
    }
}
