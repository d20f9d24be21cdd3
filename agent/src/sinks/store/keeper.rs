//! When the state is written: at once where a client is new or forgotten; where only figures moved, now and then.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::time::{Duration, Instant};

use super::StateError;
use super::file::StateFile;
use crate::model::history::History;

/// Keeps one history in one file.
#[derive(Debug)]
pub struct StateKeeper {
    file: StateFile,
    rest: Duration,
    /// When this keeper last wrote; none until it has.
    written: Option<Instant>,
    on_disk: Digest,
    /// True while a file is there that could not be read and is not set aside yet.
    in_the_way: bool,
}

/// The result of reading the state at the start.
#[derive(Debug)]
pub struct Loaded {
    /// Keeps the history from now on.
    pub keeper: StateKeeper,
    /// The kept history; empty where nothing was kept, or where `trouble` says so.
    pub history: History,
    /// The reasons why a kept file could not be read.
    pub trouble: Vec<StateError>,
    /// Why nothing can be written there, as far as can be told before there is something to write.
    pub refused: Option<StateError>,
}

/// The result of an attempt to save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// The file has the history now.
    Written,
    /// The file has it already.
    Unchanged,
    /// The file lacks only figures, and the last write is not long ago.
    NotDue,
}

impl StateKeeper {
    /// The interval at which moving figures alone are written, by default: a crash loses at most that much of a "last
    /// seen", and a node's disk gets one small write a minute.
    pub const REST: Duration = Duration::from_secs(60);

    /// Reads what is kept at `path`. Never fails: without a readable history castoff begins a new one, and says so. A
    /// corrupt file is set aside at once; one that cannot be read stays until there is something to write.
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

    /// Writes `history` where that is due: after each cycle.
    pub fn save_if_due(&mut self, history: &History, now: Instant) -> Result<Saved, StateError> {
        let digest = Digest::of(history);
        if digest == self.on_disk {
            return Ok(Saved::Unchanged);
        }
        let rests = self
            .written
            .is_some_and(|written| now.saturating_duration_since(written) < self.rest);
        if digest.clients == self.on_disk.clients && rests {
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
            self.make_way()?;
        }
        self.file.write(history)?;
        self.on_disk = digest;
        self.written = Some(now);
        Ok(Saved::Written)
    }

    fn make_way(&mut self) -> Result<(), StateError> {
        match self.file.read() {
            // Somebody took it away.
            Ok(None) => {}
            // Bad still, or readable after all: it holds what castoff does not know and must not overwrite.
            Ok(Some(_)) | Err(_) => self.file.set_aside()?,
        }
        self.in_the_way = false;
        Ok(())
    }
}

/// A digest that tells two histories apart, in 16 bytes instead of a second copy. Only within one process: the hasher may change
/// with the compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Digest {
    /// The known clients, and since when.
    clients: u64,
    /// Last seen, connects, hours.
    figures: u64,
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
        for mark in history.marks() {
            mark.hash(&mut figures);
        }
        history.looked().hash(&mut figures);
        Self {
            clients: clients.finish(),
            figures: figures.finish(),
        }
    }
}
