//! Docker and podman, with their own containers.

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
    let by_loader = !old;
    let docker = Docker::start_with(&Options {
        programs: suites::programs(suite, suites::Kind::Docker)?,
        has_trust_key: old,
        lowers_oom_score: old,
        by_loader,
        ..Options::debian()?
    })?;
    let version = docker.version()?;
    plan.expect(&version)?;
    let container = docker.run_client("agent", docker.socket(), ["hold", "/var/run/docker.sock"])?;
    let unit = clients::hold(docker.socket(), Place::unit(UNIT)?)?;
    wait_for_connection(container.pid()?, docker.socket())?;
    wait_for_connection(unit.holder(), docker.socket())?;
    Engine {
        kind: "dockerd",
        socket: docker.socket(),
        pid: docker.daemon().pid(),
        by_loader,
        container: container.id(),
    }
    .judge(version)
}

fn run_podman(plan: &Plan, suite: Suite) -> Result<Seen> {
    let network = if suite == Suite::Bullseye { "cni" } else { "netavark" };
    let podman = Podman::start_with(suites::programs(suite, suites::Kind::Podman)?, network)?;
    let version = podman.version()?;
    plan.expect(&version)?;
    let container = podman.run_client("agent", podman.socket(), &["hold", "/var/run/docker.sock"])?;
    let unit = clients::hold(podman.socket(), Place::unit(UNIT)?)?;
    wait_for_connection(unit.holder(), podman.socket())?;
    Engine {
        kind: "podman",
        socket: podman.socket(),
        pid: podman.daemon().pid(),
        by_loader: true,
        container: container.id(),
    }
    .judge(version)
}

/// An engine with a container called `agent` and a unit on its socket.
struct Engine<'a> {
    kind: &'a str,
    socket: &'a Path,
    pid: u32,
    /// True if the kernel shows the dynamic loader as its executable.
    by_loader: bool,
    container: &'a str,
}

impl Engine<'_> {
    fn judge(&self, version: String) -> Result<Seen> {
        let said = report(["--for", crate::pods::TARGETS])?;
        let mut seen = Seen::default();
        seen.keep_gaps(&said);
        seen.version = version;
        self.judge_engine(&mut seen, list(&said, "engines")?);
        let mut clients = clients_of(&said, self.socket)?;
        clients.sort();
        let expected = [format!("{} container agent", self.kind), format!("unit {UNIT}")];
        seen.is("clients", &clients.into(), expected.to_vec());
        let shadows = list(&said, "shadowContainers")?.iter();
        let shadows: Vec<Value> = shadows
            .filter(|shadow| shadow["id"] == self.container)
            .map(|shadow| json!([shadow["engine"], shadow["name"], shadow["image"]]))
            .collect();
        // Podman does not show its images.
        let image = (self.kind == "dockerd").then_some(images::LAB);
        seen.is(
            "shadow container",
            &shadows.into(),
            json!([[self.kind, "agent", image]]),
        );
        seen.is("verdict", &said["verdict"], "in-use");
        // Without a runtime the question about a kubelet has no answer.
        let answers = said["readiness"].as_array().into_iter().flatten();
        let answers: Vec<&str> = answers.filter_map(|ready| ready["answer"].as_str()).collect();
        seen.is("readiness", &answers.into(), vec!["cannot-tell", "not-ready"]);
        Ok(seen)
    }

    fn judge_engine(&self, seen: &mut Seen, engines: &[Value]) {
        let listeners = |engine: &Value| engine["listeners"].as_array().cloned().unwrap_or_default();
        let serves = |engine: &&Value| {
            let mut listeners = listeners(engine).into_iter();
            listeners.any(|listener| listener["name"]["path"] == json!(self.socket))
        };
        let engines: Vec<&Value> = engines.iter().filter(serves).collect();
        let [engine] = *engines.as_slice() else {
            seen.holds("engine", false, || {
                format!("{engines:?} serve {}", self.socket.display())
            });
            return;
        };
        seen.is("engine", &engine["kind"], self.kind);
        seen.is("engine", &engine["process"]["pid"], self.pid);
        seen.is("scope", &engine["scope"], json!({ "kind": "host" }));
        let all = listeners(engine);
        seen.holds("listener", all.len() == 1, || format!("{all:?}"));
        if self.by_loader {
            let executable = engine["process"]["executable"].as_str().unwrap_or_default();
            let name = executable.rsplit('/').next().unwrap_or_default();
            let is_loader = name.starts_with("ld-linux") || name.starts_with("ld-2.");
            seen.holds("run by its loader", is_loader, || executable.to_owned());
        }
    }
}
