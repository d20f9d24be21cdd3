//! The composition root: the only place that knows sources, model, findings and sinks. It owns the cycle: ask every
//! source, each with its deadline; build one snapshot; judge it; hand out one immutable report.

mod host_side;
mod offload;
pub mod service;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::config::Look;
use crate::findings::report::{Report, SourceStatus};
use crate::findings::{Settings, evaluate};
use crate::model::exposure::{LostMount, Reach};
use crate::model::history::History;
use crate::model::identity::{ContainerId, FileIdentity};
use crate::model::join;
use crate::model::kubelet::Kubelet;
use crate::model::reading::{Gap, Hides, Reason, Sighting, Source};
use crate::model::runtime::RuntimeSighting;
use crate::model::snapshot::Snapshot;
use crate::model::time::Timestamp;
use crate::sources::HostPaths;
use crate::sources::mounts::{ContainerProcess, Looked, MountMemory, MountsSeen, find_mounts};
use crate::sources::processes::ProcessReader;
use crate::sources::runtime::RuntimeSource;
use crate::sources::sockets::live::KernelTables;
use crate::sources::sockets::tables::SocketTables;
use host_side::{HostSide, HostSightings, Timed};
use offload::{Offload, OffloadError};

/// How long one walk over the host may take. A healthy one takes milliseconds; one that hangs must not stop the cycle.
const HOST_DEADLINE: Duration = Duration::from_secs(10);

/// How long one round through the network namespaces may take; there are two in a walk.
const SOCKETS_DEADLINE: Duration = Duration::from_secs(4);

/// The state of the look at mounts. It has a thread of its own: a mount of a dead network file system hangs whoever looks.
struct MountSide {
    host: HostPaths,
    reader: ProcessReader,
    memory: MountMemory,
}

/// Looks at one node.
pub struct Agent {
    host: Offload<HostSide>,
    mounts: Offload<MountSide>,
    runtime: RuntimeSource,
    /// Containers that the runtime did not list in the last look: they are not asked for in each.
    unlisted: BTreeSet<ContainerId>,
    history: Arc<History>,
    history_gaps: Vec<Gap>,
    /// When times of the future were brought back, and what is said of it.
    clamped: Option<(Timestamp, Gap)>,
    settings: Settings,
}

impl Agent {
    /// An agent that looks as `look` says. Nothing is asked yet.
    pub fn new(look: Look, settings: Settings, history: History) -> Self {
        let tables = KernelTables::new(look.host.proc.clone(), SOCKETS_DEADLINE);
        Self::with_tables(look, settings, history, Box::new(tables))
    }

    /// One that reads the socket tables elsewhere than in the kernel: recorded ones, in tests.
    pub fn with_tables(look: Look, settings: Settings, history: History, tables: Box<dyn SocketTables + Send>) -> Self {
        Self {
            host: Offload::new(HostSide::new(look.host.clone(), tables)),
            mounts: Offload::new(MountSide {
                host: look.host.clone(),
                reader: ProcessReader::new(look.host.proc.clone()),
                memory: MountMemory::default(),
            }),
            runtime: RuntimeSource::new(look.runtime_endpoint, look.host, look.node, look.runtime_timeout),
            unlisted: BTreeSet::new(),
            history: Arc::new(history),
            history_gaps: Vec::new(),
            clamped: None,
            settings,
        }
    }

    /// What was seen until now.
    pub const fn history(&self) -> &Arc<History> {
        &self.history
    }

    /// Says what is wrong with the history: what was lost of it, or cannot be kept.
    pub fn set_history_gaps(&mut self, gaps: Vec<Gap>) {
        self.history_gaps = gaps;
    }

    /// One cycle. Never fails: what could not be seen is in the report.
    pub async fn look(&mut self) -> Report {
        let taken = Timestamp::from(SystemTime::now());
        let kubelet = self.host.run(HOST_DEADLINE, HostSide::look_at_kubelet).await;
        let kubelet = kubelet.unwrap_or_else(|e| Timed::of(Source::Kubelet, unanswered(&e, Hides::Runtime)));
        let start = Instant::now();
        let (runtime, host) = tokio::join!(
            self.runtime.query(&kubelet.sighting),
            self.host.run(HOST_DEADLINE, HostSide::look_at_engines)
        );
        let runtime = Timed {
            source: Source::Runtime,
            took: start.elapsed(),
            sighting: runtime,
        };
        let host = host.unwrap_or_else(|error| HostSightings::unanswered(&unanswered_gaps(&error)));
        self.conclude(taken, kubelet, runtime, host).await
    }

    async fn conclude(
        &mut self,
        taken: Timestamp,
        kubelet: Timed<Sighting<Kubelet>>,
        runtime: Timed<RuntimeSighting>,
        host: HostSightings,
    ) -> Report {
        let mut sources = host.statuses();
        sources.push(kubelet.status());
        let mut snapshot = Snapshot {
            taken,
            kubelet: kubelet.sighting,
            runtime: runtime.sighting,
            engines: host.engines.sighting,
            supervised: host.supervised,
            connections: host.connections.sighting,
            reaches: Sighting::absent(),
            lost_mounts: Vec::new(),
            host: host.files.sighting,
        };
        let unlisted = join::unlisted_containers(&snapshot);
        if !unlisted.is_subset(&self.unlisted) {
            snapshot.runtime = self.runtime.query(&snapshot.kubelet).await;
        }
        self.unlisted = unlisted;
        sources.push(runtime_status(runtime.took, &snapshot.runtime));
        let containers = (host.contained, host.listening, host.sees_machine);
        let (reaches, lost) = self.look_at_mounts(&snapshot, containers).await;
        sources.push(reaches.status());
        self.heed_the_clock(taken);
        sources.push(self.history_status());
        (snapshot.reaches, snapshot.lost_mounts) = (reaches.sighting, lost);
        sources.sort_by_key(|status| status.source);
        self.remember(&snapshot, &sources);
        evaluate(&snapshot, &self.history, sources, &self.settings)
    }

    /// Takes the look into the history.
    fn remember(&mut self, snapshot: &Snapshot, sources: &[SourceStatus]) {
        let joined = join::join(snapshot);
        let history = Arc::make_mut(&mut self.history);
        if let Some(open) = joined.clients.known() {
            history.record(snapshot.taken, open);
            if saw_every_client(sources) {
                history.mark_whole(snapshot.taken);
            }
        }
        if let Some(mounted) = join::mounted(snapshot, &joined).known() {
            history.record_exposures(snapshot.taken, mounted);
        }
    }

    /// Takes no time for true that has not come yet: the clock was wrong when it was written. That is said for as long
    /// as such a record may count.
    fn heed_the_clock(&mut self, now: Timestamp) {
        let clamped = Arc::make_mut(&mut self.history).clamp(now);
        if clamped > 0 {
            let answer = format!("{clamped} were last seen after {now}, which counts as then");
            tracing::warn!(
                clamped,
                "the clock was wrong: times that lie in the future are brought back to now"
            );
            let gap = Gap::new(
                Reason::HostError,
                Hides::Detail,
                "the times of clients and exposures",
                answer,
            );
            self.clamped = Some((now, gap));
        }
        let counts = |(at, _): &(Timestamp, Gap)| now.since(*at) <= self.settings.window;
        self.clamped = self.clamped.take().filter(counts);
    }

    fn history_status(&self) -> SourceStatus {
        let clamped = self.clamped.iter().map(|(_, gap)| gap.clone());
        SourceStatus {
            source: Source::History,
            up: true,
            duration_micros: 0,
            gaps: self.history_gaps.iter().cloned().chain(clamped).collect(),
        }
    }

    async fn look_at_mounts(
        &mut self,
        snapshot: &Snapshot,
        (processes, listening, sees_machine): (Sighting<Vec<ContainerProcess>>, BTreeSet<FileIdentity>, bool),
    ) -> (Timed<Sighting<Vec<Reach>>>, Vec<LostMount>) {
        let start = Instant::now();
        let (containers, engines) = (snapshot.runtime.containers.clone(), snapshot.engines.clone());
        let supervised = snapshot.supervised.reading.known().cloned().unwrap_or_default();
        let pods = snapshot.runtime.pods.reading.known().into_iter().flatten();
        let sandboxes = pods.map(|pod| pod.sandbox.clone()).collect();
        let look = move |side: &mut MountSide| {
            let looked = Looked {
                host: &side.host,
                reader: &side.reader,
                containers: &containers,
                sandboxes: &sandboxes,
                supervised: &supervised,
                processes: &processes,
                engines: &engines,
                listening: &listening,
                sees_machine,
            };
            find_mounts(&looked, &mut side.memory)
        };
        let seen = self.mounts.run(HOST_DEADLINE, look).await;
        let seen = seen.unwrap_or_else(|error| MountsSeen {
            reaches: unanswered(&error, Hides::Exposure),
            lost: Vec::new(),
        });
        let reaches = Timed {
            source: Source::Mounts,
            took: start.elapsed(),
            sighting: seen.reaches,
        };
        (reaches, seen.lost)
    }
}

/// Whether no gap of this look hides a client. One of the history hides clients of before.
fn saw_every_client(sources: &[SourceStatus]) -> bool {
    let mut gaps = sources
        .iter()
        .filter(|s| s.source != Source::History)
        .flat_map(|s| &s.gaps);
    gaps.all(|gap| !matches!(gap.hides, Hides::Client | Hides::Engine))
}

fn runtime_status(took: Duration, seen: &RuntimeSighting) -> SourceStatus {
    let gaps = seen
        .runtime
        .all_gaps()
        .chain(seen.pods.all_gaps())
        .chain(seen.containers.all_gaps());
    SourceStatus {
        source: Source::Runtime,
        up: [
            seen.runtime.reading.gap(),
            seen.pods.reading.gap(),
            seen.containers.reading.gap(),
        ] == [None; 3],
        duration_micros: micros(took),
        gaps: folded(gaps),
    }
}

fn folded<'a>(gaps: impl Iterator<Item = &'a Gap>) -> Vec<Gap> {
    let mut folded = Vec::new();
    gaps.for_each(|gap| gap.clone().fold_into(&mut folded));
    folded
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

fn unanswered<T>(error: &OffloadError, hides: Hides) -> Sighting<T> {
    Sighting::unknown(unanswered_gaps(error)(hides))
}

/// The gap that a look without an answer leaves in each kind of fact.
fn unanswered_gaps(error: &OffloadError) -> impl Fn(Hides) -> Gap + '_ {
    |hides| unanswered_gap(error, hides, "the host's processes and files")
}

/// The gap that work leaves which gave no answer of what was `asked`.
fn unanswered_gap(error: &OffloadError, hides: Hides, asked: &str) -> Gap {
    let reason = match error {
        OffloadError::Deadline(_) | OffloadError::StillRunning => Reason::DeadlineExceeded,
        OffloadError::Panicked => Reason::HostError,
    };
    Gap::new(reason, hides, asked, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_missed_something_proves_no_absence() {
        let missed = |source, hides| {
            [SourceStatus {
                source,
                up: true,
                duration_micros: 1,
                gaps: vec![Gap::new(Reason::PermissionDenied, hides, "something", "EACCES")],
            }]
        };
        for hides in [Hides::Client, Hides::Engine] {
            assert!(!saw_every_client(&missed(Source::Holders, hides)), "{hides}");
        }
        assert!(saw_every_client(&missed(Source::Holders, Hides::Identity)));
        assert!(saw_every_client(&missed(Source::History, Hides::Client)));
        assert!(saw_every_client(&[]));
    }
}
