//! Updates the count of the time without use, from what the sources saw in one look.

use std::sync::Arc;
use std::time::Duration;

use super::host_side::HostSide;
use super::{Agent, recorded_since};
use crate::findings::report::SourceStatus;
use crate::findings::runtime::docker_is_the_runtime;
use crate::model::container::ShadowContainer;
use crate::model::disuse::{BootClock, DisuseLook, Sockets};
use crate::model::history::History;
use crate::model::join::Joined;
use crate::model::reading::{Gap, Hides, Reading, Reason, Source};
use crate::model::snapshot::Snapshot;
use crate::sources::machine::read_clock;
use crate::sources::offload::OffloadError;

impl HostSide {
    /// The kernel's own clock.
    pub(super) fn read_clock(&self) -> Option<BootClock> {
        read_clock(&self.paths)
    }
}

impl Agent {
    /// Counts the look, which the history has recorded.
    pub(super) fn count_disuse(
        &mut self,
        snapshot: &Snapshot,
        joined: &Joined,
        clock: Result<Option<BootClock>, OffloadError>,
        sources: &[SourceStatus],
    ) {
        let history = Arc::make_mut(&mut self.history);
        if joined.is_readonly_mounted {
            history.mark_readonly_mounted(snapshot.taken);
        }
        let keeps_marks = every_way_keeps_marks(history, snapshot, sources, self.settings.window);
        let look = match clock {
            Ok(Some(clock)) => Ok(look(snapshot, joined, clock, sources, keeps_marks)),
            Ok(None) => Err(no_clock(Reason::NotFound, "they could not be read")),
            Err(error) => Err(no_clock(error.reason(), &error.to_string())),
        };
        history.count_disuse(look);
    }
}

/// False if a container may have a read-only mount of a socket, or had one within the window: a connect through such a
/// mount leaves no mark.
fn every_way_keeps_marks(history: &History, snapshot: &Snapshot, sources: &[SourceStatus], window: Duration) -> bool {
    let mut gaps = sources.iter().flat_map(|status| &status.gaps);
    let is_recent = |last| snapshot.taken.since(last) <= window;
    snapshot.reaches.reading.gap().is_none()
        && gaps.all(|gap| gap.hides != Hides::Exposure)
        && !history.readonly_mounted().is_some_and(is_recent)
}

fn no_clock(reason: Reason, answer: &str) -> Gap {
    Gap::new(reason, Hides::Detail, "the machine's uptime and boot id", answer)
}

fn look(
    snapshot: &Snapshot,
    joined: &Joined,
    clock: BootClock,
    sources: &[SourceStatus],
    keeps_marks: bool,
) -> DisuseLook {
    let recorded_since = recorded_since(snapshot);
    let engines = joined.engines.items();
    let recorded = recorded_since.is_some();
    let shadows = joined.shadow_containers.items();
    DisuseLook {
        at: snapshot.taken,
        clock,
        used: docker_is_the_runtime(snapshot).is_some()
            || shadows.iter().any(ShadowContainer::uses_docker)
            || (!recorded && Sockets::may_be_used(snapshot, engines)),
        sockets: match hiding_gap(joined, sources) {
            Some(gap) => Err(gap),
            None => Sockets::of(snapshot, engines, recorded, keeps_marks),
        },
        recorded_since,
    }
}

/// The first gap that may hide a use of Docker. A gap of the history hides only earlier uses.
fn hiding_gap(joined: &Joined, sources: &[SourceStatus]) -> Option<Gap> {
    let unknown = [
        joined.engines.gap(),
        joined.clients.gap(),
        joined.shadow_containers.gap(),
    ];
    let others = sources.iter().filter(|status| status.source != Source::History);
    let mut gaps = unknown
        .into_iter()
        .flatten()
        .chain(others.flat_map(|status| &status.gaps));
    let hides = |gap: &&Gap| matches!(gap.hides, Hides::Client | Hides::Engine | Hides::ShadowContainer);
    let unasked = || {
        let nobody = matches!(joined.clients, Reading::Absent);
        nobody.then(|| {
            Gap::new(
                Reason::NotFound,
                Hides::Client,
                "the clients of engines",
                "nothing looked",
            )
        })
    };
    gaps.find(hides).cloned().or_else(unasked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::join::join;
    use crate::model::sample::{clear_node, dockerd, known, reach};
    use crate::model::time::Timestamp;

    const WINDOW: Duration = Duration::from_secs(86_400);

    /// Containers without a name may share one key, which does not tell of each if it is read-only.
    #[test]
    fn the_marks_prove_nothing_while_a_nameless_container_may_have_used_a_readonly_mount() {
        let mut node = clear_node();
        known(&mut node.engines).push(dockerd());
        known(&mut node.reaches).push(reach());
        let mut history = History::default();
        assert!(every_way_keeps_marks(&history, &node, &[], WINDOW));
        assert!(join(&node).is_readonly_mounted);
        history.mark_readonly_mounted(node.taken);
        known(&mut node.reaches).clear();
        let start = node.taken.as_unix();
        for (seconds, keeps) in [(0, false), (86_400, false), (86_401, true)] {
            node.taken = Timestamp::from_unix(start + seconds);
            assert_eq!(
                every_way_keeps_marks(&history, &node, &[], WINDOW),
                keeps,
                "after {seconds} s"
            );
        }
    }
}
