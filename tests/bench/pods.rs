//! Complete cycles of `castoff run` on a node with many pods and a real containerd: CPU, memory, time to a verdict.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use castoff_tests::lab::castoff_binary;
use castoff_tests::lab::containerd::Containerd;
use castoff_tests::lab::containers::{Container, RunningContainer};
use castoff_tests::lab::memory::{MemoryGroup, Usage};
use castoff_tests::lab::pods::{Pod, RunningPod};
use castoff_tests::lab::process::{Resources, cpu_time};
use castoff_tests::report::Agent;

use crate::figures::{
    Figure, GROUP_HEADING, RSS_HEADING, mebibytes, median, memory_figures, millis, of_group, of_process, table,
};
use crate::loads::{Load, Size};
use crate::tools;

/// The pods of the first step, each with a network namespace of its own and a container. The others are a sandbox in
/// the host's network, which the runtime lists too and which is created in half the time.
const WHOLE: usize = 110;

/// The number of these with a client of the engine.
const CLIENTS: usize = 5;

/// The timeout of creating the pods of one step: two slow processors create one per second.
const PATIENCE: Duration = Duration::from_secs(120);

/// The number of pods that are created concurrently.
const AT_ONCE: usize = 4;

/// The period of the agent here, so that a minute has sixty cycles.
const PERIOD: Duration = Duration::from_secs(1);

/// The agent's default period, to which the quiet CPU refers.
const USUAL_PERIOD: f64 = 15.0;

/// The measured methods of recording connects: without a kernel program, and with the one that most kernels have.
const METHODS: [&str; 2] = ["off", "tracepoint"];

/// The measurements of one step.
#[derive(Debug)]
pub(crate) struct Measured {
    pods: usize,
    agents: Vec<AgentMeasured>,
    verdict: Duration,
    pub(crate) missed: Vec<u32>,
    by_ss: usize,
}

/// The measurements of one agent.
#[derive(Debug)]
struct AgentMeasured {
    /// The argument of `--connect-events` and of `--requests`.
    asked: &'static str,
    cycles: f64,
    /// CPU time of one cycle.
    cpu: Duration,
    resources: Resources,
    group: Usage,
}

type Running = (RunningPod, Option<RunningContainer>);

/// Creates more and more pods, and measures at each step.
pub(crate) fn measure(steps: &[(usize, Duration)]) -> Result<Vec<Measured>> {
    let load = Load::make(Size::NONE)?;
    let runtime = Containerd::start()?;
    let pods = Mutex::new(Vec::new());
    let mut measured = Vec::new();
    let mut outcome = Ok(());
    for (count, span) in steps {
        outcome = make(&runtime, &load.socket, *count, &pods).and_then(|()| {
            measured.push(look(&runtime, &load.socket, &pods, *span)?);
            Ok(())
        });
        if outcome.is_err() {
            break;
        }
    }
    remove(pods.into_inner().unwrap_or_default());
    outcome.map(|()| measured)
}

/// Creates pods until there are `count`, or the timeout passes.
fn make(runtime: &Containerd, socket: &Path, count: usize, pods: &Mutex<Vec<Running>>) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    let next = AtomicUsize::new(pods.lock().map_or(0, |pods| pods.len()));
    let make_some = || -> Result<()> {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count || Instant::now() > end {
                return Ok(());
            }
            let made = make_one(runtime, socket, at)?;
            if let Ok(mut pods) = pods.lock() {
                pods.push(made);
            }
        }
    };
    thread::scope(|scope| {
        let makers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(make_some)).collect();
        makers
            .into_iter()
            .try_for_each(|maker| maker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

fn make_one(runtime: &Containerd, socket: &Path, at: usize) -> Result<Running> {
    let pod = Pod::new("bench", format!("pod-{at}"));
    if at >= WHOLE {
        return Ok((runtime.run(pod.host_network())?, None));
    }
    let pod = runtime.run(pod)?;
    let path = "/var/run/docker.sock";
    let container = if at < CLIENTS {
        Container::client("client", ["hold", path]).mount(socket, path)
    } else {
        Container::sleeper("sleeper")
    };
    let container = pod.start(container)?;
    Ok((pod, Some(container)))
}

fn remove(pods: Vec<Running>) {
    let pods = Mutex::new(pods);
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(pod) = pods.lock().ok().and_then(|mut pods| pods.pop()) {
                    drop(pod);
                }
            });
        }
    });
}

fn look(runtime: &Containerd, socket: &Path, pods: &Mutex<Vec<Running>>, span: Duration) -> Result<Measured> {
    let mut held = BTreeSet::new();
    let mut count = 0;
    if let Ok(pods) = pods.lock() {
        count = pods.len();
        for (_, container) in pods.iter().take(WHOLE) {
            let Some(container) = container else { continue };
            let pid = container.pid()?;
            let exe = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            held.extend(exe.split(|b| *b == 0).any(|word| word == b"hold").then_some(pid));
        }
    }
    let (_, found) = tools::look(1, socket)?;
    let endpoint = runtime.endpoint();
    let program = castoff_binary()?.to_string_lossy().into_owned();
    let check = ["check", "--runtime-endpoint", &endpoint];
    let verdicts: Vec<_> = (0..5).map(|_| tools::time(&program, &check)).collect::<Result<_>>()?;
    let agents = METHODS.into_iter().map(|asked| watch(asked, &endpoint, span));
    Ok(Measured {
        pods: count,
        agents: agents.collect::<Result<_>>()?,
        verdict: median(&verdicts).wall,
        missed: held.difference(&found).copied().collect(),
        by_ss: held.intersection(&tools::found_by_ss(socket)?).count(),
    })
}

/// Runs an agent for `span`, in a control group.
fn watch(asked: &'static str, endpoint: &str, span: Duration) -> Result<AgentMeasured> {
    let group = MemoryGroup::make(None)?;
    let period = format!("{}s", PERIOD.as_secs());
    let arguments = ["--log", "info", "--period", &period, "--runtime-endpoint", endpoint];
    let events = ["--connect-events", asked, "--requests", asked];
    let agent = Agent::start_by(group.command(&castoff_binary()?)?, arguments.into_iter().chain(events))?;
    thread::sleep(Duration::from_secs(8)); // its start, and the time until the last pods are no longer new
    let (start, cpu) = (Instant::now(), cpu_time(agent.pid())?);
    thread::sleep(span);
    let cycles = start.elapsed().as_secs_f64() / PERIOD.as_secs_f64();
    let cpu = cpu_time(agent.pid())?.saturating_sub(cpu);
    Ok(AgentMeasured {
        asked,
        cycles,
        cpu: cpu.div_f64(cycles),
        resources: Resources::sample(agent.pid())?,
        group: group.usage()?,
    })
}

/// Returns thousandths of a core at the default period.
fn quiet(agent: &AgentMeasured) -> f64 {
    millis(agent.cpu) / USUAL_PERIOD
}

pub(crate) fn print(all: &[Measured]) -> String {
    let row = |m: &Measured, agent: &AgentMeasured| {
        vec![
            m.pods.to_string(),
            agent.asked.to_owned(),
            format!("{:.0}", agent.cycles),
            format!("{:.1}", millis(agent.cpu)),
            format!("{:.2}", quiet(agent)),
            of_process(agent.resources),
            of_group(agent.group),
            format!("{:.0}", millis(m.verdict)),
            format!("{} of {CLIENTS}", CLIENTS - m.missed.len()),
            format!("{} of {CLIENTS}", m.by_ss),
        ]
    };
    let rows = all.iter().flat_map(|m| m.agents.iter().map(move |agent| row(m, agent)));
    table(
        "castoff run over a real containerd (pods beyond 110 are a sandbox in the host's network)",
        &[
            "pods",
            "--connect-events",
            "cycles",
            "CPU ms a cycle",
            "m at 15 s",
            RSS_HEADING,
            GROUP_HEADING,
            "first verdict ms",
            "clients found",
            "by ss -xp",
        ],
        &rows.collect::<Vec<_>>(),
    )
}

/// Returns the figures that follow from these steps.
pub(crate) fn figures(all: &[Measured]) -> Vec<Figure> {
    let of = |m: &Measured| {
        let what = format!("{} pods", m.pods);
        let of_agent = |agent: &AgentMeasured| {
            let what = format!("{what}, --connect-events={}", agent.asked);
            let mut figures = vec![Figure::at_most(
                format!("{what}, quiet CPU at 15 s"),
                quiet(agent),
                1.0,
                "m",
            )];
            figures.extend(memory_figures(&what, agent.group));
            if agent.asked == "off" {
                let rss = mebibytes(agent.resources.memory as u64 * 1024);
                figures.push(Figure::at_most(format!("{what}, RSS"), rss, 12.0, "MiB"));
            }
            figures
        };
        let mut figures: Vec<Figure> = m.agents.iter().flat_map(of_agent).collect();
        let verdict = format!("{what}, start to first verdict");
        figures.push(Figure::at_most(verdict, millis(m.verdict), 300.0, "ms"));
        figures
    };
    all.iter().flat_map(of).collect()
}
