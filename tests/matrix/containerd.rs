//! containerd, over its CRI.

use anyhow::Result;
use castoff_tests::lab::containerd::{Containerd, Network, Options, version_2, version_3};
use castoff_tests::lab::cri::Interface;
use castoff_tests::lab::docker::Docker;
use castoff_tests::lab::suites::{self, Suite};
use castoff_tests::matrix::{Kind, Plan, Seen};
use castoff_tests::report::report;
use serde_json::{Value, json};

use super::pods;

pub(crate) fn plans() -> Vec<Plan> {
    [
        ("1.4.13", Suite::Bullseye),
        ("1.6.20", Suite::Bookworm),
        ("1.7.24", Suite::Trixie),
        ("2.1.", Suite::Sid),
    ]
    .map(|(version, suite)| {
        let source = format!("Debian {}", suite.name());
        Plan::new(Kind::Containerd, version, source, move |plan, docker| {
            run(plan, suite, docker)
        })
    })
    .into()
}

fn run(plan: &Plan, suite: Suite, docker: &Docker) -> Result<Seen> {
    let runtime = Containerd::start_with(&Options {
        programs: suites::programs(suite, suites::Kind::Containerd)?,
        configuration: if suite == Suite::Sid { version_3 } else { version_2 },
        interface: if suite == Suite::Bullseye {
            Interface::V1alpha2
        } else {
            Interface::V1
        },
        stage: None,
        network: Network::Closed,
    })?;
    let version = runtime.version()?;
    plan.expect(&version)?;
    let _pods = pods::start(|pod| runtime.run(pod), docker.socket())?;

    let endpoint = runtime.endpoint();
    let said = report(["--runtime-endpoint", &endpoint, "--for", pods::TARGETS])?;
    let mut seen = Seen::default();
    seen.keep_gaps(&said);
    pods::judge(&mut seen, &said, docker.socket(), "", &[])?;
    seen.is("verdict", &said["verdict"], "in-use");
    pods::judge_runtime(&mut seen, &said, "containerd", &version);
    judge_interface(&mut seen, &said, suite);
    pods::judge_settings(&mut seen, &said, "containerd");
    pods::judge_readiness(&mut seen, &said, suite == Suite::Sid);
    let mut codes = vec!["runtime-end-of-life"];
    if suite == Suite::Bullseye {
        codes.push("cri-v1alpha2-only");
    }
    if suite != Suite::Sid {
        codes.push("kubelet-ceiling");
    }
    pods::judge_findings(&mut seen, &said, &codes);
    if suite == Suite::Trixie {
        // Until now no client has used the old interface: castoff itself does not.
        runtime.ask_as_an_old_client()?;
        let said = report(["--runtime-endpoint", &endpoint])?;
        let deprecations = &said["runtime"]["value"]["deprecations"]["value"];
        let id = "io.containerd.deprecation/cri-api-v1alpha2";
        seen.is("deprecations", &deprecations[0]["id"], id);
        codes.push("runtime-deprecation");
        pods::judge_findings(&mut seen, &said, &codes);
    }
    Ok(seen)
}

/// Compares the abilities of each version, and the resulting limit for a kubelet.
fn judge_interface(seen: &mut Seen, said: &Value, suite: Suite) {
    let absent = json!({ "state": "absent" });
    let (api, ceiling, driver) = match suite {
        Suite::Bullseye => ("v1alpha2", json!({ "kind": "minor", "minor": 25 }), absent.clone()),
        Suite::Bookworm | Suite::Trixie => ("v1", json!({ "kind": "minor", "minor": 37 }), absent.clone()),
        Suite::Sid => (
            "v1",
            json!({ "kind": "none" }),
            json!({ "state": "known", "value": "cgroupfs" }),
        ),
    };
    // It reports deprecated uses since 1.6.29 and 1.7.14.
    let deprecations = match suite {
        Suite::Bullseye | Suite::Bookworm => absent,
        Suite::Trixie | Suite::Sid => json!({ "state": "known", "value": [] }),
    };
    let runtime = &said["runtime"]["value"];
    seen.is("CRI API", &runtime["api"], api);
    seen.is("ceiling", &said["kubeletCeiling"]["value"], ceiling);
    seen.is("cgroup driver", &runtime["cgroupDriver"], driver);
    seen.is("deprecations", &runtime["deprecations"], deprecations);
}
