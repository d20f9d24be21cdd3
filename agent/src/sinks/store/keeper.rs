//! Decides when the state is written: immediately if a client is new or forgotten, and at an interval if only figures
//! changed.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::time::{Duration, Instant};

use super::StateError;
use super::file::StateFile;
use crate::model::disuse::{Disuse, LookOutcome};
use crate::model::history::History;

/// Keeps one history in one file.
#[derive(Debug)]
pub struct StateKeeper {
    file: StateFile,
    rest: Duration,
    /// The time of this keeper's last write; none before it.
    written: Option<Instant>,
    on_disk: Digest,
    /// True while there is a file that could not be read and is not set aside yet.
    in_the_way: bool,
}

/// The result of reading the state at the start.
#[derive(Debug)]
pub struct Loaded {
    /// The keeper of the history from now on.
    pub keeper: StateKeeper,
    /// The stored history; empty where nothing was stored, or where `trouble` has the reason.
    pub history: History,
    /// The reasons why a stored file could not be read.
    pub trouble: Vec<StateError>,
    /// The reason why the file cannot be written, as far as that is known before the first write.
    pub refused: Option<StateError>,
}

/// The result of an attempt to save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// The file has the current history.
    Written,
    /// The file had the current history already.
    Unchanged,
    /// The file lacks only figures, and the last write was recent.
    NotDue,
}

impl StateKeeper {
    /// The default interval at which changed figures alone are written: a crash loses at most that much of a "last seen", and a
    /// node's disk gets one small write a minute.
    pub const REST: Duration = Duration::from_secs(60);

    /// Reads the state at `path`. Never fails: without a readable history castoff starts a new one, and reports it. A
    /// corrupt file is set aside immediately; a file that cannot be read stays until there is something to write.
    pub fn load(path: &Path, rest: Duration) -> Loaded {
        let file = StateFile::new(path);
        let mut trouble = Vec::new();
        let mut in_the_way = false;
        let history = match file.read() {
            Ok(history) => history.unwrap_or_default(),
            Err(error) => {
                in_the_way = true;
                if matches!(error, StateError::Corrupt { .. }) {
                    match file.set_aside() {
                        Ok(()) => in_the_way = false,
                        Err(refused) => trouble.push(refused),
                    }
                }
                trouble.insert(0, error);
                History::default()
            }
        };
        file.sweep();
        let refused = if trouble.is_empty() { file.try_out().err() } else { None };
        let keeper = Self {
            file,
            rest,
            written: None,
            on_disk: Digest::of(&history),
            in_the_way,
        };
        Loaded {
            keeper,
            history,
            trouble,
            refused,
        }
    }

    /// Writes `history` if that is due: after each cycle.
    pub fn save_if_due(&mut self, history: &History, now: Instant) -> Result<Saved, StateError> {
        let digest = Digest::of(history);
        if digest.is_all_but_the_clock_of(&self.on_disk) {
            return Ok(Saved::Unchanged);
        }
        let rests = self
            .written
            .is_some_and(|written| now.saturating_duration_since(written) < self.rest);
        // The end of a count must not be lost: after a crash the count would otherwise continue.
        let can_wait = digest.clients == self.on_disk.clients && (!digest.ended || self.on_disk.ended);
        if can_wait && rests {
            return Ok(Saved::NotDue);
        }
        self.save(history, now)
    }

    /// Writes `history` unless the file has it already: when castoff ends.
    pub fn save(&mut self, history: &History, now: Instant) -> Result<Saved, StateError> {
        let digest = Digest::of(history);
        if digest == self.on_disk {
            return Ok(Saved::Unchanged);
        }
        if self.in_the_way {
            self.set_aside_bad_file()?;
        }
        self.file.write(history)?;
        self.on_disk = digest;
        self.written = Some(now);
        Ok(Saved::Written)
    }

    fn set_aside_bad_file(&mut self) -> Result<(), StateError> {
        match self.file.read() {
            // It has been removed.
            Ok(None) => {}
            // The file is still bad, or has become readable. castoff does not know its content and must not overwrite
            // it.
            Ok(Some(_)) | Err(_) => self.file.set_aside()?,
        }
        self.in_the_way = false;
        Ok(())
    }
}

/// A digest that distinguishes two histories, in 32 bytes instead of a second copy. Only within one process: the hasher may
/// change with the compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Digest {
    /// The known clients and their first times, and those of exposures.
    clients: u64,
    /// Last times, connects, hours.
    figures: u64,
    /// True if the count of the time without use ended, or stopped.
    ended: bool,
    /// When that count last moved, which it does with each look.
    clock: Option<u64>,
}

impl Digest {
    fn of(history: &History) -> Self {
        let mut clients = DefaultHasher::new();
        let mut figures = DefaultHasher::new();
        for (key, seen) in history.clients() {
            (key, seen.first).hash(&mut clients);
            (seen.last, seen.connects, seen.hours, &seen.requests).hash(&mut figures);
        }
        for (key, seen) in history.exposures() {
            (key, seen.first).hash(&mut clients);
            (seen.last, &seen.mount).hash(&mut figures);
        }
        history.readonly_mounted().is_some().hash(&mut clients);
        history.readonly_mounted().hash(&mut figures);
        for mark in history.marks() {
            mark.hash(&mut figures);
        }
        history.looked().hash(&mut figures);
        let count = history.disuse().count();
        if let Some(count) = count {
            (count.by, count.began, count.outcome, &count.last.sockets).hash(&mut figures);
            let clock = &count.last.clock;
            (&clock.boot, clock.uptime / Disuse::REST).hash(&mut figures);
        }
        Self {
            clients: clients.finish(),
            figures: figures.finish(),
            ended: count.is_some_and(|count| count.outcome != LookOutcome::Whole),
            clock: count.map(|count| count.last.clock.uptime),
        }
    }

    fn is_all_but_the_clock_of(&self, other: &Self) -> bool {
        (self.clients, self.figures) == (other.clients, other.figures)
    }
}
