//! The wall clock jumps, in both directions, by less and by more than the window.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::castoff_binary;
use castoff_tests::lab::clients;
use castoff_tests::lab::places::Place;
use castoff_tests::report::{Agent, gaps, list};
use serde_json::Value;

use crate::Plan;
use crate::node::{ENDPOINT, ENGINE, Runtime, start_engine, start_kubelet};
use crate::watched::{Watched, explain};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/lab/clock.rs");
const DAY: i64 = 86_400;
/// The shifts of the clock, in seconds, one after the other. The window has 7 days.
const SHIFTS: [i64; 7] = [0, -3 * DAY, 3 * DAY, 0, 30 * DAY, -30 * DAY, 0];

/// A wall clock that a test sets, for one program.
struct Clock {
    folder: tempfile::TempDir,
}

impl Clock {
    fn make() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let mut compile = Command::new(rustc);
        compile.args(["--edition=2024", "-O", "-Cpanic=abort", "-o"]);
        let output = compile.arg(folder.path().join("clock.so")).arg(SOURCE).output();
        let output = output.context("start rustc")?;
        ensure!(
            output.status.success(),
            "rustc: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let clock = Self { folder };
        clock.set(0)?;
        Ok(clock)
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("shift")
    }

    /// Sets the shift in one step, so that a reader never sees half a number.
    fn set(&self, shift: i64) -> Result<()> {
        let fresh = self.folder.path().join("fresh");
        fs::write(&fresh, shift.to_string())?;
        Ok(fs::rename(fresh, self.file())?)
    }

    /// Starts an agent with this clock.
    fn start(&self, state: &Path) -> Result<Watched> {
        let mut castoff = Command::new(castoff_binary()?);
        castoff.env("LD_PRELOAD", self.folder.path().join("clock.so"));
        castoff.env("CASTOFF_TEST_CLOCK", self.file());
        let state = state.to_str().context("UTF-8")?;
        let arguments = ["--period", "1s", "--runtime-endpoint", ENDPOINT, "--state", state];
        Ok(Watched::of(Agent::start_by(castoff, arguments)?))
    }
}

/// Returns the number of connects of the client; none if it is not reported.
fn connects(report: &Value, program: &str) -> Option<u64> {
    let clients = list(report, "clients").ok()?;
    let client = clients
        .iter()
        .find(|client| client["identity"].to_string().contains(program))?;
    client["connects"].as_u64()
}

/// Waits until a look was made by the clock with this shift, and returns its report.
fn report_at(agent: &Watched, shift: i64) -> Result<Value> {
    let machine = i64::try_from(
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)?
            .as_secs(),
    )?;
    agent.wait_for("a look by the new time", |agent| {
        let now = agent.metric("castoff_report_timestamp_seconds")?.context("no report")?;
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are exact")]
        let difference = (now - (machine + shift) as f64).abs();
        ensure!(
            difference < 600.0,
            "the report is of {now}: {difference} s from the clock"
        );
        Ok(())
    })?;
    agent.agent().report()
}

/// No jump of the clock loses a client, improves the verdict, or stops the looks, and neither does a restart in
/// between.
pub(crate) fn jumps(_: &Plan) -> Result<()> {
    let _node = (start_kubelet()?, Runtime::start()?);
    let _engine = start_engine()?;
    let folder = tempfile::tempdir()?;
    let state = folder.path().join("state.json");
    let clock = Clock::make()?;
    let mut client = Some(clients::hold_as("steady", Path::new(ENGINE), Place::host())?);
    let mut agent = clock.start(&state)?;
    let mut known = 0;
    agent.wait_for("the client is named", |agent| {
        connects(&agent.report()?, "/steady").context("not yet").map(drop)
    })?;
    for (round, shift) in SHIFTS.into_iter().enumerate() {
        if round == 4 {
            // The use is over, and still counts.
            drop(client.take());
        }
        let context = || format!("the clock is off by {} days", shift / DAY);
        if round == 5 {
            // The next castoff starts with the shifted clock.
            agent.stop()?;
            clock.set(shift)?;
            agent = clock.start(&state)?;
        }
        clock.set(shift)?;
        let report = report_at(&agent, shift).with_context(context)?;
        agent.wait_for_livez(200, crate::watched::PERIOD)?;
        ensure!(!agent.agent().log().contains("panicked"), "{}", agent.agent().log());
        let verdict = report["verdict"].as_str().context("a verdict")?;
        // The use is a few seconds old, whatever the clock says.
        ensure!(verdict == "in-use", "{}: {}", context(), explain(&report));
        let now = connects(&report, "/steady").with_context(|| format!("{}: the client is lost", context()))?;
        ensure!(now >= known, "{}: {now} connects after {known}", context());
        known = now;
    }
    agent.stop()?;
    let agent = clock.start(&state)?;
    let report = report_at(&agent, 0)?;
    ensure!(
        connects(&report, "/steady").is_some(),
        "the restart lost the client: {report}"
    );
    let lost: Vec<&Value> = gaps(&report)
        .filter(|gap| gap["asked"].to_string().contains("state file"))
        .collect();
    ensure!(lost.is_empty(), "{lost:?}");
    agent.stop()
}
