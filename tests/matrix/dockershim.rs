//! A kubelet's own dockershim, over CRI v1alpha2.

use anyhow::{Context, Result};
use castoff_tests::lab::docker::Docker;
use castoff_tests::lab::dockershim::{Dockershim, Mount, NODE};
use castoff_tests::lab::modules::Module;
use castoff_tests::lab::sockets::wait_for_connection;
use castoff_tests::lab::suites::{self, Suite};
use castoff_tests::matrix::{Kind, Plan, Seen};
use castoff_tests::report::report_on;
use serde_json::{Value, json};

use super::pods;

pub(crate) fn plan() -> Plan {
    let source = format!("Go module {}", Module::Dockershim.pin());
    Plan::new(Kind::Dockershim, "20.10.24", source, run)
}

fn run(plan: &Plan, _: &Docker) -> Result<Seen> {
    let node = Dockershim::start(suites::programs(Suite::Bookworm, suites::Kind::Docker)?)?;
    let docker = node.docker();
    let version = docker.version()?;
    plan.expect(&version)?;
    start_pods(&node)?;

    // The endpoint is in the kubelet's own flags.
    let said = report_on(node.stage(), &["--for", pods::TARGETS])?;
    let suffix = format!("-{NODE}");
    let mut seen = Seen::default();
    seen.keep_gaps(&said);
    // dockershim is in the kubelet, which therefore is a client of Docker.
    pods::judge(&mut seen, &said, docker.socket(), &suffix, &["kubelet of 0"])?;
    seen.is("verdict", &said["verdict"], "runtime");
    pods::judge_runtime(&mut seen, &said, "docker", &version);
    let (runtime, absent) = (&said["runtime"]["value"], json!({ "state": "absent" }));
    let socket = node.socket().display().to_string();
    seen.is("endpoint", &runtime["endpoint"]["path"], socket);
    seen.is("CRI API", &runtime["api"], "v1alpha2");
    let ceiling = json!({ "kind": "minor", "minor": 23 });
    seen.is("ceiling", &said["kubeletCeiling"]["value"], ceiling);
    seen.is("cgroup driver", &runtime["cgroupDriver"], absent.clone());
    seen.is("deprecations", &runtime["deprecations"], absent);
    pods::judge_readiness(&mut seen, &said, false);
    let codes = [
        "runtime-is-docker",
        "cri-v1alpha2-only",
        "kubelet-ceiling",
        "runtime-end-of-life",
    ];
    pods::judge_findings(&mut seen, &said, &codes);
    judge_clients(&mut seen, &said, &format!("pod builds/builder-0{suffix} (build)"));
    Ok(seen)
}

fn start_pods(node: &Dockershim) -> Result<()> {
    let engine = node.docker().socket();
    let socket = Mount {
        host: engine,
        inside: "/var/run/docker.sock",
        readonly: false,
    };
    let hold = ["/client", "hold", "/var/run/docker.sock"];
    let build = node.run("builds", "builder-0", "build", &hold, &socket)?;
    let above = Mount {
        host: engine.parent().context("a socket is in a folder")?,
        inside: "/host/run",
        readonly: true,
    };
    node.run("logging", "shipper-x", "ship", &["/client", "pause"], &above)?;
    wait_for_connection(build, engine)
}

/// It warns about the pod, and not about the kubelet.
fn judge_clients(seen: &mut Seen, said: &Value, pod: &str) {
    let findings = said["findings"].as_array().into_iter().flatten();
    let warned = findings.filter(|finding| finding["code"] == "socket-client" && finding["severity"] == "warning");
    let warned: Vec<&str> = warned.filter_map(|finding| finding["subject"].as_str()).collect();
    let right = warned.contains(&pod) && !warned.iter().any(|subject| subject.contains("kubelet"));
    seen.holds("warnings", right, || format!("{warned:?}"));
}
