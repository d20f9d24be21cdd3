//! The state file of the service: read at the start, or later where its disk hangs, and written after each cycle.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::{ServiceError, Started, start_within};
use crate::agent::{HOST_DEADLINE, unanswered_gap};
use crate::model::history::History;
use crate::model::reading::{Gap, Hides, Reason};
use crate::sinks::store::{Loaded, Saved, StateError, StateKeeper};
use crate::sources::offload::Offload;

/// The file in which the history is kept, if any.
pub(super) enum State {
    /// The history is not kept.
    Off,
    /// In this file, which is not read yet. Nothing is written until it is.
    Late(PathBuf, JoinHandle<Loaded>),
    /// In a file.
    Kept(Offload<StateKeeper>),
}

/// The result of reading a file.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    /// The history in the file.
    pub(super) history: History,
    /// The reasons why it is incomplete.
    pub(super) lost: Vec<Gap>,
    /// The reason why it cannot be kept from now on.
    pub(super) unkept: Option<Gap>,
}

impl State {
    /// Reads the file at `path` with `load`. If that takes longer than `deadline`, its result is taken over later.
    pub(super) async fn load(
        path: Option<PathBuf>,
        deadline: Duration,
        load: impl FnOnce(&Path) -> Loaded + Send + 'static,
    ) -> Result<(Self, Remembered), ServiceError> {
        let Some(path) = path else {
            return Ok((Self::Off, Remembered::default()));
        };
        let at = path.clone();
        Ok(match start_within(deadline, move || load(&at)).await? {
            Started::Done(loaded) => Self::take(loaded),
            Started::Running(load) => {
                let source = io::ErrorKind::TimedOut.into();
                let late = StateError::Read {
                    path: path.clone(),
                    source,
                };
                (Self::Late(path, load), Remembered::begin_anew(&[late]))
            }
        })
    }

    fn take(loaded: Loaded) -> (Self, Remembered) {
        let unkept = loaded.refused.as_ref().map(StateError::gap);
        if let Some(gap) = &unkept {
            tracing::warn!(%gap, "the history of clients is not kept");
        }
        let remembered = Remembered {
            history: loaded.history,
            unkept,
            ..Remembered::begin_anew(&loaded.trouble)
        };
        (Self::Kept(Offload::new(loaded.keeper)), remembered)
    }

    /// Returns the result of a file that was late, once.
    pub(super) async fn take_late(&mut self) -> Option<Remembered> {
        let Self::Late(_, load) = self else { return None };
        if !load.is_finished() {
            return None;
        }
        // After a panic the file is neither read nor written.
        let (state, remembered) = Self::take(load.await.ok()?);
        *self = state;
        Some(remembered)
    }

    /// Writes `history` if that is due, or `now`. None if it is not kept.
    pub(super) async fn save(&mut self, history: &Arc<History>, now: bool) -> Option<Result<Saved, Gap>> {
        let keeper = match self {
            Self::Off => return None,
            Self::Late(path, _) => {
                let asked = format!("state file {}", path.display());
                let answer = "it is not read yet, and nothing is written until it is";
                return Some(Err(Gap::new(Reason::DeadlineExceeded, Hides::Detail, asked, answer)));
            }
            Self::Kept(keeper) => keeper,
        };
        let (history, at) = (Arc::clone(history), Instant::now());
        let saved = if now {
            // The last write of the agent. An earlier write may still be under way, because the cycle was stopped.
            let save = move |keeper: &mut StateKeeper| keeper.save(&history, at);
            keeper.run_after_earlier(HOST_DEADLINE, save).await
        } else {
            let save = move |keeper: &mut StateKeeper| keeper.save_if_due(&history, at);
            keeper.run(HOST_DEADLINE, save).await
        };
        Some(match saved {
            Ok(saved) => saved.map_err(|error| Gap {
                hides: Hides::Detail,
                ..error.gap()
            }),
            Err(error) => Err(unanswered_gap(&error, Hides::Detail, "the state file")),
        })
    }
}

impl Remembered {
    fn begin_anew(trouble: &[StateError]) -> Self {
        for error in trouble {
            tracing::warn!(error = Gap::chain(error), "the history of clients starts again");
        }
        Self {
            history: History::default(),
            lost: trouble.iter().map(StateError::gap).collect(),
            unkept: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::model::client::{ClientIdentity, ClientKey, OpenClient};
    use crate::model::engine::{Api, EngineKind, Scope};
    use crate::model::identity::SocketInode;
    use crate::model::socket::SocketName;
    use crate::model::time::Timestamp;

    fn history(second: u64) -> Arc<History> {
        let key = ClientKey {
            identity: ClientIdentity::Unnamed,
            engine: EngineKind::Dockerd,
            scope: Scope::Host,
            api: Api::Docker,
            listener: SocketName::Path("/run/docker.sock".into()),
        };
        let client = OpenClient {
            key,
            connections: 1,
            pending: 0,
            holders: Vec::new(),
            connectors: Vec::new(),
            sockets: [SocketInode(1)].into(),
            connects: None,
        };
        let mut history = History::default();
        history.record(Timestamp::from_unix(second), &[client]);
        Arc::new(history)
    }

    /// A file with a history, whose disk hangs until it is released.
    async fn start(path: &Path) -> (State, Remembered, mpsc::Sender<()>) {
        let mut keeper = StateKeeper::load(path, StateKeeper::REST).keeper;
        keeper.save(&history(1_000), Instant::now()).expect("it is written");
        let (go_on, hang) = mpsc::channel();
        let load = move |path: &Path| {
            let _ = hang.recv();
            StateKeeper::load(path, Duration::ZERO)
        };
        let started = State::load(Some(path.to_owned()), Duration::from_millis(10), load).await;
        let (state, remembered) = started.expect("it starts");
        (state, remembered, go_on)
    }

    #[tokio::test]
    async fn a_file_whose_disk_hangs_is_reported_and_not_overwritten() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("state.json");
        let (mut state, remembered, _go_on) = start(&path).await;
        assert_eq!(remembered.history, History::default());
        let hides: Vec<Hides> = remembered.lost.iter().map(|gap| gap.hides).collect();
        assert_eq!(hides, [Hides::Client]);
        let before = std::fs::read(&path).expect("it is there");
        assert!(state.take_late().await.is_none());
        let gap = state
            .save(&history(2_000), true)
            .await
            .expect("it is kept")
            .expect_err("not yet");
        assert_eq!((gap.hides, gap.reason), (Hides::Detail, Reason::DeadlineExceeded));
        assert_eq!(std::fs::read(&path).expect("it is there"), before);
    }

    #[tokio::test]
    async fn a_late_file_is_taken_over_and_kept_from_then_on() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("state.json");
        let (mut state, _, go_on) = start(&path).await;
        go_on.send(()).expect("it waits");
        let late = loop {
            match state.take_late().await {
                Some(late) => break late,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        assert_eq!((late.history.clients().count(), late.lost.len()), (1, 0));
        assert!(state.take_late().await.is_none(), "only once");
        let mut now = Arc::unwrap_or_clone(history(2_000));
        now.absorb(late.history);
        let saved = state.save(&Arc::new(now), false).await.expect("it is kept");
        assert_eq!(saved, Ok(Saved::Written));
        let written = StateKeeper::load(&path, StateKeeper::REST).history;
        let times: Vec<_> = written
            .clients()
            .map(|(_, c)| (c.first.as_unix(), c.last.as_unix()))
            .collect();
        assert_eq!(times, [(1_000, 2_000)]);
    }
}
