//! Checks that the agent's cycle still moves. Depends on nothing of the host: a runtime that hangs must not get the agent
//! restarted, a cycle that hangs must.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use thiserror::Error;

/// When the cycle last moved, and how long it may stand still.
#[derive(Debug)]
pub struct Liveness {
    bound: Duration,
    moved: Mutex<Instant>,
}

/// The cycle stands still.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the cycle has not moved for {} s; the bound is {} s", .age.as_secs(), .bound.as_secs())]
pub struct Stalled {
    /// For how long.
    pub age: Duration,
    /// For how long it may.
    pub bound: Duration,
}

impl Liveness {
    /// A cycle that starts at `now` and has to move at least once in every `bound`: several periods and the sources'
    /// deadlines.
    pub const fn new(bound: Duration, now: Instant) -> Self {
        Self {
            bound,
            moved: Mutex::new(now),
        }
    }

    /// Tells that the cycle moved at `now`.
    pub fn move_at(&self, now: Instant) {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// Checks that it moves.
    pub fn check(&self) -> Result<(), Stalled> {
        self.check_at(Instant::now())
    }

    /// Checks that it moves, as seen at `now`.
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
    fn alive_within_the_bound_and_again_after_the_next_move() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let liveness = Liveness::new(Duration::from_secs(60), start);
        assert_eq!(liveness.check_at(at(60)), Ok(()));
        let stalled = liveness.check_at(at(61)).expect_err("61 s are over the bound");
        assert_eq!(
            stalled.to_string(),
            "the cycle has not moved for 61 s; the bound is 60 s"
        );
        liveness.move_at(at(70));
        assert_eq!(liveness.check_at(at(130)), Ok(()));
        assert_eq!(liveness.check_at(at(0)), Ok(()), "a caller's older clock is no stall");
    }
}
