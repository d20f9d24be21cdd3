//! The agent is killed while it writes its state.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::engine::Engine;
use castoff_tests::report::Agent;
use serde_json::Value;

use crate::Plan;
use crate::node::{ENDPOINT, Runtime, start_engine, start_kubelet};
use crate::state::{connect, is_told, programs, start};

/// The time within which a started agent writes.
const SOON: Duration = Duration::from_secs(12);
/// The number of agents that are killed, and the fewest of them that must have been in a write.
const KILLS: usize = 60;
const IN_A_WRITE: usize = 15;
/// The number of clients in the file at the start, so that a write takes milliseconds.
const KNOWN: usize = 1_500;

/// An agent is killed again and again while it writes. After each kill the file is whole, and has every client that it
/// had before.
pub(crate) fn a_killed_writer_loses_nothing(_: &Plan) -> Result<()> {
    let _node = (start_kubelet()?, Runtime::start()?);
    let engine = start_engine()?;
    let folder = tempfile::tempdir()?;
    let state = folder.path().join("state.json");
    fill(&engine, &state)?;
    let mut before = programs(&state)?;
    let mut in_a_write = 0;
    for round in 0..KILLS {
        let _client = connect(&engine, &format!("round-{round}"))?;
        let agent = Agent::start_unready([
            "--period",
            "1s",
            "--runtime-endpoint",
            ENDPOINT,
            "--state",
            state.to_str().context("UTF-8")?,
        ])?;
        wait_for_write(folder.path(), &state)?;
        // Each round is killed a little later in its write, and every other one perhaps after it: how long a write takes
        // depends on the disk.
        let step = if round % 2 == 0 { 10 } else { 150 };
        thread::sleep(Duration::from_micros(step * u64::try_from(round)?));
        drop(agent);
        let names = names(folder.path())?;
        in_a_write += usize::from(names.len() > 1);
        ensure!(names.len() <= 2, "temporary files add up: {names:?}");
        let after = programs(&state).with_context(|| format!("round {round}"))?;
        ensure!(
            after.is_superset(&before),
            "round {round} lost {:?}",
            before.difference(&after)
        );
        before = after;
    }
    ensure!(
        in_a_write >= IN_A_WRITE,
        "only {in_a_write} of {KILLS} agents were killed in a write"
    );
    let mut agent = start(&state)?;
    agent.check()?;
    ensure!(!is_told(&agent.agent().report()?), "{}", agent.agent().report()?);
    ensure!(names(folder.path())? == ["state.json"], "{:?}", names(folder.path())?);
    agent.stop()
}

/// Writes a state with many clients, which are copies of one that castoff itself has written.
pub(crate) fn fill(engine: &Engine, state: &Path) -> Result<()> {
    let agent = start(state)?;
    let client = connect(engine, "known")?;
    agent.wait_for("the client is named", |agent| {
        let report = agent.report()?;
        ensure!(
            report["clients"].to_string().contains("/known"),
            "{}",
            report["clients"]
        );
        Ok(())
    })?;
    agent.stop()?;
    drop(client);
    let mut document: Value = serde_json::from_slice(&fs::read(state)?)?;
    let clients = document["clients"].as_array_mut().context("clients")?;
    let is_known = |entry: &&Value| entry["client"]["identity"]["executable"].to_string().contains("known");
    let known = clients
        .iter()
        .find(is_known)
        .context("the client is in the file")?
        .clone();
    for n in 0..KNOWN {
        let mut copy = known.clone();
        copy["client"]["identity"]["executable"] = format!("/usr/bin/known-{n}").into();
        clients.push(copy);
    }
    Ok(fs::write(state, document.to_string())?)
}

/// Waits until a write has begun: its temporary file has a content, or the file is already another one. Before that,
/// the agent creates an empty file to check that it may write.
fn wait_for_write(folder: &Path, state: &Path) -> Result<()> {
    let inode = fs::metadata(state)?.ino();
    let end = Instant::now() + SOON;
    loop {
        if is_writing(folder, state)? || fs::metadata(state)?.ino() != inode {
            return Ok(());
        }
        ensure!(Instant::now() < end, "the agent writes nothing");
        thread::sleep(Duration::from_micros(200));
    }
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names: Vec<String> = names.collect::<Result<_>>()?;
    names.sort();
    Ok(names)
}

fn is_writing(folder: &Path, state: &Path) -> Result<bool> {
    let others = fs::read_dir(folder)?.map_while(Result::ok).map(|entry| entry.path());
    // A file that is gone meanwhile has no length.
    let has_content = |path: PathBuf| path != state && fs::metadata(path).is_ok_and(|file| file.len() > 0);
    Ok(others.into_iter().any(has_content))
}
