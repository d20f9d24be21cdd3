//! The sources of the credentials, and the behaviour without any.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::Result;
use castoff::apiserver::access::Access;
use castoff::findings::report::Verdict;
use castoff::model::machine::Machine;
use castoff::model::publishing::Outcome;
use castoff::sinks::publishing::labels::prefix::Prefix;
use castoff::sinks::publishing::node::sender::NodeSettings;
use castoff_tests::fake::api::FakeApi;

use super::{Agent, NODE, kubeconfig, paces};

#[tokio::test]
async fn a_token_that_is_rotated_on_disk_is_used() -> Result<()> {
    let api = FakeApi::start().await?;
    api.script().nodes.create(NODE);
    api.script().token = Some("first".to_owned());
    let mut agent = Agent::of(&api)?;
    agent.say(Verdict::Idle);
    agent.published("idle").await?;
    api.script().token = Some("second".to_owned());
    agent.say(Verdict::Exposed);
    agent.failing(Outcome::Unauthenticated).await?;
    fs::write(agent.file("token"), "second")?;
    agent.published("exposed").await?;
    // Rotated in time: no request fails.
    api.script().token = Some("third".to_owned());
    fs::write(agent.file("token"), "third")?;
    let before = api.script().seen.len();
    agent.say(Verdict::Clear);
    agent.published("clear").await?;
    assert_eq!(api.script().seen.len() - before, 1);
    Ok(())
}

#[tokio::test]
async fn an_invalid_kubeconfig_is_reported_and_read_again() -> Result<()> {
    let api = FakeApi::start().await?;
    api.script().nodes.create(NODE);
    let right = |agent: &Agent| kubeconfig(&format!("http://{}", api.address()), &agent.file("token"));
    let program = "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
        contexts: [{name: c, context: {cluster: k, user: u}}]\nclusters: [{name: k, cluster: {server: 'http://127.0.0.1:1'}}]\n\
        users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: /bin/sleep, args: ['600']}}}]\n";
    let no_context = program.replace("current-context: c", "current-context: d");
    let no_server = program.replace("server: 'http://127.0.0.1:1'", "proxy-url: ''");
    let bad_server = program.replace("http://127.0.0.1:1", "::not a url::");
    let bad_proxy = program.replace(
        "server: 'http://127.0.0.1:1'",
        "server: 'http://127.0.0.1:1', proxy-url: 'http://127.0.0.1:1'",
    );
    let bad_authority = program.replace(
        "server: 'http://127.0.0.1:1'",
        "server: 'https://127.0.0.1:1', certificate-authority-data: aGVsbG8=",
    );
    let huge = " ".repeat(2 << 20);
    for wrong in [
        "",
        "{",
        "[]",
        "\0\0",
        program,
        &no_context,
        &no_server,
        &bad_server,
        &bad_proxy,
        &bad_authority,
        &huge,
    ] {
        let mut agent = Agent::of(&api)?;
        fs::write(agent.file("kubeconfig"), wrong)?;
        agent.say(Verdict::Clear);
        agent
            .failing(Outcome::Unconfigured)
            .await
            .map_err(|e| e.context(wrong.chars().take(200).collect::<String>()))?;
        assert!(agent.state().requests.is_empty(), "nothing was sent: {wrong}");
        fs::write(agent.file("kubeconfig"), right(&agent))?;
        agent.published("clear").await?;
    }
    Ok(())
}

#[tokio::test]
async fn only_a_regular_file_is_a_kubeconfig() -> Result<()> {
    let api = FakeApi::start().await?;
    api.script().nodes.create(NODE);
    let folder = tempfile::tempdir()?;
    let fifo = folder.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0)?;
    let missing_token = folder.path().join("missing-token");
    fs::write(
        &missing_token,
        kubeconfig(&format!("http://{}", api.address()), &folder.path().join("no-token")),
    )?;
    let broken_token = folder.path().join("broken-token");
    fs::write(folder.path().join("token"), "a\nb\0")?;
    fs::write(
        &broken_token,
        kubeconfig(&format!("http://{}", api.address()), &folder.path().join("token")),
    )?;
    let cases = [
        folder.path().to_owned(),
        folder.path().join("missing"),
        fifo,
        "/dev/zero".into(),
        missing_token,
        broken_token,
    ];
    for path in cases {
        let settings = NodeSettings {
            node: NODE.to_owned(),
            prefix: Prefix::parse("castoff.dev/")?,
            access: Access::Kubeconfig {
                path: path.clone(),
                programs: false,
            },
            machine: Machine::default(),
            paces: paces(),
        };
        let mut agent = Agent::start(settings, tempfile::tempdir()?);
        agent.say(Verdict::Clear);
        agent
            .failing(Outcome::Unconfigured)
            .await
            .map_err(|e| e.context(path.display().to_string()))?;
    }
    assert!(api.script().seen.is_empty());
    Ok(())
}

#[tokio::test]
async fn outside_of_a_pod_there_is_no_service_account() -> Result<()> {
    let settings = NodeSettings {
        node: NODE.to_owned(),
        prefix: Prefix::parse("castoff.dev/")?,
        access: Access::ServiceAccount,
        machine: Machine::default(),
        paces: paces(),
    };
    let mut agent = Agent::start(settings, tempfile::tempdir()?);
    agent.say(Verdict::Clear);
    agent.failing(Outcome::Unconfigured).await
}

#[tokio::test]
async fn the_agent_starts_no_program_that_a_kubeconfig_names() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (program, mark) = (folder.path().join("program"), folder.path().join("mark"));
    fs::write(&program, format!("#!/bin/sh\ntouch {}\n", mark.display()))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    let mut agent = Agent::with("http://127.0.0.1:1", paces(), Machine::default())?;
    let file = fs::read_to_string(agent.file("kubeconfig"))?;
    let (head, _) = file.split_once("users:").expect("users come last");
    let user = format!(
        "users: [{{name: u, user: {{exec: {{apiVersion: client.authentication.k8s.io/v1, command: '{}'}}}}}}]\n",
        program.display()
    );
    fs::write(agent.file("kubeconfig"), format!("{head}{user}"))?;
    agent.say(Verdict::Clear);
    agent.failing(Outcome::Unconfigured).await?;
    assert!(!mark.exists());
    Ok(())
}
