//! Builds one metric family: series that add up where their labels are equal, safe labels, and a limit.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use super::catalogue::{Description, Kind};
use crate::sinks::text::{cut_bytes, visible};

/// The maximum size of a label's value in bytes.
const VALUE_LIMIT: usize = 256;

/// A family and its series.
#[derive(Debug)]
pub(super) struct Family {
    description: &'static Description,
    series: BTreeMap<Vec<String>, f64>,
    dropped: f64,
}

impl Family {
    pub(super) fn new(description: &'static Description) -> Self {
        Self {
            description,
            series: BTreeMap::new(),
            dropped: 0.0,
        }
    }

    /// Adds `value` to the series of these labels. Two items with equal labels are one series: two series of one name would make
    /// the whole exposition invalid.
    pub(super) fn add<const N: usize>(&mut self, labels: [&str; N], value: f64) {
        self.merge(&labels, value, |old, new| old + new);
    }

    /// The same for a number of labels that is not known at compile time.
    pub(super) fn add_to(&mut self, labels: &[&str], value: f64) {
        self.merge(labels, value, |old, new| old + new);
    }

    /// Sets the series of these labels to `value`, unless it is greater already.
    pub(super) fn raise<const N: usize>(&mut self, labels: [&str; N], value: f64) {
        self.merge(&labels, value, f64::max);
    }

    /// Sets the series of these labels to `value`, unless it is less already.
    pub(super) fn lower<const N: usize>(&mut self, labels: [&str; N], value: f64) {
        self.merge(&labels, value, f64::min);
    }

    fn merge(&mut self, labels: &[&str], value: f64, merge: impl Fn(f64, f64) -> f64) {
        debug_assert_eq!(labels.len(), self.description.labels.len(), "{}", self.description.name);
        let full = self.description.limit.is_some_and(|limit| self.series.len() >= limit);
        match self.series.entry(labels.iter().map(|label| safe(label)).collect()) {
            Entry::Occupied(mut series) => {
                let merged = merge(*series.get(), value);
                series.insert(merged);
            }
            Entry::Vacant(_) if full => self.dropped += 1.0,
            Entry::Vacant(place) => {
                place.insert(value);
            }
        }
    }

    pub(super) fn is(&self, description: &Description) -> bool {
        self.description.name == description.name
    }

    /// The number of series beyond the limit.
    pub(super) fn dropped(&self) -> f64 {
        self.dropped
    }

    /// None without series: the text format does not allow a family without any.
    pub(super) fn encode(self) -> Option<MetricFamily> {
        if self.series.is_empty() {
            return None;
        }
        let metrics = self
            .series
            .into_iter()
            .map(|(values, value)| {
                let pairs = self.description.labels.iter().zip(values).map(|(name, value)| {
                    let mut pair = LabelPair::default();
                    pair.set_name((*name).to_owned());
                    pair.set_value(value);
                    pair
                });
                let mut metric = Metric::from_label(pairs.collect());
                match self.description.kind {
                    Kind::Counter => {
                        let mut counter = Counter::default();
                        counter.set_value(value);
                        metric.set_counter(counter);
                    }
                    Kind::Gauge | Kind::Histogram => {
                        let mut gauge = Gauge::default();
                        gauge.set_value(value);
                        metric.set_gauge(gauge);
                    }
                }
                metric
            })
            .collect();
        Some(describe(self.description, metrics))
    }
}

/// Makes the family of `description` with `metrics`.
pub(super) fn describe(description: &Description, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(description.name.to_owned());
    family.set_help(description.help.to_owned());
    family.set_field_type(match description.kind {
        Kind::Counter => MetricType::COUNTER,
        Kind::Gauge => MetricType::GAUGE,
        Kind::Histogram => MetricType::HISTOGRAM,
    });
    family.set_metric(metrics);
    family
}

fn safe(value: &str) -> String {
    cut_bytes(visible(value), VALUE_LIMIT).into_owned()
}

/// A count as a number of Prometheus.
#[expect(clippy::cast_precision_loss, reason = "Prometheus knows only f64; exact up to 2^53")]
pub(super) fn number(count: u64) -> f64 {
    count as f64
}

/// A length as a number of Prometheus.
#[expect(
    clippy::cast_precision_loss,
    reason = "a list of 2^53 items does not fit into memory"
)]
pub(super) fn length<T>(items: &[T]) -> f64 {
    items.len() as f64
}
