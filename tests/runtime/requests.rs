//! Requests of the docker command to a real dockerd, recorded at the exit of system calls, which every kernel with BPF
//! allows.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, ensure};
use castoff_tests::lab::docker::Docker;
use castoff_tests::report::{Agent, list};
use castoff_tests::wait;
use serde_json::{Value, json};

/// The commands, each with the class of its request. It does not matter if the engine can execute it.
const COMMANDS: &[(&[&str], &str)] = &[
    (&["ps"], "read"),
    (&["build", "-"], "build"),
    (&["pull", "registry.invalid/app:1"], "pull"),
    (&["push", "registry.invalid/app:1"], "push"),
    (&["events", "--until", "1"], "events"),
    (&["volume", "ls"], "volumes"),
    (&["network", "ls"], "networks"),
    (&["node", "ls"], "swarm"),
    (&["create", "nothing:1"], "run"),
];

/// Returns the clients that sent requests. The docker command is two of them: it is not in a usual directory, so its
/// path is known only if it still ran when its record was read.
fn asking<'a>(report: &'a Value, docker: &Docker) -> Result<Vec<&'a Value>> {
    let path = json!(docker.socket());
    let is_of_docker = |client: &&Value| client["listener"]["path"] == path;
    let clients = list(report, "clients")?.iter().filter(is_of_docker);
    let requests = clients.map(|client| &client["requests"]);
    Ok(requests.filter(|requests| requests["operations"].is_object()).collect())
}

fn operations(asking: &[&Value]) -> BTreeSet<String> {
    let operations = asking.iter().filter_map(|requests| requests["operations"].as_object());
    operations.flatten().map(|(operation, _)| operation.clone()).collect()
}

#[test]
fn each_command_of_docker_is_reported_by_its_class() -> Result<()> {
    let docker = Docker::start()?;
    let by_tracepoint = ["--connect-events", "tracepoint", "--requests", "tracepoint"];
    let agent = Agent::start(["--period", "1s"].into_iter().chain(by_tracepoint))?;
    let mut expected = BTreeSet::from(["system".to_owned()]);
    for (command, class) in COMMANDS {
        // Its result does not matter.
        docker.client()?.args(*command).stdin(Stdio::null()).output()?;
        expected.insert((*class).to_owned());
        wait::until(&format!("{command:?}"), Duration::from_secs(20), || {
            let seen = agent.report()?;
            let told = operations(&asking(&seen, &docker)?);
            ensure!(told == expected, "{told:?} instead of {expected:?}");
            Ok(())
        })?;
    }
    let seen = agent.report()?;
    let version = docker.ask(["version", "--format", "{{.Client.APIVersion}}"])?;
    let minor: u64 = version.trim().trim_start_matches("1.").parse()?;
    for requests in asking(&seen, &docker)? {
        assert_eq!(requests["lowestApi"]["minor"], minor, "{seen}");
    }
    let findings = seen["findings"].as_array().into_iter().flatten();
    let mut codes = findings.map(|finding| &finding["code"]);
    let is_old = codes.any(|code| code == "old-docker-api");
    assert_eq!(is_old, minor < 44, "{seen}");
    let text = seen.to_string();
    assert!(!text.contains("registry.invalid"), "no name of an image leaves");
    assert_eq!(agent.stop()?, Some(0));
    Ok(())
}
