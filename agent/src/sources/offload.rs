//! Blocking work off the async runtime, with a deadline. A walk that hangs in the kernel (on a dead network file
//! system) cannot be cancelled: it keeps its state until it ends, and no second one starts meanwhile.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use crate::model::reading::Reason;

/// The reason why there is no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OffloadError {
    /// The work exceeded its deadline. It continues.
    #[error("no answer within {0:?}")]
    Deadline(Duration),
    /// The work of an earlier cycle still hangs.
    #[error("the look of an earlier cycle still hangs")]
    StillRunning,
    /// The work panicked, which is a defect of castoff. Its state is lost. In a release build the process ends instead
    /// (ADR 6).
    #[error("the look failed inside castoff")]
    Panicked,
}

impl OffloadError {
    /// Returns the reason for a gap.
    pub(crate) const fn reason(self) -> Reason {
        match self {
            Self::Deadline(_) | Self::StillRunning => Reason::DeadlineExceeded,
            Self::Panicked => Reason::HostError,
        }
    }
}

/// Owns the state of blocking work and lends it to one thread at a time.
#[derive(Debug)]
pub(crate) struct Offload<S> {
    place: StatePlace<S>,
}

#[derive(Debug)]
enum StatePlace<S> {
    Here(S),
    /// The state is sent back before the result, so that the state is back when the result arrives.
    Lent(oneshot::Receiver<S>),
    Lost,
}

impl<S: Send + 'static> Offload<S> {
    /// Creates it with the state.
    pub(crate) const fn new(state: S) -> Self {
        Self {
            place: StatePlace::Here(state),
        }
    }

    /// Runs `work` on the state in a blocking thread and waits for it until `deadline` has passed.
    pub(crate) async fn run<R, F>(&mut self, deadline: Duration, work: F) -> Result<R, OffloadError>
    where
        R: Send + 'static,
        F: FnOnce(&mut S) -> R + Send + 'static,
    {
        let mut state = self.take_back()?;
        let (give_back, lent) = oneshot::channel();
        let (send, receive) = oneshot::channel();
        spawn_blocking(move || {
            let result = work(&mut state);
            let _ = give_back.send(state); // the owner is gone
            let _ = send.send(result); // no receiver is left: the deadline has passed
        });
        self.place = StatePlace::Lent(lent);
        match tokio::time::timeout(deadline, receive).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) => Err(OffloadError::Panicked),
            Err(_) => Err(OffloadError::Deadline(deadline)),
        }
    }

    /// Like [`Self::run`], but waits for the work of an earlier cycle instead of giving up beside it. `deadline` is for both.
    pub(crate) async fn run_after_earlier<R, F>(&mut self, deadline: Duration, work: F) -> Result<R, OffloadError>
    where
        R: Send + 'static,
        F: FnOnce(&mut S) -> R + Send + 'static,
    {
        let end = Instant::now() + deadline;
        if let StatePlace::Lent(lent) = &mut self.place {
            self.place = match timeout_at(end, lent).await {
                Ok(Ok(state)) => StatePlace::Here(state),
                Ok(Err(_)) => StatePlace::Lost,
                Err(_) => return Err(OffloadError::StillRunning),
            };
        }
        self.run(end.saturating_duration_since(Instant::now()), work).await
    }

    fn take_back(&mut self) -> Result<S, OffloadError> {
        match std::mem::replace(&mut self.place, StatePlace::Lost) {
            StatePlace::Here(state) => Ok(state),
            StatePlace::Lent(mut lent) => match lent.try_recv() {
                Ok(state) => Ok(state),
                Err(TryRecvError::Closed) => Err(OffloadError::Panicked),
                Err(TryRecvError::Empty) => {
                    self.place = StatePlace::Lent(lent);
                    Err(OffloadError::StillRunning)
                }
            },
            StatePlace::Lost => Err(OffloadError::Panicked),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn the_state_is_lent_and_comes_back() {
        let mut offload = Offload::new(1);
        for expected in [2, 3, 4] {
            let result = offload.run(LONG, |n| {
                *n += 1;
                *n
            });
            assert_eq!(result.await, Ok(expected));
        }
    }

    /// Otherwise an agent that stops within a look could not write its state.
    #[tokio::test]
    async fn work_can_wait_for_earlier_work_that_nobody_awaits_any_more() {
        let (release, hang) = mpsc::channel::<()>();
        let mut offload = Offload::new(0);
        let earlier = offload.run(Duration::ZERO, move |n| {
            let _ = hang.recv();
            *n = 7;
        });
        assert!(earlier.await.is_err());
        let (short, still) = (Duration::from_millis(20), Err(OffloadError::StillRunning));
        assert_eq!(offload.run_after_earlier(short, |n| *n).await, still);
        std::thread::spawn(move || {
            std::thread::sleep(short);
            release.send(())
        });
        assert_eq!(offload.run_after_earlier(LONG, |n| *n).await, Ok(7));
    }

    /// Otherwise, on a busy machine, a finished look could seem to hang.
    #[tokio::test]
    async fn the_state_is_back_when_the_result_is() {
        let mut offload = Offload::new(0);
        for _ in 0..1000 {
            assert_eq!(offload.run(LONG, |_| ()).await, Ok(()));
            let state = offload.take_back().expect("it came back first");
            offload.place = StatePlace::Here(state + 1);
        }
        assert_eq!(offload.run(LONG, |n| *n).await, Ok(1000));
    }

    #[tokio::test]
    async fn hanging_work_is_left_and_not_started_twice() {
        let (release, hang) = mpsc::channel::<()>();
        let mut offload = Offload::new(0);
        let stuck = offload.run(Duration::from_millis(20), move |n| {
            let _ = hang.recv();
            *n = 7;
        });
        assert_eq!(stuck.await, Err(OffloadError::Deadline(Duration::from_millis(20))));
        assert_eq!(offload.run(LONG, |n| *n).await, Err(OffloadError::StillRunning));
        release.send(()).expect("the work still waits");
        loop {
            match offload.run(LONG, |n| *n).await {
                Err(OffloadError::StillRunning) => {}
                other => break assert_eq!(other, Ok(7)),
            }
        }
    }

    #[tokio::test]
    async fn a_panic_is_reported() {
        let mut offload = Offload::new(0);
        let result = offload.run(LONG, |_| panic!("a defect"));
        assert_eq!(result.await, Err::<(), _>(OffloadError::Panicked));
        assert_eq!(offload.run(LONG, |n| *n).await, Err(OffloadError::Panicked));
    }
}
