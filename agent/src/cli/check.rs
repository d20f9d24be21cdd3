//! `castoff check`: one look at this node, several within `--sample`, or one after the other with `--watch`.

use std::cell::Cell;
use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::args::{Check, HostArgs, Output};
use super::judge::{exit_code, judge};
use super::terminal::{Terminal, style};
use super::watch::watch;
use super::{print, progress};
use crate::agent::Agent;
use crate::config::{DEFAULT_WINDOW, Look, Mistakes, Reader};
use crate::findings::Settings;
use crate::findings::readiness::target::Target;
use crate::findings::report::Report;
use crate::model::history::History;
use crate::model::publishing::Standing;
use crate::sinks::text::visible;
use crate::sinks::views::json::{render_json, render_json_line};
use crate::sinks::views::junit::{Outcome, render_junit};
use crate::sinks::views::sarif::render_sarif;
use crate::sinks::views::table::render_table;
use crate::sources::HostPaths;
use crate::sources::connects::Asked;

/// The time from the end of one look of a sample to the start of the next: a client that comes and goes within it is missed, and
/// a look costs a few milliseconds.
const PAUSE: Duration = Duration::from_millis(50);

/// The number of looks: one, a sample, or until interrupted.
#[derive(Clone, Copy)]
enum Looks {
    /// Once, or repeatedly for this time.
    Sample(Duration),
    /// Until interrupted, with this pause between looks.
    Watch(Duration),
}

pub(super) fn check(args: &Check) -> anyhow::Result<u8> {
    let (look, looks, ready_for) = resolve(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the async runtime")?;
    let agent = agent(look, ready_for);
    let seen = runtime.block_on(async {
        match looks {
            Looks::Sample(time) => sample(agent, time).await,
            Looks::Watch(interval) => {
                let redraws = args.output != Output::Json && Terminal::of_output().is_some();
                watch(agent, interval, &|report| render_next(report, args), redraws).await
            }
        }
    });
    // A look that hangs in the kernel must not delay the result.
    runtime.shutdown_background();
    let report = seen?;
    let outcome = judge(&report, &args.fail_on);
    if let Looks::Sample(_) = looks {
        print(&render(&report, args, outcome)?)?;
    }
    if let Output::Sarif | Output::Junit = args.output {
        // The log of a CI job must not end with a bare exit code. An error here has no reader.
        let _ = writeln!(
            io::stderr(),
            "castoff: {}: {}",
            report.verdict,
            visible(&report.verdict_reason)
        );
    }
    Ok(exit_code(outcome))
}

fn render(report: &Report, args: &Check, outcome: Outcome) -> anyhow::Result<String> {
    match args.output {
        Output::Table => Ok(render_table(report, &style(args.colour, false))),
        Output::Wide => Ok(render_table(report, &style(args.colour, true))),
        Output::Json => render_json(report).context("writing the report as JSON"),
        Output::Sarif => render_sarif(report).context("writing the report as SARIF"),
        Output::Junit => render_junit(report, outcome).context("writing the report as JUnit XML"),
    }
}

/// Renders one of several reports: a line for programs, and an empty line after the text for people.
fn render_next(report: &Report, args: &Check) -> anyhow::Result<String> {
    let mut text = match args.output {
        Output::Json => render_json_line(report, &Standing::default()).context("writing the report as JSON")?,
        _ => render(report, args, judge(report, &args.fail_on))?,
    };
    text.push('\n');
    Ok(text)
}

/// Looks once, and then repeatedly until `time` is over or an interrupt arrives.
async fn sample(mut agent: Agent, time: Duration) -> anyhow::Result<Report> {
    let (start, looks, clients) = (Instant::now(), Cell::new(0_u32), Cell::new(None));
    let count = |report: &Report| {
        looks.set(looks.get() + 1);
        clients.set(report.clients.known().map(Vec::len));
    };
    let work = async {
        let mut report = agent.look().await;
        count(&report);
        // Until now there was nothing to print, so an interrupt ended castoff.
        let mut interrupt = signal(SignalKind::interrupt()).context("waiting for an interrupt")?;
        while start.elapsed() < time {
            let next = async {
                tokio::time::sleep(PAUSE).await;
                agent.look().await
            };
            tokio::select! {
                biased;
                _ = interrupt.recv() => break, // the clients seen so far are an answer
                seen = next => report = seen,
            }
            count(&report);
        }
        Ok(report)
    };
    let line = || {
        let clients = clients.get().map_or("?".to_owned(), |n| n.to_string());
        let whole = if time.is_zero() {
            String::new()
        } else {
            format!(" of {}s", time.as_secs())
        };
        format!(
            "{}s{whole}, {} looks, {clients} clients",
            start.elapsed().as_secs(),
            looks.get()
        )
    };
    Box::pin(progress::beside(work, line)).await
}

/// Runs one look.
pub(super) async fn look_once(look: Look) -> Report {
    agent(look, Vec::new()).look().await
}

fn agent(look: Look, ready_for: Vec<Target>) -> Agent {
    let settings = Settings {
        node: look.node.clone(),
        window: DEFAULT_WINDOW,
        ready_for,
    };
    Agent::new(look, settings, History::default())
}

fn resolve(args: &Check) -> Result<(Look, Looks, Vec<Target>), Mistakes> {
    let mut reader = Reader::default();
    let mut look = look(&mut reader, &args.host);
    // A single look has no earlier look, so there is no time for the kernel to report connects in.
    if args.watch || args.sample.is_some() {
        look.connect_events = args.connects.asked();
    }
    let hour = Duration::from_secs(3600);
    let looks = if args.watch {
        if let Output::Sarif | Output::Junit = args.output {
            reader.mistake(
                (),
                "--watch: SARIF and JUnit are one document of one look; expected table, wide or json".to_owned(),
            );
        }
        Looks::Watch(reader.duration("--interval", &args.interval, Duration::from_millis(100), hour))
    } else {
        let sample = args.sample.as_ref();
        Looks::Sample(sample.map_or(Duration::ZERO, |s| reader.duration("--sample", s, Duration::ZERO, hour)))
    };
    let ready_for = reader.targets("--for", &args.ready_for);
    reader.finish()?;
    Ok((look, looks, ready_for))
}

/// Reads the arguments of every command that looks at the host.
pub(super) fn look(reader: &mut Reader, args: &HostArgs) -> Look {
    let proc = reader.directory("--proc", &args.proc);
    let root = match &args.host_root {
        Some(root) => reader.directory("--host-root", root),
        None => HostPaths::find_root(&proc),
    };
    let (least, most) = (Duration::from_millis(10), Duration::from_secs(60));
    Look {
        runtime_endpoint: reader.text("--runtime-endpoint", args.runtime_endpoint.as_deref()),
        runtime_timeout: reader.duration("--runtime-timeout", &args.runtime_timeout, least, most),
        node: reader.text("--node-name", args.node_name.as_deref()).or_else(node_name),
        host: HostPaths { proc, root },
        connect_events: Asked::default(),
        scan_host_files: args.scan_host_files,
    }
}

fn node_name() -> Option<String> {
    let downward = std::env::var("NODE_NAME").ok().filter(|name| !name.trim().is_empty());
    downward.or_else(|| rustix::system::uname().nodename().to_str().ok().map(str::to_owned))
}
