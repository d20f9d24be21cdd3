//! The parts of what is shipped that tests use: the alerts, with seconds instead of minutes, with a scrape configuration
//! for the lab's Prometheus; and the limit of memory in the chart's values.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// The cluster's name, which the scrape adds.
pub const CLUSTER: &str = "lab";
/// The name of the agent's own pod, which the scrape adds like prometheus-operator does. No alert may ever blame it.
pub const SCRAPED: &str = "castoff-agent-2wxyz";

/// Returns the limit of the agent's memory in the chart's values, in bytes.
///
/// # Errors
/// The values have none, or not in MiB.
pub fn memory_limit() -> Result<u64> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/castoff/values.yaml");
    let values = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    let values: Value = serde_saphyr::from_str(&values)?;
    let limit = values["resources"]["limits"]["memory"].as_str();
    let limit = limit.and_then(|limit| limit.strip_suffix("Mi")?.parse::<u64>().ok());
    Ok(limit.context("a limit of memory in MiB")? << 20)
}

/// Returns the shipped alerts, none of which waits longer than two seconds. Conditions must hold until daemons have
/// ended, which takes longer on a busy machine.
pub fn read_impatient_rules() -> Result<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/alerts/castoff.rules.yaml");
    let rules = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    let shortened = |line: &str| {
        let indent = &line[..line.len() - line.trim_start().len()];
        match line.trim_start().split(": ").next() {
            Some("for") => format!("{indent}for: 2s\n"),
            Some("keep_firing_for") => format!("{indent}keep_firing_for: 2m\n"),
            _ => format!("{line}\n"),
        }
    };
    Ok(rules.lines().map(shortened).collect())
}

/// Returns a Prometheus configuration that evaluates the file `rules`, and scrapes an agent each second, and
/// kube-state-metrics if it is given, by their addresses `HOST:PORT`.
pub fn configuration(rules: &Path, agent: &str, kube_state_metrics: Option<&str>) -> String {
    let job = |name: &str, address: &str, labels: Value| json!({ "job_name": name, "honor_labels": true, "static_configs": [{ "targets": [address], "labels": labels }] });
    let agent = job(
        "castoff",
        agent,
        json!({ "cluster": CLUSTER, "namespace": "castoff", "pod": SCRAPED, "container": "castoff" }),
    );
    let state = kube_state_metrics.map(|address| job("kube-state-metrics", address, json!({ "cluster": CLUSTER })));
    let jobs: Vec<Value> = [agent].into_iter().chain(state).collect();
    // JSON is YAML.
    json!({
        "global": { "scrape_interval": "1s", "evaluation_interval": "1s" },
        "rule_files": [rules],
        "scrape_configs": jobs,
    })
    .to_string()
}
