//! Keeps one look that failed from turning a label over.
//!
//! A value that was seen counts at once. `unknown` counts from the second report in a row that says so: one runtime that
//! restarts or one deadline that was missed is forgiven, whatever lasts is said within two periods. Until a label has had
//! any value, nothing is published: an agent that starts beside a runtime that is not yet up must not take away what its
//! predecessor knew.

use std::collections::BTreeMap;

use super::prefix::Prefix;
use super::summary::Summary;
use super::validity::Validity;
use super::{ANNOTATION, Name, UNKNOWN, VALID_UNTIL, Wanted, values};
use crate::findings::report::Report;
use crate::model::time::Timestamp;

/// From how many reports in a row on `unknown` is believed.
const BELIEVED: u32 = 2;

/// The labels after the reports so far.
#[derive(Debug)]
pub struct Settled {
    prefix: Prefix,
    values: BTreeMap<String, String>,
    unknown: BTreeMap<String, u32>,
    summary: Option<Summary>,
    validity: Validity,
    look: Timestamp,
}

impl Settled {
    /// Nothing is settled yet. `chance` is a number from 0 to 1.
    pub fn new(prefix: Prefix, chance: f64) -> Self {
        Self {
            prefix,
            values: BTreeMap::new(),
            unknown: BTreeMap::new(),
            summary: None,
            validity: Validity::new(chance),
            look: Timestamp::from_unix(0),
        }
    }

    /// Takes in the next report; what the node should have by now, or none while a label has no value yet.
    pub fn take_in(&mut self, report: &Report) -> Option<Wanted> {
        let before = self.values.clone();
        let seen = values(report);
        let count = seen.len();
        for (name, value) in seen {
            let streak = self.unknown.entry(name.clone()).or_default();
            *streak = if value == UNKNOWN { streak.saturating_add(1) } else { 0 };
            if value != UNKNOWN || *streak >= BELIEVED {
                self.values.insert(name, value);
            }
        }
        if self.values.len() < count {
            return None;
        }
        let since = match &self.summary {
            Some(summary) if before == self.values => summary.since,
            _ => report.time,
        };
        // A summary goes with the verdict that is published; that of a report which does not count yet has to wait.
        if self.values.get(Name::DockerDependency.code()).map(String::as_str) == Some(report.verdict.code()) {
            self.summary = Some(Summary::of(report, since));
        }
        let mut summary = self.summary.clone()?;
        summary.since = since;
        self.look = report.time;
        // By the look's own time: an agent whose looks have stopped renews nothing.
        let until = self.validity.after(report.time, before != self.values);
        let valid_until = self.prefix.key(VALID_UNTIL);
        let labels = self
            .values
            .iter()
            .map(|(name, value)| (self.prefix.key(name), value.clone()))
            .chain([(valid_until.clone(), until.as_unix().to_string())]);
        Some(Wanted {
            labels: labels.collect(),
            valid_until,
            annotation: self.prefix.key(ANNOTATION),
            summary,
        })
    }

    /// Takes over until when the labels of a node hold, where that need not be renewed; whether it was taken.
    pub fn adopt_validity(&mut self, until: &str) -> bool {
        self.validity.adopt(until, self.look)
    }

    /// Takes over the time of the last change from a node that has these labels already: an agent that starts anew must
    /// not make its own start the node's last change.
    pub fn adopt(&mut self, since: Timestamp) {
        if let Some(summary) = &mut self.summary {
            summary.since = since;
        }
    }
}
