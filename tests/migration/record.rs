//! Every verdict that was published, from three complete sources: a watch of the Node's label, a `castoff cluster` that
//! looks twice a second, and the agents' own logs, which have each change.

use std::fs;

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::daemon::Daemon;
use castoff_tests::lab::kubernetes::Cluster;
use castoff_tests::lab::release::{AGENTS, NAME, Release};
use serde_json::{Deserializer, Value};

use crate::node::NODE;

/// The verdicts of the steps, in order.
pub(crate) const VERDICTS: [&str; 5] = ["runtime", "in-use", "exposed", "idle", "clear"];

/// The three sources.
#[derive(Debug)]
pub(crate) struct Record {
    node: Daemon,
    fleet: Daemon,
}

impl Record {
    /// Starts recording.
    pub(crate) fn start(cluster: &Cluster, release: &Release<'_>) -> Result<Self> {
        let label = r#"jsonpath={.metadata.labels.castoff\.dev/docker-dependency}{"\n"}"#;
        let node = cluster.start_kubectl(["get", "node", NODE, "--watch", "-o", label])?;
        let mut castoff = release.fleet_command();
        castoff.args(["--watch", "--interval", "500ms", "-o", "json"]);
        let fleet = cluster.start_program("castoff-cluster", &castoff)?;
        Ok(Self { node, fleet })
    }

    /// Returns the verdicts in each source, without repetitions. `old_agent` is the log of the agent on dockershim.
    pub(crate) fn read(&self, cluster: &Cluster, old_agent: &str) -> Result<[(&'static str, Vec<String>); 3]> {
        let node = fs::read_to_string(self.node.log()).context("the watch of the Node")?;
        let fleet = fs::read(self.fleet.log()).context("the watch of the fleet")?;
        let new_agent = cluster.kubectl(["logs", "-n", NAME, "-l", AGENTS, "--tail=-1"])?;
        let logs = [verdicts_in_log(old_agent)?, verdicts_in_log(&new_agent)?].concat();
        Ok([
            (
                "label",
                changes(node.lines().filter(|line| !line.is_empty()).map(str::to_owned)),
            ),
            ("fleet", changes(verdicts_in_fleet(&fleet)?)),
            ("agents", changes(logs)),
        ])
    }
}

/// Fails unless these are the verdicts of the steps: `clear` only at the end, and from `in-use` on only its steps.
pub(crate) fn judge(seen: &[String]) -> Result<()> {
    let whole = seen.join(" ");
    let (start, end) = seen.split_at(seen.len().saturating_sub(VERDICTS.len() - 1));
    ensure!(
        end == &VERDICTS[1..],
        "does not end with {}: {whole}",
        VERDICTS[1..].join(" ")
    );
    ensure!(
        start.first().is_some_and(|first| first == VERDICTS[0]),
        "does not begin with {}: {whole}",
        VERDICTS[0]
    );
    ensure!(
        !start.iter().any(|verdict| verdict == "clear"),
        "clear while Docker was there: {whole}"
    );
    Ok(())
}

fn changes(all: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut changes: Vec<String> = all.into_iter().collect();
    changes.dedup();
    changes
}

/// Returns the verdicts in the log, which has each change in JSON lines.
fn verdicts_in_log(log: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for line in log.lines() {
        let event: Value = serde_json::from_str(line).with_context(|| format!("the agent's log: {line}"))?;
        let fields = &event["fields"];
        if fields["message"] == "verdict" {
            found.push(fields["verdict"].as_str().context("a verdict")?.to_owned());
        }
    }
    Ok(found)
}

/// Returns the verdicts of the fleet, with one document for each look; the last one may be incomplete.
fn verdicts_in_fleet(log: &[u8]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for document in Deserializer::from_slice(log).into_iter::<Value>() {
        let document = match document {
            Err(error) if error.is_eof() => break,
            document => document.with_context(|| String::from_utf8_lossy(log).into_owned())?,
        };
        let rows = document["nodes"].as_array().context("a list of nodes")?;
        found.extend(rows.iter().filter_map(|row| row["verdict"].as_str()).map(str::to_owned));
    }
    Ok(found)
}

#[test]
fn only_the_expected_verdicts_are_accepted() {
    let judged = |words: &str| judge(&words.split(' ').map(str::to_owned).collect::<Vec<_>>()).is_ok();
    assert!(judged("runtime in-use exposed idle clear"));
    assert!(judged("runtime unknown in-use idle in-use exposed idle clear"));
    for wrong in [
        "runtime",
        "in-use exposed idle clear",
        "runtime in-use exposed idle",
        "runtime clear in-use exposed idle clear",
        "runtime in-use clear exposed idle clear",
        "runtime in-use exposed unknown idle clear",
        "runtime in-use exposed idle clear unknown",
    ] {
        assert!(!judged(wrong), "{wrong}");
    }
}
