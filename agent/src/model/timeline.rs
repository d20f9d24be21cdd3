//! The state of each of the last hours: something was seen in it, was not seen in it, or no look saw everything.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::hours::Hours;
use super::time::Timestamp;

const HOUR: u64 = 3_600;

/// The state of one hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hour {
    /// No look of this hour saw everything: castoff did not run, or something was hidden from it.
    Unknown,
    /// At least one look saw everything, and this was not there.
    NotSeen,
    /// It was seen.
    Seen,
}

impl Hour {
    /// The character for it.
    pub const fn character(self) -> char {
        match self {
            Self::Unknown => '?',
            Self::NotSeen => '.',
            Self::Seen => '#',
        }
    }

    /// Returns the state of a character. An unknown character is an unknown state.
    fn of(character: char) -> Self {
        let mut known = [Self::NotSeen, Self::Seen].into_iter();
        known
            .find(|hour| hour.character() == character)
            .unwrap_or(Self::Unknown)
    }
}

/// The last [`Hours::SPAN`] hours, the oldest first; the last one is not over yet. Written as one character for each hour: `#`
/// seen, `.` not seen, `?` unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    from: Timestamp,
    hours: Vec<Hour>,
}

/// Consecutive hours with the same state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The state of each of them.
    pub hour: Hour,
    /// The number of hours between the beginning of the timeline and the first of them.
    pub at: usize,
    /// The number of hours.
    pub length: usize,
    /// The time at which the first of them begins.
    pub from: Timestamp,
    /// The time at which the last of them ends.
    pub until: Timestamp,
}

impl Timeline {
    /// Returns the hours up to that of `now`: those in `seen` as seen, those in `looked` alone as not seen, the rest as unknown.
    pub fn new(now: Timestamp, seen: &[&Hours], looked: &Hours) -> Self {
        let first = (now.as_unix() / HOUR).saturating_sub(Hours::SPAN - 1);
        let hour = |n| {
            let at = Timestamp::from_unix((first + n) * HOUR);
            if seen.iter().any(|hours| hours.contains(at)) {
                Hour::Seen
            } else if looked.contains(at) {
                Hour::NotSeen
            } else {
                Hour::Unknown
            }
        };
        Self {
            from: Timestamp::from_unix(first * HOUR),
            hours: (0..Hours::SPAN).map(hour).collect(),
        }
    }

    /// The time at which the first hour begins.
    pub const fn from(&self) -> Timestamp {
        self.from
    }

    /// Every hour, the oldest first.
    pub fn hours(&self) -> &[Hour] {
        &self.hours
    }

    /// The state of the hour of `at`; unknown where the timeline does not have it.
    pub fn hour(&self, at: Timestamp) -> Hour {
        let since = (at.as_unix() / HOUR).checked_sub(self.from.as_unix() / HOUR);
        let hour = since.and_then(|hours| self.hours.get(usize::try_from(hours).ok()?));
        hour.copied().unwrap_or(Hour::Unknown)
    }

    /// The number of hours of a kind.
    pub fn count(&self, kind: Hour) -> usize {
        self.hours.iter().filter(|hour| **hour == kind).count()
    }

    /// The hours as stretches.
    pub fn stretches(&self) -> impl Iterator<Item = Stretch> + '_ {
        let time = |n: usize| Timestamp::from_unix(self.from.as_unix() + n as u64 * HOUR);
        let mut at = 0;
        self.hours.chunk_by(PartialEq::eq).map(move |alike| {
            let from = at;
            at += alike.len();
            Stretch {
                hour: alike[0],
                at: from,
                length: alike.len(),
                from: time(from),
                until: time(at),
            }
        })
    }
}

#[derive(Serialize)]
struct Written<'a> {
    from: Timestamp,
    hours: &'a str,
}

impl Serialize for Timeline {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let hours: String = self.hours.iter().map(|hour| hour.character()).collect();
        let from = self.from;
        Written { from, hours: &hours }.serialize(serializer)
    }
}

#[derive(Deserialize)]
struct Read {
    from: Timestamp,
    hours: String,
}

/// A timeline of another castoff may have fewer hours. More than [`Hours::SPAN`] are not kept.
impl<'de> Deserialize<'de> for Timeline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Read { from, hours } = Read::deserialize(deserializer)?;
        let kept = usize::try_from(Hours::SPAN).unwrap_or(usize::MAX);
        let hours = hours.chars().take(kept).map(Hour::of).collect();
        Ok(Self { from, hours })
    }
}

impl JsonSchema for Timeline {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timeline".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The last 168 hours, the oldest first; the last one is not over yet.",
            "type": "object",
            "required": ["from", "hours"],
            "properties": {
                "from": generator.subschema_for::<Timestamp>(),
                "hours": {
                    "description": "One character an hour: # seen, . looked and not seen, ? unknown.",
                    "type": "string",
                    "pattern": "^[#.?]{168}$"
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_without_a_look_is_not_one_without_use() {
        let at = |hour: u64| Timestamp::from_unix((500_000 + hour) * HOUR + 59);
        let looked: Hours = (100..168).filter(|n| !(120..130).contains(n)).map(at).collect();
        let seen: Hours = [at(10), at(150), at(151)].into_iter().collect();
        let timeline = Timeline::new(at(167), &[&seen], &looked);
        let text = serde_json::to_value(&timeline).expect("it serializes");
        let expected = [
            ("?", 10),
            ("#", 1),
            ("?", 89),
            (".", 20),
            ("?", 10),
            (".", 20),
            ("#", 2),
            (".", 16),
        ];
        let expected: String = expected.iter().map(|(kind, length)| kind.repeat(*length)).collect();
        assert_eq!(text["hours"], expected);
        assert_eq!(text["from"], Timestamp::from_unix(500_000 * HOUR).to_string());
        assert_eq!(timeline.count(Hour::Seen), 3);
        let read: Timeline = serde_json::from_value(text).expect("it is read");
        assert_eq!(read, timeline);
        assert_eq!((read.hour(at(149)), read.hour(at(150))), (Hour::NotSeen, Hour::Seen));
        let last = timeline.stretches().nth(6).expect("the two hours");
        assert_eq!((last.hour, last.at, last.length), (Hour::Seen, 150, 2));
        assert_eq!(last.until.since(last.from).as_secs(), 2 * HOUR);
    }

    #[test]
    fn a_timeline_of_another_castoff_is_read_as_far_as_it_is_understood() {
        let read = |hours: &str| -> Timeline {
            let from = Timestamp::from_unix(500_000 * HOUR);
            serde_json::from_value(serde_json::json!({ "from": from, "hours": hours })).expect("it is read")
        };
        let hour = |n: u64| Timestamp::from_unix((500_000 + n) * HOUR);
        let short = read("x\u{e9}#");
        assert_eq!(short.hours(), [Hour::Unknown, Hour::Unknown, Hour::Seen]);
        assert_eq!(short.hour(hour(3)), Hour::Unknown);
        assert_eq!(short.hour(Timestamp::from_unix(0)), Hour::Unknown);
        assert_eq!(read(&"#".repeat(1_000)).hours().len() as u64, Hours::SPAN);
    }

    #[test]
    fn a_clock_before_the_first_week_has_a_timeline() {
        let timeline = Timeline::new(Timestamp::from_unix(5), &[], &Hours::default());
        assert_eq!(timeline.count(Hour::Unknown) as u64, Hours::SPAN);
    }
}
