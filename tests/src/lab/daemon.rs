//! One daemon in its room: started, waited for, its log at hand, stopped by process id.

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

/// How long a daemon may take until it answers. They take about a second; a busy machine ten times as long.
const START: Duration = Duration::from_secs(60);
/// How long a daemon may take to end after SIGTERM, before it is killed.
const GRACE: Duration = Duration::from_secs(15);
const LOG_TAIL_LINES: usize = 25;

/// A daemon that runs. Dropping it ends it with all that it has started and made.
#[derive(Debug)]
pub struct Daemon {
    name: &'static str,
    keeper: Keeper,
    pid: u32,
}

impl Daemon {
    /// Starts the daemon; the tasks are what its end leaves behind outside of its room.
    pub(crate) fn start(name: &'static str, room: &Room, command: &Command, tasks: &[Task]) -> Result<Self> {
        Self::start_on(None, name, room, command, tasks)
    }

    /// The same, on a stage.
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

    /// What this keeper has started.
    pub(crate) fn kept(name: &'static str, keeper: Keeper, tasks: &[Task]) -> Result<Self> {
        let pid = keeper.daemon().with_context(|| format!("{name} was not started"))?;
        for task in tasks {
            keeper.later(task)?;
        }
        Ok(Self { name, keeper, pid })
    }

    /// Waits until `answers` succeeds; fails when the daemon ends or is too slow, with the end of its log.
    pub(crate) fn wait_until(&self, answers: impl Fn() -> Result<()>) -> Result<()> {
        self.wait_so_long(START, answers)
    }

    /// The same, for what takes longer than a start.
    pub(crate) fn wait_so_long(&self, patience: Duration, answers: impl Fn() -> Result<()>) -> Result<()> {
        let attempt = || match (answers(), fs::read_to_string(self.room().join(ENDED))) {
            (Ok(()), _) => Ok(Ok(())),
            (Err(_), Ok(how)) => Ok(Err(anyhow!("it ended with {how}"))),
            (Err(refusal), Err(_)) => Err(refusal),
        };
        wait::until_or_hopeless("an answer", patience, attempt)
            .with_context(|| format!("{}, whose log ends:\n{}", self.name, self.log_tail()))
    }

    /// Waits until it has ended, once somebody told it to.
    pub(crate) fn wait_for_the_end(&self) -> Result<()> {
        let ended = || fs::metadata(self.room().join(ENDED)).map(drop).context("it still runs");
        wait::until("its end", START, ended)
            .with_context(|| format!("{}, whose log ends:\n{}", self.name, self.log_tail()))
    }

    /// Its process id, as it is on its stage.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its private folder.
    pub fn room(&self) -> &Path {
        self.keeper.room()
    }

    /// The file with all that it writes.
    pub fn log(&self) -> PathBuf {
        self.room().join(LOG)
    }

    /// The last lines that it has written, for a failure's message.
    pub fn log_tail(&self) -> String {
        log_tail(&self.log())
    }

    pub(crate) fn keeper(&self) -> &Keeper {
        &self.keeper
    }
}

/// The last lines of a daemon's log.
pub(crate) fn log_tail(log: &Path) -> String {
    let log = fs::read(log).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
}
