//! The agent itself is stopped, and has too few descriptors, threads or memory.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::castoff_binary;
use castoff_tests::lab::memory::MemoryGroup;
use castoff_tests::lab::process::signal;
use castoff_tests::lab::shipped::memory_limit;
use castoff_tests::report::{Agent, gaps};
use rustix::process::Signal;

use crate::Plan;
use crate::node::{ENDPOINT, Runtime, start_engine, start_kubelet};
use crate::processes::Churn;
use crate::watched::{PERIOD, Phase, Watched};
use crate::writer::fill;

const LASTS: Duration = Duration::from_secs(20);
/// The memory of a debug build, in that of a release: its file alone is larger than the chart's limit. The bench and the
/// soak run a release within the limit itself.
const DEBUG_BUILD: u64 = 4;

/// Starts an agent below a limit, which `prlimit` sets.
fn start_limited(limit: &str) -> Result<Agent> {
    let mut castoff = Command::new("prlimit");
    castoff.arg(limit).arg(castoff_binary()?);
    let arguments = [
        "--period",
        "1s",
        "--runtime-timeout",
        "300ms",
        "--runtime-endpoint",
        ENDPOINT,
    ];
    Agent::start_by(castoff, arguments)
}

/// The agent is stopped for some periods and continued, as a debugger or a frozen control group does.
pub(crate) fn frozen(plan: &Plan) -> Result<()> {
    let _node = (start_kubelet()?, Runtime::start()?);
    let mut agent = Watched::start(&["--runtime-endpoint", ENDPOINT])?;
    agent.wait_for_verdict(&["clear"])?;
    let pid = agent.agent().pid();
    agent.endure((plan.times(), LASTS), &["clear"], |phase| {
        if phase == Phase::Begin {
            signal(pid, Signal::STOP)?;
            std::thread::sleep(PERIOD * 3);
            signal(pid, Signal::CONT)?;
        }
        Ok(())
    })?;
    agent.stop()
}

/// The agent loses its descriptors while it runs, and gets them back: while it cannot see, it does not report `clear`.
pub(crate) fn few_descriptors(plan: &Plan) -> Result<()> {
    let _node = (start_kubelet()?, Runtime::start()?);
    let mut agent = Watched::start(&["--runtime-endpoint", ENDPOINT])?;
    agent.wait_for_verdict(&["clear"])?;
    let pid = agent.agent().pid();
    let set = |limit: &str| -> Result<()> {
        let mut command = Command::new("prlimit");
        // The hard limit does not change, because raising it again needs a right that not every machine grants.
        let status = command
            .args(["--pid", &pid.to_string(), &format!("--nofile={limit}:")])
            .status()?;
        ensure!(status.success(), "prlimit: {status}");
        Ok(())
    };
    let usual = soft_limit(pid)?;
    let open = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
    agent.endure((plan.times(), LASTS), &["clear", "unknown"], |phase| match phase {
        // One for the request of this test, and one for the look.
        Phase::Begin => set(&(open + 2).to_string()),
        Phase::End => set(&usual),
    })?;
    agent.stop()
}

/// Under load, with as many clients as it remembers, the agent lives within a limit of memory that is made of the chart's.
pub(crate) fn the_charts_memory(plan: &Plan) -> Result<()> {
    let _node = (start_kubelet()?, Runtime::start()?);
    let engine = start_engine()?;
    let folder = tempfile::tempdir()?;
    let state = folder.path().join("state.json");
    fill(&engine, &state)?;
    let _client = engine.connect()?;
    let group = MemoryGroup::make(Some(memory_limit()? * DEBUG_BUILD))?;
    let state = state.to_str().context("UTF-8")?;
    let arguments = ["--period", "1s", "--runtime-endpoint", ENDPOINT, "--state", state];
    let mut agent = Watched::of(Agent::start_by(group.command(&castoff_binary()?)?, arguments)?);
    agent.wait_for_verdict(&["in-use"])?;
    agent.endure((plan.times(), LASTS), &["in-use"], |phase| {
        if phase == Phase::Begin {
            let churn = Churn::start()?;
            std::thread::sleep(PERIOD * 2);
            drop(churn);
        }
        Ok(())
    })?;
    agent.stop()
}

/// Returns the limit of open files that applies to the process.
fn soft_limit(pid: u32) -> Result<String> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_ascii_whitespace().next());
    Ok(soft.context("Max open files")?.to_owned())
}

/// The agent starts with so few descriptors that a look cannot see everything.
pub(crate) fn starts_with_few_descriptors(_: &Plan) -> Result<()> {
    let _node = (start_kubelet()?, Runtime::start()?);
    for descriptors in [20, 24, 32] {
        let mut agent = Watched::of(start_limited(&format!("--nofile={descriptors}:{descriptors}"))?);
        let end = Instant::now() + PERIOD * 4;
        while Instant::now() < end {
            agent
                .wait_for_looks(1, LASTS)
                .with_context(|| format!("{descriptors} descriptors"))?;
            let verdict = agent.check().with_context(|| format!("{descriptors} descriptors"))?;
            let report = agent.agent().report()?;
            // The check above refuses `clear` beside a gap that hides more than a detail.
            ensure!(
                verdict == "unknown" && gaps(&report).next().is_some() || verdict == "clear",
                "{descriptors} descriptors: {}",
                crate::watched::explain(&report)
            );
        }
        agent.stop()?;
    }
    Ok(())
}
