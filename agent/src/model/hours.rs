//! A set of hours out of the last week, in 32 bytes: small enough to keep one for each client that is remembered.

use super::time::Timestamp;

const HOUR: u64 = 3_600;
const WORD: u64 = 64;
const WORDS: usize = 3;

/// A set of hours in UTC: the newest, and those up to [`Hours::SPAN`] before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Hours {
    /// Hours since 1970.
    newest: u64,
    /// A ring: hour `h` is bit `h % 64` of word `h / 64 % 3`. The bits of hours outside the span are clear.
    bits: [u64; WORDS],
}

impl Hours {
    /// The number of hours that are kept: a week.
    pub const SPAN: u64 = 168;

    /// Adds the hour of `at`, and drops the hours that are then more than a week old. A time more than a week *before* the newest
    /// means that the clock was wrong: the set starts again.
    pub fn mark(&mut self, at: Timestamp) {
        let hour = at.as_unix() / HOUR;
        if hour + Self::SPAN <= self.newest {
            *self = Self::default();
        }
        if hour > self.newest {
            let passed = hour - self.newest;
            self.newest = hour;
            // From the newest to the end of the ring: the hours that have now left the span.
            let stale = passed.min(WORD * WORDS as u64);
            for back in 0..stale {
                self.clear(hour.saturating_sub(back));
            }
            for back in Self::SPAN..WORD * WORDS as u64 {
                self.clear(hour.saturating_sub(back));
            }
        }
        let (word, bit) = place(hour);
        self.bits[word] |= bit;
    }

    /// Adds the hours of `other` that are not more than a week old by now.
    pub fn absorb(&mut self, other: &Self) {
        let newest = self.newest.max(other.newest);
        let is_kept = |hour: &Timestamp| hour.as_unix() / HOUR + Self::SPAN > newest;
        other.iter().filter(is_kept).for_each(|hour| self.mark(hour));
    }

    /// True if the hour of `at` is in the set.
    pub fn contains(&self, at: Timestamp) -> bool {
        let hour = at.as_unix() / HOUR;
        let (word, bit) = place(hour);
        hour <= self.newest && self.newest - hour < Self::SPAN && self.bits[word] & bit != 0
    }

    /// The hours in the set, each by its beginning, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = Timestamp> + '_ {
        let first = self.newest.saturating_sub(Self::SPAN - 1);
        (first..=self.newest)
            .map(|hour| Timestamp::from_unix(hour * HOUR))
            .filter(|hour| self.contains(*hour))
    }

    /// The set without the hours that begin after `now`.
    #[must_use]
    pub fn until(&self, now: Timestamp) -> Self {
        if self.newest <= now.as_unix() / HOUR {
            return *self;
        }
        self.iter().filter(|hour| *hour <= now).collect()
    }

    /// True if no hour is in the set.
    pub fn is_empty(&self) -> bool {
        self.bits == [0; WORDS]
    }

    fn clear(&mut self, hour: u64) {
        let (word, bit) = place(hour);
        self.bits[word] &= !bit;
    }
}

impl FromIterator<Timestamp> for Hours {
    fn from_iter<I: IntoIterator<Item = Timestamp>>(times: I) -> Self {
        let mut hours = Self::default();
        times.into_iter().for_each(|time| hours.mark(time));
        hours
    }
}

fn place(hour: u64) -> (usize, u64) {
    let word = (hour / WORD % WORDS as u64) as usize;
    (word, 1 << (hour % WORD))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(n: u64) -> Timestamp {
        Timestamp::from_unix(500_000 * HOUR + n * HOUR + 1_234)
    }

    fn numbers(hours: &Hours) -> Vec<u64> {
        hours.iter().map(|at| at.as_unix() / HOUR - 500_000).collect()
    }

    /// Compares the set with a plain implementation, over short steps, long ones, and ones past the end of the ring.
    #[test]
    fn a_week_is_kept_whatever_the_steps() {
        for step in [1, 2, 5, 63, 64, 65, 100, 167, 168, 169, 191, 192, 193, 400] {
            let (mut hours, mut plain) = (Hours::default(), Vec::new());
            for n in (0..1_200).step_by(step) {
                hours.mark(hour(n));
                plain.push(n);
                plain.retain(|old| n - old < Hours::SPAN);
                assert_eq!(numbers(&hours), plain, "steps of {step}, at {n}");
            }
        }
    }

    #[test]
    fn a_clock_set_back_a_little_is_taken_and_one_set_back_far_begins_anew() {
        let mut hours: Hours = [hour(0), hour(100)].into_iter().collect();
        hours.mark(hour(98));
        assert_eq!(numbers(&hours), [0, 98, 100]);
        let mut ahead: Hours = [hour(0), hour(900_000)].into_iter().collect();
        ahead.mark(hour(1));
        assert_eq!(numbers(&ahead), [1]);
        assert!(!ahead.contains(hour(900_000)));
    }

    #[test]
    fn hours_of_another_set_are_added_if_they_are_of_the_week() {
        let mut hours: Hours = [hour(300)].into_iter().collect();
        hours.absorb(&[hour(100), hour(132), hour(133), hour(250)].into_iter().collect());
        assert_eq!(numbers(&hours), [133, 250, 300]);
        hours.absorb(&Hours::default());
        assert_eq!(numbers(&hours), [133, 250, 300]);
        hours.absorb(&[hour(420)].into_iter().collect());
        assert_eq!(numbers(&hours), [300, 420]);
    }

    #[test]
    fn any_time_can_be_added() {
        for seconds in [0, 1, HOUR * 167, u64::MAX] {
            let mut hours = Hours::default();
            assert!(hours.is_empty());
            hours.mark(Timestamp::from_unix(seconds));
            assert!(hours.contains(Timestamp::from_unix(seconds)) && !hours.is_empty());
        }
    }
}
