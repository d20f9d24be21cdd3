//! CRI-O, over its CRI.

use anyhow::Result;
use castoff_tests::lab::crio::Crio;
use castoff_tests::lab::docker::Docker;
use castoff_tests::lab::modules::Module;
use castoff_tests::matrix::{Kind, Plan, Seen};
use castoff_tests::report::report;
use serde_json::json;

use super::pods;

pub(crate) fn plan() -> Plan {
    Plan::new(Kind::Crio, "1.34.", format!("Go module {}", Module::Crio.pin()), run)
}

fn run(plan: &Plan, docker: &Docker) -> Result<Seen> {
    let runtime = Crio::start()?;
    let version = runtime.version()?;
    plan.expect(&version)?;
    let _pods = pods::start(|pod| runtime.run(pod), docker.socket())?;

    let said = report(["--runtime-endpoint", &runtime.endpoint(), "--for", pods::TARGETS])?;
    let mut seen = Seen::default();
    seen.keep_gaps(&said);
    pods::judge(&mut seen, &said, docker.socket(), "", &[])?;
    seen.is("verdict", &said["verdict"], "in-use");
    pods::judge_runtime(&mut seen, &said, "cri-o", &version);
    let runtime = &said["runtime"]["value"];
    seen.is("CRI API", &runtime["api"], "v1");
    seen.is("ceiling", &said["kubeletCeiling"]["value"], json!({ "kind": "none" }));
    let driver = json!({ "state": "known", "value": "cgroupfs" });
    seen.is("cgroup driver", &runtime["cgroupDriver"], driver);
    seen.is("deprecations", &runtime["deprecations"], json!({ "state": "absent" }));
    pods::judge_settings(&mut seen, &said, "cri-o");
    pods::judge_readiness(&mut seen, &said, true);
    // It is supported for as long as its Kubernetes is: 1.34 until 2026-10-27.
    pods::judge_findings(&mut seen, &said, &["runtime-end-of-life"]);
    Ok(seen)
}
