//! The times at which requests are sent. Pure: the time and the random numbers are arguments.
//!
//! Five thousand agents whose API server comes back must not all send in the same second, and a node that flaps must
//! not keep its watchers busy. Therefore the first request is sent at a random time within a limit. After a failure the
//! wait doubles up to a limit, is never shorter than the server requests, and is multiplied by a random factor of 0.5
//! to 1.5. Reads and writes each have an allowance that refills slowly: there are at most a dozen reads in any hour.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A burst, and then one request at each interval.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// The number of requests in a burst.
    pub burst: u32,
    /// The time until one more request is allowed.
    pub refill: Duration,
}

/// The times between requests.
#[derive(Clone, Copy, Debug)]
pub struct Paces {
    /// The first request comes within this time after the first report.
    pub spread: Duration,
    /// The first wait after a failure.
    pub first_wait: Duration,
    /// The longest wait after failures.
    pub longest_wait: Duration,
    /// The interval at which the Node is read although nothing differs, to find changes by others.
    pub verify: Duration,
    /// The minimum time between the last write and one for an annotation alone.
    pub annotation: Duration,
    /// The allowance of reads.
    pub reads: Allowance,
    /// The allowance of writes.
    pub writes: Allowance,
    /// The timeout of one request.
    pub deadline: Duration,
}

impl Default for Paces {
    fn default() -> Self {
        Self {
            spread: 5 * SECOND,
            first_wait: 5 * SECOND,
            longest_wait: 10 * MINUTE,
            verify: 15 * MINUTE,
            annotation: 60 * MINUTE,
            reads: Allowance {
                burst: 6,
                refill: 10 * MINUTE,
            },
            writes: Allowance {
                burst: 5,
                refill: 2 * MINUTE,
            },
            deadline: 10 * SECOND,
        }
    }
}

/// The request that is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A read: the Node was never read, or has been replaced.
    Read,
    /// A read to verify that nothing has changed.
    Verify,
    /// An apply because of a label.
    Labels,
    /// An apply because of the annotation alone.
    Annotation,
    /// A create of an event.
    Event,
}

/// The requests that were sent, and the time at which the next may be sent.
#[derive(Debug)]
pub struct Pace {
    paces: Paces,
    chance: fn() -> f64,
    failures: u32,
    not_before: Instant,
    verify_at: Instant,
    written_at: Option<Instant>,
    reads: Bucket,
    writes: Bucket,
}

impl Pace {
    /// Returns the pace from `now` on. `chance` returns numbers from 0 to 1.
    pub fn new(paces: Paces, chance: fn() -> f64, now: Instant) -> Self {
        Self {
            paces,
            chance,
            failures: 0,
            not_before: now + paces.spread.mul_f64(chance()),
            verify_at: now,
            written_at: None,
            reads: Bucket::new(paces.reads, chance(), now),
            writes: Bucket::new(paces.writes, chance(), now),
        }
    }

    /// The time at which `need` may be met.
    pub fn when(&self, need: Need) -> Instant {
        let at = match need {
            Need::Read => self.reads.next(),
            Need::Verify => self.reads.next().max(self.verify_at),
            Need::Labels | Need::Event => self.writes.next(),
            Need::Annotation => {
                let rested = self.written_at.map(|at| at + self.paces.annotation);
                rested.map_or(self.writes.next(), |at| at.max(self.writes.next()))
            }
        };
        at.max(self.not_before)
    }

    /// Records that one read is sent now.
    pub fn read(&mut self, now: Instant) {
        self.reads.take(now);
    }

    /// Records that one write is sent now.
    pub fn wrote(&mut self, now: Instant) {
        self.writes.take(now);
        self.written_at = Some(now);
    }

    /// Records that every due request has succeeded.
    pub fn succeeded(&mut self, now: Instant) {
        self.failures = 0;
        self.not_before = now;
        self.verify_at = now + self.spread(self.paces.verify);
    }

    /// Records that a request was refused; the server may have requested a wait.
    pub fn failed(&mut self, now: Instant, retry_after: Option<Duration>) {
        let doubled = self.paces.first_wait.saturating_mul(1_u32 << self.failures.min(20));
        self.failures = self.failures.saturating_add(1);
        let wait = self.spread(doubled.min(self.paces.longest_wait));
        let asked = retry_after.map(|asked| asked + self.paces.first_wait.mul_f64((self.chance)()));
        self.not_before = now + wait.max(asked.unwrap_or_default());
    }

    /// The timeout of one request.
    pub const fn deadline(&self) -> Duration {
        self.paces.deadline
    }

    /// Returns a random time from half to one and a half of `wait`.
    fn spread(&self, wait: Duration) -> Duration {
        wait.mul_f64(0.5 + (self.chance)())
    }
}

/// Returns a number from 0 to 1, from the seed that the standard library draws for its hash maps.
pub fn chance() -> f64 {
    let drawn = u32::try_from(RandomState::new().build_hasher().finish() >> 32).unwrap_or(0);
    f64::from(drawn) / f64::from(u32::MAX)
}

/// Stores the rest of an allowance as the time at which the allowance will be full again.
#[derive(Debug)]
pub struct Bucket {
    allowance: Allowance,
    full_at: Instant,
}

impl Bucket {
    /// Each agent's refill time is longer by a random part of up to a quarter. Otherwise agents that started in the
    /// same second would always send their refilled requests together.
    pub fn new(mut allowance: Allowance, chance: f64, now: Instant) -> Self {
        allowance.refill = allowance.refill.mul_f64(1.0 + chance / 4.0);
        Self {
            allowance,
            full_at: now,
        }
    }

    /// The time at which the next may be taken.
    fn next(&self) -> Instant {
        let room = self.allowance.refill * self.allowance.burst.saturating_sub(1);
        self.full_at.checked_sub(room).unwrap_or(self.full_at)
    }

    fn take(&mut self, now: Instant) {
        self.full_at = self.full_at.max(now) + self.allowance.refill;
    }

    /// Takes one if one is left; true if it did.
    pub fn try_take(&mut self, now: Instant) -> bool {
        let is_left = self.next() <= now;
        if is_left {
            self.take(now);
        }
        is_left
    }
}

#[cfg(test)]
mod tests;
