//! The history of an agent: the earlier history, the clock, and the gaps.

use std::sync::Arc;
use std::time::Duration;

use super::Agent;
use crate::findings::report::SourceStatus;
use crate::model::disuse::BootClock;
use crate::model::history::{Clocks, History};
use crate::model::reading::{Gap, Hides, Reason, Source};
use crate::model::time::Timestamp;

impl Agent {
    /// The history up to now.
    pub const fn history(&self) -> &Arc<History> {
        &self.history
    }

    /// Adds an earlier history, which was read after the first look.
    pub fn take_over(&mut self, before: History) {
        Arc::make_mut(&mut self.history).absorb(before);
    }

    /// Sets the gaps of the history: the parts that were lost or cannot be kept.
    pub fn set_history_gaps(&mut self, gaps: Vec<Gap>) {
        self.history_gaps = gaps;
    }

    /// Corrects the recorded times if the wall clock was set since the last look, and sets times that are still in the
    /// future to `now`. A gap reports this as long as such a record may count.
    pub(super) fn follow_clock(&mut self, now: Timestamp, boot: Option<&BootClock>) {
        let history = Arc::make_mut(&mut self.history);
        let clocks = boot.map(|boot| Clocks {
            wall: now,
            boot: boot.clone(),
        });
        let set = clocks.map_or(0, |clocks| history.follow_clock(&clocks));
        let clamped = history.clamp(now);
        if set != 0 {
            let (by, direction) = (
                Duration::from_secs(set.unsigned_abs()),
                if set < 0 { "back" } else { "forward" },
            );
            let by = humantime::format_duration(by);
            tracing::warn!(%by, direction, "the clock was set: the recorded times were moved with it");
            self.correct(
                now,
                &format!("the clock was set {direction} by {by}, and they were moved with it"),
            );
        }
        if clamped > 0 {
            tracing::warn!(clamped, "recorded times are in the future: they count as now");
            self.correct(
                now,
                &format!("{clamped} were last seen after {now}, which counts as then"),
            );
        }
        let counts = |(at, _): &(Timestamp, Gap)| now.since(*at) <= self.settings.window;
        self.corrected = self.corrected.take().filter(counts);
    }

    fn correct(&mut self, now: Timestamp, answer: &str) {
        let asked = "the times of clients and exposures";
        let gap = Gap::new(Reason::HostError, Hides::Detail, asked, answer);
        self.corrected = Some((now, gap));
    }

    pub(super) fn history_status(&self) -> SourceStatus {
        let corrected = self.corrected.iter().map(|(_, gap)| gap.clone());
        SourceStatus {
            source: Source::History,
            up: true,
            duration_micros: 0,
            gaps: self.history_gaps.iter().cloned().chain(corrected).collect(),
        }
    }
}
