//! The whole way: clients of a real dockerd, a real agent, a real Prometheus with the shipped rules, and the alerts
//! that fire. Only the waiting times of alerts are shortened.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::containerd::Containerd;
use castoff_tests::lab::docker::Docker;
use castoff_tests::lab::pods::Pod;
use castoff_tests::lab::prometheus::{Prometheus, Tools};
use castoff_tests::lab::scene::{Cast, Scene};
use castoff_tests::lab::shipped::{SCRAPED, configuration, read_impatient_rules};
use castoff_tests::report::Agent;
use castoff_tests::wait;
use serde_json::{Value, json};

use crate::dashboards::{Target, targets};

/// It takes ten seconds, and ten times as long on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
const NODE: &str = "lab-node";

/// Queries that may return nothing here: dashboard, panel, letter, reason.
const MAY_BE_EMPTY: &[(&str, &str, &str, &str)] = &[
    (
        "fleet",
        "What could not be seen",
        "A",
        "a machine on which all can be seen has no gap",
    ),
    (
        "node",
        "What could not be seen",
        "A",
        "a machine on which all can be seen has no gap",
    ),
    ("node", "Open connections", "D", "every client of the lab can be named"),
    ("node", "New connections", "D", "every client of the lab can be named"),
    ("node", "New connections", "F", "a look may see every client of the lab"),
    ("node", "Requests", "A", SILENT),
    ("node", "Requests", "B", SILENT),
    ("node", "Requests", "C", SILENT),
    ("node", "Requests", "D", SILENT),
    ("node", "Open connections", "E", FROM_ELSEWHERE),
    ("node", "New connections", "E", FROM_ELSEWHERE),
    ("node", "Other machines that use Docker", "A", FROM_ELSEWHERE),
    ("node", "Other machines that use Docker", "B", FROM_ELSEWHERE),
    ("node", "Other machines that use Docker", "C", FROM_ELSEWHERE),
    ("fleet", "Other machines that use Docker", "A", FROM_ELSEWHERE),
    ("fleet", "Other machines that use Docker", "B", FROM_ELSEWHERE),
    ("fleet", "Other machines that use Docker", "C", FROM_ELSEWHERE),
];
const SILENT: &str = "the lab's clients connect and ask for nothing";
const FROM_ELSEWHERE: &str = "no other machine connects to the lab's Docker";

#[test]
fn alerts_fire_for_the_right_clients_and_dashboards_have_data() -> Result<()> {
    let docker = Docker::start()?;
    let runtime = Containerd::start()?;
    let cast = Cast {
        builder: Pod::new("alerts", "builder-7d9c5b6f4-x2v8q").label("pod-template-hash", "7d9c5b6f4"),
        shipper: Pod::new("alerts", "shipper-x7k2p").label("controller-revision-hash", "7d9c5b6f4"),
        container: "alerts-agent",
        unit: "castoff-lab-alerts.service",
    };
    let scene = Scene::set(&docker, &runtime, cast)?;

    let folder = tempfile::tempdir()?;
    let state = folder.path().join("state.json").display().to_string();
    let (endpoint, version) = (runtime.endpoint(), runtime.version()?);
    let agent = Agent::start([
        "--runtime-endpoint",
        &endpoint,
        "--period",
        "1s",
        "--node-name",
        NODE,
        "--state",
        &state,
    ])?;
    promtool_accepts(&agent.get("/metrics")?)?;

    let rules = folder.path().join("castoff.rules.yaml");
    std::fs::write(&rules, read_impatient_rules()?)?;
    let kube_state_metrics = kube_state_metrics()?;
    let prometheus = Prometheus::start(&configuration(&rules, agent.address(), Some(&kube_state_metrics)))?;

    let socket_client = |labels: Value| ("CastoffSocketClientNew", labels);
    wait_for_alerts(
        &prometheus,
        &[
            socket_client(
                json!({ "who": "pod", "node": NODE, "namespace": "alerts", "workload": "builder",
                              "workload_kind": "Deployment", "container": "build", "cluster": "lab",
                              "severity": "warning" }),
            ),
            socket_client(json!({ "who": "host", "node": NODE, "unit": "castoff-lab-alerts.service", "uid": "0" })),
            socket_client(
                json!({ "who": "engine-container", "node": NODE, "name": "alerts-agent", "owner": "dockerd" }),
            ),
            (
                "CastoffSocketExposure",
                json!({ "namespace": "alerts", "workload": "shipper", "container": "ship" }),
            ),
            (
                "CastoffShadowContainers",
                json!({ "node": NODE, "engine": "dockerd", "severity": "info" }),
            ),
            ("CastoffKubeletCeilingReached", json!({ "node": NODE, "minor": "37" })),
            ("CastoffRuntimeLosesKubelet", json!({ "cluster": "lab", "minor": "37" })),
            (
                "CastoffRuntimeEndOfLife",
                json!({ "name": "containerd", "version": version }),
            ),
            ("CastoffAbsent", json!({ "node": "lab-other", "where": "node" })),
        ],
    )?;
    nothing_blames_the_agent(&prometheus)?;
    each_panel_has_data(&prometheus)?;
    looks_with_nothing_to_write_are_not_counted_as_writes(&agent)?;

    // The runtime cannot be asked any more. The alert that it is out of support lasts until that is reported.
    drop((scene.pods, runtime));
    wait_for_alerts(
        &prometheus,
        &[
            (
                "CastoffBlind",
                json!({ "node": NODE, "why": "source", "source": "runtime" }),
            ),
            ("CastoffRuntimeEndOfLife", json!({ "name": "containerd" })),
        ],
    )?;

    assert_eq!(agent.stop()?, Some(0));
    // The clients still run and no agent looks: their alerts stay until that is reported.
    wait_for_alerts(
        &prometheus,
        &[
            ("CastoffAbsent", json!({ "node": NODE, "where": "node" })),
            ("CastoffAbsent", json!({ "where": "everywhere" })),
            socket_client(json!({ "who": "pod", "workload": "builder" })),
        ],
    )
}

/// Serves the metrics of kube-state-metrics for the agent's node and for one without an agent. Returns its address.
fn kube_state_metrics() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let info = |node: &str| {
        format!(
            "kube_node_info{{node=\"{node}\",kubelet_version=\"v1.37.1\",os_image=\"Debian GNU/Linux 12 (bookworm)\"}} 1\n"
        )
    };
    let body = info(NODE) + &info("lab-other");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = |mut stream: std::net::TcpStream| {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request)?;
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                )
            };
            if let Err(error) = stream.and_then(answer) {
                eprintln!("kube-state-metrics' double: {error}");
            }
        }
    });
    Ok(address)
}

fn promtool_accepts(metrics: &str) -> Result<()> {
    let mut promtool = Tools::debian()?.promtool();
    promtool
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut running = promtool.spawn().context("start promtool")?;
    running.stdin.take().context("a pipe")?.write_all(metrics.as_bytes())?;
    let said = running.wait_with_output()?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
    ensure!(
        said.status.success() && text.is_empty(),
        "promtool: {}\n{text}",
        said.status
    );
    Ok(())
}

fn firing(prometheus: &Prometheus) -> Result<Vec<Value>> {
    let data = prometheus.api("alerts", &[])?;
    let alerts = data["alerts"].as_array().context("a list of alerts")?;
    let fires = |alert: &&Value| alert["state"] == "firing";
    Ok(alerts
        .iter()
        .filter(fires)
        .map(|alert| alert["labels"].clone())
        .collect())
}

/// Waits until each of these alerts fires with at least these labels.
fn wait_for_alerts(prometheus: &Prometheus, wanted: &[(&str, Value)]) -> Result<()> {
    wait::until("alerts", PATIENCE, || {
        let firing = firing(prometheus)?;
        let fires = |name: &str, labels: &Value| {
            let has = |alert: &Value| {
                labels
                    .as_object()
                    .is_some_and(|all| all.iter().all(|(k, v)| alert[k] == *v))
            };
            firing.iter().any(|alert| alert["alertname"] == name && has(alert))
        };
        let missing: Vec<_> = wanted.iter().filter(|(name, labels)| !fires(name, labels)).collect();
        ensure!(
            missing.is_empty(),
            "does not fire: {missing:?}\nfires: {firing:#?}\n{}",
            prometheus.daemon().log_tail()
        );
        Ok(())
    })
}

/// A look after which castoff has nothing to write does not show whether the state file can be written.
fn looks_with_nothing_to_write_are_not_counted_as_writes(agent: &Agent) -> Result<()> {
    let written = agent.metric(r#"castoff_state_writes_total{outcome="written"}"#)?;
    let looks = agent.metric("castoff_cycles_total")?;
    let (written, looks) = written.zip(looks).context("both are counted")?;
    ensure!(0.0 < written && written < looks, "{written} writes in {looks} looks");
    Ok(())
}

/// The scrape adds the agent's own pod to a series without a pod. No alert may use it.
fn nothing_blames_the_agent(prometheus: &Prometheus) -> Result<()> {
    let of_agent = format!("{{pod=\"{SCRAPED}\"}}");
    ensure!(
        !prometheus
            .query(&format!("castoff_host_client_connections{of_agent}"))?
            .is_empty(),
        "nothing is filled in"
    );
    assert_eq!(
        prometheus.query(&format!("{{__name__=~\"castoff_pod_.*\", pod=\"{SCRAPED}\"}}"))?,
        [Value::Null; 0]
    );
    for alert in firing(prometheus)? {
        ensure!(
            alert["pod"] != SCRAPED && alert["namespace"] != "castoff" && alert["job"].is_null(),
            "{alert}"
        );
    }
    // A name in kube-state-metrics joins.
    let join = "castoff_pod_client_connections * on (namespace, pod) group_left () group by (namespace, pod) (castoff_pod_exposure)";
    ensure!(!prometheus.query(join)?.is_empty(), "a pod's labels do not join");
    Ok(())
}

fn each_panel_has_data(prometheus: &Prometheus) -> Result<()> {
    let mut empty = Vec::new();
    for target in &targets()? {
        let allowed = |(dashboard, panel, letter, _): &&(&str, &str, &str, &str)| {
            target.dashboard == *dashboard && target.panel == *panel && target.letter == *letter
        };
        let Target {
            dashboard,
            panel,
            letter,
            ..
        } = target;
        let asked = target.asked("lab", NODE, "10s");
        let series = prometheus.query(&asked)?;
        if series.is_empty() && !MAY_BE_EMPTY.iter().any(|entry| allowed(&entry)) {
            empty.push(format!("{dashboard}, {panel}, {letter}: {asked}"));
        }
        let not_a_number = |one: &&Value| one["value"][1] == "NaN";
        if let Some(one) = series.iter().find(not_a_number) {
            empty.push(format!("{dashboard}, {panel}, {letter}: {one}"));
        }
    }
    ensure!(empty.is_empty(), "no data:\n{}", empty.join("\n"));
    Ok(())
}
