//! A soak test: `castoff run` for an hour on a node on which processes, containers, clients and the engine start and
//! end. Prints how its figures develop, and fails if an invariant does not hold.
//!
//! The node is a stage (a separate machine), so a run does not need the machine's daemons, and other tests affect only
//! its timing figures.

mod churn;
mod node;
mod record;

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::memory::MemoryGroup;
use castoff_tests::lab::stage::Stage;
use castoff_tests::lab::{castoff_binary, shipped};
use castoff_tests::report::Agent;
use castoff_tests::wait;

use self::churn::{Churn, Counts};
use self::node::{HONEST, Node, Used};
use self::record::{Invariant, Record, Sample, first_seen};
use crate::tools::seconds;

/// The argument with which this program runs on the stage.
pub(crate) const ON_STAGE: &str = "--soak-on-stage";
/// The seconds of a soak, if `CASTOFF_TESTS_SECONDS` is not set.
const SECONDS: u64 = 3_600;
/// The period of the agent: an hour has as many looks as seven and a half hours with the default period.
const PERIOD: Duration = Duration::from_secs(2);
/// The time from one sample to the next.
const SAMPLES: Duration = Duration::from_secs(3);
/// The number of restarts of the engine in a run, if the shortest time between them allows so many.
const RESTARTS: u32 = 20;
const SHORTEST: Duration = Duration::from_secs(15);
/// The timeout of operations that usually take a moment.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the soak on a stage. Returns whether all invariants held.
pub(crate) fn run() -> Result<bool> {
    let stage = Stage::start(&[])?;
    // Rooms are named after processes, whose IDs are the same on each stage.
    let folder = tempfile::tempdir()?;
    let status = stage
        .command(env::current_exe()?)
        .arg(ON_STAGE)
        .env("CASTOFF_BIN", castoff_binary()?)
        .env("TMPDIR", folder.path())
        .status()
        .context("run on a stage")?;
    Ok(status.success())
}

/// Runs the soak here. Returns whether all invariants held.
pub(crate) fn run_on_stage() -> Result<bool> {
    let folder = tempfile::tempdir()?;
    let state = folder.path().join("state.json");
    let (node, mut used) = (Node::start()?, Used::start()?);
    let group = MemoryGroup::make(Some(shipped::memory_limit()?))?;
    let agent = start(group.command(&castoff_binary()?)?, &node, &state)?;
    wait::until("the first report and state", PATIENCE, || {
        ensure!(agent.get("/readyz")?.starts_with("ok"), "there is no report");
        Ok(fs::metadata(&state)?)
    })?;
    let mut record = Record::begin(&agent, Duration::from_secs(seconds(SECONDS)))?;
    let outcome = thread::scope(|scope| {
        let churn = Churn::start(scope, &node.runtime, &used.socket)?;
        let take = |counts| Sample::take(&agent, &group, &state, counts);
        let watched = watch(take, &mut used, &churn, &mut record);
        churn.stop();
        watched
    });
    match outcome {
        Ok(()) => {
            record.check_flatness();
            end(agent, &mut record)?;
            drop(used);
            check_next_run(&node, &state, &mut record)?;
        }
        Err(error) => {
            record.fail(Invariant::Lives, &format!("{error:#}"));
            print_tail(&agent.log());
        }
    }
    println!("{}{}", record.print_times(), record.print_invariants());
    Ok(record.holds())
}

/// Starts an agent with the settings of the chart and a shorter period.
fn start(command: Command, node: &Node, state: &Path) -> Result<Agent> {
    let endpoint = node.runtime.endpoint();
    let state = state.to_str().context("a path in UTF-8")?;
    let period = format!("{}s", PERIOD.as_secs());
    let arguments = ["--period", &period, "--runtime-endpoint", &endpoint, "--state", state];
    // The method that every kernel supports.
    let events = ["--connect-events", "tracepoint", "--requests", "tracepoint"];
    Agent::start_by(command, arguments.into_iter().chain(events))
}

/// Takes samples until the time is over, and restarts the engine meanwhile.
fn watch(take: impl Fn(Counts) -> Result<Sample>, used: &mut Used, churn: &Churn, record: &mut Record) -> Result<()> {
    let every = (record.span / RESTARTS).max(SHORTEST);
    let begun = Instant::now();
    let (mut next_sample, mut next_restart) = (begun, begun + every / 2);
    while begun.elapsed() < record.span {
        if Instant::now() >= next_restart {
            let _pause = churn.pause();
            used.restart()?;
            record.engine_restarted();
            next_restart += every;
        }
        record.add(take(churn.counts()?)?);
        next_sample += SAMPLES;
        thread::sleep(next_sample.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

/// Ends the agent, and checks how it ends.
fn end(agent: Agent, record: &mut Record) -> Result<()> {
    let log = agent.log();
    let code = agent.stop()?;
    if code != Some(0) || log.contains("panicked") {
        record.fail(Invariant::Lives, &format!("it ended with {code:?}"));
        print_tail(&log);
    }
    Ok(())
}

/// Checks that an agent that starts with the state of this run still knows the honest client, which is gone now.
fn check_next_run(node: &Node, state: &Path, record: &mut Record) -> Result<()> {
    let agent = start(Command::new(castoff_binary()?), node, state)?;
    agent.wait_until("the first report", |agent| Ok(agent.get("/readyz")?.starts_with("ok")))?;
    let report = agent.report()?;
    let first = first_seen(&report, HONEST);
    if first.is_none() || first != record.first_seen {
        let said = format!("the next run says {first:?}, this one said {:?}", record.first_seen);
        record.fail(Invariant::State, &said);
    }
    let code = agent.stop()?;
    ensure!(code == Some(0), "the next run ended with {code:?}");
    Ok(())
}

/// Prints the end of the agent's log.
fn print_tail(log: &str) {
    let lines: Vec<&str> = log.lines().collect();
    eprintln!(
        "the agent's log ends:\n{}",
        lines[lines.len().saturating_sub(20)..].join("\n")
    );
}
