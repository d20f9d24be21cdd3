//! The labels as a file that Node Feature Discovery reads: castoff then needs no right in the cluster at all.
//!
//! Relies on NFD's local source (≥ 0.14): `key=value` lines in `features.d`, where a key with a prefix is taken as it is,
//! `# +expiry-time=` ends the lines below it, and files whose names begin with a dot, as the one that is written first
//! does, are passed over. It knows no annotations, so the summary stays in the report.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use atomic_write_file::AtomicWriteFile;
use atomic_write_file::unix::OpenOptionsExt as _;
use tokio::sync::watch;
use tokio::time::sleep_until;

use super::labels::Wanted;
use super::labels::ledger::Ledger;
use super::labels::prefix::Prefix;
use super::labels::settled::Settled;
use super::node::pace::chance;
use crate::findings::report::Report;
use crate::model::publishing::{Outcome, Verb};
use crate::model::reading::{Gap, Hides, Reason};
use crate::model::time::Timestamp;

/// The file's name in `features.d`.
const FILE: &str = "castoff";

/// How long the labels outlive an agent that is gone.
const EXPIRY: Duration = Duration::from_secs(3600);

/// How soon a file that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(60);

/// Keeps one file.
#[derive(Debug)]
pub struct FeatureFile {
    path: PathBuf,
    ledger: Ledger,
    settled: Settled,
    wanted: Option<Wanted>,
    written: Option<Wanted>,
    due: Instant,
    failing: bool,
}

impl FeatureFile {
    /// The file in `directory`. Nothing is written yet.
    pub fn new(directory: &Path, prefix: Prefix, ledger: Ledger) -> Self {
        Self {
            path: directory.join(FILE),
            ledger,
            settled: Settled::new(prefix, chance()),
            wanted: None,
            written: None,
            due: Instant::now(),
            failing: false,
        }
    }

    /// Keeps it until `stop`, or until no more reports can come.
    pub async fn run(mut self, mut reports: watch::Receiver<Option<Arc<Report>>>, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        loop {
            let report = reports.borrow_and_update().clone();
            if let Some(wanted) = report.and_then(|report| self.settled.take_in(&report)) {
                self.wanted = Some(wanted);
            }
            self.write_if_due(Instant::now(), SystemTime::now());
            tokio::select! {
                () = &mut stop => return,
                () = sleep_until(self.due.into()), if self.wanted.is_some() => {}
                changed = reports.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Writes where a label differs or half of the time is over; after a failure only when it is time again.
    fn write_if_due(&mut self, now: Instant, clock: SystemTime) {
        let Some(wanted) = &self.wanted else { return };
        let same = self
            .written
            .as_ref()
            .is_some_and(|written| written.labels == wanted.labels);
        if now < self.due && (same || self.failing) {
            return;
        }
        let written = write(&self.path, &render(wanted, Timestamp::from(clock + EXPIRY)));
        match written {
            Ok(()) => {
                if self.written.is_none() || self.failing {
                    tracing::info!(file = %self.path.display(), "labels are published");
                }
                self.ledger.count(Verb::Write, Outcome::Succeeded);
                self.ledger.confirm(wanted.labels.clone(), Timestamp::from(clock));
                self.written = Some(wanted.clone());
                self.failing = false;
                self.due = now + EXPIRY / 2;
            }
            Err(error) => {
                self.ledger.count(Verb::Write, Outcome::HostError);
                let gap = Gap::new(Reason::of(&error), Hides::Detail, self.path.display(), &error);
                if !self.failing {
                    tracing::warn!(%gap, "labels are not published");
                }
                self.ledger.doubt(Outcome::HostError, gap);
                self.failing = true;
                self.due = now + RETRY;
            }
        }
    }
}

/// Removes the file from `directory`; whether there was one.
pub fn remove(directory: &Path) -> io::Result<bool> {
    match fs::remove_file(directory.join(FILE)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn render(wanted: &Wanted, expiry: Timestamp) -> String {
    let mut text = format!("# Written by castoff; whatever is changed here is lost.\n# +expiry-time={expiry}\n");
    for (key, value) in &wanted.labels {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{key}={value}");
    }
    text
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    // A rename would replace a FIFO or a device as readily as a file; none of them is castoff's.
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
