//! The samples of a soak, the invariants that each sample and all of them together must satisfy, and their tables.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use castoff_tests::lab::memory::{MemoryGroup, Usage};
use castoff_tests::lab::process::{MORE_DESCRIPTORS, MORE_THREADS, Resources, cpu_time};
use castoff_tests::report::Agent;
use serde_json::Value;

use super::churn::Counts;
use super::node::HONEST;
use super::{PATIENCE, PERIOD};
use crate::exposition::{Exposition, clients_of, has_connection};
use crate::figures::{mebibytes, middle, millis, table};

/// The rows of the table over time.
const ROWS: u32 = 12;
/// The part of the time that is not compared: caches fill, and threads start.
const WARM_UP: f64 = 0.1;
/// The growth of memory that does not count as a leak, in bytes.
const MORE_MEMORY: u64 = 1 << 20;
/// The growth of the number of series that does not count as a leak, and the maximum number of series of this node. A
/// client has a dozen.
const MORE_SERIES: u64 = 24;
const MOST_SERIES: usize = 1_000;
/// The growth of the state file that does not count as a leak, and its bound on this node, in bytes.
const MORE_STATE: u64 = 16 << 10;
const MOST_STATE: u64 = 1 << 20;
/// The looks that may pass after a start of the engine until the honest client's new connection is seen.
const LOOKS_TO_SEE: u32 = 3;

/// A property of the agent that must hold all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Invariant {
    Lives,
    Livez,
    Honest,
    Verdict,
    Look,
    Metrics,
    State,
    Descriptors,
    Threads,
    Rss,
    Group,
    Series,
    StateSize,
}

impl Invariant {
    const ALL: [Self; 13] = [
        Self::Lives,
        Self::Livez,
        Self::Honest,
        Self::Verdict,
        Self::Look,
        Self::Metrics,
        Self::State,
        Self::Descriptors,
        Self::Threads,
        Self::Rss,
        Self::Group,
        Self::Series,
        Self::StateSize,
    ];

    const fn text(self) -> &'static str {
        match self {
            Self::Lives => "the agent runs, does not panic, and ends with exit code 0",
            Self::Livez => "/livez answers 200",
            Self::Honest => "the honest client is reported, with its connection",
            Self::Verdict => "the verdict is in-use",
            Self::Look => "a look takes less than the period",
            Self::Metrics => "/metrics is in the text format, and its series are bounded",
            Self::State => "the state file is valid and bounded, and the next run reads it",
            Self::Descriptors => "the descriptors are flat",
            Self::Threads => "the threads are flat",
            Self::Rss => "the resident memory is flat within 1 MiB",
            Self::Group => "the memory of the control group is flat within 1 MiB",
            Self::Series => "the series are flat",
            Self::StateSize => "the state file is flat",
        }
    }
}

/// The figures at one time.
#[derive(Debug)]
pub(crate) struct Sample {
    at: Instant,
    report: Value,
    livez: u16,
    exposition: Result<Exposition, String>,
    resources: Resources,
    cpu: Duration,
    group: Usage,
    /// The bytes of the state file, or the reason why it is not valid.
    state: Result<u64, String>,
    counts: Counts,
}

impl Sample {
    /// Takes a sample.
    ///
    /// # Errors
    /// The agent does not run any more, or does not answer.
    pub(crate) fn take(agent: &Agent, group: &MemoryGroup, state: &Path, counts: Counts) -> Result<Self> {
        let resources = Resources::sample(agent.pid()).context("the agent has ended")?;
        let (livez, _) = agent.request("/livez")?;
        let state = fs::read(state).map_err(|error| error.to_string()).and_then(|bytes| {
            let document: Result<Value, _> = serde_json::from_slice(&bytes);
            document.map_err(|error| error.to_string())?;
            Ok(bytes.len() as u64)
        });
        Ok(Self {
            at: Instant::now(),
            report: agent.report()?,
            livez,
            exposition: Exposition::of(agent).map_err(|error| format!("{error:#}")),
            resources,
            cpu: cpu_time(agent.pid())?,
            group: group.usage()?,
            state,
            counts,
        })
    }
}

/// The figures of a sample that are kept until the end.
#[derive(Clone, Copy, Debug)]
struct Kept {
    at: Duration,
    look: Option<Duration>,
    looks: f64,
    resources: Resources,
    cpu: Duration,
    group: Usage,
    state: u64,
    series: usize,
    counts: Counts,
}

/// All samples of a soak.
pub(crate) struct Record {
    pub(crate) span: Duration,
    /// The first time at which the honest client was seen, as the agent reports it.
    pub(crate) first_seen: Option<String>,
    begun: Instant,
    engine_started: Instant,
    restarts: Vec<Duration>,
    last: Option<Exposition>,
    kept: Vec<Kept>,
    /// True if the run is complete, and its beginning was compared with its end.
    compared: bool,
    /// The number of failures of an invariant, and the first one.
    failures: BTreeMap<Invariant, (usize, String)>,
}

impl Record {
    /// Begins a record of this length.
    pub(crate) fn begin(agent: &Agent, span: Duration) -> Result<Self> {
        let exposition = Exposition::of(agent)?;
        Ok(Self {
            span,
            first_seen: None,
            begun: Instant::now(),
            engine_started: Instant::now(),
            restarts: Vec::new(),
            last: Some(exposition),
            kept: Vec::new(),
            compared: false,
            failures: BTreeMap::new(),
        })
    }

    /// Records that the engine has restarted.
    pub(crate) fn engine_restarted(&mut self) {
        self.engine_started = Instant::now();
        self.restarts.push(self.begun.elapsed());
    }

    /// Records a failure of an invariant.
    pub(crate) fn fail(&mut self, invariant: Invariant, said: &str) {
        let at = self.begun.elapsed().as_secs();
        let failures = self
            .failures
            .entry(invariant)
            .or_insert_with(|| (0, format!("{at} s: {said}")));
        failures.0 += 1;
    }

    /// Checks a sample, and adds its figures.
    pub(crate) fn add(&mut self, sample: Sample) {
        if sample.livez != 200 {
            self.fail(Invariant::Livez, &format!("{}", sample.livez));
        }
        self.check_report(&sample);
        let state = *sample.state.as_ref().unwrap_or(&0);
        match sample.state {
            Ok(bytes) if bytes <= MOST_STATE => {}
            Ok(bytes) => self.fail(Invariant::State, &format!("{bytes} bytes")),
            Err(error) => self.fail(Invariant::State, &error),
        }
        let mut kept = Kept {
            at: sample.at.duration_since(self.begun),
            look: None,
            looks: 0.0,
            resources: sample.resources,
            cpu: sample.cpu,
            group: sample.group,
            state,
            series: 0,
            counts: sample.counts,
        };
        match sample.exposition {
            Ok(exposition) => self.add_exposition(exposition, &mut kept),
            Err(error) => self.fail(Invariant::Metrics, &error),
        }
        self.kept.push(kept);
    }

    fn check_report(&mut self, sample: &Sample) {
        let report = &sample.report;
        let verdict = &report["verdict"];
        if verdict != "in-use" {
            self.fail(Invariant::Verdict, &format!("{verdict}: {}", report["verdictReason"]));
        }
        let new = sample.at.duration_since(self.engine_started) < PERIOD * LOOKS_TO_SEE;
        let seen = first_seen(report, HONEST);
        if seen.is_none() && self.first_seen.is_some() || !new && !has_connection(report, HONEST) {
            self.fail(Invariant::Honest, &format!("the clients are {}", report["clients"]));
        }
        self.first_seen = self.first_seen.take().or(seen);
    }

    fn add_exposition(&mut self, exposition: Exposition, kept: &mut Kept) {
        kept.series = exposition.series;
        kept.looks = exposition.looks().unwrap_or(0.0);
        if exposition.series > MOST_SERIES {
            self.fail(Invariant::Metrics, &format!("{} series", exposition.series));
        }
        let look = self.last.as_ref().map(|last| exposition.mean_look_since(last));
        if let Some(Ok(look)) = look {
            kept.look = Some(look);
            if look > PERIOD {
                self.fail(Invariant::Look, &format!("{look:?}"));
            }
        } else if let Some(last) = self.kept.iter().rfind(|kept| kept.look.is_some())
            && kept.at.saturating_sub(last.at) > PATIENCE
        {
            self.fail(Invariant::Look, "no look has ended");
        }
        self.last = Some(exposition);
    }

    /// Compares the first quarter after the start with the last one.
    pub(crate) fn check_flatness(&mut self) {
        let of = |from: f64, to: f64| -> Vec<Kept> {
            let within = |kept: &&Kept| {
                let at = kept.at.as_secs_f64() / self.span.as_secs_f64();
                from <= at && at < to
            };
            self.kept.iter().filter(within).copied().collect()
        };
        let quarter = (1.0 - WARM_UP) / 4.0;
        let (before, after) = (of(WARM_UP, WARM_UP + quarter), of(1.0 - quarter, f64::INFINITY));
        if before.is_empty() || after.is_empty() {
            self.fail(Invariant::Lives, "too few samples to compare");
            return;
        }
        self.compared = true;
        for (invariant, more, value) in FLAT {
            let [before, after] = [&before, &after].map(|samples| middle(samples.iter().map(value)));
            if after > before + more {
                self.fail(
                    invariant,
                    &format!("{before} in the first quarter, {after} in the last"),
                );
            }
        }
    }

    /// True if every invariant held.
    pub(crate) fn holds(&self) -> bool {
        self.failures.is_empty()
    }

    /// Returns the invariants, each with its outcome.
    pub(crate) fn print_invariants(&self) -> String {
        let row = |invariant: &Invariant| {
            let outcome = match self.failures.get(invariant) {
                None if !self.compared && FLAT.iter().any(|(flat, ..)| flat == invariant) => "not compared".to_owned(),
                None => "PASS".to_owned(),
                Some((times, first)) => format!("FAIL {times} ×, first at {first}"),
            };
            vec![invariant.text().to_owned(), outcome]
        };
        let rows: Vec<_> = Invariant::ALL.iter().map(row).collect();
        table("Invariants", &["what", "outcome"], &rows)
    }

    /// Returns the figures over time: medians of each part of the run.
    pub(crate) fn print_times(&self) -> String {
        let part = self.span / ROWS;
        let rows = (0..ROWS).filter_map(|at| self.row(part * at, part * (at + 1)));
        table(
            "castoff run while processes, containers, clients and the engine come and go",
            &[
                "until s",
                "looks so far",
                "look ms, median / most",
                "CPU m",
                "descriptors",
                "threads",
                "RSS MiB",
                "group MiB (of files)",
                "series",
                "state KiB",
                "containers/min",
                "failed pods",
                "processes/s",
                "engine starts",
            ],
            &rows.collect::<Vec<_>>(),
        )
    }

    fn row(&self, from: Duration, to: Duration) -> Option<Vec<String>> {
        let within = |kept: &&Kept| from <= kept.at && kept.at < to;
        let all: Vec<&Kept> = self.kept.iter().filter(within).collect();
        let (first, last) = (all.first()?, all.last()?);
        let seconds = last.at.saturating_sub(first.at).as_secs_f64().max(1.0);
        #[expect(clippy::cast_precision_loss, reason = "fewer than 2⁵²")]
        let each = |count: fn(&Counts) -> u64| (count(&last.counts) - count(&first.counts)) as f64 / seconds;
        let median = |of: FigureOf| middle(all.iter().map(|kept| of(kept)));
        let looks: Vec<Duration> = all.iter().filter_map(|kept| kept.look).collect();
        let most = looks.iter().max().copied().unwrap_or_default();
        let cpu = last.cpu.saturating_sub(first.cpu).as_secs_f64() / seconds;
        let restarts = self.restarts.iter().filter(|at| from <= **at && **at < to).count();
        Some(vec![
            to.as_secs().to_string(),
            format!("{:.0}", last.looks),
            format!("{:.0} / {:.0}", millis(middle(looks)), millis(most)),
            format!("{:.0}", cpu * 1000.0),
            median(descriptors).to_string(),
            median(threads).to_string(),
            format!("{:.1}", mebibytes(median(rss))),
            format!("{:.1} ({:.1})", mebibytes(median(group)), mebibytes(median(files))),
            median(series).to_string(),
            format!("{:.1}", mebibytes(median(state)) * 1024.0),
            format!("{:.0}", each(|counts| counts.containers) * 60.0),
            (last.counts.failed - first.counts.failed).to_string(),
            format!("{:.0}", each(|counts| counts.processes)),
            restarts.to_string(),
        ])
    }
}

/// A figure of a sample.
type FigureOf = fn(&Kept) -> u64;

/// The figures that must stay flat: the invariant, the growth that does not count as a leak, and the figure.
const FLAT: [(Invariant, u64, FigureOf); 6] = [
    (Invariant::Descriptors, MORE_DESCRIPTORS as u64, descriptors),
    (Invariant::Threads, MORE_THREADS as u64, threads),
    (Invariant::Rss, MORE_MEMORY, rss),
    (Invariant::Group, MORE_MEMORY, group),
    (Invariant::Series, MORE_SERIES, series),
    (Invariant::StateSize, MORE_STATE, state),
];

fn descriptors(kept: &Kept) -> u64 {
    kept.resources.descriptors as u64
}

fn threads(kept: &Kept) -> u64 {
    kept.resources.threads as u64
}

fn rss(kept: &Kept) -> u64 {
    kept.resources.memory as u64 * 1024
}

fn group(kept: &Kept) -> u64 {
    kept.group.now
}

fn files(kept: &Kept) -> u64 {
    kept.group.files
}

fn series(kept: &Kept) -> u64 {
    kept.series as u64
}

fn state(kept: &Kept) -> u64 {
    kept.state
}

/// Returns the first time at which this unit was a client of an engine.
pub(super) fn first_seen(report: &Value, unit: &str) -> Option<String> {
    let times = clients_of(report, unit).filter_map(|client| client["firstSeen"].as_str());
    times.min().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(grows: impl Fn(u32, &mut Kept)) -> Record {
        let kept = |at: u32| {
            let mut kept = Kept {
                at: Duration::from_secs(at.into()),
                look: Some(Duration::from_millis(20)),
                looks: at.into(),
                resources: Resources {
                    descriptors: 30,
                    bpf: 4,
                    threads: 6,
                    memory: 9_000,
                    peak: 9_000,
                },
                cpu: Duration::ZERO,
                group: Usage {
                    now: 6 << 20,
                    files: 2 << 20,
                    peak: 8 << 20,
                },
                state: 4_096,
                series: 200,
                counts: Counts::default(),
            };
            grows(at, &mut kept);
            kept
        };
        Record {
            span: Duration::from_secs(100),
            first_seen: None,
            begun: Instant::now(),
            engine_started: Instant::now(),
            restarts: Vec::new(),
            last: None,
            kept: (0..100).map(kept).collect(),
            compared: false,
            failures: BTreeMap::new(),
        }
    }

    fn failed(grows: impl Fn(u32, &mut Kept)) -> Vec<Invariant> {
        let mut record = record(grows);
        record.check_flatness();
        record.failures.into_keys().collect()
    }

    #[test]
    fn a_leak_of_each_figure_is_found() {
        assert_eq!(failed(|_, _| {}), []);
        // Growth at the start only is not a leak.
        assert_eq!(failed(|at, kept| kept.group.now += u64::from(at.min(9)) << 20), []);
        assert_eq!(
            failed(|at, kept| kept.resources.descriptors += at as usize / 10),
            [Invariant::Descriptors]
        );
        assert_eq!(
            failed(|at, kept| kept.resources.threads += at as usize / 10),
            [Invariant::Threads]
        );
        assert_eq!(
            failed(|at, kept| kept.resources.memory += at as usize * 20),
            [Invariant::Rss]
        );
        assert_eq!(
            failed(|at, kept| kept.group.now += u64::from(at) * 20_000),
            [Invariant::Group]
        );
        assert_eq!(failed(|at, kept| kept.series += at as usize / 2), [Invariant::Series]);
        assert_eq!(
            failed(|at, kept| kept.state += u64::from(at) * 400),
            [Invariant::StateSize]
        );
    }
}
