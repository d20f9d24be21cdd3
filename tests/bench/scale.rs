//! Complete looks of `castoff run` on loads of growing size, up to a node that is far too large: the cost of a look,
//! the memory, the series, and one client that every report must show.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use castoff_tests::lab::clients;
use castoff_tests::lab::memory::{MemoryGroup, Usage};
use castoff_tests::lab::places::Place;
use castoff_tests::lab::process::{Resources, cpu_time, started_since_boot};
use castoff_tests::lab::{castoff_binary, shipped};
use castoff_tests::report::{Agent, gaps};
use castoff_tests::wait;

use crate::exposition::{Exposition, clients_of, has_connection};
use crate::figures::{Figure, GROUP_HEADING, RSS_HEADING, mebibytes, middle, millis, of_group, of_process, table};
use crate::loads::{Load, Size};

/// The loads. The descriptors of a row are its sockets and its other files together.
const SIZES: [(&str, Size); 4] = [
    ("400 processes, 4,000 descriptors", size(400, 2_400, 1_600, 20, 100)),
    (
        "1,600 processes, 16,000 descriptors",
        size(1_600, 9_600, 6_400, 80, 200),
    ),
    (
        "5,000 processes, 50,000 descriptors",
        size(5_000, 30_000, 20_000, 250, 500),
    ),
    (
        "10,000 processes, 100,000 descriptors",
        size(10_000, 60_000, 40_000, 500, 1_000),
    ),
];

const fn size(processes: usize, sockets: usize, files: usize, namespaces: usize, exits: usize) -> Size {
    Size {
        processes,
        sockets,
        files,
        namespaces,
        exits,
        of_a_user: true,
        ..Size::NONE
    }
}

/// The time until the processes of a load are no longer new, which castoff reads again in each look.
const SETTLED: Duration = Duration::from_secs(6);
/// The period of the agent.
const PERIOD: Duration = Duration::from_secs(1);
/// The measured looks, and the timeout of one.
const LOOKS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(60);
/// The unit of the honest client.
const HONEST: &str = "castoff-bench-honest.service";

/// A row: its load, and what was measured or the reason why the load cannot be made on this machine.
#[derive(Debug)]
pub(crate) struct Row {
    name: &'static str,
    size: Size,
    measured: Result<Measured, String>,
}

/// The measurements of one load.
#[derive(Debug)]
struct Measured {
    first: Duration,
    look: Duration,
    cpu: Duration,
    resources: Resources,
    group: Usage,
    series: usize,
    started: f64,
    /// The looks that reported the honest client with its connection.
    found: usize,
    /// The reports that did not have the honest client, or said without a gap that it holds no connection.
    lost: Vec<String>,
}

/// Measures each load.
pub(crate) fn measure(say: impl Fn(&str)) -> Result<Vec<Row>> {
    let row = |(name, size): (&'static str, Size)| {
        say(name);
        let load = Load::make(size);
        let measured = match load {
            Ok(load) => Ok(look(&load)?),
            Err(error) => Err(format!("{error:#}")),
        };
        Ok(Row { name, size, measured })
    };
    SIZES.into_iter().map(row).collect()
}

fn look(load: &Load) -> Result<Measured> {
    let made = Instant::now();
    let _honest = clients::hold(&load.socket, Place::unit(HONEST)?)?;
    thread::sleep(SETTLED.saturating_sub(made.elapsed()));
    let group = MemoryGroup::make(Some(shipped::memory_limit()?))?;
    let period = format!("{}s", PERIOD.as_secs());
    let agent = Agent::start_by(group.command(&castoff_binary()?)?, ["--period", period.as_str()])?;
    // On a busy machine a look may take too long, which the report states. In that case the client is not lost, but not
    // seen yet.
    wait::until("the honest client", PATIENCE * 2, || {
        ensure!(has_connection(&agent.report()?, HONEST), "no look has found it");
        Ok(())
    })?;
    let mut before = Exposition::of(&agent)?;
    let first = before.mean_look()?;
    let (begun, cpu, started) = (Instant::now(), cpu_time(agent.pid())?, started_since_boot()?);
    let (start, mut looks, mut found, mut lost) = (before.looks()?, Vec::new(), 0, Vec::new());
    while looks.len() < LOOKS {
        let now = next_look(&agent, &before)?;
        looks.push(now.mean_look_since(&before)?);
        let report = agent.report()?;
        if has_connection(&report, HONEST) {
            found += 1;
        } else if clients_of(&report, HONEST).next().is_none() || !gaps(&report).any(|gap| gap["hides"] == "client") {
            lost.push(report["clients"].to_string());
        }
        before = now;
    }
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2⁵² processes")]
    let started = (started_since_boot()? - started) as f64 / begun.elapsed().as_secs_f64();
    let cpu = cpu_time(agent.pid())?.saturating_sub(cpu);
    Ok(Measured {
        first,
        look: middle(looks),
        cpu: cpu.div_f64(before.looks()? - start),
        resources: Resources::sample(agent.pid())?,
        group: group.usage()?,
        series: before.series,
        started,
        found,
        lost,
    })
}

/// Waits until a look has ended after the ones that `before` counts.
fn next_look(agent: &Agent, before: &Exposition) -> Result<Exposition> {
    let end = Instant::now() + PATIENCE;
    loop {
        thread::sleep(PERIOD / 4);
        let now = Exposition::of(agent)?;
        if now.looks()? > before.looks()? {
            return Ok(now);
        }
        ensure!(Instant::now() < end, "no look has ended within {PATIENCE:?}");
    }
}

pub(crate) fn print(all: &[Row]) -> String {
    let row = |row: &Row| {
        let Size {
            sockets,
            namespaces,
            exits,
            ..
        } = row.size;
        let mut cells = vec![row.name.to_owned(), sockets.to_string(), namespaces.to_string()];
        match &row.measured {
            Ok(m) => cells.extend([
                format!("{exits} / {:.0}", m.started),
                format!("{:.0}", millis(m.first)),
                format!("{:.0}", millis(m.look)),
                format!("{:.0}", millis(m.cpu)),
                of_process(m.resources),
                of_group(m.group),
                m.series.to_string(),
                format!("{} of {LOOKS}", m.found),
            ]),
            Err(reason) => cells.push(format!("cannot run here: {reason}")),
        }
        cells
    };
    table(
        "castoff run beside the processes of one user and network namespaces, in a group with the chart's limit",
        &[
            "load",
            "Unix sockets",
            "namespaces",
            "processes/s, load / machine",
            "first look ms",
            "look ms",
            "CPU ms a look",
            RSS_HEADING,
            GROUP_HEADING,
            "series",
            "honest client with its connection",
        ],
        &all.iter().map(row).collect::<Vec<_>>(),
    )
}

/// Returns the figures of the largest load that could be made.
pub(crate) fn figures(all: &[Row]) -> Vec<Figure> {
    let largest = all
        .iter()
        .rev()
        .find_map(|row| Some((row, row.measured.as_ref().ok()?)));
    largest.map_or_else(Vec::new, |(row, m)| {
        let rss = mebibytes(m.resources.memory as u64 * 1024);
        vec![
            Figure::at_most(format!("{}, a look", row.name), millis(m.look), 1_000.0, "ms"),
            Figure::at_most(format!("{}, RSS", row.name), rss, 32.0, "MiB"),
        ]
    })
}

/// Fails if a report lost the honest client.
pub(crate) fn ensure_no_client_is_lost(all: &[Row]) -> Result<()> {
    for row in all {
        let lost = row.measured.iter().flat_map(|m| &m.lost).next();
        ensure!(
            lost.is_none(),
            "{}: the honest client is not among {}",
            row.name,
            lost.map_or("", String::as_str)
        );
    }
    Ok(())
}
