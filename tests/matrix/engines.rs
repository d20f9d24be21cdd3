//! Docker and podman, over their own containers.

use std::path::Path;

use anyhow::Result;
use castoff_tests::lab::clients;
use castoff_tests::lab::docker::{Docker, Options};
use castoff_tests::lab::images;
use castoff_tests::lab::places::Place;
use castoff_tests::lab::podman::Podman;
use castoff_tests::lab::sockets::wait_for_connection;
use castoff_tests::lab::suites::{self, Suite};
use castoff_tests::matrix::{Kind, Plan, Seen};
use castoff_tests::report::{clients_of, list, report};
use serde_json::{Value, json};

const UNIT: &str = "castoff-matrix.service";

pub(crate) fn plans() -> Vec<Plan> {
    let docker = [
        ("20.10.5", Suite::Bullseye),
        ("20.10.24", Suite::Bookworm),
        ("26.1.", Suite::Trixie),
        ("28.5.", Suite::Sid),
    ];
    let podman = [
        ("3.0.", Suite::Bullseye),
        ("4.3.", Suite::Bookworm),
        ("5.4.", Suite::Trixie),
        ("5.8.", Suite::Sid),
    ];
    let source = |suite: Suite| format!("Debian {}", suite.name());
    let docker = docker.map(|(version, suite)| {
        Plan::new(Kind::Docker, version, source(suite), move |plan, _| {
            run_docker(plan, suite)
        })
    });
    let podman = podman.map(|(version, suite)| {
        Plan::new(Kind::Podman, version, source(suite), move |plan, _| {
            run_podman(plan, suite)
        })
    });
    docker.into_iter().chain(podman).collect()
}

fn run_docker(plan: &Plan, suite: Suite) -> Result<Seen> {
    let old = matches!(suite, Suite::Bullseye | Suite::Bookworm);
    let docker = Docker::start_with(&Options {
        programs: suites::programs(suite, suites::Kind::Docker)?,
        has_trust_key: old,
        lowers_oom_score: old,
        also_listen: Vec::new(),
        containerd: None,
        configuration: serde_json::Map::new(),
        by_loader: !old,
    })?;
    let version = docker.version()?;
    plan.expect(&version)?;
    let container = docker.run_client("agent", docker.socket(), ["hold", "/var/run/docker.sock"])?;
    let unit = clients::hold(docker.socket(), Place::unit(UNIT)?)?;
    wait_for_connection(container.pid()?, docker.socket())?;
    wait_for_connection(unit.holder(), docker.socket())?;
    engine(
        "dockerd",
        docker.socket(),
        docker.daemon().pid(),
        container.id(),
        version,
    )
}

fn run_podman(plan: &Plan, suite: Suite) -> Result<Seen> {
    let network = if suite == Suite::Bullseye { "cni" } else { "netavark" };
    let podman = Podman::start_with(suites::programs(suite, suites::Kind::Podman)?, network)?;
    let version = podman.version()?;
    plan.expect(&version)?;
    let container = podman.run_client("agent", podman.socket(), &["hold", "/var/run/docker.sock"])?;
    let unit = clients::hold(podman.socket(), Place::unit(UNIT)?)?;
    wait_for_connection(unit.holder(), podman.socket())?;
    engine(
        "podman",
        podman.socket(),
        podman.daemon().pid(),
        container.id(),
        version,
    )
}

/// What is true of an engine with a container called `agent` and a unit on its socket, whichever it is.
fn engine(kind: &str, socket: &Path, pid: u32, container: &str, version: String) -> Result<Seen> {
    let said = report([])?;
    let mut seen = Seen::default();
    seen.keep_gaps(&said);
    seen.version = version;
    let serves = |engine: &&Value| {
        let listeners = engine["listeners"].as_array().into_iter().flatten();
        listeners
            .into_iter()
            .any(|listener| listener["name"]["path"] == json!(socket))
    };
    let engines: Vec<&Value> = list(&said, "engines")?.iter().filter(serves).collect();
    seen.holds("engine", engines.len() == 1, || {
        format!("{engines:?} serve {}", socket.display())
    });
    if let Some(engine) = engines.first() {
        seen.is("engine", &engine["kind"], kind);
        seen.is("engine", &engine["process"]["pid"], pid);
        seen.is("scope", &engine["scope"], json!({ "kind": "host" }));
        let listeners = engine["listeners"].as_array().map_or(0, Vec::len);
        seen.holds("listener", listeners == 1, || engine["listeners"].to_string());
    }
    let mut clients = clients_of(&said, socket)?;
    clients.sort();
    let expected = [format!("{kind} container agent"), format!("unit {UNIT}")];
    seen.is("clients", &clients.into(), expected.to_vec());
    let shadows: Vec<Value> = list(&said, "shadowContainers")?
        .iter()
        .filter(|shadow| shadow["id"] == container)
        .map(|shadow| json!([shadow["engine"], shadow["name"]]))
        .collect();
    seen.is("shadow container", &shadows.into(), json!([[kind, "agent"]]));
    if kind == "dockerd" {
        let shadow = list(&said, "shadowContainers")?
            .iter()
            .find(|shadow| shadow["id"] == container);
        let image = shadow.map_or(&Value::Null, |shadow| &shadow["image"]);
        seen.is("image", image, images::LAB);
    }
    seen.is("verdict", &said["verdict"], "in-use");
    Ok(seen)
}
