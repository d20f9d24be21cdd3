//! Corrects the history when the wall clock is set: each recorded time moves with the clock, so that its age stays
//! right. If a clock is wrong for a while and corrected later, the history does not change. ADR 3.

use serde::{Deserialize, Serialize};

use super::{ClientRecord, ExposureRecord, History, SKEW};
use crate::model::disuse::BootClock;
use crate::model::hours::Hours;
use crate::model::time::Timestamp;

/// One time by the wall clock, which people and programs set, and by the kernel's own clock, which nobody sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Clocks {
    /// By the wall clock.
    pub wall: Timestamp,
    /// By the kernel's clock.
    pub boot: BootClock,
}

/// The records of an earlier boot. How long the machine was off is known only from the wall clock, which may have been wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct EarlierBoot {
    /// The first look of this boot: earlier times are of an earlier boot.
    until: Timestamp,
    /// The seconds for which the machine was off, by the wall clock.
    off: u64,
}

/// The clocks of the last look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LastClocks {
    clocks: Option<Clocks>,
    earlier: Option<EarlierBoot>,
}

/// A correction of recorded times by a number of seconds.
#[derive(Clone, Copy, Debug)]
struct Correction {
    seconds: i64,
    earlier: Option<EarlierBoot>,
}

impl LastClocks {
    /// Returns the seconds by which the wall clock was set since the last look; 0 for less than [`SKEW`].
    fn follow(&mut self, now: &Clocks) -> i64 {
        let Some(before) = self.clocks.replace(now.clone()) else {
            return 0;
        };
        let passed = difference(now.wall.as_unix(), before.wall.as_unix());
        let set = if before.boot.boot == now.boot.boot {
            passed - difference(now.boot.uptime, before.boot.uptime)
        } else {
            // The machine was off for an unknown time. A negative one shows that the clock is behind.
            let off = passed - difference(now.boot.uptime, 0);
            self.earlier = Some(EarlierBoot {
                until: now.wall,
                off: u64::try_from(off).unwrap_or_default(),
            });
            off.min(0)
        };
        if set.unsigned_abs() > SKEW.as_secs() { set } else { 0 }
    }
}

impl Correction {
    fn time(self, time: Timestamp) -> Timestamp {
        Timestamp::from_unix(time.as_unix().saturating_add_signed(self.seconds_for(time)))
    }

    /// A clock that is set back may have been ahead when the machine started. In that case the computed time off was
    /// too long, and the records of earlier boots were right.
    fn seconds_for(self, time: Timestamp) -> i64 {
        match self.earlier {
            Some(earlier) if self.seconds < 0 && time < earlier.until => {
                self.seconds.saturating_add_unsigned(earlier.off).min(0)
            }
            _ => self.seconds,
        }
    }

    /// Moves whole hours, so that the opposite correction restores the set.
    fn hours(self, hours: &Hours) -> Hours {
        let moved = hours.iter().map(|hour| {
            let end = Timestamp::from_unix(hour.as_unix().saturating_add(HOUR.unsigned_abs()));
            let seconds = self.seconds_for(end);
            let whole = (seconds + seconds.signum() * HOUR / 2) / HOUR * HOUR;
            Timestamp::from_unix(hour.as_unix().saturating_add_signed(whole))
        });
        moved.collect()
    }

    fn span(self, first: &mut Timestamp, last: &mut Timestamp) {
        *last = self.time(*last);
        *first = self.time(*first).min(*last);
    }
}

impl History {
    /// The clocks of the last look, for the state file.
    pub const fn clocks(&self) -> Option<&Clocks> {
        self.clocks.clocks.as_ref()
    }

    /// Continues after a look with these clocks.
    #[must_use]
    pub fn with_clocks(mut self, clocks: Option<Clocks>) -> Self {
        self.clocks.clocks = clocks;
        self
    }

    /// Takes in the clocks of a look that begins. If the wall clock was set since the last one, moves all recorded times with it.
    /// Returns the seconds by which it was set: negative if it was set back, 0 if it was not set or by less than 5 minutes.
    ///
    /// The last connects by the times of the sockets' files stay: nothing sets those times with the clock.
    pub fn follow_clock(&mut self, now: &Clocks) -> i64 {
        let seconds = self.clocks.follow(now);
        if seconds == 0 {
            return 0;
        }
        let correction = Correction {
            seconds,
            earlier: self.clocks.earlier,
        };
        for seen in self.clients.values_mut() {
            let ClientRecord {
                first,
                last,
                hours,
                requests,
                ..
            } = seen;
            correction.span(first, last);
            *hours = correction.hours(hours);
            if let Some(lowest) = &mut requests.lowest_api {
                lowest.last_seen = correction.time(lowest.last_seen);
            }
        }
        for ExposureRecord { first, last, .. } in self.exposures.values_mut() {
            correction.span(first, last);
        }
        self.readonly_mounted = self.readonly_mounted.map(|last| correction.time(last));
        self.looked = correction.hours(&self.looked);
        if let Some(earlier) = &mut self.clocks.earlier {
            earlier.until = Timestamp::from_unix(earlier.until.as_unix().saturating_add_signed(seconds));
            if seconds < 0 {
                earlier.off = earlier.off.saturating_sub(seconds.unsigned_abs());
            }
        }
        seconds
    }

    /// Moves an earlier history to the clocks of this one, and continues with its boot.
    pub(super) fn adopt_clocks(&mut self, before: &mut Self) {
        if let Some(now) = self.clocks.clocks.clone() {
            before.follow_clock(&now);
        }
        self.clocks.clone_from(&before.clocks);
    }

    /// Sets every time after `now` to `now`, and returns the number of records that were more than 5 minutes ahead:
    /// their clock was wrong by an unknown amount.
    pub fn clamp(&mut self, now: Timestamp) -> usize {
        let clients = self.clients.values_mut().map(|seen| {
            seen.hours = seen.hours.until(now);
            if let Some(lowest) = &mut seen.requests.lowest_api {
                lowest.last_seen = now.min(lowest.last_seen);
            }
            (&mut seen.first, &mut seen.last)
        });
        let exposures = self
            .exposures
            .values_mut()
            .map(|seen| (&mut seen.first, &mut seen.last));
        let mut clamped = 0;
        for (first, last) in clients.chain(exposures) {
            clamped += usize::from(last.since(now) > SKEW);
            *first = now.min(*first);
            *last = now.min(*last);
        }
        self.readonly_mounted = self.readonly_mounted.map(|last| last.min(now));
        self.looked = self.looked.until(now);
        clamped
    }
}

fn difference(later: u64, earlier: u64) -> i64 {
    let seconds = i128::from(later) - i128::from(earlier);
    // Far below the limits, so that the sum of two values does not overflow.
    let most = i128::from(i64::MAX / 4);
    i64::try_from(seconds.clamp(-most, most)).unwrap_or_default()
}

const HOUR: i64 = 3_600;

#[cfg(test)]
mod tests;
