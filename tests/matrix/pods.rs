//! The two pods of every runtime's row, one that holds the engine's socket and one that only could, and the expected
//! results for them and for the runtime.

use std::path::Path;

use anyhow::{Context, Result};
use castoff_tests::lab::containers::Container;
use castoff_tests::lab::pods::{Pod, RunningPod};
use castoff_tests::lab::sockets::wait_for_connection;
use castoff_tests::matrix::Seen;
use castoff_tests::report::{clients_of, list};
use serde_json::{Value, json};

/// The targets of each row, in the syntax of `--for`.
pub(crate) const TARGETS: &str = "kubelet=1.38,docker=removed";

/// Runs both over CRI. The first holds a connection when this returns.
pub(crate) fn start(run: impl Fn(Pod) -> Result<RunningPod>, socket: &Path) -> Result<[RunningPod; 2]> {
    let builds = run(Pod::new("builds", "builder-0"))?;
    let build = Container::client("build", ["hold", "/var/run/docker.sock"]);
    let build = builds.start(build.mount(socket, "/var/run/docker.sock"))?;
    let logging = run(Pod::new("logging", "shipper-x"))?;
    let above = socket.parent().context("a socket is in a folder")?;
    logging.start(Container::sleeper("ship").mount_read_only(above, "/host/run"))?;
    wait_for_connection(build.pid()?, socket)?;
    Ok([builds, logging])
}

/// Compares the pods, whose names end with `suffix`; `others` are the other clients, which come before any pod in
/// order.
pub(crate) fn judge(seen: &mut Seen, said: &Value, socket: &Path, suffix: &str, others: &[&str]) -> Result<()> {
    seen.is("pods", &said["pods"]["value"], 2);
    seen.is("pods", &said["containers"]["value"], 2);
    let mut clients = clients_of(said, socket)?;
    clients.sort();
    let builder = format!("pod builds/builder-0{suffix}/build");
    let expected: Vec<&str> = others.iter().copied().chain([builder.as_str()]).collect();
    seen.is("client in a pod", &clients.into(), expected);
    let exposures: Vec<Value> = list(said, "exposures")?
        .iter()
        .filter(|exposure| exposure["listener"]["path"] == json!(socket))
        .map(|e| {
            json!([
                e["pod"],
                e["container"],
                e["via"],
                e["containerPath"],
                e["readonly"],
                e["used"]
            ])
        })
        .collect();
    seen.is(
        "mounts",
        &exposures.into(),
        json!([
            [
                format!("builder-0{suffix}"),
                "build",
                "socket",
                "/var/run/docker.sock",
                false,
                true
            ],
            [
                format!("shipper-x{suffix}"),
                "ship",
                "directory",
                "/host/run",
                true,
                false
            ],
        ]),
    );
    Ok(())
}

/// Compares the runtime's name and version, and that it is ready.
pub(crate) fn judge_runtime(seen: &mut Seen, said: &Value, name: &str, version: &str) {
    let runtime = &said["runtime"]["value"];
    seen.is("identity", &runtime["name"], name);
    seen.is("identity", &runtime["version"], version);
    let conditions = runtime["conditions"]["value"].as_array().into_iter().flatten();
    let ready = conditions
        .filter(|condition| condition["status"] == true)
        .filter_map(|condition| condition["type"].as_str())
        .filter(|condition| condition.ends_with("Ready"));
    let ready = ready.count() == 2;
    seen.holds("conditions", ready, || runtime["conditions"].to_string());
    version.clone_into(&mut seen.version);
    runtime["api"].as_str().unwrap_or("?").clone_into(&mut seen.api);
    let ceiling = &said["kubeletCeiling"]["value"];
    seen.ceiling = match ceiling["minor"].as_u64() {
        Some(minor) => format!("1.{minor}"),
        None => ceiling["kind"].as_str().unwrap_or("?").to_owned(),
    };
}

/// Compares the findings about the runtime, in any order.
pub(crate) fn judge_findings(seen: &mut Seen, said: &Value, expected: &[&str]) {
    const ABOUT_RUNTIME: [&str; 5] = [
        "runtime-is-docker",
        "cri-v1alpha2-only",
        "kubelet-ceiling",
        "runtime-end-of-life",
        "runtime-deprecation",
    ];
    let findings = said["findings"].as_array().into_iter().flatten();
    let codes = findings.filter_map(|finding| finding["code"].as_str());
    let mut codes: Vec<&str> = codes.filter(|code| ABOUT_RUNTIME.contains(code)).collect();
    codes.sort_unstable();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    seen.is("findings", &codes.into(), expected);
}

/// Compares the settings of the lab's dockerd with those in the real file of the runtime: its control groups, and its
/// directory of images, which the lab moves for both.
pub(crate) fn judge_settings(seen: &mut Seen, said: &Value, runtime: &str) {
    let compared = &said["daemonConfig"]["value"];
    let rows = compared["settings"].as_array().into_iter().flatten();
    let states: Vec<Value> = rows.map(|row| json!([row["setting"], row["state"]])).collect();
    let expected = json!([["native.cgroupdriver", "carried-over"], ["data-root", "carried-over"]]);
    seen.is("settings", &states.into(), expected);
    seen.is("settings", &compared["runtime"], runtime);
    seen.is("settings", &compared["servesKubelet"], true);
}

/// Compares the answers for the targets. The kubelet of Kubernetes 1.38 needs a runtime that `has_config`
/// (`RuntimeConfig`) and, unless it is configured otherwise, cgroup v2. Each row's Docker is in use.
pub(crate) fn judge_readiness(seen: &mut Seen, said: &Value, has_config: bool) {
    let kubelet = match (has_config, said["cgroups"]["value"].as_str()) {
        (false, _) => "not-ready",
        (true, Some("v2")) => "ready",
        (true, _) => "cannot-tell",
    };
    let answers = said["readiness"].as_array().into_iter().flatten();
    let answers: Vec<&str> = answers.filter_map(|ready| ready["answer"].as_str()).collect();
    seen.is("readiness", &answers.into(), vec![kubelet, "not-ready"]);
}
