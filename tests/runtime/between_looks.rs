//! Uses that are over before a look could see them, known from the times of the socket's file.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::docker::Docker;
use castoff_tests::report::{Agent, clients_of, list, report};
use castoff_tests::wait;
use serde_json::Value;

/// Returns the listener of the lab's dockerd in the report.
fn listener<'a>(report: &'a Value, docker: &Docker) -> Result<&'a Value> {
    let path = docker.socket().to_str().context("a path in UTF-8")?;
    let engines = list(report, "engines")?.iter();
    let mut listeners = engines.flat_map(|engine| engine["listeners"].as_array().into_iter().flatten());
    listeners
        .find(|listener| listener["name"]["path"] == path)
        .with_context(|| format!("{path} in {report}"))
}

#[test]
fn a_socket_without_a_connect_is_reported_and_a_look_is_not_a_use() -> Result<()> {
    let docker = Docker::start()?;
    let agent = Agent::start(["--period", "1s"])?;
    for _ in 0..3 {
        std::thread::sleep(Duration::from_secs(1));
        let seen = agent.report()?;
        assert_eq!(listener(&seen, &docker)?["lastConnect"]["kind"], "none-since", "{seen}");
        assert_eq!(clients_of(&seen, docker.socket())?, [""; 0]);
    }
    assert_eq!(agent.stop()?, Some(0));
    Ok(())
}

#[test]
fn a_use_between_two_looks_is_an_unseen_client() -> Result<()> {
    let docker = Docker::start()?;
    let agent = Agent::start(["--period", "1s"])?;
    assert_eq!(clients_of(&agent.report()?, docker.socket())?, [""; 0]);
    drop(UnixStream::connect(docker.socket())?);
    let seen = wait::until("a client that no look saw", Duration::from_secs(20), || {
        let seen = agent.report()?;
        ensure!(clients_of(&seen, docker.socket())? == ["unseen"], "{seen}");
        Ok(seen)
    })?;
    assert_eq!(seen["verdict"], "in-use", "{}", seen["verdictReason"]);
    assert_eq!(agent.stop()?, Some(0));
    // No new request is made, and a later check still reports it.
    let later = report([])?;
    assert_eq!(clients_of(&later, docker.socket())?, ["unseen"]);
    assert_eq!(later["verdict"], "in-use", "{}", later["verdictReason"]);
    Ok(())
}
