//! CRI-O, over its CRI.

use anyhow::{Context, Result};
use castoff_tests::lab::containers::Container;
use castoff_tests::lab::crio::Crio;
use castoff_tests::lab::docker::Docker;
use castoff_tests::lab::modules::Module;
use castoff_tests::lab::pods::Pod;
use castoff_tests::lab::sockets::wait_for_connection;
use castoff_tests::report::report;
use serde_json::json;

use super::containerd::{findings, pods, runtime_of};
use super::row::{Kind, Plan, Seen};

pub(crate) fn plan() -> Plan {
    Plan::new(Kind::Crio, "1.34.", format!("Go module {}", Module::Crio.pin()), run)
}

fn run(plan: &Plan, docker: &Docker) -> Result<Seen> {
    let runtime = Crio::start()?;
    let version = runtime.version()?;
    plan.expect(&version)?;
    let builds = runtime.run(Pod::new("builds", "builder-0"))?;
    let build = Container::client("build", ["hold", "/var/run/docker.sock"]);
    let build = builds.start(build.mount(docker.socket(), "/var/run/docker.sock"))?;
    let logging = runtime.run(Pod::new("logging", "shipper-x"))?;
    let above = docker.socket().parent().context("a socket is in a folder")?;
    let _ship = logging.start(Container::sleeper("ship").mount_read_only(above, "/host/run"))?;
    wait_for_connection(build.pid()?, docker.socket())?;

    let said = report(["--runtime-endpoint", &runtime.endpoint()])?;
    let mut seen = Seen::default();
    pods(&mut seen, &said, docker)?;
    runtime_of(&mut seen, &said, "cri-o", &version);
    let runtime = &said["runtime"]["value"];
    seen.is("CRI API", &runtime["api"], "v1");
    seen.is("ceiling", &said["kubeletCeiling"]["value"], json!({ "kind": "none" }));
    seen.is(
        "cgroup driver",
        &runtime["cgroupDriver"],
        json!({ "state": "known", "value": "cgroupfs" }),
    );
    seen.is("deprecations", &runtime["deprecations"], json!({ "state": "absent" }));
    // It is supported for as long as its Kubernetes is: 1.34 until 2026-10-27.
    findings(&mut seen, &said, &["runtime-end-of-life"]);
    Ok(seen)
}
