//! The progress that is shown while the demo starts, and the signal that ends it.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

/// The user has asked for the end.
#[derive(Debug, thiserror::Error)]
#[error("it was asked to end")]
pub(super) struct Ended;

/// Shows each step while it runs. A step is not started after the end was requested.
#[derive(Debug)]
pub(super) struct Stage {
    end: Mutex<Receiver<()>>,
}

impl Stage {
    /// From now on, SIGINT and SIGTERM end the process at the next step instead of killing it.
    pub(super) fn open() -> Result<Self> {
        let (asked, end) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let guard = runtime.enter();
        let mut interrupt = signal(SignalKind::interrupt()).context("wait for SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("wait for SIGTERM")?;
        drop(guard);
        thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! { _ = interrupt.recv() => {} _ = terminate.recv() => {} }
            });
            // No receiver is left if everything has ended already.
            let _ = asked.send(());
            // Later signals have no effect: only the cleanup is left.
            runtime.block_on(std::future::pending::<()>());
        });
        Ok(Self { end: Mutex::new(end) })
    }

    /// Runs one step and shows its name and duration.
    ///
    /// # Errors
    /// Its own, and [`Ended`].
    pub(super) fn step<T>(&self, name: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
        self.pass(Duration::ZERO)?;
        let started = Instant::now();
        let is_watched = io::stderr().is_terminal();
        if is_watched {
            eprint!("  {name:<14}…");
            let _ = io::stderr().flush();
        }
        let outcome = step().with_context(|| format!("start {name}"));
        let start = if is_watched { "\r" } else { "" };
        let how = if outcome.is_ok() { "ready after" } else { "failed after" };
        eprintln!("{start}  {name:<14}{how} {:.1} s", started.elapsed().as_secs_f64());
        outcome
    }

    /// Waits.
    ///
    /// # Errors
    /// [`Ended`] if the end was requested meanwhile.
    pub(super) fn pass(&self, time: Duration) -> Result<()> {
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        match end.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Err(Ended.into()),
        }
    }
}
