//! Complete cycles of `castoff run` on a node with many pods and a real containerd: CPU, memory, time to a verdict.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::castoff_binary;
use castoff_tests::lab::containerd::Containerd;
use castoff_tests::lab::containers::{Container, RunningContainer};
use castoff_tests::lab::pods::{Pod, RunningPod};

use crate::figures::{Figure, median, millis, table};
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

/// The measurements of one step.
#[derive(Debug)]
pub(crate) struct Measured {
    pods: usize,
    cycles: f64,
    /// CPU time of one cycle.
    cpu: Duration,
    /// KiB, at the end and at the peak.
    memory: (u64, u64),
    verdict: Duration,
    pub(crate) missed: Vec<u32>,
    by_ss: usize,
}

type Running = (RunningPod, Option<RunningContainer>);

/// Creates more and more pods, and measures at each step.
pub(crate) fn measure(steps: &[(usize, Duration)]) -> Result<Vec<Measured>> {
    let load = Load::make(Size {
        processes: 0,
        sockets: 0,
        files: 0,
        namespaces: 0,
        clients: 0,
    })?;
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
    let agent = Agent::start(&program, &endpoint)?;
    thread::sleep(Duration::from_secs(8)); // its start, and the time until the last pods are no longer new
    let (start, cpu) = (Instant::now(), agent.cpu()?);
    thread::sleep(span);
    let cycles = start.elapsed().as_secs_f64() / PERIOD.as_secs_f64();
    let cpu = agent.cpu()?.saturating_sub(cpu);
    Ok(Measured {
        pods: count,
        cycles,
        cpu: cpu.div_f64(cycles),
        memory: agent.memory()?,
        verdict: median(&verdicts).wall,
        missed: held.difference(&found).copied().collect(),
        by_ss: held.intersection(&tools::found_by_ss(socket)?).count(),
    })
}

/// A `castoff run`. Dropping it ends it.
struct Agent(Child);

impl Agent {
    fn start(program: &str, endpoint: &str) -> Result<Self> {
        let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let agent = Command::new(program)
            .args(["run", "--log", "warn", "--period"])
            .arg(format!("{}s", PERIOD.as_secs()))
            .args(["--listen", &free.to_string(), "--runtime-endpoint", endpoint])
            .stdin(Stdio::null())
            .spawn();
        Ok(Self(agent.context("start castoff run")?))
    }

    /// Returns the CPU time since its start, in the kernel's hundredths of a second.
    fn cpu(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        let fields = stat.rsplit_once(')').context("a line of stat")?.1;
        let ticks = fields.split_ascii_whitespace().skip(11).take(2).map(str::parse::<u64>);
        let ticks = ticks.sum::<Result<u64, _>>()?;
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Returns KiB, current and peak.
    fn memory(&self) -> Result<(u64, u64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_ascii_whitespace().nth(1)?.parse().ok())
        };
        let memory = field("VmRSS").zip(field("VmHWM"));
        ensure!(memory.is_some(), "castoff run has ended");
        memory.context("its memory")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait().map(drop)) {
            eprintln!("castoff run did not end: {error}");
        }
    }
}

fn mebibytes(kibibytes: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a program has fewer than 2⁵² KiB")]
    let kibibytes = kibibytes as f64;
    kibibytes / 1024.0
}

/// Returns thousandths of a core at the default period.
fn quiet(m: &Measured) -> f64 {
    millis(m.cpu) / USUAL_PERIOD
}

pub(crate) fn print(all: &[Measured]) -> String {
    let row = |m: &Measured| {
        vec![
            m.pods.to_string(),
            format!("{:.0}", m.cycles),
            format!("{:.1}", millis(m.cpu)),
            format!("{:.2}", quiet(m)),
            format!("{:.1} / {:.1}", mebibytes(m.memory.0), mebibytes(m.memory.1)),
            format!("{:.0}", millis(m.verdict)),
            format!("{} of {CLIENTS}", CLIENTS - m.missed.len()),
            format!("{} of {CLIENTS}", m.by_ss),
        ]
    };
    table(
        "castoff run over a real containerd (pods beyond 110 are a sandbox in the host's network)",
        &[
            "pods",
            "cycles",
            "CPU ms a cycle",
            "m at 15 s",
            "MiB now / most",
            "first verdict ms",
            "clients found",
            "by ss -xp",
        ],
        &all.iter().map(row).collect::<Vec<_>>(),
    )
}

/// Returns the figures that follow from these steps.
pub(crate) fn figures(all: &[Measured]) -> Vec<Figure> {
    let of = |m: &Measured| {
        let pods = m.pods;
        [
            Figure::at_most(format!("{pods} pods, RSS"), mebibytes(m.memory.0), 15.0, "MiB"),
            Figure::at_most(format!("{pods} pods, quiet CPU at 15 s"), quiet(m), 1.0, "m"),
            Figure::at_most(
                format!("{pods} pods, start to first verdict"),
                millis(m.verdict),
                300.0,
                "ms",
            ),
        ]
    };
    all.iter().flat_map(of).collect()
}
