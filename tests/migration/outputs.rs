//! castoff's results for the node at one moment, in each of its outputs.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::release::Release;
use castoff_tests::wait;
use serde_json::{Map, Value};

use crate::node::NODE;

/// The period of looks. Reports have whole seconds, so two looks never have the same time.
pub(crate) const PERIOD: Duration = Duration::from_secs(2);

/// The number of looks that may have started before now: the completed one, and the one that was running.
const EARLIER_LOOKS: usize = 2;
/// The limit of a label's delay: an agent that has just started waits up to five seconds, then it is a period; the rest
/// is for a busy machine.
const LABEL: Duration = Duration::from_secs(15);
/// Sufficient for any machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// All outputs, at a moment when they agree.
#[derive(Debug)]
pub(crate) struct Outputs {
    pub(crate) report: Value,
    pub(crate) labels: Map<String, Value>,
    pub(crate) metrics: String,
    /// The node's row in `castoff cluster`.
    pub(crate) fleet: Value,
    /// The time between the report and the label.
    pub(crate) label_after: Duration,
}

impl Outputs {
    /// Waits for the first look that started after now. Then all outputs must have this verdict.
    pub(crate) fn at_once(release: &Release<'_>, verdict: &str) -> Result<Self> {
        let report = look_for(release, verdict)?;
        let since = Instant::now();
        let labels = wait::until("the label", LABEL, || {
            let labels = release.labels(NODE)?;
            let said = labels.get("docker-dependency");
            ensure!(
                said.and_then(Value::as_str) == Some(verdict),
                "{said:?} in place of {verdict}"
            );
            Ok(labels)
        })?;
        let label_after = since.elapsed();
        let metrics = release.page("metrics")?;
        let held: Vec<&str> = metrics
            .lines()
            .filter(|line| line.starts_with("castoff_node_verdict{") && line.ends_with(" 1"))
            .collect();
        ensure!(
            held == [format!("castoff_node_verdict{{verdict=\"{verdict}\"}} 1")],
            "the metrics say {held:?} in place of {verdict}"
        );
        let fleet = row(release)?;
        ensure!(
            fleet["verdict"] == verdict && fleet["doubt"].is_null(),
            "the fleet says {fleet} in place of {verdict}"
        );
        Ok(Self {
            report,
            labels,
            metrics,
            fleet,
            label_after,
        })
    }

    /// Fails unless the node has this label.
    pub(crate) fn label(&self, name: &str, value: &str) -> Result<()> {
        let said = self.labels.get(name);
        ensure!(
            said.and_then(Value::as_str) == Some(value),
            "label {name}: {said:?} in place of {value}"
        );
        Ok(())
    }

    /// Returns the value of the one sample that has all of these labels.
    pub(crate) fn sample(&self, family: &str, words: &[&str]) -> Result<&str> {
        let start = format!("{family}{{");
        let line = self
            .metrics
            .lines()
            .find(|line| line.starts_with(&start) && words.iter().all(|word| line.contains(word)))
            .with_context(|| format!("no sample of {family} has {words:?}:\n{}", self.metrics))?;
        Ok(line.rsplit(' ').next().unwrap_or_default())
    }
}

/// Returns the node's row in `castoff cluster`.
pub(crate) fn row(release: &Release<'_>) -> Result<Value> {
    let fleet = release.fleet()?;
    let rows = fleet["nodes"].as_array().context("a list of nodes")?;
    let row = rows.iter().find(|row| row["node"] == NODE);
    row.cloned().with_context(|| format!("no {NODE} in the fleet: {fleet}"))
}

/// Returns the report of the first look that certainly started after now, which must have this verdict.
fn look_for(release: &Release<'_>, verdict: &str) -> Result<Value> {
    let deadline = Instant::now() + PATIENCE;
    let mut looks: Vec<Value> = Vec::new();
    loop {
        let report = release.report()?;
        if looks.last() != Some(&report["time"]) {
            looks.push(report["time"].clone());
        }
        if looks.len() > EARLIER_LOOKS {
            ensure!(
                report["verdict"] == verdict,
                "{} in place of {verdict}: {}: {report}",
                report["verdict"],
                report["verdictReason"]
            );
            return Ok(report);
        }
        ensure!(Instant::now() < deadline, "no further look: {looks:?}");
        thread::sleep(Duration::from_millis(100));
    }
}
