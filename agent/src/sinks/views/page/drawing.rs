//! A timeline as paths of an SVG with one unit of width for each hour, and the same in words.

use std::fmt::Write as _;

use super::when;
use crate::model::time::Timestamp;
use crate::model::timeline::{Hour, Timeline};

/// The height of a drawing in units.
const HEIGHT: usize = 20;
/// The height in units of the line for hours in which nothing was seen.
const LINE: usize = 2;

/// The parts of one drawing.
#[derive(Debug)]
pub(super) struct Drawing {
    /// The prefix that makes the ids of its parts unique in the page.
    pub(super) id: String,
    /// The owner of the timeline.
    pub(super) of: String,
    /// Blocks of the hours that are known; the others are unknown.
    pub(super) known: String,
    /// Lines of the hours in which it was not seen.
    pub(super) not_seen: String,
    /// Blocks of the hours in which it was seen.
    pub(super) seen: String,
    /// Lines at each midnight.
    pub(super) midnights: String,
    /// `seen in 31 h, not seen in 59 h, unknown 78 h`.
    pub(super) summary: String,
    /// The stretches that were seen or are unknown; the others were not seen.
    pub(super) stretches: Vec<Words>,
}

/// One stretch in words.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) what: &'static str,
    pub(super) from: String,
    pub(super) until: String,
}

/// The name of a day under its position on the axis.
#[derive(Debug)]
pub(super) struct Day {
    /// The distance from the left, in percent.
    pub(super) at: String,
    pub(super) name: String,
}

impl Drawing {
    pub(super) fn new(id: impl Into<String>, of: impl Into<String>, timeline: &Timeline) -> Self {
        let (mut known, mut not_seen, mut seen) = (String::new(), String::new(), String::new());
        let mut stretches = Vec::new();
        for stretch in timeline.stretches() {
            let (at, length) = (stretch.at, stretch.length);
            let block = |top: usize, path: &mut String| {
                // Writing to a String cannot fail.
                let _ = write!(path, "M{at} {top}h{length}V{HEIGHT}h-{length}z");
            };
            let what = match stretch.hour {
                Hour::Unknown => "unknown",
                Hour::NotSeen => {
                    block(0, &mut known);
                    block(HEIGHT - LINE, &mut not_seen);
                    continue;
                }
                Hour::Seen => {
                    block(0, &mut known);
                    block(0, &mut seen);
                    "seen"
                }
            };
            stretches.push(Words {
                what,
                from: when::hour(stretch.from),
                until: when::hour(stretch.until),
            });
        }
        let midnights = midnights(timeline).fold(String::new(), |mut path, (at, _)| {
            let _ = write!(path, "M{at} 0V{HEIGHT}");
            path
        });
        Self {
            id: id.into(),
            of: of.into(),
            known,
            not_seen,
            seen,
            midnights,
            summary: summary(timeline),
            stretches,
        }
    }
}

/// The hours of the timeline that the name of a day takes on the narrowest axis, that of a table.
const NAME_HOURS: usize = 23;

/// The days of a timeline, each from its midnight on; the last only if its name has room.
pub(super) fn days(timeline: &Timeline) -> Vec<Day> {
    let hours = timeline.hours().len();
    midnights(timeline)
        .filter(|(at, _)| at + NAME_HOURS <= hours)
        .map(|(at, time)| Day {
            at: percent(at, hours),
            name: when::day(time),
        })
        .collect()
}

fn midnights(timeline: &Timeline) -> impl Iterator<Item = (usize, Timestamp)> {
    let first = timeline.from().as_unix();
    let time = move |at: usize| Timestamp::from_unix(first + at as u64 * 3_600);
    (0..timeline.hours().len())
        .map(move |at| (at, time(at)))
        .filter(|(_, time)| time.as_unix().is_multiple_of(86_400))
}

fn percent(part: usize, whole: usize) -> String {
    let hundredths = part * 10_000 / whole.max(1);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn summary(timeline: &Timeline) -> String {
    let count = |kind| timeline.count(kind);
    let parts = [
        (count(Hour::Seen), "seen in"),
        (count(Hour::NotSeen), "not seen in"),
        (count(Hour::Unknown), "unknown for"),
    ];
    let words = parts
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{what} {n} h"));
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hours::Hours;
    use crate::sinks::sample::ago;

    #[test]
    fn drawing_and_words_match_the_timeline() {
        let hours = |of: &[u64]| -> Hours { of.iter().rev().map(|back| ago(back * 3_600)).collect() };
        let timeline = Timeline::new(ago(0), &[&hours(&[0, 1, 5])], &hours(&[0, 1, 2, 3, 4]));
        let drawing = Drawing::new("x", "it", &timeline);
        assert_eq!(drawing.seen, "M162 0h1V20h-1zM166 0h2V20h-2z");
        assert_eq!(drawing.not_seen, "M163 18h3V20h-3z");
        assert_eq!(drawing.known, "M162 0h1V20h-1zM163 0h3V20h-3zM166 0h2V20h-2z");
        assert_eq!(drawing.summary, "seen in 3 h, not seen in 3 h, unknown for 162 h");
        let words: Vec<String> = drawing
            .stretches
            .iter()
            .map(|w| format!("{} {} {}", w.what, w.from, w.until))
            .collect();
        assert_eq!(
            words,
            [
                "unknown Tue 17 13:00 Tue 24 07:00",
                "seen Tue 24 07:00 Tue 24 08:00",
                "seen Tue 24 11:00 Tue 24 13:00",
            ]
        );
        let days: Vec<String> = days(&timeline)
            .into_iter()
            .map(|day| format!("{} {}", day.at, day.name))
            .collect();
        assert_eq!(days[0], "6.54 Wed 18");
        assert_eq!(days.len(), 6, "Tuesday has no room for its name yet: {days:?}");
    }
}
