//! The API server is killed for a minute while the agent publishes.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::helm::Helm;
use castoff_tests::wait;
use serde_json::Value;

use crate::site::{NODE, OFTEN, PATIENCE, Site, on_a_cluster};

/// Longer than the first four waits together: 5, 10, 20, 40 s, each spread over half to one and a half of its length.
const AWAY: Duration = Duration::from_secs(60);
const AGENT: &str = "system:serviceaccount:castoff:castoff";

#[test]
fn the_agent_keeps_its_state_and_publishes_again_without_a_burst() -> Result<()> {
    on_a_cluster(|site| {
        // Without an API server nobody could check a reader.
        site.release().install(Helm::Four, &[OFTEN, "http.auth=none"])?;
        let docker = site.cluster.start_docker()?;
        site.deploy_builder(docker.socket())?;
        let pod = site.release().agent()?;
        let address = pod["status"]["podIP"].as_str().context("a pod's address")?.to_owned();
        site.wait_for_builder(|| report(site, &address))?;
        let first_seen = first_seen(&report(site, &address)?)?;
        let asked_before = site.cluster.requests_of(AGENT)?.len();

        site.cluster.kill_api_server()?;
        let killed = Instant::now();
        // A change to publish while the API server is away: the label of the engine.
        drop(docker);
        let attempts = watch_it_try(site, &address, killed)?;
        site.cluster.start_api_server()?;

        wait::until("labels that are published again", Duration::from_secs(150), || {
            let metrics = site.page_at(&address, "metrics")?;
            ensure!(
                sample(&metrics, r#"castoff_labels_state{way="api",state="published"}"#)? > 0.0,
                "{metrics}"
            );
            Ok(())
        })?;
        same_pod(site, &pod)?;
        let now = self::first_seen(&report(site, &address)?)?;
        ensure!(now == first_seen, "first seen {now} in place of {first_seen}");
        // In the whole time since, as the API server's audit log counts.
        let asked = site.cluster.requests_of(AGENT)?.len() - asked_before;
        println!(
            "away for {} s: {attempts} attempts in vain, then {asked} requests",
            AWAY.as_secs()
        );
        ensure!(attempts <= 8.0, "{attempts} attempts in vain");
        ensure!((1..=4).contains(&asked), "{asked} requests after it came back");
        site.wait_for_verdict("in-use")
    })
}

/// Watches the agent until the time is over: it serves, continues its looks, and reports that it cannot publish.
/// Returns the number of its attempts.
fn watch_it_try(site: &Site, address: &str, since: Instant) -> Result<f64> {
    let mut tried = 0.0;
    let mut said = false;
    while since.elapsed() < AWAY {
        let metrics = site.page_at(address, "metrics").context("the agent does not serve")?;
        said |= sample(&metrics, r#"castoff_labels_state{way="api",state="unreachable"}"#)? > 0.0;
        tried = ["read", "write"]
            .iter()
            .map(|verb| {
                let sample_of =
                    format!(r#"castoff_labels_requests_total{{way="api",verb="{verb}",outcome="unreachable"}}"#);
                sample(&metrics, &sample_of)
            })
            .sum::<Result<f64>>()?;
        thread::sleep(Duration::from_secs(1));
    }
    ensure!(said, "the agent never said that the API server is unreachable");
    ensure!(tried >= 2.0, "{tried} attempts: the backoff was not crossed");
    Ok(tried)
}

fn sample(metrics: &str, name: &str) -> Result<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    let value = line.with_context(|| format!("no {name} in {metrics}"))?;
    value.trim().parse().with_context(|| format!("the value of {name}"))
}

/// Fails unless the pod is not restarted and still ready.
fn same_pod(site: &Site, before: &Value) -> Result<()> {
    wait::until("the agent's pod ready", PATIENCE, || {
        let now = site.release().agent()?;
        let (was, is) = (
            &before["status"]["containerStatuses"][0],
            &now["status"]["containerStatuses"][0],
        );
        ensure!(now["metadata"]["uid"] == before["metadata"]["uid"], "another pod");
        ensure!(
            is["containerID"] == was["containerID"] && is["restartCount"] == 0 && is["ready"] == true,
            "{is} in place of {was}"
        );
        Ok(())
    })
}

fn report(site: &Site, address: &str) -> Result<Value> {
    serde_json::from_str(&site.page_at(address, "api/v1/report")?).context("a report")
}

/// Returns the time when the builder was first seen.
fn first_seen(report: &Value) -> Result<String> {
    let clients = report["clients"]["value"].as_array().into_iter().flatten();
    let mut builders = clients.filter(|client| client["identity"]["namespace"] == "builds");
    let builder = builders
        .next()
        .with_context(|| format!("no builder on {NODE}: {}", report["clients"]))?;
    Ok(builder["firstSeen"].to_string())
}
