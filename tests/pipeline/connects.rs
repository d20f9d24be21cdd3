//! Clients that are gone before a look could see them, from the kernel's records of their connects. The kernel, the
//! clients and their control groups are real. The program is attached to the exit of system calls, which every kernel
//! with BPF allows.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use castoff::findings::report::{Code, Report, Verdict};
use castoff::model::client::{Client, ClientIdentity, Origin};
use castoff::model::connect::ConnectMethod;
use castoff_tests::lab::castoff::castoff_binary;
use castoff_tests::lab::cgroups::UnitCgroup;
use castoff_tests::lab::clients;
use castoff_tests::lab::places::{ORDINARY_UID, Place};

use super::hosts::{self, Host};
use super::{agent, agent_with_events};

/// The times for which a client holds its connection and then waits.
const HOLD: Duration = Duration::from_millis(1);
const REST: Duration = Duration::from_millis(20);

/// Looks before clients come, and again after `clients` have run for a second.
async fn look_around(host: &Host, places: Vec<Place>) -> Result<Report> {
    let mut agent = agent_with_events(host, None);
    let before = agent.look().await;
    let events = before.connect_events.known().context("the kernel was asked")?;
    ensure!(events.method == Some(ConnectMethod::SyscallExit), "{events:?}");
    let socket = host.docker_socket();
    let come = |place| clients::blink(&socket, HOLD, REST, place);
    let clients: Vec<_> = places.into_iter().map(come).collect::<Result<_>>()?;
    thread::sleep(Duration::from_secs(1));
    drop(clients);
    Ok(agent.look().await)
}

fn told(report: &Report) -> Result<Vec<&Client>> {
    let clients = report.clients.known().context("clients are known")?;
    Ok(clients.iter().filter(|client| client.origin == Origin::Event).collect())
}

#[tokio::test]
async fn a_client_of_one_millisecond_is_named_with_its_unit_its_user_and_its_program() -> Result<()> {
    let host = hosts::docker_only()?;
    host.let_everybody_connect()?;
    let unit = Place::unit("castoff-lab-cron.service")?;
    let report = look_around(&host, vec![unit, Place::host().ordinary_user()]).await?;
    let told = told(&report)?;
    let of = |uid: u32| {
        let mut clients = told.iter();
        clients.find(|c| matches!(&c.key.identity, ClientIdentity::Host { uid: Some(user), .. } if *user == uid))
    };
    let service = of(0).with_context(|| format!("{told:#?}"))?;
    let ClientIdentity::Host { unit, executable, .. } = &service.key.identity else {
        anyhow::bail!("{service:?}");
    };
    assert_eq!(
        unit.as_ref().map(ToString::to_string).as_deref(),
        Some("castoff-lab-cron.service")
    );
    assert_eq!(
        Path::new(executable).file_name().and_then(|name| name.to_str()),
        Some("client")
    );
    assert!(service.connects > 10, "a second of connects: {}", service.connects);
    assert!(!service.is_open() && service.last_seen <= report.time);
    assert!(of(ORDINARY_UID).is_some(), "{told:#?}");
    assert_eq!(report.verdict, Verdict::InUse);
    let events = report.connect_events.known().context("the kernel was asked")?;
    let connects: u64 = told.iter().map(|client| client.connects).sum();
    assert_eq!((events.lost, events.attributed.none), (0, 0));
    assert!(events.recorded >= connects, "{events:?} {connects}");
    Ok(())
}

#[tokio::test]
async fn a_container_that_is_gone_is_named_by_the_control_group_of_its_connect() -> Result<()> {
    let host = hosts::containerd()?;
    let cgroup = UnitCgroup::make(hosts::shipper_cgroup())?;
    let report = look_around(&host, vec![Place::host().cgroup(cgroup)]).await?;
    let told = told(&report)?;
    let names: Vec<String> = told.iter().map(|client| client.key.identity.to_string()).collect();
    assert_eq!(names, ["pod logging/shipper-x7k2p (ship)"]);
    Ok(())
}

#[tokio::test]
async fn unrequested_connect_events_are_absent() -> Result<()> {
    let host = hosts::docker_only()?;
    let report = agent(&host).look().await;
    assert_eq!(report.connect_events.known(), None);
    assert_eq!(report.connect_events.gap(), None);
    Ok(())
}

/// Returns the result of the first self-test.
async fn self_test(program: &Path) -> Result<Report> {
    let host = hosts::docker_only()?;
    let mut agent = agent_with_events(&host, Some(program.to_owned()));
    let start = Instant::now();
    loop {
        let report = agent.look().await;
        let events = report.connect_events.known().context("the kernel was asked")?;
        if events.self_test.is_some() {
            return Ok(report);
        }
        ensure!(start.elapsed() < Duration::from_secs(30), "no self-test: {events:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[tokio::test]
async fn castoffs_own_connect_and_request_are_recorded_and_are_not_a_client() -> Result<()> {
    let report = self_test(&castoff_binary()?).await?;
    let events = report.connect_events.known().context("the kernel was asked")?;
    assert_eq!(events.self_test.as_ref().and_then(|test| test.failure.as_deref()), None);
    assert_eq!((events.method, events.recorded), (Some(ConnectMethod::SyscallExit), 0));
    let requests = &events.requests;
    assert_eq!(
        (requests.method, requests.recorded),
        (Some(ConnectMethod::SyscallExit), 0)
    );
    assert!(told(&report)?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_method_that_does_not_record_castoffs_own_connect_has_failed() -> Result<()> {
    // A child that connects to nothing, as if the program were detached.
    let report = self_test(Path::new("/bin/true")).await?;
    let events = report.connect_events.known().context("the kernel was asked")?;
    assert_eq!(events.method, None);
    let last = events.refused.last().context("it is told")?;
    assert_eq!(last.method, ConnectMethod::SyscallExit);
    assert!(
        last.answer.contains("did not report castoff's own connect"),
        "{}",
        last.answer
    );
    let requests = events.requests.refused.last().context("it is told")?;
    assert_eq!(
        (events.requests.method, requests.method),
        (None, ConnectMethod::SyscallExit)
    );
    let mut spots = report.findings.iter().filter(|finding| finding.code == Code::BlindSpot);
    assert!(spots.any(|spot| spot.subject == "connects"), "{:?}", report.findings);
    Ok(())
}

/// The socket's file is created again between two looks, like by an engine that restarts: it is watched within a
/// moment.
#[tokio::test]
async fn an_engine_that_restarts_between_two_looks_stays_watched() -> Result<()> {
    let mut host = hosts::docker_only()?;
    let mut agent = agent_with_events(&host, None);
    agent.look().await;
    let start = Instant::now();
    let watched = |report: &Report| report.connect_events.known().map(|events| events.recorded);
    for _ in 0..3 {
        host.restart_dockerd()?;
        thread::sleep(Duration::from_secs(1));
        let client = clients::blink(&host.docker_socket(), HOLD, REST, Place::host())?;
        thread::sleep(Duration::from_secs(1));
        drop(client);
    }
    let report = agent.look().await;
    ensure!(
        start.elapsed() < Duration::from_secs(30),
        "the machine is too slow for this test"
    );
    assert!(
        watched(&report).is_some_and(|recorded| recorded > 3),
        "{:?}",
        report.connect_events
    );
    assert!(!told(&report)?.is_empty(), "{:?}", report.clients);
    Ok(())
}
