//! What holds at each step, beyond the verdict; and the table of the steps.

use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use castoff::model::time::Timestamp;
use castoff_tests::lab::release::Release;
use serde_json::Value;

use crate::builder::{CONTAINER, NAME, NAMESPACE};
use crate::told::{PERIOD, Told};

/// How long a use counts.
pub(crate) const WINDOW: Duration = Duration::from_secs(16);

/// How long the end of the window may take to come, however slow the machine is.
const PATIENCE: Duration = Duration::from_secs(120);

/// The steps so far, one row each.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<[String; 4]>);

impl Table {
    /// Adds a step of which all that castoff tells agrees.
    pub(crate) fn add(&mut self, step: &str, told: &Told) {
        let labels = told.labels.iter().filter(|(name, _)| *name != "docker-dependency");
        let labels: Vec<String> = labels
            .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or("?")))
            .collect();
        let verdict = told.report["verdict"].as_str().unwrap_or("?");
        let late = format!(
            "{} (label after {:.1} s)",
            labels.join(" "),
            told.label_after.as_secs_f64()
        );
        self.add_row(step, verdict, &late, &told.fleet);
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

    /// All of it.
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

/// The labels that go with the kubelet's own dockershim.
pub(crate) fn on_dockershim(told: &Told) -> Result<()> {
    told.label("container-runtime", "docker")?;
    told.label("cri-api", "v1alpha2")?;
    told.label("docker-engine", "dockerd")?;
    told.label("kubelet-ceiling", "1.23")?;
    names_the_builder(told)
}

/// Another runtime, and who still is on Docker.
pub(crate) fn in_use(told: &Told) -> Result<()> {
    told.label("container-runtime", "containerd")?;
    told.label("cri-api", "v1")?;
    told.label("docker-engine", "dockerd")?;
    names_the_builder(told)
}

/// The build agent has the socket, and nothing more.
pub(crate) fn exposed(told: &Told) -> Result<()> {
    told.label("docker-engine", "dockerd")?;
    let mounts = told.sample("castoff_pod_exposure", &builder_words())?;
    ensure!(mounts == "1", "{mounts} mounts of the build agent");
    let exposures = &told.fleet["exposures"];
    ensure!(
        exposures["state"] == "known" && exposures["value"] == 1,
        "the fleet's exposures: {exposures}"
    );
    nobody_uses(told)
}

/// An engine that nobody uses.
pub(crate) fn idle(told: &Told) -> Result<()> {
    told.label("docker-engine", "dockerd")?;
    nobody_could(told)?;
    nobody_uses(told)
}

/// No Docker.
pub(crate) fn clear(told: &Told) -> Result<()> {
    told.label("docker-engine", "none")?;
    told.label("container-runtime", "containerd")?;
    let engines = &told.report["engines"];
    ensure!(
        engines["state"] == "absent" || engines["value"] == serde_json::json!([]),
        "engines: {engines}"
    );
    nobody_could(told)?;
    nobody_uses(told)
}

/// Metrics, report and fleet name namespace, workload and container.
fn names_the_builder(told: &Told) -> Result<()> {
    let connections = told.sample("castoff_pod_client_connections", &builder_words())?;
    ensure!(connections == "1", "{connections} connections of the build agent");
    let users = told.fleet["clients"]["value"]["users"]
        .as_array()
        .context("the fleet's users")?;
    let named = users.iter().find(|user| {
        let name = user["name"].as_str().unwrap_or_default();
        user["kind"] == "workload" && user["namespace"] == NAMESPACE && name == format!("Deployment {NAME}")
    });
    let named = named.with_context(|| format!("the fleet does not name the build agent: {users:?}"))?;
    ensure!(named["connections"] == 1, "the fleet says of the build agent: {named}");
    let findings = told.report["findings"].as_array().context("findings")?;
    let subject = format!("pod {NAMESPACE}/{NAME}-");
    let found = findings.iter().any(|finding| {
        let of = finding["subject"].as_str().unwrap_or_default();
        finding["code"] == "socket-client" && of.starts_with(&subject) && of.ends_with(&format!("({CONTAINER})"))
    });
    ensure!(found, "no finding names the build agent: {findings:?}");
    Ok(())
}

fn nobody_uses(told: &Told) -> Result<()> {
    let clients = &told.fleet["clients"];
    ensure!(
        clients["state"] == "known" && clients["value"]["now"] == 0 && clients["value"]["before"] == 0,
        "the fleet's clients: {clients}"
    );
    Ok(())
}

fn nobody_could(told: &Told) -> Result<()> {
    let exposures = &told.fleet["exposures"];
    ensure!(
        exposures["state"] == "known" && exposures["value"] == 0,
        "the fleet's exposures: {exposures}"
    );
    let sample = told
        .metrics
        .lines()
        .find(|line| line.starts_with("castoff_pod_exposure{"));
    ensure!(sample.is_none(), "a metric of an exposure: {sample:?}");
    Ok(())
}

/// Labels of the build agent's samples.
fn builder_words() -> [&'static str; 5] {
    [
        r#"namespace="builds""#,
        r#"pod="builder-"#,
        r#"container="build""#,
        r#"workload="builder""#,
        r#"workload_kind="Deployment""#,
    ]
}

/// Waits until the verdict is another one: a node keeps it for the window after the last of `seen` (the report's `clients` or
/// `exposures`), no look shorter and none longer.
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
        // Both are cut to whole seconds.
        let bound = WINDOW + Duration::from_secs(1);
        ensure!(time.since(last) <= bound, "{verdict} at {time}, last seen at {last}");
        thread::sleep(PERIOD / 4);
    }
    anyhow::bail!("{verdict} for {PATIENCE:?}: {:#}", release.report()?)
}

fn timestamp(value: &Value) -> Result<Timestamp> {
    serde_json::from_value(value.clone()).with_context(|| format!("{value} is no time"))
}
