//! Requests of clients, from the kernel's records. The kernel, the clients and their requests are real. The program is
//! attached to the exit of the system calls that send.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use castoff::findings::report::Report;
use castoff::model::client::Client;
use castoff::model::connect::ConnectMethod;
use castoff::model::request::Operation;
use castoff_tests::lab::clients::{self, Sending};
use castoff_tests::lab::places::Place;

use super::agent_with_events;
use super::hosts::{self, Host};

/// The timeout of the first look, which loads the kernel programs: this is slow in a debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Looks at the requests of a client that was connected before castoff started.
async fn look_at(host: &Host, sending: Sending, requests: &[&str]) -> Result<Report> {
    host.accept_and_read()?;
    let client = clients::ask(&host.docker_socket(), sending, requests, Place::host().ordinary_user())?;
    let mut agent = agent_with_events(host, None);
    let start = Instant::now();
    loop {
        let report = agent.look().await;
        let events = report.connect_events.known().context("the kernel was asked")?;
        ensure!(
            events.requests.method == Some(ConnectMethod::SyscallExit),
            "{:?}",
            events.requests
        );
        if asking(&report).is_some_and(|client| client.requests.operations.values().sum::<u64>() > 6) {
            drop(client);
            return Ok(report);
        }
        ensure!(start.elapsed() < PATIENCE, "{events:?} {:#?}", report.clients);
        thread::sleep(Duration::from_millis(200));
    }
}

fn asking(report: &Report) -> Option<&Client> {
    let clients = report.clients.known()?;
    clients.iter().find(|client| !client.requests.is_empty())
}

#[tokio::test]
async fn requests_are_classified_however_they_are_sent() -> Result<()> {
    for sending in [Sending::Write, Sending::Parts, Sending::Message, Sending::Cut] {
        let host = hosts::docker_only()?;
        host.let_everybody_connect()?;
        let requests = [
            "HEAD /_ping",
            "GET /v1.39/containers/json?all=1",
            "POST /session",
            "POST /v1.47/images/team/app/push",
        ];
        let report = look_at(&host, sending, &requests).await?;
        let client = asking(&report).with_context(|| format!("{sending:?}"))?;
        let classes: Vec<Operation> = client.requests.operations.keys().copied().collect();
        let expected = [Operation::Build, Operation::Read, Operation::Push, Operation::System];
        assert_eq!(classes, expected, "{sending:?}");
        assert_eq!(client.requests.lowest_api.map(|lowest| lowest.minor), Some(39));
        assert_eq!(client.connects, 0, "it was connected before: {client:?}");
        let events = report.connect_events.known().context("the kernel was asked")?;
        assert_eq!(events.requests.lost, 0);
        assert!(events.requests.recorded >= 4, "{:?}", events.requests);
    }
    Ok(())
}

/// castoff publishes nothing of a request but its class and version.
#[tokio::test]
async fn only_the_class_and_version_of_a_request_are_kept() -> Result<()> {
    let host = hosts::docker_only()?;
    host.let_everybody_connect()?;
    let request = "GET /v1.44/containers/geheimnis/json?token=hunter2";
    let report = look_at(&host, Sending::Write, &[request]).await?;
    let json = serde_json::to_string(&report)?;
    for secret in ["geheimnis", "hunter2", "/json"] {
        assert!(!json.contains(secret), "{secret}");
    }
    let client = asking(&report).context("it was seen")?;
    assert_eq!(
        client.requests.operations.keys().collect::<Vec<_>>(),
        [&Operation::Read]
    );
    Ok(())
}

/// Another user's requests count for that user alone, whatever they contain.
#[tokio::test]
async fn a_client_can_only_accuse_itself() -> Result<()> {
    let host = hosts::docker_only()?;
    host.let_everybody_connect()?;
    let quiet = clients::hold(&host.docker_socket(), Place::host())?;
    let report = look_at(
        &host,
        Sending::Write,
        &["POST /build", "GET /\u{1b}[2J/../..", "NONSENSE /build"],
    )
    .await?;
    drop(quiet);
    let clients = report.clients.known().context("clients are known")?;
    let asked: BTreeMap<bool, usize> = clients.iter().fold(BTreeMap::new(), |mut count, client| {
        *count.entry(client.requests.is_empty()).or_default() += 1;
        count
    });
    assert_eq!(asked.get(&false), Some(&1), "{clients:#?}");
    let client = asking(&report).context("it was seen")?;
    let classes: Vec<Operation> = client.requests.operations.keys().copied().collect();
    assert_eq!(classes, [Operation::Build, Operation::Other]);
    Ok(())
}
