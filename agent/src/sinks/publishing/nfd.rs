//! The labels as a file that Node Feature Discovery reads: castoff then needs no right in the cluster.
//!
//! Relies on NFD's local source (≥ 0.14): `key=value` lines in `features.d`, where a key with a prefix is used as it
//! is, `# +expiry-time=` ends the lines below it, and files whose names begin with a dot are skipped, as is the one
//! that is written first. NFD does not support annotations, so the summary is only in the report.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use atomic_write_file::AtomicWriteFile;
use atomic_write_file::unix::OpenOptionsExt as _;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use super::labels::Wanted;
use super::labels::prefix::Prefix;
use super::labels::settled::Settled;
use crate::apiserver::pace::chance;
use crate::apiserver::sender::Sender;
use crate::findings::report::Report;
use crate::model::publishing::{Outcome, Publishing, Verb};
use crate::model::reading::{Gap, Hides, Reason};
use crate::model::time::Timestamp;

/// The file's name in `features.d`.
const FILE: &str = "castoff";

/// The time for which the labels outlive an agent that is gone.
const EXPIRY: Duration = Duration::from_secs(3600);

/// The timeout of a write.
const DEADLINE: Duration = Duration::from_secs(10);

/// The time until a failed write is retried.
const RETRY: Duration = Duration::from_secs(60);

/// Keeps one file, as a [`Sender`].
#[derive(Debug)]
pub struct FeatureFile {
    path: PathBuf,
    standing: watch::Sender<Publishing>,
    settled: Settled,
    wanted: Option<Wanted>,
    written: Option<Wanted>,
    /// The pending write.
    writing: Option<(Wanted, JoinHandle<io::Result<()>>)>,
    deadline: Duration,
    due: Instant,
    failing: bool,
}

impl FeatureFile {
    /// Returns the sender for the file in `directory`. Nothing is written yet.
    pub fn new(directory: &Path, prefix: Prefix, standing: watch::Sender<Publishing>) -> Self {
        Self {
            path: directory.join(FILE),
            standing,
            settled: Settled::new(prefix, chance()),
            wanted: None,
            written: None,
            writing: None,
            deadline: DEADLINE,
            due: Instant::now(),
            failing: false,
        }
    }

    /// Returns the file's content, with labels that are valid from `clock` on.
    fn text(&self, clock: SystemTime) -> Option<(Wanted, String)> {
        let wanted = self.wanted.clone()?;
        let text = render(&wanted, Timestamp::from(clock + EXPIRY));
        Some((wanted, text))
    }

    /// Records and logs the result of writing `wanted`.
    fn record(&mut self, wanted: &Wanted, written: io::Result<()>, now: Instant, clock: SystemTime) {
        match written {
            Ok(()) => {
                if self.written.is_none() || self.failing {
                    tracing::info!(file = %self.path.display(), "labels are published");
                }
                self.standing.send_modify(|standing| {
                    standing.count(Verb::Write, Outcome::Succeeded);
                    standing.confirm(wanted.labels.clone(), Timestamp::from(clock));
                });
                self.written = Some(wanted.clone());
                self.failing = false;
                self.due = now + EXPIRY / 2;
            }
            Err(error) => {
                let gap = Gap::new(Reason::of(&error), Hides::Detail, self.path.display(), &error);
                if !self.failing {
                    tracing::warn!(%gap, "labels are not published");
                }
                self.standing.send_modify(|standing| {
                    standing.count(Verb::Write, Outcome::HostError);
                    standing.doubt(Outcome::HostError, gap);
                });
                self.failing = true;
                self.due = now + RETRY;
            }
        }
    }
}

impl Sender<Report> for FeatureFile {
    fn take_in(&mut self, report: &Report) {
        if let Some(wanted) = self.settled.take_in(report) {
            self.wanted = Some(wanted);
        }
    }

    /// Immediately if a label differs; otherwise before the labels expire; after a failure only at the next retry.
    fn due(&self) -> Option<Instant> {
        let wanted = self.wanted.as_ref()?;
        let same = self
            .written
            .as_ref()
            .is_some_and(|written| written.labels == wanted.labels);
        let rests = same || self.failing;
        Some(if rests { self.due } else { self.due.min(Instant::now()) })
    }

    async fn send_due(&mut self) {
        if self.writing.is_none() {
            let Some((wanted, text)) = self.text(SystemTime::now()) else {
                return;
            };
            let path = self.path.clone();
            self.writing = Some((wanted, spawn_blocking(move || write(&path, &text))));
        }
        let Some((wanted, writing)) = &mut self.writing else {
            return;
        };
        let wanted = wanted.clone();
        // A write that hangs is awaited again; there is never a second one at the same time.
        let written = match timeout(self.deadline, writing).await {
            Ok(ended) => {
                self.writing = None;
                ended.unwrap_or_else(|panic| Err(io::Error::other(panic)))
            }
            Err(late) => Err(late.into()),
        };
        self.record(&wanted, written, Instant::now(), SystemTime::now());
    }
}

/// Removes the file from `directory`; true if there was one.
pub fn remove(directory: &Path) -> io::Result<bool> {
    match fs::remove_file(directory.join(FILE)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn render(wanted: &Wanted, expiry: Timestamp) -> String {
    let mut text = format!("# Written by castoff; changes to this file are lost.\n# +expiry-time={expiry}\n");
    for (key, value) in &wanted.labels {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{key}={value}");
    }
    text
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    // A rename would also replace a FIFO or a device, which does not belong to castoff.
    if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "something is there that is not a file",
        ));
    }
    let mut options = AtomicWriteFile::options();
    // NFD's worker is not root.
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o644);
    options.preserve_mode(false).preserve_owner(false);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    file.commit()
}

#[cfg(test)]
mod tests;
