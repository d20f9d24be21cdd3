//! A separate process (`castoff-lab keep`) between a test and the programs that it starts, so that nothing is left
//! behind.
//!
//! It starts the daemon, adopts the daemon's orphans (it is the subreaper of the shims and of the pods in them), and
//! waits for the end of its standard input. That comes when the guard is dropped, and also when the test's process is
//! killed, because the kernel closes the pipe. Then it ends the daemon, kills its own descendants, unmounts everything
//! under the room, does its tasks in reverse order, and removes the room.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::castoff::beside_this_program;
use super::rooms::Room;
use super::stage::Stage;

/// The name of the program.
pub(crate) const PROGRAM: &str = "castoff-lab";
/// The daemon's output, in its room.
pub(crate) const LOG: &str = "log";
/// Created in the room when the daemon has ended; contains its wait status.
pub(crate) const ENDED: &str = "ended";

/// A thing to remove at the end, in addition to processes, mounts and the room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Task {
    /// A cgroup, by its path in the hierarchies: kills the processes in it, and removes it and those below.
    Cgroup(PathBuf),
    /// A cgroup that others may use too: removed if it is empty.
    SharedCgroup(PathBuf),
    /// A network interface.
    Link(String),
    /// A file or socket.
    File(PathBuf),
    /// A directory that others may use too: removed if it is empty.
    SharedFolder(PathBuf),
    /// Sockets in a directory that no process listens on any more.
    DeadSockets(PathBuf),
    /// Files whose path starts with this prefix.
    Starting(PathBuf),
}

impl fmt::Display for Task {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cgroup(path) => write!(out, "cgroup {}", path.display()),
            Self::SharedCgroup(path) => write!(out, "shared-cgroup {}", path.display()),
            Self::Link(name) => write!(out, "link {name}"),
            Self::File(path) => write!(out, "file {}", path.display()),
            Self::SharedFolder(path) => write!(out, "shared-folder {}", path.display()),
            Self::DeadSockets(path) => write!(out, "dead-sockets {}", path.display()),
            Self::Starting(path) => write!(out, "starting {}", path.display()),
        }
    }
}

impl Task {
    /// Parses the output of `Display`.
    pub(crate) fn parse(line: &str) -> Result<Self> {
        let (kind, subject) = line.split_once(' ').with_context(|| format!("no task: {line:?}"))?;
        Ok(match kind {
            "cgroup" => Self::Cgroup(subject.into()),
            "shared-cgroup" => Self::SharedCgroup(subject.into()),
            "link" => Self::Link(subject.into()),
            "file" => Self::File(subject.into()),
            "shared-folder" => Self::SharedFolder(subject.into()),
            "dead-sockets" => Self::DeadSockets(subject.into()),
            "starting" => Self::Starting(subject.into()),
            _ => bail!("no task: {line:?}"),
        })
    }
}

/// The test's handle of the keeper process. Dropping it waits until everything is removed.
#[derive(Debug)]
pub(crate) struct Keeper {
    process: Child,
    orders: Option<ChildStdin>,
    room: PathBuf,
    daemon: Option<u32>,
    // It ends after the programs on it.
    _stage: Option<Arc<Stage>>,
}

impl Keeper {
    /// Starts a keeper of this room, and under it the daemon, if any, with this grace period for its end.
    pub(crate) fn start(room: &Room, daemon: Option<&Command>, grace: Duration) -> Result<Self> {
        Self::start_on(None, room, daemon, grace)
    }

    /// Does the same for a daemon on a stage; the keeper and its tasks are on the stage too.
    pub(crate) fn start_on(
        stage: Option<&Arc<Stage>>,
        room: &Room,
        daemon: Option<&Command>,
        grace: Duration,
    ) -> Result<Self> {
        let program = beside_this_program()?.join(PROGRAM);
        let mut keep = stage.map_or_else(|| Command::new(&program), |stage| stage.command(&program));
        keep.arg("keep").arg(room.path()).arg(grace.as_millis().to_string());
        if let Some(daemon) = daemon {
            keep.arg(daemon.get_program()).args(daemon.get_args());
            for (name, value) in daemon.get_envs() {
                match value {
                    Some(value) => keep.env(name, value),
                    None => keep.env_remove(name),
                };
            }
            if let Some(folder) = daemon.get_current_dir() {
                keep.current_dir(folder);
            }
        }
        // In a process group of its own, so that the terminal's Ctrl-C ends the test and not the cleanup.
        keep.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = keep
            .spawn()
            .with_context(|| format!("start {} (cargo builds it with the test)", program.display()))?;
        let mut answer = String::new();
        if let Some(answers) = process.stdout.take() {
            BufReader::new(answers).read_line(&mut answer)?;
        }
        let started = answer
            .strip_prefix("keeping ")
            .with_context(|| format!("the keeper of {} did not start", room.path().display()))?;
        Ok(Self {
            orders: process.stdin.take(),
            process,
            room: room.path().to_path_buf(),
            daemon: started.trim().parse().ok(),
            _stage: stage.cloned(),
        })
    }

    /// Returns the daemon's process ID, on its stage if it has one; none for a keeper without a daemon.
    pub(crate) fn daemon(&self) -> Option<u32> {
        self.daemon
    }

    pub(crate) fn room(&self) -> &Path {
        &self.room
    }

    /// Adds a thing to remove at the end.
    pub(crate) fn later(&self, task: &Task) -> Result<()> {
        let mut orders = self.orders.as_ref().context("the keeper is being stopped")?;
        // In one write, which is atomic on a pipe: pods are created on several threads.
        let order = format!("{task}\n");
        let told = orders.write_all(order.as_bytes());
        told.with_context(|| format!("tell the keeper: {task}"))
    }

    fn stop(&mut self) -> Result<()> {
        drop(self.orders.take());
        let status = self.process.wait().context("wait for the keeper")?;
        ensure!(
            status.success(),
            "the keeper of {} left something behind",
            self.room.display()
        );
        Ok(())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            // A test that leaves something behind fails, unless it is failing already.
            assert!(std::thread::panicking(), "{error:#}");
            eprintln!("{error:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_parsed_from_its_text() {
        for task in [
            Task::Cgroup("/kubepods/besteffort/pod1".into()),
            Task::SharedCgroup("/kubepods".into()),
            Task::Link("lab1x0".into()),
            Task::File("/run/a socket".into()),
            Task::SharedFolder("/run/docker".into()),
            Task::DeadSockets("/run/containerd/s".into()),
            Task::Starting("/var/lib/cni/results/lab1x0-".into()),
        ] {
            assert_eq!(Task::parse(&task.to_string()).ok(), Some(task));
        }
        assert!(Task::parse("rm /").is_err());
    }
}
