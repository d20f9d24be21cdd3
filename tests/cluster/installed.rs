//! The installed chart: a pod that uses Docker is in every output of castoff.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::castoff_binary;
use castoff_tests::lab::helm::Helm;
use castoff_tests::lab::release::NAME;
use castoff_tests::report::{list, who};
use castoff_tests::wait;
use serde_json::Value;

use crate::site::{NODE, OFTEN, PATIENCE, Site, on_a_cluster};

#[test]
fn a_pod_that_uses_docker_is_in_labels_metrics_events_and_the_fleet() -> Result<()> {
    on_a_cluster(|site| {
        site.release()
            .install(Helm::Four, &[OFTEN, "events.enabled=true", EVENTS])?;
        the_pod_runs_the_image(site)?;
        // No engine is visible on the stage, whatever the machine has.
        site.wait_for_verdict("clear")?;
        labels_are_selected_by_their_time(site)?;

        let docker = site.cluster.start_docker()?;
        site.deploy_builder(docker.socket())?;
        site.wait_for_builder(|| site.release().report())?;
        let labels = site.release().labels(NODE)?;
        ensure!(labels["container-runtime"] == "containerd", "{labels:?}");
        ensure!(labels["docker-engine"] == "dockerd", "{labels:?}");
        wait::until("metrics that name the builder", PATIENCE, || the_metrics_name_it(site))?;
        wait::until("an event on the builder", PATIENCE, || events_are_on_the_pod(site))?;
        site.run_step(docker.socket())?;
        wait::until("a client that was there for a moment", PATIENCE, || {
            the_step_is_named(site)
        })?;
        the_fleet_names_it(site)
    })
}

/// The method that the test machine's kernel allows.
const EVENTS: &str = "connectEvents=tracepoint";

/// The unprivileged agent's kernel program records a pod that has ended.
fn the_step_is_named(site: &Site) -> Result<()> {
    let report = site.release().report()?;
    let events = &report["connectEvents"]["value"];
    ensure!(events["method"] == "syscall-exit", "{events:#}");
    ensure!(events["selfTest"]["failure"].is_null(), "{events:#}");
    let clients = list(&report, "clients")?;
    let step = clients
        .iter()
        .find(|client| who(&client["identity"]) == "pod builds/step/ask")
        .with_context(|| format!("no client of the step: {clients:#?}"))?;
    ensure!(step["origin"] == "event" && step["connects"] == 1, "{step:#}");
    Ok(())
}

/// Selects by the expression in the documentation: now, and in seven hours.
fn labels_are_selected_by_their_time(site: &Site) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    for (at, wanted) in [(now, format!("node/{NODE}")), (now + 7 * 3600, String::new())] {
        let selector = format!("castoff.dev/docker-dependency=clear,castoff.dev/valid-until>{at}");
        let selected = site.cluster.kubectl(["get", "nodes", "-o", "name", "-l", &selector])?;
        ensure!(selected == wanted, "{selected:?} in place of {wanted:?} by {selector}");
    }
    Ok(())
}

/// There is one pod, ready, with the image that was built, and it runs on the node whose Docker is used below.
fn the_pod_runs_the_image(site: &Site) -> Result<()> {
    let daemons = site.cluster.get(["daemonset", NAME, "-n", NAME])?;
    let status = &daemons["status"];
    ensure!(
        status["numberReady"] == 1 && status["desiredNumberScheduled"] == 1,
        "the DaemonSet: {status}"
    );
    let pod = site.release().agent()?;
    let spec = &pod["spec"]["containers"][0];
    ensure!(spec["securityContext"]["privileged"] == false, "{spec}");
    let report: Value = serde_json::from_str(&site.release().page("api/v1/report")?)?;
    ensure!(report["node"] == NODE, "the report is of {}", report["node"]);
    let runtime = &report["runtime"]["value"];
    ensure!(runtime["name"] == "containerd", "its runtime is {runtime}");
    Ok(())
}

fn the_metrics_name_it(site: &Site) -> Result<()> {
    let metrics = site.release().page("metrics")?;
    let line = metrics
        .lines()
        .find(|line| line.starts_with("castoff_pod_client_connections{"))
        .context("no metric names a pod that is a client")?;
    for label in [
        r#"namespace="builds""#,
        r#"pod="builder-"#,
        r#"container="build""#,
        r#"workload="builder""#,
        r#"workload_kind="Deployment""#,
        r#"engine="dockerd""#,
    ] {
        ensure!(line.contains(label), "no {label} in {line}");
    }
    Ok(())
}

/// There is one event for each new client, on the pod itself, where `kubectl describe pod` shows it.
fn events_are_on_the_pod(site: &Site) -> Result<()> {
    let events = site.cluster.get(["events.events.k8s.io", "-n", "builds"])?;
    let events = events["items"].as_array().context("no list of events")?;
    let by_castoff: Vec<&Value> = events
        .iter()
        .filter(|event| {
            event["reportingController"]
                .as_str()
                .is_some_and(|by| by.starts_with("castoff.dev/"))
        })
        .collect();
    ensure!(!by_castoff.is_empty(), "castoff has made no event");
    for event in by_castoff {
        let pod = &event["regarding"];
        ensure!(pod["kind"] == "Pod" && event["related"]["name"] == NODE, "{event}");
        ensure!(
            pod["name"].as_str().is_some_and(|name| name.starts_with("builder-")),
            "{event}"
        );
        ensure!(
            event["type"] == "Warning" && event["note"].as_str().is_some_and(|note| !note.is_empty()),
            "{event}"
        );
    }
    Ok(())
}

/// Runs `castoff cluster` with an administrator's kubeconfig.
fn the_fleet_names_it(site: &Site) -> Result<()> {
    // A node whose kubelet never existed.
    site.cluster.apply(&serde_json::json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": "node-2", "labels": { "kubernetes.io/os": "linux" } },
    }))?;
    wait::until("node-1 in use and node-2 unknown", PATIENCE, || {
        let fleet = site.release().fleet()?;
        let nodes = fleet["nodes"].as_array().context("no list of nodes")?;
        let verdict = |name: &str| {
            let node = nodes.iter().find(|node| node["name"] == name || node["node"] == name);
            node.map_or(Value::Null, |node| node["verdict"].clone())
        };
        ensure!(
            verdict(NODE) == "in-use" && verdict("node-2") == "unknown",
            "the fleet: {fleet}"
        );
        Ok(())
    })?;
    let mut castoff = site.cluster.command(castoff_binary()?);
    let output = castoff.args(["cluster", "--colour", "never"]).output()?;
    let table = String::from_utf8_lossy(&output.stdout);
    ensure!(table.contains("builder"), "no builder in the table:\n{table}");
    Ok(())
}
