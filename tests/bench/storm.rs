//! Connect events under load: processes that connect and exit at once, the cost of an unrelated connect, and the memory
//! that castoff's control group counts, including kernel maps.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use castoff_tests::lab::castoff_binary;
use castoff_tests::lab::clients;
use castoff_tests::lab::memory::{MemoryGroup, Usage};
use castoff_tests::lab::places::Place;
use castoff_tests::report::Agent;
use serde_json::Value;

use crate::figures::{Figure, GROUP_HEADING, memory_figures, of_group, table};
use crate::loads::Load;

/// The compared methods: the argument of `--connect-events` and of `--requests`.
const METHODS: [&str; 3] = ["off", "auto", "tracepoint"];

/// The connects of each of the [`CLIENTS`] clients, each by a separate process.
const TIMES: u32 = 15_000;

/// The clients that connect concurrently.
const CLIENTS: u32 = 2;

/// The number of unrelated connects in one measurement.
const UNRELATED: u32 = 20_000;

/// The number of measurements of unrelated connects, with the program and without.
const ROUNDS: usize = 5;

/// The time for which the agent runs after the last connect: two of its periods.
const AFTERWARDS: Duration = Duration::from_secs(3);

/// The measurements of one method.
#[derive(Debug)]
pub(crate) struct Measured {
    asked: &'static str,
    /// The method that ran.
    method: String,
    per_second: f64,
    connects: u64,
    recorded: u64,
    lost: u64,
    /// The connects that were attributed to no client.
    unattributed: u64,
    /// The nanoseconds of an unrelated connect, without the agent and with it.
    unrelated: (f64, f64),
    /// The memory of the agent's control group afterwards and at the peak.
    memory: Usage,
}

/// Measures each method in turn.
pub(crate) fn measure(progress: impl Fn(&str)) -> Result<Vec<Measured>> {
    let load = Load::closing()?;
    let measure = |asked| {
        progress(&format!("connect events: {asked}"));
        measure_one(asked, &load.socket)
    };
    METHODS.into_iter().map(measure).collect()
}

fn measure_one(asked: &'static str, socket: &Path) -> Result<Measured> {
    let unrelated = Unrelated::listen()?;
    let without = unrelated.time()?;
    let group = MemoryGroup::make(None)?;
    let arguments = ["--period", "1s", "--connect-events", asked, "--requests", asked];
    let agent = Agent::start_by(group.command(&castoff_binary()?)?, arguments)?;
    agent.wait_until("the first report", |agent| Ok(agent.get("/readyz")?.starts_with("ok")))?;
    let with = unrelated.time()?;
    let start = Instant::now();
    thread::scope(|scope| {
        let burst = |at: u32| {
            let place = Place::unit(&format!("castoff-bench-{at}.service"))?;
            let times = TIMES.to_string();
            clients::start(place, &["burst", &socket.to_string_lossy(), &times]).map(drop)
        };
        let bursts: Vec<_> = (0..CLIENTS).map(|at| scope.spawn(move || burst(at))).collect();
        bursts
            .into_iter()
            .try_for_each(|burst| burst.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    let took = start.elapsed();
    thread::sleep(AFTERWARDS);
    let report = agent.report()?;
    let events = &report["connectEvents"]["value"];
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let connects = u64::from(TIMES * CLIENTS);
    Ok(Measured {
        asked,
        method: events["method"].as_str().unwrap_or("none").to_owned(),
        per_second: f64::from(TIMES * CLIENTS) / took.as_secs_f64(),
        connects,
        recorded: number(&events["recorded"]),
        lost: number(&events["lost"]),
        unattributed: number(&events["attributed"]["none"]),
        unrelated: (without, with),
        memory: group.usage()?,
    })
}

/// A listener that does not belong to an engine.
struct Unrelated {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Unrelated {
    fn listen() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("unrelated.sock");
        let listener = UnixListener::bind(&path)?;
        thread::spawn(move || listener.incoming().take_while(Result::is_ok).for_each(drop));
        Ok(Self { path, _folder: folder })
    }

    /// Returns the nanoseconds of one connect, as the minimum of several rounds, because other load only adds to it.
    fn time(&self) -> Result<f64> {
        let round = || -> Result<f64> {
            let start = Instant::now();
            for _ in 0..UNRELATED {
                drop(UnixStream::connect(&self.path)?);
            }
            Ok(start.elapsed().as_secs_f64() * 1e9 / f64::from(UNRELATED))
        };
        let rounds = (0..ROUNDS).map(|_| round()).collect::<Result<Vec<_>>>()?;
        rounds.into_iter().min_by(f64::total_cmp).context("there are rounds")
    }
}

pub(crate) fn print(all: &[Measured]) -> String {
    let row = |m: &Measured| {
        let (without, with) = m.unrelated;
        vec![
            m.asked.to_owned(),
            m.method.clone(),
            format!("{:.0}", m.per_second),
            format!("{} of {}", m.recorded, m.connects),
            m.lost.to_string(),
            m.unattributed.to_string(),
            format!("{without:.0} / {with:.0}"),
            of_group(m.memory),
        ]
    };
    table(
        "Connect events: processes that connect and exit at once",
        &[
            "--connect-events",
            "method",
            "connects/s",
            "recorded",
            "lost",
            "without a name",
            "unrelated connect ns without / with",
            GROUP_HEADING,
        ],
        &all.iter().map(row).collect::<Vec<_>>(),
    )
}

/// Returns the figures that follow from these measurements.
pub(crate) fn figures(all: &[Measured]) -> Vec<Figure> {
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2⁵²")]
    let of = |m: &Measured| {
        let runs = m.method != "none";
        let missed = m.connects.saturating_sub(m.recorded) + m.lost + m.unattributed;
        let of_events = runs.then(|| {
            [
                Figure::at_least(format!("{}, connects", m.method), m.per_second, 5_000.0, "/s"),
                Figure::at_most(
                    format!("{}, connects missed or without a name", m.method),
                    missed as f64,
                    0.0,
                    "",
                ),
                Figure::at_most(
                    format!("{}, cost of an unrelated connect", m.method),
                    m.unrelated.1 - m.unrelated.0,
                    200.0,
                    "ns",
                ),
            ]
        });
        let memory = memory_figures(&format!("--connect-events={}", m.asked), m.memory);
        of_events.into_iter().flatten().chain(memory)
    };
    all.iter().flat_map(of).collect()
}
