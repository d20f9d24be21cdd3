//! The days of the last week on which Docker was used on a node, from the hours in its agent's report. Pure.

use crate::model::time::Timestamp;
use crate::model::timeline::{Hour, Timeline};

/// The number of days in UTC, the current one included. A report has 168 hours, which always cover them.
pub const DAYS: usize = 7;

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

/// The use of Docker on one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DayUse {
    /// Docker was used.
    Used,
    /// In each hour a look saw everything, and no use.
    Unused,
    /// No use was seen, and in some hour no look saw everything.
    #[default]
    Unknown,
}

/// The use on each day, the current one first.
pub type Week = [DayUse; DAYS];

/// Returns the days up to that of `now`. Hours that the timeline lacks are unknown.
pub(super) fn days(timeline: &Timeline, now: Timestamp) -> Week {
    let today = now.as_unix() / DAY;
    let current = now.as_unix() / HOUR;
    std::array::from_fn(|ago| {
        let Some(day) = today.checked_sub(ago as u64) else {
            return DayUse::Unknown;
        };
        let last = current.min(day * 24 + 23);
        let hour = |hour| timeline.hour(Timestamp::from_unix(hour * HOUR));
        let hours: Vec<Hour> = (day * 24..=last).map(hour).collect();
        if hours.contains(&Hour::Seen) {
            DayUse::Used
        } else if hours.contains(&Hour::Unknown) {
            DayUse::Unknown
        } else {
            DayUse::Unused
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Tuesday, 14:20.
    const NOW: u64 = 20_000 * DAY + 14 * HOUR + 1_200;

    fn days(from: u64, hours: &str) -> Week {
        let timeline = serde_json::json!({ "from": Timestamp::from_unix(from), "hours": hours });
        let timeline = serde_json::from_value(timeline).expect("it is read");
        super::days(&timeline, Timestamp::from_unix(NOW))
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
