//! containerd, over its CRI.

use anyhow::{Context, Result};
use castoff_tests::lab::containerd::{Containerd, Options, version_2, version_3};
use castoff_tests::lab::containers::Container;
use castoff_tests::lab::cri::Interface;
use castoff_tests::lab::docker::Docker;
use castoff_tests::lab::pods::Pod;
use castoff_tests::lab::suites::{self, Suite};
use castoff_tests::report::{clients_of, list, report};
use serde_json::{Value, json};

use super::row::{Kind, Plan, Seen};

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
    let options = Options {
        programs: suites::programs(suite, suites::Kind::Containerd)?,
        configuration: if suite == Suite::Sid { version_3 } else { version_2 },
        interface: if suite == Suite::Bullseye {
            Interface::V1alpha2
        } else {
            Interface::V1
        },
    };
    let runtime = Containerd::start_with(&options)?;
    let version = runtime.version()?;
    plan.expect(&version)?;
    let builds = runtime.run(Pod::new("builds", "builder-0"))?;
    let build = Container::client("build", ["hold", "/var/run/docker.sock"]);
    let build = builds.start(build.mount(docker.socket(), "/var/run/docker.sock"))?;
    let logging = runtime.run(Pod::new("logging", "shipper-x"))?;
    let above = docker.socket().parent().context("a socket is in a folder")?;
    let _ship = logging.start(Container::sleeper("ship").mount_read_only(above, "/host/run"))?;
    castoff_tests::lab::sockets::wait_for_connection(build.pid()?, docker.socket())?;

    let endpoint = runtime.endpoint();
    let said = report(["--runtime-endpoint", &endpoint])?;
    let mut seen = Seen::default();
    pods(&mut seen, &said, docker)?;
    runtime_of(&mut seen, &said, "containerd", &version);
    let (api, ceiling, driver) = match suite {
        Suite::Bullseye => (
            "v1alpha2",
            json!({ "kind": "minor", "minor": 25 }),
            json!({ "state": "absent" }),
        ),
        Suite::Bookworm | Suite::Trixie => (
            "v1",
            json!({ "kind": "minor", "minor": 37 }),
            json!({ "state": "absent" }),
        ),
        Suite::Sid => (
            "v1",
            json!({ "kind": "none" }),
            json!({ "state": "known", "value": "cgroupfs" }),
        ),
    };
    let runtime_said = &said["runtime"]["value"];
    seen.is("CRI API", &runtime_said["api"], api);
    seen.is("ceiling", &said["kubeletCeiling"]["value"], ceiling);
    seen.is("cgroup driver", &runtime_said["cgroupDriver"], driver);
    let mut codes = vec!["runtime-end-of-life"];
    if suite == Suite::Bullseye {
        codes.push("cri-v1alpha2-only");
    }
    if suite != Suite::Sid {
        codes.push("kubelet-ceiling");
    }
    findings(&mut seen, &said, &codes);

    // 1.6.20 and older do not report what is deprecated. Looking must not be what it reports.
    let reports = matches!(suite, Suite::Trixie | Suite::Sid);
    let none = if reports {
        json!({ "state": "known", "value": [] })
    } else {
        json!({ "state": "absent" })
    };
    seen.is("deprecations", &runtime_said["deprecations"], none);
    if suite == Suite::Trixie {
        runtime.ask_as_an_old_client()?;
        let said = report(["--runtime-endpoint", &endpoint])?;
        let deprecations = &said["runtime"]["value"]["deprecations"]["value"];
        let id = &deprecations[0]["id"];
        seen.is("deprecations", id, "io.containerd.deprecation/cri-api-v1alpha2");
        codes.push("runtime-deprecation");
        findings(&mut seen, &said, &codes);
    }
    Ok(seen)
}

/// What is true of the two pods, whatever the runtime.
pub(crate) fn pods(seen: &mut Seen, said: &Value, docker: &Docker) -> Result<()> {
    seen.is("pods", &said["pods"]["value"], 2);
    seen.is("pods", &said["containers"]["value"], 2);
    seen.is(
        "client in a pod",
        &clients_of(said, docker.socket())?.into(),
        json!(["pod builds/builder-0/build"]),
    );
    let exposures: Vec<Value> = list(said, "exposures")?
        .iter()
        .filter(|exposure| exposure["listener"]["path"] == json!(docker.socket()))
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
            ["builder-0", "build", "socket", "/var/run/docker.sock", false, true],
            ["shipper-x", "ship", "directory", "/host/run", true, false],
        ]),
    );
    seen.is("verdict", &said["verdict"], "in-use");
    Ok(())
}

/// Who the runtime is, and that it is ready.
pub(crate) fn runtime_of(seen: &mut Seen, said: &Value, name: &str, version: &str) {
    let runtime = &said["runtime"]["value"];
    seen.is("identity", &runtime["name"], name);
    seen.is("identity", &runtime["version"], version);
    let conditions = runtime["conditions"]["value"].as_array();
    let ready = conditions
        .into_iter()
        .flatten()
        .filter(|condition| condition["status"] == true)
        .filter_map(|condition| condition["type"].as_str())
        .filter(|condition| condition.ends_with("Ready"))
        .count();
    seen.holds("conditions", ready == 2, || runtime["conditions"].to_string());
    version.clone_into(&mut seen.version);
    runtime["api"].as_str().unwrap_or("?").clone_into(&mut seen.api);
    let ceiling = &said["kubeletCeiling"]["value"];
    seen.ceiling = match ceiling["minor"].as_u64() {
        Some(minor) => format!("1.{minor}"),
        None => ceiling["kind"].as_str().unwrap_or("?").to_owned(),
    };
}

/// Which findings about the runtime there are, in any order.
pub(crate) fn findings(seen: &mut Seen, said: &Value, expected: &[&str]) {
    const ABOUT_RUNTIME: [&str; 5] = [
        "runtime-is-docker",
        "cri-v1alpha2-only",
        "kubelet-ceiling",
        "runtime-end-of-life",
        "runtime-deprecation",
    ];
    let codes = said["findings"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|f| f["code"].as_str());
    let mut codes: Vec<&str> = codes.filter(|code| ABOUT_RUNTIME.contains(code)).collect();
    codes.sort_unstable();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    seen.is("findings", &codes.into(), expected);
}
