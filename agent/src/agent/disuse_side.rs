//! One look's part of the count of the time without use, from what the sources saw.

use std::sync::Arc;

use super::host_side::HostSide;
use super::{Agent, recorded_since};
use crate::findings::report::SourceStatus;
use crate::findings::runtime::docker_is_the_runtime;
use crate::model::container::ShadowContainer;
use crate::model::disuse::{BootClock, DisuseLook, Sockets};
use crate::model::engine::Api;
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
        let keeps_marks = self.every_way_keeps_marks(snapshot, sources);
        let look = match clock {
            Ok(Some(clock)) => Ok(look(snapshot, joined, clock, sources, keeps_marks)),
            Ok(None) => Err(no_clock(Reason::NotFound, "they could not be read")),
            Err(error) => Err(no_clock(error.reason(), &error.to_string())),
        };
        Arc::make_mut(&mut self.history).count_disuse(look);
    }

    /// False if a container may have a read-only mount of a socket, or had one within the window: a connect through it leaves
    /// no mark.
    fn every_way_keeps_marks(&self, snapshot: &Snapshot, sources: &[SourceStatus]) -> bool {
        let mut gaps = sources.iter().flat_map(|status| &status.gaps);
        let mut remembered = self.history.exposures();
        snapshot.reaches.reading.gap().is_none()
            && gaps.all(|gap| gap.hides != Hides::Exposure)
            && !remembered.any(|(key, seen)| {
                let is_recent = snapshot.taken.since(seen.last) <= self.settings.window;
                let client = &key.client;
                seen.mount.readonly && is_recent && client.api == Api::Docker && client.scope.is_of_node()
            })
    }
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
    let told_since = recorded_since(snapshot);
    let engines = joined.engines.items();
    let told = told_since.is_some();
    let shadows = joined.shadow_containers.items();
    DisuseLook {
        at: snapshot.taken,
        clock,
        used: docker_is_the_runtime(snapshot).is_some()
            || shadows.iter().any(ShadowContainer::uses_docker)
            || (!told && Sockets::may_be_used(snapshot, engines)),
        sockets: match hiding_gap(joined, sources) {
            Some(gap) => Err(gap),
            None => Sockets::of(snapshot, engines, told, keeps_marks),
        },
        told_since,
    }
}

/// The first gap that may hide a use of Docker. One of the history hides uses of before.
fn hiding_gap(joined: &Joined, sources: &[SourceStatus]) -> Option<Gap> {
    let unknown = [
        joined.engines.gap(),
        joined.clients.gap(),
        joined.shadow_containers.gap(),
    ];
    let told = sources.iter().filter(|status| status.source != Source::History);
    let mut gaps = unknown
        .into_iter()
        .flatten()
        .chain(told.flat_map(|status| &status.gaps));
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
