//! Keeps a single failed look from changing a label.
//!
//! A value that was seen counts immediately. `unknown` counts from the second report in a row. So one restart of the
//! runtime or one missed deadline is ignored, and a lasting failure is published within two periods. Until every label
//! has had a value, nothing is published: an agent that starts before its runtime must not remove the values of its
//! predecessor.

use std::collections::BTreeMap;

use super::prefix::Prefix;
use super::summary::Summary;
use super::validity::Validity;
use super::{ANNOTATION, Name, UNKNOWN, VALID_UNTIL, Wanted, values};
use crate::findings::report::Report;
use crate::model::time::Timestamp;

/// The number of reports in a row after which `unknown` counts.
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
    /// Returns the state before the first report. `chance` is a number from 0 to 1.
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

    /// Adds the next report; returns the labels that the node should have now, or none while a label has no value yet.
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
        // The summary belongs to the published verdict, so the summary of a report that does not count yet has to wait.
        if self.values.get(Name::DockerDependency.code()).map(String::as_str) == Some(report.verdict.code()) {
            self.summary = Some(Summary::of(report, since));
        }
        let mut summary = self.summary.clone()?;
        summary.since = since;
        self.look = report.time;
        // Uses the time of the look, so that an agent whose looks have stopped renews nothing.
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

    /// Takes over the time until which a node's labels are valid, unless it must be renewed; true if it was taken over.
    pub fn adopt_validity(&mut self, until: &str) -> bool {
        self.validity.adopt(until, self.look)
    }

    /// Takes over the time of the last change from a node that has these labels already: the start of a new agent must not count
    /// as the node's last change.
    pub fn adopt(&mut self, since: Timestamp) {
        if let Some(summary) = &mut self.summary {
            summary.since = since;
        }
    }
}
