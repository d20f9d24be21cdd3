//! Points in time on the page: the age, and the time itself.

use crate::model::time::Timestamp;
use crate::sinks::views::table::words;

/// A point in time relative to the page's own.
#[derive(Debug)]
pub(super) struct When {
    /// RFC 3339, UTC.
    pub(super) iso: String,
    /// The age: `3d`, rounded down.
    pub(super) age: String,
}

impl When {
    pub(super) fn new(time: Timestamp, now: Timestamp) -> Self {
        Self {
            iso: time.to_string(),
            age: words::age(now.since(time)),
        }
    }
}

/// Formats the day, in UTC: `Mon 23`.
pub(super) fn day(time: Timestamp) -> String {
    time.calendar().strftime("%a %d").to_string()
}

/// Formats the hour: `Mon 23 15:00`. The page states that times are in UTC.
pub(super) fn hour(time: Timestamp) -> String {
    time.calendar().strftime("%a %d %H:%M").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::sample::ago;

    #[test]
    fn days_have_their_names() {
        assert_eq!(hour(ago(0)), "Tue 24 12:00");
        assert_eq!(hour(ago(36 * 3_600)), "Mon 23 00:00");
        assert_eq!(hour(Timestamp::from_unix(0)), "Thu 01 00:00");
        assert_eq!(day(Timestamp::from_unix(u64::MAX))[4..], *"30");
    }
}
