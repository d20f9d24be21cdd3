//! Checks that the agent's cycle makes progress: that the cycle and its look at the processes and sockets end. A
//! runtime or a disk that hangs must not cause a restart of the agent, but a cycle that hangs or sees nothing must.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use thiserror::Error;

/// The time at which the cycle last made progress, and the longest allowed pause.
#[derive(Debug)]
pub struct Liveness {
    bound: Duration,
    moved: Mutex<Instant>,
}

/// The cycle makes no progress: it, or its look at the processes and sockets, does not end.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("no look at the processes has ended for {} s; the bound is {} s", .age.as_secs(), .bound.as_secs())]
pub struct Stalled {
    /// The length of the pause.
    pub age: Duration,
    /// The longest allowed pause.
    pub bound: Duration,
}

impl Liveness {
    /// Returns the state of a cycle that starts at `now` and must make progress at least once in every `bound`: several periods
    /// and the sources' deadlines.
    pub const fn new(bound: Duration, now: Instant) -> Self {
        Self {
            bound,
            moved: Mutex::new(now),
        }
    }

    /// Records progress at `now`.
    pub fn move_at(&self, now: Instant) {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// Checks for progress.
    pub fn check(&self) -> Result<(), Stalled> {
        self.check_at(Instant::now())
    }

    /// Checks for progress, as seen at `now`.
    pub fn check_at(&self, now: Instant) -> Result<(), Stalled> {
        let moved = *self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        let age = now.saturating_duration_since(moved);
        let bound = self.bound;
        if age <= bound {
            Ok(())
        } else {
            Err(Stalled { age, bound })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_alive_within_the_bound_and_again_after_progress() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let liveness = Liveness::new(Duration::from_secs(60), start);
        assert_eq!(liveness.check_at(at(60)), Ok(()));
        let stalled = liveness.check_at(at(61)).expect_err("61 s are over the bound");
        assert_eq!(
            stalled.to_string(),
            "no look at the processes has ended for 61 s; the bound is 60 s"
        );
        liveness.move_at(at(70));
        assert_eq!(liveness.check_at(at(130)), Ok(()));
        assert_eq!(liveness.check_at(at(0)), Ok(()), "a caller's older clock is no stall");
    }
}
