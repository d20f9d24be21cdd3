//! containerd, over its CRI.

use anyhow::Result;
use castoff_tests::lab::containerd::{Containerd, Options, version_2, version_3};
use castoff_tests::lab::cri::Interface;
use castoff_tests::lab::docker::Docker;
use castoff_tests::lab::modules::Module;
use castoff_tests::lab::packages::Programs;
use castoff_tests::lab::suites::{self, Suite};
use castoff_tests::matrix::{Kind, Plan, Seen};
use castoff_tests::report::report;
use serde_json::{Value, json};

use super::pods;

/// The source of a containerd.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    Debian(Suite),
    Module,
}

impl From {
    fn name(self) -> String {
        match self {
            Self::Debian(suite) => format!("Debian {}", suite.name()),
            Self::Module => format!("Go module {}", Module::Containerd.pin()),
        }
    }

    fn programs(self) -> Result<Programs> {
        match self {
            Self::Debian(suite) => suites::programs(suite, suites::Kind::Containerd),
            Self::Module => Containerd::newest(),
        }
    }

    const fn is_version_2(self) -> bool {
        matches!(self, Self::Debian(Suite::Sid) | Self::Module)
    }
}

pub(crate) fn plans() -> Vec<Plan> {
    [
        ("1.4.13", From::Debian(Suite::Bullseye)),
        ("1.6.20", From::Debian(Suite::Bookworm)),
        ("1.7.24", From::Debian(Suite::Trixie)),
        ("2.1.", From::Debian(Suite::Sid)),
        ("2.4.", From::Module),
    ]
    .map(|(version, from)| {
        Plan::new(Kind::Containerd, version, from.name(), move |plan, docker| {
            run(plan, from, docker)
        })
    })
    .into()
}

fn run(plan: &Plan, from: From, docker: &Docker) -> Result<Seen> {
    let runtime = Containerd::start_with(&Options {
        programs: from.programs()?,
        configuration: if from.is_version_2() { version_3 } else { version_2 },
        interface: if from == From::Debian(Suite::Bullseye) {
            Interface::V1alpha2
        } else {
            Interface::V1
        },
        ..Options::debian()?
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
    judge_interface(&mut seen, &said, from);
    pods::judge_settings(&mut seen, &said, "containerd");
    pods::judge_readiness(&mut seen, &said, from.is_version_2());
    let mut codes = Vec::new();
    if from != From::Module {
        codes.push("runtime-end-of-life");
    }
    if from == From::Debian(Suite::Bullseye) {
        codes.push("cri-v1alpha2-only");
    }
    if !from.is_version_2() {
        codes.push("kubelet-ceiling");
    }
    if from == From::Module && !newest_deprecations(&said).is_empty() {
        codes.push("runtime-deprecation");
    }
    pods::judge_findings(&mut seen, &said, &codes);
    if from == From::Debian(Suite::Trixie) {
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
fn judge_interface(seen: &mut Seen, said: &Value, from: From) {
    let absent = json!({ "state": "absent" });
    let (api, ceiling, driver) = match from {
        From::Debian(Suite::Bullseye) => ("v1alpha2", json!({ "kind": "minor", "minor": 25 }), absent.clone()),
        From::Debian(Suite::Bookworm | Suite::Trixie) => {
            ("v1", json!({ "kind": "minor", "minor": 37 }), absent.clone())
        }
        From::Debian(Suite::Sid) | From::Module => (
            "v1",
            json!({ "kind": "none" }),
            json!({ "state": "known", "value": "cgroupfs" }),
        ),
    };
    // It reports deprecated uses since 1.6.29 and 1.7.14.
    let deprecations = match from {
        From::Debian(Suite::Bullseye | Suite::Bookworm) => absent,
        From::Debian(Suite::Trixie | Suite::Sid) => json!({ "state": "known", "value": [] }),
        From::Module => json!({ "state": "known", "value": newest_deprecations(said) }),
    };
    let runtime = &said["runtime"]["value"];
    seen.is("CRI API", &runtime["api"], api);
    seen.is("ceiling", &said["kubeletCeiling"]["value"], ceiling);
    seen.is("cgroup driver", &runtime["cgroupDriver"], driver);
    let mut reported = runtime["deprecations"].clone();
    let listed = reported.get_mut("value").and_then(Value::as_array_mut);
    for deprecation in listed.into_iter().flatten() {
        *deprecation = deprecation["id"].take();
    }
    seen.is("deprecations", &reported, deprecations);
}

/// Returns the deprecated uses that the newest containerd reports without any client: since 2.2 that of cgroup v1, where the
/// machine has that.
fn newest_deprecations(said: &Value) -> &'static [&'static str] {
    if said["cgroups"]["value"] == "v1" {
        &["io.containerd.deprecation/cgroup-v1"]
    } else {
        &[]
    }
}
