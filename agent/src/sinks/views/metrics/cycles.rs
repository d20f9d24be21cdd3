//! Counters over the agent's life, which one report cannot contain.

use std::collections::BTreeMap;
use std::time::Duration;

use prometheus::proto::{Bucket, Histogram, Metric, MetricFamily};

use super::catalogue as c;
use super::family::{Family, describe, number};
use crate::findings::report::Report;
use crate::model::reading::{Reason, Source};
use crate::model::time::Timestamp;

/// Upper bounds of the buckets of a cycle's duration. The goal is under a tenth of a second; a source may take as long as its
/// deadline.
const BUCKETS: [Duration; 10] = [
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(10),
];

/// Counts the agent's work since it started. The agent's loop writes it, the metrics read it.
#[derive(Clone, Debug, Default)]
pub struct CycleCounters {
    cycles: u64,
    within: [u64; BUCKETS.len()],
    took: Duration,
    failures: BTreeMap<(Source, Reason), u64>,
    last_success: BTreeMap<Source, Timestamp>,
    clients_forgotten: u64,
    state_written: u64,
    state_not_written: u64,
}

impl CycleCounters {
    /// Counts one cycle: its report, its duration, and the number of clients that the history has forgotten so far.
    pub fn record_cycle(&mut self, report: &Report, took: Duration, clients_forgotten: u64) {
        self.cycles += 1;
        self.took += took;
        for (count, bound) in self.within.iter_mut().zip(BUCKETS) {
            *count += u64::from(took <= bound);
        }
        self.clients_forgotten = clients_forgotten;
        for status in &report.sources {
            if status.up {
                self.last_success.insert(status.source, report.time);
            } else {
                let reason = status.gaps.first().map_or(Reason::HostError, |gap| gap.reason);
                *self.failures.entry((status.source, reason)).or_default() += 1;
            }
        }
    }

    /// Counts one attempt to write the state file.
    pub fn record_state_write(&mut self, succeeded: bool) {
        if succeeded {
            self.state_written += 1;
        } else {
            self.state_not_written += 1;
        }
    }

    /// The time at which `source` last gave an answer.
    pub fn last_success(&self, source: Source) -> Option<Timestamp> {
        self.last_success.get(&source).copied()
    }

    /// The number of cycles in which `source` gave no answer because of `reason`.
    pub fn failures(&self, source: Source, reason: Reason) -> u64 {
        self.failures.get(&(source, reason)).copied().unwrap_or(0)
    }

    pub(super) fn families(&self) -> Vec<Family> {
        let mut cycles = Family::new(&c::CYCLES);
        cycles.add([], number(self.cycles));
        let mut forgotten = Family::new(&c::CLIENTS_FORGOTTEN);
        forgotten.add([], number(self.clients_forgotten));
        let mut writes = Family::new(&c::STATE_WRITES);
        writes.add(["written"], number(self.state_written));
        writes.add(["failed"], number(self.state_not_written));
        vec![cycles, forgotten, writes]
    }

    pub(super) fn durations(&self) -> MetricFamily {
        let buckets = self.within.iter().zip(BUCKETS).map(|(count, bound)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound.as_secs_f64());
            bucket.set_cumulative_count(*count);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(self.cycles);
        histogram.set_sample_sum(self.took.as_secs_f64());
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        describe(&c::CYCLE_DURATION, vec![metric])
    }
}
