//! Missing rights and failing daemons: each is reported, and no better verdict is claimed.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use castoff_tests::lab::castoff_binary;
use castoff_tests::lab::clients;
use castoff_tests::lab::containerd::Containerd;
use castoff_tests::lab::containers::Container;
use castoff_tests::lab::docker::Docker;
use castoff_tests::lab::places::{ORDINARY_UID, Place};
use castoff_tests::lab::pods::Pod;
use castoff_tests::lab::rooms::copy_program;
use castoff_tests::report::{Agent, check, clients_of, gaps, list};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Runs `castoff check -o json` as an ordinary user, from a copy that such a user may execute.
fn check_as_ordinary_user() -> Result<(Option<i32>, Value)> {
    let folder = tempfile::tempdir_in("/tmp")?;
    let program = folder.path().join("castoff");
    copy_program(&castoff_binary()?, &program)?;
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open)?;
    let output = Command::new(&program)
        .args(["check", "-o", "json"])
        .uid(ORDINARY_UID)
        .gid(ORDINARY_UID)
        .output()?;
    let report = serde_json::from_slice(&output.stdout);
    Ok((
        output.status.code(),
        report.with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?,
    ))
}

#[test]
fn an_ordinary_user_sees_the_gaps_and_the_missing_rights() -> Result<()> {
    let (code, seen) = check_as_ordinary_user()?;
    // Clients of other tests may be visible; no better verdict than that is claimed.
    match seen["verdict"].as_str() {
        Some("unknown") => assert_eq!(code, Some(2)),
        Some("in-use") => assert_eq!(code, Some(1)),
        other => panic!("{other:?} is claimed: {seen:#}"),
    }
    let gaps: Vec<String> = gaps(&seen).map(ToString::to_string).collect();
    assert!(gaps.iter().any(|gap| gap.contains("CAP_SYS_PTRACE")), "{gaps:#?}");
    Ok(())
}

#[test]
fn an_ordinary_user_sees_that_a_socket_is_used_but_not_the_client() -> Result<()> {
    let docker = Docker::start()?;
    let _client = clients::hold(docker.socket(), Place::host())?;
    let (code, seen) = check_as_ordinary_user()?;
    assert_eq!((code, &seen["verdict"]), (Some(1), &Value::from("in-use")), "{seen:#}");
    assert!(!clients_of(&seen, docker.socket())?.is_empty());
    Ok(())
}

#[test]
fn a_hanging_runtime_is_unknown_and_found_again() -> Result<()> {
    let runtime = Containerd::start()?;
    let pod = runtime.run(Pod::new("apps", "web"))?;
    pod.start(Container::sleeper("web"))?;
    let endpoint = runtime.endpoint();
    let agent = Agent::start([
        "--runtime-endpoint",
        &endpoint,
        "--period",
        "1s",
        "--runtime-timeout",
        "300ms",
    ])?;
    assert_eq!(agent.report()?["containers"]["value"], 1);
    signal(runtime.daemon().pid(), Signal::STOP)?;
    agent.wait_until("the runtime is missed", |agent| {
        Ok(agent.metric(r#"castoff_source_up{source="runtime"}"#)? == Some(0.0))
    })?;
    let seen = agent.report()?;
    assert_eq!(seen["containers"]["state"], "unknown");
    assert_eq!(agent.metric(r#"castoff_node_verdict{verdict="clear"}"#)?, Some(0.0));
    signal(runtime.daemon().pid(), Signal::CONT)?;
    agent.wait_until("the runtime is back", |agent| {
        Ok(agent.report()?["containers"]["value"] == 1)
    })?;
    Ok(())
}

#[test]
fn a_socket_that_is_not_a_runtimes_is_refused_with_the_reason() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mute = folder.path().join("mute.sock");
    let _server = clients::mute(&mute, Place::host())?;
    let dangling = folder.path().join("dangling.sock");
    std::os::unix::fs::symlink("/nowhere", &dangling)?;
    let docker = Docker::start()?;
    for (path, reason) in [
        (mute.as_path(), "deadline-exceeded"),
        (dangling.as_path(), "not-a-socket"),
        (folder.path(), "not-a-socket"),
        (docker.socket(), "protocol-error"),
    ] {
        let path = path.to_str().context("UTF-8")?;
        let output = check(["-o", "json", "--runtime-endpoint", path, "--runtime-timeout", "300ms"])?;
        let seen: Value = serde_json::from_slice(&output.stdout)?;
        assert_eq!(seen["runtime"]["state"], "unknown", "{path}");
        assert_eq!(
            seen["runtime"]["value"]["reason"], reason,
            "{path}: {}",
            seen["runtime"]
        );
        assert_ne!(seen["verdict"], "clear", "{path}");
    }
    Ok(())
}

#[test]
fn clients_are_remembered_over_a_restart_of_the_agent() -> Result<()> {
    let docker = Docker::start()?;
    let folder = tempfile::tempdir()?;
    let state = folder.path().join("state.json");
    let arguments = ["--state", state.to_str().context("UTF-8")?, "--period", "1s"];
    let client = clients::hold(docker.socket(), Place::unit("castoff-lab-once.service")?)?;
    let agent = Agent::start(arguments)?;
    let first = first_seen(&agent.report()?, docker.socket())?;
    assert_eq!(agent.stop()?, Some(0));
    drop(client);

    let agent = Agent::start(arguments)?;
    let seen = agent.report()?;
    let mut clients = clients_of(&seen, docker.socket())?;
    // The lab's own docker connects for a moment to see if the daemon is ready: on a busy machine no look sees it.
    clients.retain(|client| client != "unseen");
    assert_eq!(clients, ["unit castoff-lab-once.service"]);
    assert_eq!(
        (first_seen(&seen, docker.socket())?, &seen["verdict"]),
        (first, &Value::from("in-use"))
    );
    drop(agent);

    std::fs::write(&state, "{ torn")?;
    let agent = Agent::start(arguments)?;
    agent.wait_until("the lost history is said", |agent| {
        Ok(gaps(&agent.report()?).any(|gap| gap["asked"].as_str().is_some_and(|asked| asked.contains("state file"))))
    })?;
    // Other programs may use Docker on this machine; no better verdict than that is claimed.
    let verdict = agent.report()?["verdict"].clone();
    let claimed = verdict != "unknown" && verdict != "in-use";
    assert!(!claimed, "{verdict}, and who used Docker before is not known any more");
    assert!(
        folder
            .path()
            .read_dir()?
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().contains("corrupt"))
    );
    Ok(())
}

#[test]
fn a_client_that_came_after_the_last_look_is_remembered_when_the_agent_stops() -> Result<()> {
    let docker = Docker::start()?;
    let folder = tempfile::tempdir()?;
    let state = folder.path().join("state.json");
    let agent = Agent::start(["--state", state.to_str().context("UTF-8")?, "--period", "1h"])?;
    let _client = clients::hold(docker.socket(), Place::unit("castoff-lab-late.service")?)?;
    assert_eq!(agent.stop()?, Some(0));
    let kept = std::fs::read_to_string(&state)?;
    assert!(kept.contains("castoff-lab-late.service"), "{kept}");
    Ok(())
}

fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("a pid")?;
    Ok(kill_process(pid, signal)?)
}

fn first_seen(report: &Value, socket: &Path) -> Result<String> {
    let clients = list(report, "clients")?;
    let client = clients
        .iter()
        .find(|c| c["listener"]["path"] == json!(socket) && c["identity"]["kind"] != "unseen")
        .with_context(|| format!("{report:#}"))?;
    Ok(client["firstSeen"].as_str().context("a time")?.to_owned())
}
