//! The time for which Docker is unused: over days, restarts of the agent, and gaps. The socket and its access times are
//! real, the kernel's own clock is a recorded one.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use castoff::agent::Agent;
use castoff::findings::report::Report;
use castoff::model::disuse::{Began, DockerFree, Proof};
use castoff::model::history::History;
use castoff::model::publishing::Standing;
use castoff::model::reading::Reading;
use castoff::sinks::publishing::labels::values;
use castoff::sinks::store::StateKeeper;
use castoff::sinks::views::metrics::Metrics;
use castoff::sinks::views::metrics::cycles::CycleCounters;

use super::hosts::Host;
use super::hosts::mounted::with_access_times;
use super::{BUILD, agent, agent_with};

const DAY: u64 = 86_400;

/// A look so many seconds after the first one.
async fn look_after(seconds: u64, agent: &mut Agent, host: &Host) -> Result<Report> {
    host.set_clock("4f1c6d", 1_000 + seconds)?;
    Ok(agent.look().await)
}

fn free(report: &Report) -> Result<&DockerFree> {
    report
        .docker_free
        .known()
        .with_context(|| format!("{:?}", report.docker_free))
}

fn label(report: &Report) -> String {
    values(report).remove("docker-free-days").unwrap_or_default()
}

/// Connects once, and lets the file system's clock go on.
fn use_docker(host: &Host) -> Result<()> {
    sleep(Duration::from_millis(50));
    drop(UnixStream::connect(host.docker_socket())?);
    sleep(Duration::from_millis(50));
    Ok(())
}

/// Writes and reads the state file, as a restart does.
fn restart(agent: &Agent, host: &Host, state: &Path) -> Result<Agent> {
    let mut keeper = StateKeeper::load(state, StateKeeper::REST).keeper;
    keeper.save(agent.history(), Instant::now())?;
    Ok(agent_with(host, kept(state)))
}

fn kept(state: &Path) -> History {
    StateKeeper::load(state, StateKeeper::REST).history
}

#[tokio::test]
async fn days_without_a_connect_are_counted_and_a_connect_ends_them() -> Result<()> {
    let host = with_access_times("")?;
    let mut agent = agent(&host);
    let first = look_after(0, &mut agent, &host).await?;
    assert_eq!((free(&first)?.days, free(&first)?.began), (0, Began::FirstLook));
    assert_eq!(label(&first), "0");
    for (days, spans) in [(6, "0"), (7, "7"), (15, "14"), (35, "35")] {
        let report = look_after(days * DAY, &mut agent, &host).await?;
        let free = free(&report)?;
        assert_eq!((free.days, free.by), (days, Proof::SocketClock));
        assert_eq!(report.time.since(free.since), Duration::from_secs(days * DAY));
        assert_eq!(label(&report), spans);
        let metrics = Metrics::new(BUILD).render(Some(&report), &Standing::default(), &CycleCounters::default())?;
        let sample = "castoff_docker_free_since_timestamp_seconds{by=\"socket-clock\"} ";
        assert!(
            metrics.contains(&format!("{sample}{}", free.since.as_unix())),
            "{metrics}"
        );
    }
    use_docker(&host)?;
    let used = look_after(35 * DAY + 15, &mut agent, &host).await?;
    assert_eq!((&used.docker_free, label(&used)), (&Reading::Absent, "0".to_owned()));
    let after = look_after(35 * DAY + 30, &mut agent, &host).await?;
    assert_eq!((free(&after)?.days, free(&after)?.began), (0, Began::AfterUse));
    Ok(())
}

#[tokio::test]
async fn the_count_goes_on_after_a_restart_if_nobody_connected_meanwhile() -> Result<()> {
    let host = with_access_times("")?;
    let state = host.folder().join("state.json");
    let mut agent = agent(&host);
    look_after(0, &mut agent, &host).await?;
    let mut agent = restart(&agent, &host, &state)?;
    let report = look_after(20 * DAY, &mut agent, &host).await?;
    assert_eq!((free(&report)?.days, free(&report)?.began), (20, Began::FirstLook));
    let mut agent = restart(&agent, &host, &state)?;
    use_docker(&host)?;
    let report = look_after(21 * DAY, &mut agent, &host).await?;
    assert_eq!(report.docker_free, Reading::Absent, "the access time shows it");
    Ok(())
}

#[tokio::test]
async fn a_touch_while_the_agent_is_away_restarts_the_count() -> Result<()> {
    let host = with_access_times("")?;
    let state = host.folder().join("state.json");
    let mut agent = agent(&host);
    look_after(0, &mut agent, &host).await?;
    let mut agent = restart(&agent, &host, &state)?;
    // The times are kept to the second.
    sleep(Duration::from_millis(1_100));
    host.touch_docker_socket()?;
    let report = look_after(20 * DAY, &mut agent, &host).await?;
    assert_eq!((free(&report)?.days, free(&report)?.began), (0, Began::AfterGap));
    Ok(())
}

/// A connect through a read-only mount leaves no mark. A mount is remembered also without a name of the container.
#[tokio::test]
async fn a_readonly_mount_of_a_nameless_container_ends_the_proof_of_the_sockets_times() -> Result<()> {
    let host = with_access_times("")?;
    let state = host.folder().join("state.json");
    let mut agent = agent(&host);
    look_after(0, &mut agent, &host).await?;
    host.add_nameless_container()?;
    let report = look_after(15, &mut agent, &host).await?;
    let exposures = report.exposures.known().context("they are known")?;
    assert_eq!(exposures.iter().filter(|e| e.readonly && e.mounted).count(), 1);
    assert_eq!(agent.history().exposures().count(), 1);
    host.end_nameless_container()?;
    let report = look_after(30, &mut agent, &host).await?;
    assert_eq!(free(&report)?.by, Proof::Looks);
    let mut agent = restart(&agent, &host, &state)?;
    let report = look_after(20 * DAY, &mut agent, &host).await?;
    assert_eq!((free(&report)?.days, free(&report)?.began), (0, Began::AfterGap));
    Ok(())
}

#[tokio::test]
async fn where_something_hides_a_use_the_time_is_unknown_and_says_why() -> Result<()> {
    let host = with_access_times(",noatime")?;
    let report = agent(&host).look().await;
    let gap = report.docker_free.gap().context("a short use leaves no trace")?;
    assert!(
        gap.asked.contains("docker.sock") && gap.answer.contains("noatime"),
        "{gap}"
    );
    assert_eq!(label(&report), "unknown");

    let host = with_access_times("")?;
    let mut agent = agent(&host);
    look_after(0, &mut agent, &host).await?;
    host.break_tables()?;
    let report = look_after(15, &mut agent, &host).await?;
    assert!(report.docker_free.gap().is_some(), "{:?}", report.docker_free);
    std::fs::remove_file(host.paths().proc.join("uptime"))?;
    let report = agent.look().await;
    let gap = report.docker_free.gap().context("no clock counts")?;
    assert!(gap.asked.contains("uptime"), "{gap}");
    Ok(())
}
