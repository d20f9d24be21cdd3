//! Makes everything that castoff depends on fail, one part after the other, and checks the agent meanwhile.
//!
//! The faults run on stages (separate machines), where a node without Docker is `clear`, so that a false `clear` is
//! noticed. With arguments, only the faults run whose name contains one of them. `CASTOFF_TESTS_SECONDS` is the time
//! for all of them, which sets how often each is repeated.

mod api_server;
mod clock;
mod engine;
mod hanging;
mod limits;
mod mounts;
mod node;
mod processes;
mod programs;
mod runtime;
mod state;
mod watched;
mod writer;

use std::env;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use castoff_tests::lab::castoff_binary;
use castoff_tests::lab::stage::Stage;
use castoff_tests::rows::{self, Words};

/// The argument with which this program runs one fault on a stage; its name follows.
const RUN: &str = "--run";
/// The stages on which faults run at the same time. The agents mostly wait.
const STAGES: usize = 4;
/// The seconds for all faults, if `CASTOFF_TESTS_SECONDS` is not set.
const SECONDS: u32 = 90;
/// The seconds of a run apart from the repetitions, and those of one more repetition of each fault, roughly.
const BASE: u32 = 60;
const ROUND: u32 = 18;
/// The minimum number of repetitions that show a leak of one descriptor or thread in each.
const FEWEST: u32 = 4;

/// A fault: its name, and the test.
type Fault = (&'static str, fn(&Plan) -> Result<()>);

/// The longest come first, so that the stages end at about the same time.
const FAULTS: &[Fault] = &[
    ("the state's writer is killed", writer::a_killed_writer_loses_nothing),
    ("the host's files hang", mounts::files_alone),
    ("every look hangs", mounts::an_agent_whose_looks_all_hang_is_not_alive),
    ("the runtime is killed", runtime::killed),
    ("the runtime is stopped", runtime::stopped),
    ("the runtime answers garbage", runtime::garbage),
    ("the engine is stopped", engine::stopped),
    ("the engine is killed", engine::killed),
    ("the engine restarts", engine::restarted),
    ("disks hang", mounts::disks),
    (
        "a client begins while disks hang",
        mounts::a_client_is_found_while_disks_hang,
    ),
    ("the state's disk is full", state::full),
    ("the state's disk is read-only", state::read_only),
    ("the state's disk hangs", state::hanging),
    ("the state's directory is removed", state::removed),
    ("the state is unreadable", state::unreadable),
    ("the agent is stopped and continued", limits::frozen),
    ("descriptors run out", limits::few_descriptors),
    (
        "the agent starts with few descriptors",
        limits::starts_with_few_descriptors,
    ),
    ("memory is short", limits::the_charts_memory),
    ("processes come and go", processes::churn),
    ("the kernel program is detached", programs::detached),
    (
        "the kernel program is detached, and a client connects and stays",
        programs::detached_while_a_client_connects,
    ),
    ("the kernel program's map is emptied", programs::forgotten),
    ("the kernel program's map is full", programs::full_map),
    ("the ring of connects is full", programs::full_ring),
    ("the ring of requests is full", programs::full_ring_of_requests),
    ("the kernel program lacks its rights", programs::no_rights),
    (
        "the kernel program has no locked memory",
        programs::little_locked_memory,
    ),
    ("the API server fails", api_server::fails),
    ("the clock jumps", clock::jumps),
];

/// The extent of a run.
pub(crate) struct Plan {
    seconds: u32,
}

impl Plan {
    fn read() -> Result<Self> {
        let seconds = match env::var("CASTOFF_TESTS_SECONDS") {
            Ok(seconds) => seconds.parse().context("CASTOFF_TESTS_SECONDS is no number")?,
            Err(_) => SECONDS,
        };
        Ok(Self { seconds })
    }

    /// Returns how often each fault is repeated.
    pub(crate) fn times(&self) -> u32 {
        (self.seconds.saturating_sub(BASE) / ROUND).max(FEWEST)
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [_, node::SERVE, socket] => node::serve(Path::new(socket)),
        [_, RUN, name] => run(name),
        _ => return rows::main("faults", run_all),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the chosen faults on a few stages, and prints the outcome of each.
fn run_all(words: &Words) -> Result<bool> {
    let chosen: Vec<&str> = FAULTS
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| words.choose(name))
        .collect();
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let castoff = castoff_binary()?;
    let work = || -> Result<()> {
        let stage = Stage::start(&[])?;
        // Rooms are named after processes, whose IDs are the same on each stage.
        let folder = tempfile::tempdir()?;
        while let Some(name) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
            let begun = Instant::now();
            let mut command = stage.command(env::current_exe()?);
            command
                .args([RUN, name])
                .env("CASTOFF_BIN", &castoff)
                .env("TMPDIR", folder.path());
            let output = command.output().context("run on a stage")?;
            let outcome = if output.status.success() {
                "passed".to_owned()
            } else {
                failed.fetch_add(1, Ordering::Relaxed);
                format!("failed, {}", String::from_utf8_lossy(&output.stderr))
            };
            println!(
                "{name}: {:.1} s\ncheck {name}: {outcome}",
                begun.elapsed().as_secs_f64()
            );
        }
        Ok(())
    };
    thread::scope(|scope| {
        let stages: Vec<_> = (0..STAGES.min(chosen.len())).map(|_| scope.spawn(work)).collect();
        let ended = stages.into_iter().map(thread::ScopedJoinHandle::join);
        ended.collect::<Vec<_>>().into_iter().try_for_each(|ended| match ended {
            Ok(done) => done,
            Err(_) => bail!("a stage ended with a panic"),
        })
    })?;
    let failed = failed.load(Ordering::Relaxed);
    // The checks are counted one by one. This line confirms that all of them have run.
    let result = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {result}. 0 passed; 0 failed; 0 ignored");
    Ok(failed == 0)
}

/// Makes the stage's settings writable. The machine's own stay as they are.
const OWN_SETTINGS: &str = "[ -d /run/etc ] || { mkdir -p /run/etc/new /run/etc/work &&
    mount --no-mtab -t overlay -o lowerdir=/etc,upperdir=/run/etc/new,workdir=/run/etc/work overlay /etc; }";

fn run(name: &str) -> Result<()> {
    let own = Command::new("sh").args(["-ec", OWN_SETTINGS]).status()?;
    ensure!(own.success(), "the stage has no settings of its own: {own}");
    let (_, test) = FAULTS.iter().find(|fault| fault.0 == name).context("no such fault")?;
    test(&Plan::read()?)
}
