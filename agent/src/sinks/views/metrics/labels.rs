//! The state of the node's labels. No series if castoff does not publish labels.

use super::catalogue as c;
use super::family::{Family, number};
use crate::model::publishing::{Outcome, Publishing, Standing, Verb};
use crate::model::reading::Reading;

pub(super) fn families(standing: &Standing) -> Vec<Family> {
    let Some(publishing) = &standing.publishing else {
        return Vec::new();
    };
    let way = publishing.way.code();
    let now = state(publishing);
    let mut states = Family::new(&c::LABELS_STATE);
    let failures = Outcome::ALL
        .iter()
        .filter(|o| **o != Outcome::Succeeded)
        .map(|o| o.code());
    for state in [PUBLISHED, PENDING].into_iter().chain(failures) {
        states.raise([way, state], if state == now { 1.0 } else { 0.0 });
    }
    let mut requests = Family::new(&c::LABELS_REQUESTS);
    for verb in Verb::ALL {
        for outcome in Outcome::ALL {
            requests.add([way, verb.code(), outcome.code()], 0.0);
        }
    }
    for counted in &publishing.requests {
        requests.add(
            [way, counted.verb.code(), counted.outcome.code()],
            number(counted.count),
        );
    }
    let mut last_success = Family::new(&c::LABELS_LAST_SUCCESS);
    if let Some(time) = publishing.last_success {
        last_success.raise([way], number(time.as_unix()));
    }
    vec![states, requests, last_success]
}

const PUBLISHED: &str = "published";
const PENDING: &str = "pending";

/// The current state, one of the closed list.
fn state(publishing: &Publishing) -> &'static str {
    match (publishing.failing, &publishing.labels) {
        (Some(outcome), _) => outcome.code(),
        (None, Reading::Known(_)) => PUBLISHED,
        (None, _) => PENDING,
    }
}
