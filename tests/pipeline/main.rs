//! The whole way without a kernel: the input is a recorded host tree and a fake runtime on a real Unix socket, and the
//! JSON and the metrics are compared with golden files. `CASTOFF_BLESS=1` writes them; read the difference.

mod agents;
mod connects;
mod disuse;
mod fence;
mod hosts;
mod mounts;
mod normal;
mod relays;
mod requests;
mod runtime_socket;
mod settings;
mod strangers;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use castoff::agent::Agent;
use castoff::config::{DEFAULT_WINDOW, Look};
use castoff::findings::Settings;
use castoff::findings::report::Report;
use castoff::model::history::{ClientRecord, History};
use castoff::model::hours::Hours;
use castoff::model::publishing::Standing;
use castoff::model::reading::{Hides, Source};
use castoff::model::time::Timestamp;
use castoff::sinks::views::json::{render_json, render_schema};
use castoff::sinks::views::metrics::cycles::CycleCounters;
use castoff::sinks::views::metrics::{Build, Metrics};
use castoff::sinks::views::style::Style;
use castoff::sinks::views::table::render_table;
use castoff::sources::connects::{Asked, Wanted};
use castoff::sources::sockets::recorded::RecordedTables;
use castoff_cri::v1;
use castoff_tests::fake::cri::{Api, Method};
use hosts::Host;

const BUILD: Build = Build {
    version: "0.1.0",
    revision: "test",
};

macro_rules! golden {
    ($($name:ident),+ $(,)?) => {
        $(#[tokio::test]
        async fn $name() -> Result<()> {
            compare(stringify!($name), hosts::$name()?).await
        })+
    };
}

golden!(containerd, crio, cri_dockerd, dockershim, docker_only, no_runtime);

fn agent(host: &Host) -> Agent {
    agent_with(host, History::default())
}

fn agent_with(host: &Host, history: History) -> Agent {
    agent_at(host, None, history)
}

/// Returns an agent with a configured runtime endpoint.
fn agent_at(host: &Host, runtime_endpoint: Option<String>, history: History) -> Agent {
    agent_of(host, look_at(host, runtime_endpoint), history)
}

/// Returns an agent with connect events.
fn agent_with_events(host: &Host, self_test: Option<PathBuf>) -> Agent {
    let look = Look {
        connect_events: Asked {
            method: Wanted::Tracepoint,
            requests: Wanted::Tracepoint,
            self_test,
        },
        ..look_at(host, None)
    };
    agent_of(host, look, History::default())
}

fn look_at(host: &Host, runtime_endpoint: Option<String>) -> Look {
    Look {
        host: host.paths(),
        runtime_endpoint,
        // Long, so that the runtime does not seem to hang on a busy machine.
        runtime_timeout: Duration::from_secs(20),
        node: Some("worker-1".into()),
        connect_events: Asked::default(),
        scan_host_files: false,
    }
}

fn agent_of(host: &Host, look: Look, history: History) -> Agent {
    let settings = Settings {
        ready_for: Vec::new(),
        node: look.node.clone(),
        window: DEFAULT_WINDOW,
    };
    let tables = RecordedTables::new(host.tables());
    Agent::with_tables(look, settings, history, Box::new(tables))
}

#[tokio::test]
async fn a_container_that_is_not_listed_is_requested_once_more() -> Result<()> {
    let host = hosts::containerd()?;
    let runtime = host.runtime.as_ref().context("it has one")?;
    let asked = || runtime.calls(Api::V1, Method::ListContainers);
    let mut agent = agent(&host);
    agent.look().await;
    assert_eq!(asked(), 1, "all are listed");
    runtime.edit(|script| {
        script.pods.clear();
        script.containers.clear();
    });
    agent.look().await;
    assert_eq!(asked(), 3, "the holder's container is missing: it may be new");
    agent.look().await;
    assert_eq!(asked(), 4, "it is still missing: it is another runtime's");
    Ok(())
}

/// A container's first process runs before the runtime lists the container as running.
#[tokio::test]
async fn a_container_that_is_not_running_yet_has_its_name_in_each_look() -> Result<()> {
    let host = hosts::containerd()?;
    let runtime = host.runtime.as_ref().context("it has one")?;
    let mut agent = agent(&host);
    let names = |report: &Report| {
        let clients = report.clients.known().cloned().unwrap_or_default();
        let names = clients.iter().map(|client| client.key.identity.to_string());
        names.collect::<Vec<_>>()
    };
    runtime.edit(|script| {
        for container in &mut script.containers {
            container.state = v1::ContainerState::ContainerCreated as i32;
        }
    });
    let first = names(&agent.look().await);
    assert!(!first.is_empty());
    assert_eq!(names(&agent.look().await), first);
    Ok(())
}

#[tokio::test]
async fn the_mount_of_a_removed_pod_is_remembered() -> Result<()> {
    let host = hosts::containerd()?;
    let runtime = host.runtime.as_ref().context("it has one")?;
    let mut agent = agent(&host);
    let mounted = |report: &Report| {
        let exposures = report.exposures.known().cloned().unwrap_or_default();
        exposures
            .into_iter()
            .map(|e| (e.identity, e.mounted))
            .collect::<Vec<_>>()
    };
    let first = mounted(&agent.look().await);
    assert!(!first.is_empty() && first.iter().all(|(_, mounted)| *mounted));
    runtime.edit(|script| {
        script.pods.clear();
        script.containers.clear();
    });
    let gone: Vec<_> = first.into_iter().map(|(identity, _)| (identity, false)).collect();
    assert_eq!(mounted(&agent.look().await), gone);
    Ok(())
}

#[tokio::test]
async fn a_use_in_the_future_counts_as_a_current_one_and_is_reported() -> Result<()> {
    let host = hosts::containerd()?;
    let mut agent = agent(&host);
    agent.look().await;
    let future = agent.history().clients().map(|(key, seen)| {
        let then = Timestamp::from_unix(seen.last.as_unix() + 10 * 365 * 86_400);
        let seen = ClientRecord {
            first: then,
            last: then,
            ..seen.clone()
        };
        (key.clone(), seen)
    });
    let history = History::restore(future, [], Hours::default(), []);
    let mut agent = agent_with(&host, history);
    let report = agent.look().await;
    let clients = report.clients.known().context("somebody looked")?;
    assert!(!clients.is_empty());
    for client in clients {
        assert!(client.first_seen <= report.time && client.last_seen <= report.time);
    }
    let status = report.sources.iter().find(|s| s.source == Source::History);
    let gaps = &status.context("the history has a status")?.gaps;
    assert_eq!(gaps.iter().map(|gap| gap.hides).collect::<Vec<_>>(), [Hides::Detail]);
    Ok(())
}

#[tokio::test]
async fn neither_arguments_nor_environments_nor_labels_of_pods_are_kept() -> Result<()> {
    let secret = "hunter2";
    let host = hosts::with_a_secret(secret)?;
    let mut agent = agent(&host);
    let report = agent.look().await;
    assert!(!report.findings.is_empty() && report.clients.known().is_some_and(|clients| clients.len() > 1));
    let metrics = Metrics::new(BUILD).render(Some(&report), &Standing::default(), &CycleCounters::default())?;
    let state = format!("{:?}", agent.history());
    for text in [
        render_json(&report)?,
        metrics,
        render_table(&report, &Style::default()),
        state,
    ] {
        assert!(!text.contains(secret), "{text}");
    }
    Ok(())
}

async fn compare(name: &str, host: Host) -> Result<()> {
    let start = Instant::now();
    let report = agent(&host).look().await;
    let took = start.elapsed();
    let json = render_json(&report)?;
    let schema = serde_json::from_str(&render_schema()?)?;
    let value = serde_json::from_str(&json)?;
    jsonschema::validate(&schema, &value).map_err(|e| anyhow::anyhow!("{name} breaks the schema: {e}"))?;
    let value = normal::json(value, host.folder());
    same(name, "json", &format!("{}\n", serde_json::to_string_pretty(&value)?))?;

    let mut cycles = CycleCounters::default();
    cycles.record_cycle(&report, took, 0);
    let metrics = Metrics::new(BUILD).render(Some(&report), &Standing::default(), &cycles)?;
    same(name, "prom", &normal::metrics(&metrics))?;

    let style = Style {
        width: Some(120),
        ..Style::default()
    };
    same(
        name,
        "txt",
        &normal::table(&render_table(&report, &style), host.folder()),
    )
}

/// Compares `text` with a golden file, or writes the file.
fn same(name: &str, form: &str, text: &str) -> Result<()> {
    let file = folder().join(format!("{name}.{form}"));
    if std::env::var_os("CASTOFF_BLESS").is_some() {
        return std::fs::write(&file, text).with_context(|| file.display().to_string());
    }
    let golden = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let differs = golden.lines().zip(text.lines()).find(|(a, b)| a != b);
    assert_eq!(differs, None, "{} differs from what castoff says", file.display());
    assert_eq!(
        golden.lines().count(),
        text.lines().count(),
        "{} has other lines",
        file.display()
    );
    Ok(())
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("pipeline/golden")
}
