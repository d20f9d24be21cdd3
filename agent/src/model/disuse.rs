//! The time for which the node's Docker is proven to be unused. Pure: [`Disuse::take_in`] judges each look.
//!
//! The time is counted by the kernel's clock since boot, which nobody can set. The wall clock is used only to find out
//! how long the machine was off. ADR 20.

mod sockets;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reading::{Gap, Hides, Reading, Reason, codes};
use super::time::Timestamp;
pub use sockets::{Mark, Sockets};

codes! {
    /// The proof that nobody used Docker between two looks, the strongest first.
    Proof {
        /// The kernel recorded each connect, and lost none.
        Events = "events",
        /// The times of the sockets' files did not move.
        SocketClock = "socket-clock",
        /// Each look saw everything and found no client. A use between two looks that left no trace is still possible.
        Looks = "looks",
    }
}

codes! {
    /// The reason why the count began when it did.
    Began {
        /// This was castoff's first look.
        FirstLook = "first-look",
        /// Docker was in use until that time.
        AfterUse = "after-use",
        /// Until that time a gap may have hidden a use, or castoff was not running.
        AfterGap = "after-gap",
    }
}

/// The time for which the node's Docker is proven to be unused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DockerFree {
    /// The start of the time without use.
    pub since: Timestamp,
    /// The whole days that are proven.
    pub days: u64,
    /// The weakest proof of that time.
    pub by: Proof,
    /// The reason why the count began at that time.
    pub began: Began,
}

impl DockerFree {
    /// The numbers of days that are published: enough for a weekly job, for an upgrade and for a monthly job.
    pub const SPANS: [u64; 3] = [7, 14, 35];

    /// The longest of those spans that is proven; 0 where none is.
    pub fn span(&self) -> u64 {
        let reached = Self::SPANS.into_iter().filter(|span| *span <= self.days);
        reached.max().unwrap_or(0)
    }
}

/// The kernel's own clock.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BootClock {
    /// The id of this boot.
    pub boot: String,
    /// Seconds since that boot.
    pub uptime: u64,
}

/// One look's answer to whether Docker is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisuseLook {
    /// The time at which it began, by the wall clock.
    pub at: Timestamp,
    /// The time at which it began, by the kernel's clock.
    pub clock: BootClock,
    /// True if it saw a use, current or since the previous look.
    pub used: bool,
    /// The sockets of the node's engines, or the first gap that may hide a use.
    pub sockets: Result<Sockets, Gap>,
    /// The time since which the kernel reports each connect.
    pub recorded_since: Option<Timestamp>,
}

/// The last look that saw everything: its times and its sockets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Seen {
    /// The time at which it began, by the wall clock.
    pub at: Timestamp,
    /// The time at which it began, by the kernel's clock.
    pub clock: BootClock,
    /// The sockets that it saw.
    pub sockets: Sockets,
}

codes! {
    /// The outcome of the last look.
    LookOutcome {
        /// It saw everything, and no use.
        Whole = "whole",
        /// Something may have hidden a use from it.
        Hidden = "hidden",
        /// It saw a use.
        Used = "used",
    }
}

/// The part of the count that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Count {
    /// The number of seconds without use that are proven.
    pub seconds: u64,
    /// The start of these seconds, by the wall clock of the last look that saw everything.
    pub since: Timestamp,
    /// The weakest proof.
    pub by: Proof,
    /// The reason why the count began at that time.
    pub began: Began,
    /// The outcome of the last look.
    #[serde(alias = "sight")] // its name in state files up to version 7
    pub outcome: LookOutcome,
    /// The last look that saw everything, or a use.
    pub last: Seen,
}

/// The count, with the facts about it that are not kept in the state file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disuse {
    count: Option<Count>,
    /// The gap that may hide a use from the last look.
    stopped: Option<Gap>,
    /// True if this process made the last look that was counted.
    followed: bool,
    /// The time since which the kernel reported each connect, in the last look.
    recorded_since: Option<Timestamp>,
}

const DAY: u64 = 86_400;

/// The maximum number of seconds between two looks if looks are the only proof, and the maximum for which a machine may
/// be off. The state file may be [`Disuse::REST`] behind.
const APART: u64 = 900;

/// The seconds by which a time may differ for rounding.
const ROUNDING: u64 = 2;

impl Disuse {
    /// The seconds after which a count that only grew is written.
    pub const REST: u64 = 600;

    /// Restores a count from the state file.
    pub fn restore(count: Count) -> Self {
        Self {
            count: Some(count),
            ..Self::default()
        }
    }

    /// The part of the count for the state file.
    pub const fn count(&self) -> Option<&Count> {
        self.count.as_ref()
    }

    /// The answer of the last look; absent while Docker is used.
    pub fn reading(&self) -> Reading<DockerFree> {
        match (&self.stopped, &self.count) {
            (Some(gap), _) => Reading::Unknown(gap.clone()),
            (None, Some(count)) if count.outcome == LookOutcome::Used => Reading::Absent,
            (None, Some(count)) => Reading::Known(DockerFree {
                since: count.since,
                days: count.seconds / DAY,
                by: count.by,
                began: count.began,
            }),
            (None, None) => Reading::Unknown(Gap::new(
                Reason::NotFound,
                Hides::Client,
                "the use of Docker",
                "no look yet",
            )),
        }
    }

    /// Stops the count: something may hide a use.
    pub fn stop(&mut self, gap: Gap) {
        self.stopped = Some(gap);
        // Connects that the kernel recorded meanwhile may have been dropped.
        self.recorded_since = None;
        self.mark_hidden();
    }

    fn mark_hidden(&mut self) {
        if let Some(count) = self.count.as_mut().filter(|count| count.outcome == LookOutcome::Whole) {
            count.outcome = LookOutcome::Hidden;
        }
    }

    /// Takes in the next look. A use that was seen counts, even if other facts are hidden.
    pub fn take_in(&mut self, look: DisuseLook) {
        let sockets = match look.sockets {
            Ok(sockets) => sockets,
            Err(_) if look.used => Sockets::default(),
            Err(gap) => return self.stop(gap),
        };
        let seen = Seen {
            at: look.at,
            clock: look.clock,
            sockets,
        };
        let recorded = look.recorded_since.is_some() && self.recorded_since == look.recorded_since;
        let next = match &self.count {
            _ if look.used => Count::begin(seen, Began::AfterUse, LookOutcome::Used),
            None => Count::begin(seen, Began::FirstLook, LookOutcome::Whole),
            Some(count) if count.outcome == LookOutcome::Used => {
                Count::begin(seen, Began::AfterUse, LookOutcome::Whole)
            }
            Some(count) => match count.prove(&seen, self.followed, recorded) {
                Some((elapsed, proof)) => count.go_on(seen, elapsed, proof),
                None => Count::begin(seen, Began::AfterGap, LookOutcome::Whole),
            },
        };
        *self = Self {
            count: Some(next),
            stopped: None,
            followed: true,
            recorded_since: look.recorded_since,
        };
    }

    /// Takes in a count from a state file that was read only after this count had begun.
    pub fn absorb(&mut self, before: Self) {
        let Some(before) = before.count else {
            return;
        };
        let Some(count) = &mut self.count else {
            self.count = Some(before);
            if self.stopped.is_some() {
                self.mark_hidden();
            }
            return;
        };
        // A use or a gap that this process saw still counts.
        if count.began != Began::FirstLook || count.outcome != LookOutcome::Whole {
            return;
        }
        match before.prove(&count.last, false, false) {
            _ if before.outcome == LookOutcome::Used => count.began = Began::AfterUse,
            Some((elapsed, proof)) => *count = before.go_on(count.last.clone(), elapsed, proof.max(count.by)),
            None => count.began = Began::AfterGap,
        }
    }
}

impl Count {
    const fn begin(seen: Seen, began: Began, outcome: LookOutcome) -> Self {
        Self {
            seconds: 0,
            since: seen.at,
            by: Proof::Looks,
            began,
            outcome,
            last: seen,
        }
    }

    fn go_on(&self, seen: Seen, elapsed: u64, proof: Proof) -> Self {
        let seconds = self.seconds.saturating_add(elapsed);
        let since = Timestamp::from_unix(seen.at.as_unix().saturating_sub(seconds));
        let is_same = since.as_unix().abs_diff(self.since.as_unix()) <= ROUNDING;
        Self {
            seconds,
            since: if is_same { self.since } else { since },
            by: if self.seconds == 0 { proof } else { self.by.max(proof) },
            began: self.began,
            outcome: LookOutcome::Whole,
            last: seen,
        }
    }

    /// Returns the seconds from the last look to `next`, and the proof that nobody used Docker during that time.
    /// `followed` is true if one process made both looks, and `recorded` if the kernel recorded each connect between
    /// them.
    fn prove(&self, next: &Seen, followed: bool, recorded: bool) -> Option<(u64, Proof)> {
        let last = &self.last;
        let was_whole = self.outcome == LookOutcome::Whole;
        if last.clock.boot != next.clock.boot {
            return was_whole.then(|| last.prove_boot(next)).flatten();
        }
        let elapsed = next.clock.uptime.checked_sub(last.clock.uptime)?;
        let (before, now) = (&last.sockets.0, &next.sockets.0);
        // On a node without an engine before and after, a short restart counts like the time between two looks.
        let nothing_there = before.is_empty() && now.is_empty();
        let is_near = was_whole && elapsed <= APART && (followed || nothing_there);
        let by_looks = is_near.then_some(Proof::Looks);
        if nothing_there {
            return Some((elapsed, by_looks?));
        }
        let of_each = now.iter().map(|(name, mark)| match (before.get(name), mark) {
            (Some(_), _) if recorded && sockets::has_file(name) => Some(Proof::Events),
            (Some(Some(before)), Some(now)) if before == now => Some(Proof::SocketClock),
            // A program changed the times of the file, and a client may have connected before that.
            (Some(Some(_)), Some(Mark::NoneSince(_) | Mark::Connected(_))) => None,
            _ => by_looks,
        });
        let gone = before.keys().any(|name| !now.contains_key(name));
        let proofs = of_each.chain(gone.then_some(by_looks));
        let weakest = proofs.collect::<Option<Vec<Proof>>>()?.into_iter().max()?;
        Some((elapsed, weakest))
    }
}

impl Seen {
    /// Nobody uses Docker on a machine that is off. A socket that was created at boot and has not changed proves that
    /// nobody connected since. The time from the last look to the boot has to be short, by the wall clock.
    fn prove_boot(&self, next: &Self) -> Option<(u64, Proof)> {
        let elapsed = next.at.as_unix().checked_sub(self.at.as_unix())?;
        let off = elapsed.checked_sub(next.clock.uptime)?;
        let booted = next.at.as_unix() - next.clock.uptime;
        let is_untouched = |mark: &Option<Mark>| {
            let made = booted.saturating_sub(ROUNDING)..=booted + APART;
            matches!(mark, Some(Mark::NoneSince(since)) if made.contains(&since.as_unix()))
        };
        let unused_since = if next.sockets.0.is_empty() {
            next.clock.uptime <= APART
        } else {
            next.sockets.0.values().all(is_untouched)
        };
        (off <= APART && unused_since).then_some((elapsed, Proof::Looks))
    }
}

#[cfg(test)]
mod tests;
