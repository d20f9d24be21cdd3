//! The kernel programs at their limits: detached, without their map's entries, with full maps and rings, without rights.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::castoff_binary;
use castoff_tests::lab::clients::{self, Client, Sending};
use castoff_tests::lab::engine::Engine;
use castoff_tests::lab::places::Place;
use castoff_tests::lab::process::signal;
use castoff_tests::report::{Agent, clients_of, gaps, list};
use rustix::process::Signal;
use serde_json::Value;

use crate::Plan;
use crate::node::{ENDPOINT, ENGINE, Runtime, start_engine, start_kubelet};
use crate::watched::{Watched, explain};

/// The method that every kernel with BPF allows.
const METHOD: &str = "syscall-exit";
const ARGUMENTS: &[&str] = &[
    "--period",
    "1s",
    "--runtime-endpoint",
    ENDPOINT,
    "--connect-events",
    "tracepoint",
    "--requests",
    "tracepoint",
];
/// More connects, and more requests, than a ring has room for.
const TOO_MANY: u64 = 4_000;

/// A node with an engine, and an agent with its kernel programs.
struct Node {
    agent: Watched,
    _engine: Engine,
    _others: (Client, Runtime),
}

impl Node {
    fn start() -> Result<Self> {
        Self::start_by(Command::new(castoff_binary()?))
    }

    /// Starts the agent with a command that executes castoff with its arguments.
    fn start_by(castoff: Command) -> Result<Self> {
        let others = (start_kubelet()?, Runtime::start()?);
        let engine = start_engine()?;
        let agent = Watched::of(Agent::start_by(castoff, ARGUMENTS.iter().copied())?);
        Ok(Self {
            agent,
            _engine: engine,
            _others: others,
        })
    }

    /// Waits until the programs run and have passed their test.
    fn wait_for_programs(&self) -> Result<()> {
        self.wait_for("the programs run", |report| {
            let events = &report["connectEvents"]["value"];
            ensure!(
                events["method"] == METHOD && events["requests"]["method"] == METHOD,
                "{events}"
            );
            let test = &events["selfTest"];
            ensure!(test.is_object() && test["failure"].is_null(), "{test}");
            Ok(())
        })
    }

    fn wait_for(&self, what: &str, holds: impl Fn(&Value) -> Result<()>) -> Result<()> {
        self.agent.wait_for(what, |agent| holds(&agent.report()?))
    }

    /// Waits for a gap that hides this and says this.
    fn wait_for_gap(&self, hides: &str, answer: &str) -> Result<()> {
        self.wait_for(answer, |report| {
            let is_it = |gap: &Value| gap["hides"] == hides && text(&gap["answer"]).contains(answer);
            ensure!(gaps(report).any(is_it), "{}", explain(report));
            Ok(())
        })
    }

    /// Waits until a look has no gap of the kernel's for connects and requests.
    fn wait_for_recovery(&self) -> Result<()> {
        self.wait_for("no gap", |report| {
            let mut of_kernel = gaps(report).filter(|gap| text(&gap["asked"]).starts_with("the kernel for"));
            ensure!(of_kernel.next().is_none(), "{}", explain(report));
            Ok(())
        })
    }

    /// Connects this often for a moment, and waits until the client is named.
    fn is_named(&self, program: &str, times: u64) -> Result<()> {
        burst(program, times)?;
        self.wait_for(program, |report| {
            let seen = connects(report, program)?;
            ensure!(seen == Some(times), "{seen:?} connects: {}", report["clients"]);
            Ok(())
        })
    }

    /// Does something to the agent's kernel programs from outside.
    fn tamper(&self, how: &str) -> Result<()> {
        let pid = self.agent.agent().pid().to_string();
        clients::start(Place::host(), &["bpf", how, &pid]).map(drop)
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Connects this often, each time with a process that ends at once.
fn burst(program: &str, times: u64) -> Result<()> {
    clients::start_as(program, Place::host(), &["burst", ENGINE, &times.to_string()]).map(drop)
}

/// Returns the connects of a client by its identity's text; none if it is not reported.
fn connects(report: &Value, who: &str) -> Result<Option<u64>> {
    let mut clients = list(report, "clients")?.iter();
    let client = clients.find(|client| client["identity"].to_string().contains(who));
    Ok(client.and_then(|client| client["connects"].as_u64()))
}

/// The kernel no longer has the program. The first connect that only the file's times show makes castoff detect this.
pub(crate) fn detached(_: &Plan) -> Result<()> {
    let seen = detach_and_connect(|| burst("after", 1).map(|()| None))?;
    ensure!(seen == ["unseen"], "{seen:?}");
    Ok(())
}

/// The same where a look sees the connection, which the kernel did not record.
pub(crate) fn detached_while_a_client_connects(_: &Plan) -> Result<()> {
    let connect = || clients::hold_as("holder", Path::new(ENGINE), Place::host()).map(Some);
    let seen = detach_and_connect(connect)?;
    ensure!(seen == ["holder of 0"], "{seen:?}");
    Ok(())
}

/// Detaches the programs, connects, and returns the clients once castoff has detected this. castoff then attaches them again.
fn detach_and_connect(connect: impl Fn() -> Result<Option<Client>>) -> Result<Vec<String>> {
    let node = Node::start()?;
    node.wait_for_programs()?;
    node.tamper("detach")?;
    // The first connect of all, so that every mount keeps its time. It must be later than the programs by more than a second.
    thread::sleep(Duration::from_secs(2));
    let _client = connect()?;
    let answer = "the kernel did not report castoff's own connect";
    node.wait_for_gap("identity", answer)?;
    let report = node.agent.agent().report()?;
    let events = &report["connectEvents"]["value"];
    ensure!(events["method"].is_null(), "a method without a program: {events}");
    ensure!(text(&events["refused"][0]["answer"]).contains(answer), "{events}");
    let seen = clients_of(&report, Path::new(ENGINE))?;
    node.wait_for_programs()?;
    node.is_named("later", 3)?;
    node.agent.stop()?;
    Ok(seen)
}

/// Another program removes the listeners from the map, which the self-test with castoff's own socket does not notice.
pub(crate) fn forgotten(_: &Plan) -> Result<()> {
    let node = Node::start()?;
    node.wait_for_programs()?;
    node.tamper("forget")?;
    node.wait_for_gap("client", "removed 1 sockets from castoff's map")?;
    node.wait_for_recovery()?;
    node.is_named("after", 3)?;
    node.agent.stop()
}

/// More connects than the ring holds, while nobody reads it.
pub(crate) fn full_ring(_: &Plan) -> Result<()> {
    let node = Node::start()?;
    node.wait_for_programs()?;
    let pid = node.agent.agent().pid();
    signal(pid, Signal::STOP)?;
    let sent = burst("flood", TOO_MANY);
    signal(pid, Signal::CONT)?;
    sent?;
    node.wait_for_gap("client", "connects could not be named")?;
    let report = node.agent.agent().report()?;
    let events = &report["connectEvents"]["value"];
    let [recorded, lost] = ["recorded", "lost"].map(|figure| events[figure].as_u64().unwrap_or_default());
    ensure!(lost > 0 && recorded + lost == TOO_MANY, "{events}");
    let seen = (connects(&report, "flood")?, connects(&report, "unnamed")?);
    ensure!(seen == (Some(recorded), Some(lost)), "{seen:?}: {events}");
    node.wait_for_recovery()?;
    node.is_named("after", 3)?;
    node.agent.stop()
}

/// More requests than the ring holds, while nobody reads it.
pub(crate) fn full_ring_of_requests(_: &Plan) -> Result<()> {
    let node = Node::start()?;
    node.wait_for_programs()?;
    let lines = vec!["GET /v1.41/containers/json"; 100];
    let client = clients::ask(Path::new(ENGINE), Sending::Write, &lines, Place::host())?;
    let pid = node.agent.agent().pid();
    signal(pid, Signal::STOP)?;
    thread::sleep(Duration::from_secs(2));
    signal(pid, Signal::CONT)?;
    node.wait_for_gap("detail", "requests are not known")?;
    drop(client);
    node.wait_for_recovery()?;
    node.agent.stop()
}

/// There is no room for one more listener. castoff says so, and does not call the node idle.
pub(crate) fn full_map(_: &Plan) -> Result<()> {
    let mut node = Node::start()?;
    node.wait_for_programs()?;
    node.agent.wait_for_verdict(&["idle"])?;
    node.tamper("fill")?;
    let folder = tempfile::tempdir()?;
    let socket: PathBuf = folder.path().join("docker.sock");
    let second = Engine::start(&socket)?;
    let asked = format!("the kernel for connects to {}", socket.display());
    node.wait_for("a gap for the second engine", |report| {
        let is_it = |gap: &Value| gap["hides"] == "client" && text(&gap["asked"]) == asked;
        ensure!(gaps(report).any(is_it), "{}", explain(report));
        Ok(())
    })?;
    node.agent.wait_for_verdict(&["unknown"])?;
    // The first engine is watched as before.
    node.is_named("after", 3)?;
    drop(second);
    node.agent.stop()
}

/// Without the rights the times of the file show the client, and the report says what is missing.
pub(crate) fn no_rights(_: &Plan) -> Result<()> {
    let mut castoff = Command::new("setpriv");
    castoff
        .arg("--bounding-set=-sys_admin,-bpf,-perfmon")
        .arg(castoff_binary()?);
    let mut node = Node::start_by(castoff)?;
    let answer = "needs CAP_BPF and CAP_PERFMON";
    node.wait_for_gap("detail", answer)?;
    let report = node.agent.agent().report()?;
    let events = &report["connectEvents"]["value"];
    ensure!(events["method"].is_null(), "{events}");
    ensure!(events["refused"][0]["answer"] == answer, "{events}");
    burst("short", 1)?;
    node.agent.wait_for_verdict(&["in-use"])?;
    let seen = clients_of(&node.agent.agent().report()?, Path::new(ENGINE))?;
    ensure!(seen == ["unseen"], "{seen:?}");
    node.agent.stop()
}

/// A limit of locked memory: kernels since 5.11 do not charge maps to it, and earlier ones refuse them with a reason.
pub(crate) fn little_locked_memory(_: &Plan) -> Result<()> {
    let mut castoff = Command::new("prlimit");
    castoff.arg("--memlock=0:0").arg(castoff_binary()?);
    let node = Node::start_by(castoff)?;
    node.wait_for("a method or a reason", |report| {
        let events = &report["connectEvents"]["value"];
        let refused = text(&events["refused"][0]["answer"]);
        ensure!(events["method"] == METHOD || !refused.is_empty(), "{events}");
        Ok(())
    })?;
    let report = node.agent.agent().report()?;
    if report["connectEvents"]["value"]["method"] == METHOD {
        node.is_named("short", 3)?;
    }
    node.agent.stop().context("an agent without locked memory")
}
