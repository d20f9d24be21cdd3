//! The conditions of each step, in addition to the verdict; and the table of the steps.

use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use castoff::model::time::Timestamp;
use castoff_tests::lab::release::Release;
use serde_json::Value;

use crate::builder::{CONTAINER, NAME, NAMESPACE};
use crate::outputs::{Outputs, PERIOD};

/// The time for which a use counts.
pub(crate) const WINDOW: Duration = Duration::from_secs(16);

/// The timeout of the end of the window, sufficient for any machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The steps so far, one row each.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<[String; 4]>);

impl Table {
    /// Adds a step in which all of castoff's outputs agree.
    pub(crate) fn add(&mut self, step: &str, outputs: &Outputs) {
        let labels = outputs.labels.iter().filter(|(name, _)| *name != "docker-dependency");
        let labels: Vec<String> = labels
            .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or("?")))
            .collect();
        let verdict = outputs.report["verdict"].as_str().unwrap_or("?");
        let late = format!(
            "{} (label after {:.1} s)",
            labels.join(" "),
            outputs.label_after.as_secs_f64()
        );
        self.add_row(step, verdict, &late, &outputs.fleet);
    }

    /// Adds a moment at which no agent can answer.
    pub(crate) fn add_row(&mut self, step: &str, verdict: &str, labels: &str, fleet: &Value) {
        let users = fleet["clients"]["value"]["users"].as_array().into_iter().flatten();
        let mut said = format!("{}: {}", text(&fleet["verdict"]), text(&fleet["reason"]));
        for user in users {
            let namespace = user["namespace"]
                .as_str()
                .map_or(String::new(), |name| format!("{name}/"));
            // Writing to a string cannot fail.
            let _ = write!(
                said,
                "; {namespace}{} ({} open)",
                text(&user["name"]),
                user["connections"]
            );
        }
        self.0
            .push([step.to_owned(), verdict.to_owned(), labels.to_owned(), said]);
    }

    /// Returns the table as text.
    pub(crate) fn write(&self) -> String {
        let mut table = "| step | verdict | labels | castoff cluster |\n|---|---|---|---|\n".to_owned();
        for row in &self.0 {
            let _ = writeln!(table, "| {} |", row.join(" | "));
        }
        table
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

/// The labels of a node with the kubelet's own dockershim.
pub(crate) fn on_dockershim(outputs: &Outputs) -> Result<()> {
    outputs.label("container-runtime", "docker")?;
    outputs.label("cri-api", "v1alpha2")?;
    outputs.label("docker-engine", "dockerd")?;
    outputs.label("kubelet-ceiling", "1.23")?;
    names_the_builder(outputs)
}

/// Another runtime, with the remaining clients of Docker.
pub(crate) fn in_use(outputs: &Outputs) -> Result<()> {
    outputs.label("container-runtime", "containerd")?;
    outputs.label("cri-api", "v1")?;
    outputs.label("docker-engine", "dockerd")?;
    names_the_builder(outputs)
}

/// The build agent has the socket, and no connection.
pub(crate) fn exposed(outputs: &Outputs) -> Result<()> {
    outputs.label("docker-engine", "dockerd")?;
    let mounts = outputs.sample("castoff_pod_exposure", &builder_words())?;
    ensure!(mounts == "1", "{mounts} mounts of the build agent");
    let exposures = &outputs.fleet["exposures"];
    ensure!(
        exposures["state"] == "known" && exposures["value"] == 1,
        "the fleet's exposures: {exposures}"
    );
    there_are_no_clients(outputs)
}

/// An engine without clients.
pub(crate) fn idle(outputs: &Outputs) -> Result<()> {
    outputs.label("docker-engine", "dockerd")?;
    there_are_no_exposures(outputs)?;
    there_are_no_clients(outputs)
}

/// No Docker.
pub(crate) fn clear(outputs: &Outputs) -> Result<()> {
    outputs.label("docker-engine", "none")?;
    outputs.label("container-runtime", "containerd")?;
    let engines = &outputs.report["engines"];
    ensure!(
        engines["state"] == "absent" || engines["value"] == serde_json::json!([]),
        "engines: {engines}"
    );
    there_are_no_exposures(outputs)?;
    there_are_no_clients(outputs)
}

/// Metrics, report and fleet have the namespace, workload and container.
fn names_the_builder(outputs: &Outputs) -> Result<()> {
    let connections = outputs.sample("castoff_pod_client_connections", &builder_words())?;
    ensure!(connections == "1", "{connections} connections of the build agent");
    let users = outputs.fleet["clients"]["value"]["users"]
        .as_array()
        .context("the fleet's users")?;
    let named = users.iter().find(|user| {
        let name = user["name"].as_str().unwrap_or_default();
        user["kind"] == "workload" && user["namespace"] == NAMESPACE && name == format!("Deployment {NAME}")
    });
    let named = named.with_context(|| format!("the fleet does not name the build agent: {users:?}"))?;
    ensure!(named["connections"] == 1, "the fleet says of the build agent: {named}");
    let findings = outputs.report["findings"].as_array().context("findings")?;
    let subject = format!("pod {NAMESPACE}/{NAME}-");
    let found = findings.iter().any(|finding| {
        let of = finding["subject"].as_str().unwrap_or_default();
        finding["code"] == "socket-client" && of.starts_with(&subject) && of.ends_with(&format!("({CONTAINER})"))
    });
    ensure!(found, "no finding names the build agent: {findings:?}");
    Ok(())
}

fn there_are_no_clients(outputs: &Outputs) -> Result<()> {
    let clients = &outputs.fleet["clients"];
    ensure!(
        clients["state"] == "known" && clients["value"]["now"] == 0 && clients["value"]["before"] == 0,
        "the fleet's clients: {clients}"
    );
    Ok(())
}

fn there_are_no_exposures(outputs: &Outputs) -> Result<()> {
    let exposures = &outputs.fleet["exposures"];
    ensure!(
        exposures["state"] == "known" && exposures["value"] == 0,
        "the fleet's exposures: {exposures}"
    );
    let sample = outputs
        .metrics
        .lines()
        .find(|line| line.starts_with("castoff_pod_exposure{"));
    ensure!(sample.is_none(), "a metric of an exposure: {sample:?}");
    Ok(())
}

/// Returns the labels of the build agent's samples.
fn builder_words() -> [&'static str; 5] {
    [
        r#"namespace="builds""#,
        r#"pod="builder-"#,
        r#"container="build""#,
        r#"workload="builder""#,
        r#"workload_kind="Deployment""#,
    ]
}

/// Waits until the verdict changes: a node keeps it for the window after the last of `seen` (the report's `clients` or
/// `exposures`), and neither shorter nor longer.
pub(crate) fn wait_for_the_window(release: &Release<'_>, verdict: &str, seen: &str) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut last_seen = None;
    while Instant::now() < deadline {
        let report = release.report()?;
        let time = timestamp(&report["time"])?;
        if report["verdict"] != verdict {
            let last: Timestamp = last_seen.with_context(|| format!("no look has said {verdict}"))?;
            let after = time.since(last);
            ensure!(after >= WINDOW, "{} only {after:?} after {last}", report["verdict"]);
            return Ok(());
        }
        for one in report[seen]["value"].as_array().with_context(|| seen.to_owned())? {
            last_seen = last_seen.max(Some(timestamp(&one["lastSeen"])?));
        }
        let last = last_seen.with_context(|| format!("{verdict}, and no {seen}"))?;
        // Both are truncated to whole seconds.
        let bound = WINDOW + Duration::from_secs(1);
        ensure!(time.since(last) <= bound, "{verdict} at {time}, last seen at {last}");
        thread::sleep(PERIOD / 4);
    }
    anyhow::bail!("{verdict} for {PATIENCE:?}: {:#}", release.report()?)
}

fn timestamp(value: &Value) -> Result<Timestamp> {
    serde_json::from_value(value.clone()).with_context(|| format!("{value} is no time"))
}
