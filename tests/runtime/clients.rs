//! The main job: every kind of client of a real Docker, named by its pod, container, unit or user.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use castoff_tests::lab::clients::{self, Connector};
use castoff_tests::lab::containerd::Containerd;
use castoff_tests::lab::containers::Container;
use castoff_tests::lab::docker::Docker;
use castoff_tests::lab::places::{ORDINARY_UID, Place};
use castoff_tests::lab::podman::Podman;
use castoff_tests::lab::pods::Pod;
use castoff_tests::lab::scene::{Cast, Scene};
use castoff_tests::report::{Agent, check, clients_of, list, report};
use serde_json::{Value, json};

const CLIENT: &str = "castoff-client";

#[test]
fn a_pod_a_unit_a_docker_container_and_a_rootless_client_are_named() -> Result<()> {
    let docker = Docker::start()?;
    docker.open_to_all()?;
    let runtime = Containerd::start()?;
    let cast = Cast {
        builder: Pod::new("builds", "builder-0"),
        shipper: Pod::new("logging", "shipper-x"),
        container: "agent",
        unit: "castoff-lab-backup.service",
    };
    let _scene = Scene::set(&docker, &runtime, cast)?;
    let _rootless = clients::hold(docker.socket(), Place::rootless().network_namespace())?;

    let endpoint = runtime.endpoint();
    let expected = |mut who: Vec<String>| {
        who.sort();
        assert_eq!(
            who,
            [
                format!("{} of {ORDINARY_UID}", program(&who)),
                "dockerd container agent".into(),
                "pod builds/builder-0/build".into(),
                "unit castoff-lab-backup.service".into(),
            ]
        );
    };
    let seen = report(["--runtime-endpoint", &endpoint])?;
    expected(clients_of(&seen, docker.socket())?);
    assert_eq!(seen["verdict"], "in-use");
    assert_eq!(seen["runtime"]["value"]["name"], "containerd");
    assert_eq!(seen["runtime"]["value"]["version"], runtime.version()?);
    assert_eq!(seen["runtime"]["value"]["api"], "v1");
    assert_eq!(seen["runtime"]["value"]["cgroupDriver"], json!({ "state": "absent" }));
    assert_eq!(seen["kubeletCeiling"]["value"], json!({ "kind": "minor", "minor": 37 }));

    let exposures = list(&seen, "exposures")?;
    let exposure = |pod: &str| {
        exposures
            .iter()
            .find(|e| e["pod"] == pod)
            .with_context(|| format!("{exposures:?}"))
    };
    let (used, unused) = (exposure("builder-0")?, exposure("shipper-x")?);
    assert_eq!((&used["used"], &used["via"]), (&json!(true), &json!("socket")));
    assert_eq!((&unused["used"], &unused["via"]), (&json!(false), &json!("directory")));
    assert_eq!(unused["readonly"], true);
    // Other programs on the machine may have containers too.
    let shadows = list(&seen, "shadowContainers")?;
    assert!(shadows.iter().any(|s| s["name"] == "agent"), "{shadows:?}");

    let table = check(["--runtime-endpoint", &endpoint])?;
    assert_eq!(table.status.code(), Some(1));
    let table = String::from_utf8(table.stdout)?;
    for name in [
        "builds/builder-0",
        "castoff-lab-backup.service",
        "agent",
        &ORDINARY_UID.to_string(),
        "logging/shipper-x",
    ] {
        assert!(table.contains(name), "{name} in\n{table}");
    }

    let agent = Agent::start(["--runtime-endpoint", &endpoint, "--period", "1s"])?;
    expected(clients_of(&agent.report()?, docker.socket())?);
    let of_engine = r#"engine="dockerd",scope="host""#;
    for sample in [
        format!(
            r#"castoff_pod_client_connections{{namespace="builds",pod="builder-0",container="build",workload="builder-0",workload_kind="Pod",{of_engine}}}"#
        ),
        format!(r#"castoff_engine_container_client_connections{{name="agent",owner="dockerd",{of_engine}}}"#),
        r#"castoff_node_verdict{verdict="in-use"}"#.to_owned(),
    ] {
        assert_eq!(
            agent.metric(&sample)?,
            Some(1.0),
            "{sample} in\n{}",
            agent.get("/metrics")?
        );
    }
    assert_eq!(agent.stop()?, Some(0));
    Ok(())
}

/// Returns the name of the lab's client, which is the file name that it was compiled to.
fn program(who: &[String]) -> String {
    let of_user = format!(" of {ORDINARY_UID}");
    who.iter()
        .find_map(|w| w.strip_suffix(&of_user))
        .unwrap_or(CLIENT)
        .to_owned()
}

#[test]
fn every_holder_of_the_descriptor_is_named_and_not_only_the_connector() -> Result<()> {
    let docker = Docker::start()?;
    for hand in [clients::hand_by_fork, clients::hand_by_message] {
        let client = hand(docker.socket(), Connector::Leaves, Place::host())?;
        assert_eq!(holders(&report([])?, docker.socket())?, [client.holder()]);
    }
    Ok(())
}

#[test]
fn a_service_that_does_not_accept_has_clients_that_wait() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("docker.sock");
    let _server = clients::listen(&socket, Place::host())?;
    let client = clients::hold(&socket, Place::host().network_namespace())?;
    let seen = report([])?;
    assert_eq!(holders(&seen, &socket)?, [client.holder()]);
    let clients = list(&seen, "clients")?;
    let client = clients
        .iter()
        .find(|c| c["listener"]["path"] == json!(socket))
        .context("it is there")?;
    assert_eq!((&client["connections"], &client["pending"]), (&json!(0), &json!(1)));
    Ok(())
}

#[test]
fn a_socket_under_another_name_is_the_same_socket() -> Result<()> {
    let docker = Docker::start()?;
    let runtime = Containerd::start()?;
    let folder = tempfile::tempdir()?;
    let link = folder.path().join("innocent");
    std::os::unix::fs::symlink(docker.socket(), &link)?;
    let pod = runtime.run(Pod::new("builds", "renamed"))?;
    pod.start(Container::client("by-link", ["hold", "/x"]).mount(&link, "/x"))?;
    pod.start(Container::sleeper("unused").mount(&link, "/y"))?;

    let seen = report(["--runtime-endpoint", &runtime.endpoint()])?;
    assert_eq!(clients_of(&seen, docker.socket())?, ["pod builds/renamed/by-link"]);
    let exposures = list(&seen, "exposures")?;
    let used: Vec<_> = exposures
        .iter()
        .map(|e| (e["container"].clone(), e["used"].clone(), e["via"].clone()))
        .collect();
    let socket = json!("socket");
    assert_eq!(
        used,
        [
            (json!("by-link"), json!(true), socket.clone()),
            (json!("unused"), json!(false), socket)
        ]
    );
    Ok(())
}

#[test]
fn clients_of_roots_and_a_users_podman_are_named() -> Result<()> {
    let system = Podman::start()?;
    let user = Podman::start_rootless()?;
    let _a = clients::hold(system.socket(), Place::unit("castoff-lab-ci.service")?)?;
    let _b = clients::hold(user.socket(), Place::rootless())?;
    let seen = report([])?;
    let scope = |socket: &Path| -> Result<Value> {
        let serves = |e: &&Value| {
            e["listeners"]
                .as_array()
                .is_some_and(|all| all.iter().any(|l| l["name"]["path"] == json!(socket)))
        };
        let engine = list(&seen, "engines")?
            .iter()
            .find(serves)
            .with_context(|| format!("no engine at {socket:?}: {seen:#}"))?;
        assert_eq!(engine["kind"], "podman");
        Ok(engine["scope"].clone())
    };
    assert_eq!(scope(system.socket())?, json!({ "kind": "host" }));
    assert_eq!(scope(user.socket())?, json!({ "kind": "user", "uid": ORDINARY_UID }));
    assert_eq!(clients_of(&seen, system.socket())?, ["unit castoff-lab-ci.service"]);
    assert_eq!(clients_of(&seen, user.socket())?.len(), 1);
    Ok(())
}

#[test]
fn an_engine_in_a_pod_is_docker_in_docker() -> Result<()> {
    let runtime = Containerd::start()?;
    let pod = runtime.run(Pod::new("ci", "runner"))?;
    pod.start(Container::client("dind", ["listen", "/docker.sock"]))?;
    let seen = report(["--runtime-endpoint", &runtime.endpoint()])?;
    let findings = seen["findings"].as_array().context("findings")?;
    let found = findings
        .iter()
        .find(|f| f["code"] == "docker-in-docker")
        .with_context(|| format!("{findings:#?}"))?;
    assert_eq!(found["subject"], "pod ci/runner (dind)");
    Ok(())
}

#[test]
fn a_sample_finds_clients_that_come_and_go() -> Result<()> {
    let docker = Docker::start()?;
    // Longer than a look takes on a busy machine. A client that no look sees would also be reported from the socket's
    // times.
    let (hold, pause) = (Duration::from_millis(700), Duration::from_millis(20));
    let _client = clients::blink(docker.socket(), hold, pause, Place::unit("castoff-lab-cron.service")?)?;
    let seen = report(["--sample", "4s"])?;
    assert_eq!(clients_of(&seen, docker.socket())?, ["unit castoff-lab-cron.service"]);
    let clients = list(&seen, "clients")?;
    let client = clients
        .iter()
        .find(|c| c["listener"]["path"] == json!(docker.socket()))
        .context("it is there")?;
    assert!(client["connects"].as_u64().is_some_and(|n| n > 2), "{client}");
    Ok(())
}

/// Returns the pids that hold connections to `socket`.
fn holders(report: &Value, socket: &Path) -> Result<Vec<u32>> {
    let clients = list(report, "clients")?
        .iter()
        .filter(|c| c["listener"]["path"] == json!(socket));
    let holders = clients.flat_map(|c| c["holders"].as_array().into_iter().flatten());
    holders
        .map(|h| h["pid"].as_u64().and_then(|p| u32::try_from(p).ok()).context("a pid"))
        .collect()
}
