//! One daemon in its room. It is started, waited for, and stopped by process ID; its log is kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::keeper::{ENDED, Keeper, LOG, Task};
use super::rooms::Room;
use super::stage::Stage;
use crate::wait;

/// The timeout of a daemon's start. It takes about a second, and ten times as long on a busy machine.
const START: Duration = Duration::from_secs(60);
/// The time between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(15);
const LOG_TAIL_LINES: usize = 25;

/// A running daemon. Dropping it ends it with all that it has started and created.
#[derive(Debug)]
pub struct Daemon {
    name: &'static str,
    keeper: Keeper,
    pid: u32,
}

impl Daemon {
    /// Starts the daemon. The tasks remove what it leaves behind outside of its room.
    pub(crate) fn start(name: &'static str, room: &Room, command: &Command, tasks: &[Task]) -> Result<Self> {
        Self::start_on(None, name, room, command, tasks)
    }

    /// Does the same on a stage.
    pub(crate) fn start_on(
        stage: Option<&Arc<Stage>>,
        name: &'static str,
        room: &Room,
        command: &Command,
        tasks: &[Task],
    ) -> Result<Self> {
        let keeper = Keeper::start_on(stage, room, Some(command), GRACE)?;
        Self::kept(name, keeper, tasks)
    }

    /// Returns the daemon that this keeper has started.
    pub(crate) fn kept(name: &'static str, keeper: Keeper, tasks: &[Task]) -> Result<Self> {
        let pid = keeper.daemon().with_context(|| format!("{name} was not started"))?;
        for task in tasks {
            keeper.later(task)?;
        }
        Ok(Self { name, keeper, pid })
    }

    /// Waits until `answers` succeeds. Fails with the end of the log if the daemon ends or the timeout passes.
    pub(crate) fn wait_until(&self, answers: impl Fn() -> Result<()>) -> Result<()> {
        self.wait_so_long(START, answers)
    }

    /// Does the same with another timeout.
    pub(crate) fn wait_so_long(&self, patience: Duration, answers: impl Fn() -> Result<()>) -> Result<()> {
        let attempt = || match (answers(), fs::read_to_string(self.room().join(ENDED))) {
            (Ok(()), _) => Ok(Ok(())),
            (Err(_), Ok(how)) => Ok(Err(anyhow!("it ended with {how}"))),
            (Err(refusal), Err(_)) => Err(refusal),
        };
        wait::until_or_hopeless("an answer", patience, attempt)
            .with_context(|| format!("{}, whose log ends:\n{}", self.name, self.log_tail()))
    }

    /// Waits until it has ended, after it was asked to.
    pub(crate) fn wait_for_the_end(&self) -> Result<()> {
        let ended = || fs::metadata(self.room().join(ENDED)).map(drop).context("it still runs");
        wait::until("its end", START, ended)
            .with_context(|| format!("{}, whose log ends:\n{}", self.name, self.log_tail()))
    }

    /// Returns its process ID, in the PID namespace of its stage.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns its private directory.
    pub fn room(&self) -> &Path {
        self.keeper.room()
    }

    /// Returns the file with its output.
    pub fn log(&self) -> PathBuf {
        self.room().join(LOG)
    }

    /// Returns the last lines of its output, for error messages.
    pub fn log_tail(&self) -> String {
        log_tail(&self.log())
    }

    pub(crate) fn keeper(&self) -> &Keeper {
        &self.keeper
    }
}

/// Returns the last lines of a daemon's log.
pub(crate) fn log_tail(log: &Path) -> String {
    let log = fs::read(log).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
}
