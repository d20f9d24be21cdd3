//! The workloads of a real runtime's pods, from the labels that it keeps. A rollout makes no new client.

use anyhow::{Context, Result};
use castoff_tests::fake::api::FakeApi;
use castoff_tests::lab::containerd::Containerd;
use castoff_tests::lab::containers::Container;
use castoff_tests::lab::docker::Docker;
use castoff_tests::lab::pods::{Pod, RunningPod};
use castoff_tests::report::{Agent, clients_of, list};
use serde_json::{Value, json};

/// Returns a pod like a Deployment's replica set creates it.
fn replica(hash: &str) -> Pod {
    Pod::new("builds", format!("builder-{hash}-x2v8q")).label("pod-template-hash", hash)
}

fn hold(runtime: &Containerd, docker: &Docker, pod: Pod) -> Result<RunningPod> {
    let pod = runtime.run(pod)?;
    let client = Container::client("build", ["hold", "/var/run/docker.sock"]);
    pod.start(client.mount(docker.socket(), "/var/run/docker.sock"))?;
    Ok(pod)
}

/// Returns the one client of the socket.
fn client(report: &Value, docker: &Docker) -> Result<Value> {
    let of_socket = |c: &&Value| c["listener"]["path"] == json!(docker.socket());
    let mut clients = list(report, "clients")?.iter().filter(of_socket);
    let client = clients.next().context("a client")?.clone();
    assert_eq!(clients.next(), None, "one client");
    Ok(client)
}

#[test]
fn a_rollout_is_the_same_client() -> Result<()> {
    let docker = Docker::start()?;
    let runtime = Containerd::start()?;
    let state = tempfile::tempdir()?;
    let state = state.path().join("state.json");
    let endpoint = runtime.endpoint();
    let arguments = [
        "--runtime-endpoint",
        &endpoint,
        "--period",
        "1s",
        "--state",
        state.to_str().context("UTF-8")?,
    ];
    let old = hold(&runtime, &docker, replica("7d9c5b6f4"))?;
    let agent = Agent::start(arguments)?;
    let before = client(&agent.report()?, &docker)?;
    let workload = json!({ "kind": "Deployment", "name": "builder", "certain": true });
    assert_eq!(before["identity"]["workload"], workload);
    assert_eq!(before["podUid"], old.uid());
    drop(old);
    agent.wait_until("it is gone", |agent| {
        Ok(client(&agent.report()?, &docker)?["connections"] == 0)
    })?;
    assert_eq!(agent.stop()?, Some(0));

    // The agent is upgraded meanwhile.
    let new = hold(&runtime, &docker, replica("5f6b7c8d9"))?;
    let agent = Agent::start(arguments)?;
    let after = client(&agent.report()?, &docker)?;
    assert_eq!(after["identity"]["pod"], "builder-5f6b7c8d9-x2v8q");
    assert_eq!(after["firstSeen"], before["firstSeen"]);
    assert_eq!(
        (&after["connections"], &after["podUid"]),
        (&json!(1), &json!(new.uid()))
    );
    let of = r#"namespace="builds",pod="builder-5f6b7c8d9-x2v8q",container="build",workload="builder",workload_kind="Deployment""#;
    let sample = format!(r#"castoff_pod_client_connections{{{of},engine="dockerd",scope="host"}}"#);
    assert_eq!(agent.metric(&sample)?, Some(1.0));
    assert_eq!(agent.stop()?, Some(0));
    Ok(())
}

#[test]
fn a_static_pod_is_known_by_the_kubelets_annotation() -> Result<()> {
    let docker = Docker::start()?;
    let runtime = Containerd::start()?;
    let pod = Pod::new("kube-system", "shipper-worker-3").uid("0123456789abcdef0123456789abcdef");
    let pod = pod
        .annotation("kubernetes.io/config.source", "file")
        .annotation("kubernetes.io/config.hash", "0123456789abcdef0123456789abcdef")
        .label("pod-template-hash", "7d9c5b6f4");
    let _pod = hold(&runtime, &docker, pod)?;
    let agent = Agent::start(["--runtime-endpoint", &runtime.endpoint(), "--node-name", "worker-3"])?;
    let report = agent.report()?;
    assert_eq!(
        clients_of(&report, docker.socket())?,
        ["pod kube-system/shipper-worker-3/build"]
    );
    let workload = json!({ "kind": "StaticPod", "name": "shipper", "certain": true });
    assert_eq!(client(&report, &docker)?["identity"]["workload"], workload);
    assert_eq!(agent.stop()?, Some(0));
    Ok(())
}

#[test]
fn a_pod_that_starts_to_use_docker_gets_an_event_and_an_earlier_one_gets_none() -> Result<()> {
    let docker = Docker::start()?;
    let runtime = Containerd::start()?;
    let _old = hold(&runtime, &docker, Pod::new("builds", "old"))?;
    let serving = tokio::runtime::Runtime::new()?;
    let api = serving.block_on(FakeApi::start())?;
    let kubeconfig = tempfile::NamedTempFile::new()?;
    let cluster = format!("{{name: k, cluster: {{server: 'http://{}'}}}}", api.address());
    let contexts = "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]";
    let config = format!("{contexts}\nclusters: [{cluster}]\nusers: [{{name: u, user: {{token: t}}}}]\n");
    std::fs::write(kubeconfig.path(), config)?;
    let agent = Agent::start([
        "--runtime-endpoint",
        &runtime.endpoint(),
        "--period",
        "1s",
        "--node-name",
        "worker-3",
        "--events",
        "--kubeconfig",
        kubeconfig.path().to_str().context("UTF-8")?,
    ])?;
    // The time of the first look has whole seconds, and the first look makes no events.
    std::thread::sleep(std::time::Duration::from_secs(2));
    let new = hold(&runtime, &docker, Pod::new("builds", "new"))?;
    let could = runtime.run(Pod::new("builds", "could"))?;
    could.start(Container::sleeper("ship").mount(docker.socket(), "/var/run/docker.sock"))?;
    let is_told = |reason: &str| api.script().events.all().iter().any(|event| event["reason"] == reason);
    let made = |_: &Agent| Ok(is_told("DockerSocketExposure") && is_told("DockerSocketClient"));
    agent.wait_until("both are told of", made)?;
    std::thread::sleep(std::time::Duration::from_secs(2));
    let script = api.script();
    let told = script.events.all();
    let count = told.len();
    // A look may come after a container was made and before its program connects.
    let is_early = |(reason, name, _): &(&Value, &Value, &Value)| *reason == "DockerSocketExposure" && *name == "new";
    let told: Vec<_> = told
        .iter()
        .map(|e| (&e["reason"], &e["regarding"]["name"], &e["regarding"]["uid"]))
        .filter(|event| !is_early(event))
        .collect();
    let (reasons, uids) = (
        [json!("DockerSocketExposure"), json!("DockerSocketClient")],
        [could.uid(), new.uid()],
    );
    let expected = [
        (&reasons[0], &json!("could"), &json!(uids[0])),
        (&reasons[1], &json!("new"), &json!(uids[1])),
    ];
    assert_eq!(told, expected);
    drop(script);
    assert_eq!(
        agent.metric(r#"castoff_events_requests_total{outcome="succeeded"}"#)?,
        Some(f64::from(u32::try_from(count)?))
    );
    assert_eq!(agent.stop()?, Some(0));
    Ok(())
}
