//! The report as Prometheus metrics, text format 0.0.4.
//!
//! Every gauge is made from the current report at each scrape, so none can go stale. An unknown reading has no series,
//! because a zero would mean "none". Labels either come from closed lists, whose series exist from the start with the
//! value zero, or name the client; then the number of series is bounded. A label never contains a pid, a container id,
//! a path of a socket or a message.

pub mod catalogue;
pub mod cycles;

mod clients;
mod events;
mod family;
mod labels;
mod node;
mod sources;

use std::time::Duration;

use prometheus::core::Collector as _;
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{Counter, MetricFamily};
use prometheus::{Encoder as _, TextEncoder};
use rustix::time::{ClockId, clock_gettime};

use crate::findings::report::Report;
use crate::model::publishing::Standing;
use cycles::CycleCounters;
use family::Family;

/// The media type of the text of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The version and the commit of this castoff.
#[derive(Clone, Copy, Debug)]
pub struct Build {
    /// Its version.
    pub version: &'static str,
    /// The commit it was built from, or `unknown`.
    pub revision: &'static str,
}

impl Build {
    /// This build.
    pub const fn current() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            revision: match option_env!("CASTOFF_REVISION") {
                Some(revision) => revision,
                None => "unknown",
            },
        }
    }
}

/// Writes the metrics of one agent.
#[derive(Debug)]
pub struct Metrics {
    build: Build,
    process: ProcessCollector,
}

impl Metrics {
    /// Returns the metrics of this process.
    pub fn new(build: Build) -> Self {
        Self {
            build,
            process: ProcessCollector::for_self(),
        }
    }

    /// Renders the exposition for `report`, or for an agent that has none yet, with the state of publishing.
    ///
    /// # Errors
    /// If the encoder rejects a family, which is a mistake in the catalogue.
    pub fn render(
        &self,
        report: Option<&Report>,
        standing: &Standing,
        cycles: &CycleCounters,
    ) -> Result<String, prometheus::Error> {
        let mut families = families(self.build, report, standing, cycles);
        families.extend(own(&self.process));
        encode(&families)
    }
}

/// The figures of castoff's own process. The collector counts processor time in whole seconds, of which castoff uses one in a
/// quarter of an hour; the kernel's clock also has fractions.
fn own(process: &ProcessCollector) -> Vec<MetricFamily> {
    let mut families = process.collect();
    let used = clock_gettime(ClockId::ProcessCPUTime);
    if let Ok(used) = Duration::try_from(used) {
        let cpu = families.iter_mut().find(|f| f.name() == "process_cpu_seconds_total");
        for metric in cpu.into_iter().flat_map(MetricFamily::mut_metric) {
            let mut counter = Counter::default();
            counter.set_value(used.as_secs_f64());
            metric.set_counter(counter);
        }
    }
    families
}

/// All families except those of the process itself, by name.
fn families(build: Build, report: Option<&Report>, standing: &Standing, cycles: &CycleCounters) -> Vec<MetricFamily> {
    let mut families = node::families(build, report);
    families.extend(sources::families(report, cycles));
    families.extend(cycles.families());
    families.extend(labels::families(standing));
    families.extend(events::families(standing));
    if let Some(report) = report {
        families.extend(clients::families(report));
    }
    families.push(dropped(&families));
    let mut encoded: Vec<MetricFamily> = families.into_iter().filter_map(Family::encode).collect();
    encoded.push(cycles.durations());
    encoded.sort_by(|a, b| a.name().cmp(b.name()));
    encoded
}

/// The number of series that were left out, for every bounded family, whether or not it has series now.
fn dropped(families: &[Family]) -> Family {
    let mut dropped = Family::new(&catalogue::SERIES_DROPPED);
    for bounded in catalogue::ALL.iter().filter(|d| d.limit.is_some()) {
        let count = families.iter().filter(|f| f.is(bounded)).map(Family::dropped).sum();
        dropped.add([bounded.name], count);
    }
    dropped
}

fn encode(families: &[MetricFamily]) -> Result<String, prometheus::Error> {
    let mut text = Vec::with_capacity(32 * 1024);
    TextEncoder::new().encode(families, &mut text)?;
    // The encoder writes only UTF-8 strings.
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests;
