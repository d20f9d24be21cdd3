//! The days of the last week on which Docker was used on a node, from the hours in its agent's report. Pure.

use serde::Deserialize;

use crate::model::time::Timestamp;
use crate::model::timeline::Hour;

/// The number of days in UTC, the current one included. A report has 168 hours, which always cover them.
pub const DAYS: usize = 7;

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

/// The use of Docker on one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DayUse {
    /// It was seen.
    Used,
    /// In each hour a look saw everything, and no use.
    Unused,
    /// No use was seen, and in some hour no look saw everything.
    #[default]
    Unknown,
}

/// The use on each day, the current one first.
pub type Week = [DayUse; DAYS];

/// The timeline of a report.
#[derive(Deserialize)]
pub(super) struct Hours {
    from: Timestamp,
    hours: String,
}

impl Hours {
    /// Returns the days up to that of `now`. Hours that the timeline lacks are unknown.
    pub(super) fn days(&self, now: Timestamp) -> Week {
        let today = now.as_unix() / DAY;
        let current = now.as_unix() / HOUR;
        std::array::from_fn(|ago| {
            let Some(day) = today.checked_sub(ago as u64) else {
                return DayUse::Unknown;
            };
            let last = current.min(day * 24 + 23);
            let hours: Vec<Option<Hour>> = (day * 24..=last).map(|hour| self.hour(hour)).collect();
            if hours.contains(&Some(Hour::Seen)) {
                DayUse::Used
            } else if hours.iter().all(|hour| *hour == Some(Hour::NotSeen)) {
                DayUse::Unused
            } else {
                DayUse::Unknown
            }
        })
    }

    /// Returns the state of an hour since 1970.
    fn hour(&self, hour: u64) -> Option<Hour> {
        let at = usize::try_from(hour.checked_sub(self.from.as_unix() / HOUR)?).ok()?;
        let character = char::from(*self.hours.as_bytes().get(at)?);
        let all = [Hour::Unknown, Hour::NotSeen, Hour::Seen];
        all.into_iter().find(|hour| hour.character() == character)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Tuesday, 14:20.
    const NOW: u64 = 20_000 * DAY + 14 * HOUR + 1_200;

    fn days(from: u64, hours: &str) -> Week {
        let from = Timestamp::from_unix(from);
        let hours = hours.to_owned();
        Hours { from, hours }.days(Timestamp::from_unix(NOW))
    }

    fn week(hour: impl Fn(usize) -> char) -> Week {
        days((NOW / HOUR - 167) * HOUR, &(0..168).map(hour).collect::<String>())
    }

    #[test]
    fn a_day_is_used_if_one_of_its_hours_is() {
        use DayUse::{Unknown, Unused, Used};
        assert_eq!(week(|_| '.'), [Unused; DAYS]);
        assert_eq!(week(|_| '?'), [Unknown; DAYS]);
        // The last 15 hours are of the current day.
        assert_eq!(week(|hour| if hour == 153 { '#' } else { '.' })[..2], [Used, Unused]);
        assert_eq!(week(|hour| if hour == 152 { '#' } else { '?' })[..2], [Unknown, Used]);
        assert_eq!(week(|hour| if hour == 152 { '?' } else { '.' })[..2], [Unused, Unknown]);
    }

    #[test]
    fn hours_that_a_report_lacks_are_unknown() {
        let today = NOW / DAY * DAY;
        assert_eq!(days(today, &".".repeat(15)), {
            let mut week = Week::default();
            week[0] = DayUse::Unused;
            week
        });
        assert_eq!(days(today, &".".repeat(14)), Week::default());
        assert_eq!(days(NOW + DAY, "####"), Week::default(), "a clock that is ahead");
        assert_eq!(days(0, "x\u{e9}#"), Week::default());
    }
}
