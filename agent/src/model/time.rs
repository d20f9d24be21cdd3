//! Points in time as castoff keeps and prints them.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Wall-clock time, whole seconds since the Unix epoch; RFC 3339 in UTC wherever it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Returns the time `seconds` after 1970-01-01T00:00:00Z.
    pub const fn from_unix(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub const fn as_unix(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to this; zero where this is not later (a clock that was set back).
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }

    /// Converts to the calendar's type, to be formatted. A time after the year 9999, which only a wrong clock gives,
    /// becomes the last time of the calendar.
    pub fn calendar(self) -> jiff::Timestamp {
        let last = jiff::Timestamp::MAX.as_second();
        let second = i64::try_from(self.0).map_or(last, |second| second.min(last));
        jiff::Timestamp::from_second(second).expect("between 1970 and the calendar's end")
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        // A clock before 1970 is wrong; zero shows this.
        Self(time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.calendar())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time: jiff::Timestamp = text.parse().map_err(de::Error::custom)?;
        let seconds = u64::try_from(time.as_second());
        seconds
            .map(Self)
            .map_err(|_| de::Error::custom(format_args!("{text} is before 1970")))
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_as_rfc_3339_and_read_back() {
        let time = Timestamp::from_unix(1_795_521_600);
        let text = serde_json::to_string(&time).expect("a string serializes");
        assert_eq!(text, "\"2026-11-24T12:00:00Z\"");
        assert_eq!(
            serde_json::from_str::<Timestamp>(&text).expect("it was just written"),
            time
        );
    }

    #[test]
    fn a_broken_clock_can_still_be_written() {
        assert_eq!(Timestamp::from_unix(u64::MAX).to_string(), "9999-12-30T22:00:00Z");
    }

    #[test]
    fn text_that_is_not_a_time_since_1970_is_refused() {
        for text in ["\"\"", "\"yesterday\"", "\"2026-11-24\"", "\"1969-12-31T23:59:59Z\""] {
            assert!(serde_json::from_str::<Timestamp>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_clock_set_back_gives_no_negative_age() {
        assert_eq!(Timestamp::from_unix(5).since(Timestamp::from_unix(9)), Duration::ZERO);
    }
}
