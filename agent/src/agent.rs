//! The composition root: the only place that uses sources, model, findings and sinks together. It runs the cycle: it
//! queries every source, each with its deadline, builds one snapshot, judges it, and returns one immutable report.

mod disk_side;
mod disuse_side;
mod history_side;
mod host_side;
mod relay_side;
mod runtime_side;
pub mod service;
mod settings_side;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::config::Look;
use crate::findings::report::{Report, SourceStatus};
use crate::findings::{Settings, evaluate};
use crate::model::client::OpenClient;
use crate::model::disuse::BootClock;
use crate::model::exposure::Reach;
use crate::model::history::History;
use crate::model::host::HostFiles;
use crate::model::identity::{ContainerId, ProcessKey};
use crate::model::join::{self, Joined, named_since};
use crate::model::kubelet::Kubelet;
use crate::model::last_connect::moment_of;
use crate::model::reading::{Gap, Hides, Reading, Reason, Sighting, Source};
use crate::model::runtime::RuntimeSighting;
use crate::model::runtime_socket::RuntimeSocket;
use crate::model::snapshot::Snapshot;
use crate::model::socket::ListeningFiles;
use crate::model::time::Timestamp;
use crate::sources::host_files::SocketPlaces;
use crate::sources::mounts::MountsSeen;
use crate::sources::offload::{Offload, OffloadError};
use crate::sources::runtime::{self, RuntimeSource};
use crate::sources::sockets::live::KernelTables;
use crate::sources::sockets::tables::SocketTables;
use disk_side::{FileSide, KubeletSide, MountFacts, MountSide, files_status};
use host_side::{HostSide, HostSightings, Timed};

/// The deadline for one pass over the host. A healthy pass takes milliseconds; one that hangs must not stop the cycle.
const HOST_DEADLINE: Duration = Duration::from_secs(10);

/// The time for which the look at the sockets waits for the files at a few paths.
const PLACES_DEADLINE: Duration = Duration::from_secs(1);

/// The time for all rounds of one pass through the network namespaces together: less than that for the host, so that a slow node
/// gives a part of the answer and reports what is missing.
const SOCKETS_DEADLINE: Duration = Duration::from_secs(5);

/// Looks at one node.
pub struct Agent {
    host: Offload<HostSide>,
    kubelet: Offload<KubeletSide>,
    files: Offload<FileSide>,
    mounts: Offload<MountSide>,
    runtime: RuntimeSource,
    /// Containers that the runtime does not know, so that not every look requests them again.
    unlisted: BTreeSet<ContainerId>,
    history: Arc<History>,
    history_gaps: Vec<Gap>,
    /// The gap for recorded times that were corrected, and the time of that look.
    corrected: Option<(Timestamp, Gap)>,
    /// The last answer about connects that the history has recorded.
    taken_in: u64,
    /// False if the look at the processes and sockets hung in the last cycle.
    answers: bool,
    settings: Settings,
}

impl Agent {
    /// Makes an agent that looks as `look` says. Nothing is read yet.
    pub fn new(look: Look, settings: Settings, history: History) -> Self {
        let tables = KernelTables::new(look.host.proc.clone(), SOCKETS_DEADLINE);
        Self::with_tables(look, settings, history, Box::new(tables))
    }

    /// Makes an agent that reads the socket tables from another source than the kernel: recorded ones, in tests.
    pub fn with_tables(look: Look, settings: Settings, history: History, tables: Box<dyn SocketTables + Send>) -> Self {
        Self {
            host: Offload::new(HostSide::new(look.host.clone(), look.connect_events.clone(), tables)),
            kubelet: Offload::new(KubeletSide::new(look.host.clone())),
            files: Offload::new(FileSide::new(look.host.clone(), look.scan_host_files)),
            mounts: Offload::new(MountSide::new(look.host.clone())),
            runtime: RuntimeSource::new(look.runtime_endpoint, look.host, look.node, look.runtime_timeout),
            unlisted: BTreeSet::new(),
            history: Arc::new(history),
            history_gaps: Vec::new(),
            corrected: None,
            taken_in: 0,
            answers: true,
            settings,
        }
    }

    /// True unless the look at the processes and sockets hung during the whole last cycle. All other looks depend on
    /// it: without it, an agent sees nothing even though its cycles end.
    pub const fn answers(&self) -> bool {
        self.answers
    }

    /// Runs one cycle. Never fails: the report contains what could not be seen.
    pub async fn look(&mut self) -> Report {
        // On the heap, because its state is large and would be a part of every future that awaits it.
        Box::pin(self.ask_and_conclude()).await
    }

    async fn ask_and_conclude(&mut self) -> Report {
        let begun = SystemTime::now();
        let clock = self.host.run(HOST_DEADLINE, |host| host.read_clock()).await;
        self.answers = clock.is_ok();
        let look_at_places = self.files.run(PLACES_DEADLINE, FileSide::look_at_socket_places);
        let read_table = self.host.run(HOST_DEADLINE, HostSide::read_table);
        let (places, table) = tokio::join!(look_at_places, read_table);
        let asked = "the files where engines have their sockets";
        let unknown_places = |error| SocketPlaces::unknown(&unanswered_gap(&error, Hides::Engine, asked));
        let places = places.unwrap_or_else(unknown_places);
        let (kubelet, host, runtime) = (&mut self.kubelet, &mut self.host, &mut self.runtime);
        let taken_in = self.taken_in;
        let ask = async {
            let look_at_kubelet = async {
                let table = table?;
                kubelet.run(HOST_DEADLINE, move |disk| disk.look(&table)).await
            };
            let look_at_engines = host.run(HOST_DEADLINE, move |host| host.look_at_engines(&places, taken_in));
            let (kubelet, engines) = tokio::join!(look_at_kubelet, look_at_engines);
            let kubelet = kubelet.unwrap_or_else(|error| unanswered(Source::Kubelet, error, Hides::Runtime));
            let engines = engines.unwrap_or_else(|error| HostSightings::unanswered(&|hides| gap_of(error, hides)));
            // Not earlier: the engines' listeners must be known before a socket is opened.
            let none_ended = BTreeSet::new();
            // The look awaits many futures at the same time, so its own future is large and is on the heap.
            let answer = Box::pin(ask_runtime(
                runtime,
                host,
                &kubelet.sighting,
                &engines.listening,
                &none_ended,
            ));
            let runtime = Timed::measure_async(Source::Runtime, answer).await;
            (kubelet, engines, runtime)
        };
        let files = self.files.run(HOST_DEADLINE, FileSide::look_at_files);
        let ((kubelet, mut host, runtime), files) = tokio::join!(ask, files);
        let files = files.unwrap_or_else(|error| unanswered(Source::HostFiles, error, Hides::Engine));
        self.name_containers(&mut host).await;
        self.conclude((begun, clock), kubelet, runtime, host, files).await
    }

    /// Adds to Docker's containers their names from the disk. If the disk hangs, the containers stay without them.
    async fn name_containers(&mut self, host: &mut HostSightings) {
        if host.supervised.reading.known().is_none() {
            return;
        }
        let (table, containers) = (Arc::clone(&host.table), host.supervised.clone());
        let read = move |disk: &mut FileSide| disk.look_at_records(&table, containers);
        match self.files.run(HOST_DEADLINE, read).await {
            Ok(named) => host.supervised = named,
            Err(error) => host.supervised.gaps.push(gap_of(error, Hides::Detail)),
        }
    }

    /// Returns the processes of the `open` clients that are the node's kubelet, or serve the endpoint of its runtime.
    async fn find_runtime_side(
        &mut self,
        snapshot: &Snapshot,
        listening: &ListeningFiles,
        open: &[OpenClient],
    ) -> BTreeSet<ProcessKey> {
        let kubelet = snapshot.kubelet.reading.known().and_then(|kubelet| kubelet.process);
        let endpoint = snapshot.runtime.socket.zip(snapshot.runtime.runtime.reading.known());
        let served = endpoint.and_then(|(file, runtime)| {
            let name = runtime.canonical_path.rsplit('/').next().unwrap_or_default();
            Some(listening.find(file, name)?.socket)
        });
        let holders: Vec<ProcessKey> = open.iter().flat_map(OpenClient::processes).map(|p| p.key).collect();
        let mut found: BTreeSet<ProcessKey> = kubelet.into_iter().collect();
        if let (Some(socket), false) = (served, holders.is_empty()) {
            let look = move |host: &mut HostSide| host.find_servers(socket, &holders);
            found.extend(self.host.run(HOST_DEADLINE, look).await.unwrap_or_default());
        }
        found
    }

    async fn conclude(
        &mut self,
        (begun, clock): (SystemTime, Result<Option<BootClock>, OffloadError>),
        kubelet: Timed<Sighting<Kubelet>>,
        runtime: Timed<RuntimeSighting>,
        host: HostSightings,
        files: Timed<Sighting<HostFiles>>,
    ) -> Report {
        let taken = Timestamp::from(begun);
        let mut sources = host.statuses();
        sources.extend([kubelet.status(), files_status(&files)]);
        let mut snapshot = Snapshot {
            taken,
            kubelet: kubelet.sighting,
            runtime: runtime.sighting,
            runtime_socket: Reading::Absent,
            engines: host.engines.sighting,
            supervised: host.supervised,
            connections: host.connections.sighting,
            relays: Sighting::absent(),
            connects: host.connects.sighting,
            reaches: Sighting::absent(),
            lost_mounts: Vec::new(),
            files_mounts: Vec::new(),
            clocks: Vec::new(),
            host: files.sighting,
            settings: Sighting::absent(),
        };
        snapshot.runtime_socket = self.look_at_runtime_socket(&snapshot, &host.listening).await;
        self.look_at_relays(&mut snapshot).await;
        self.ask_runtime_again(&mut snapshot, &host.listening).await;
        self.add_settings(&mut snapshot, &mut sources).await;
        sources.push(runtime_status(runtime.took, &snapshot.runtime));
        let facts = MountFacts::of(
            &snapshot,
            host.contained,
            (Arc::clone(&host.listening), host.sees_machine),
        );
        let (reaches, mounts) = self.look_at_mounts(facts, &mut snapshot.runtime_socket).await;
        sources.push(reaches.status());
        runtime_side::add_gaps(&snapshot, &mut sources);
        self.follow_clock(taken, clock.as_ref().ok().and_then(Option::as_ref));
        sources.push(self.history_status());
        snapshot.reaches = reaches.sighting;
        (snapshot.lost_mounts, snapshot.files_mounts, snapshot.clocks) = (mounts.lost, mounts.files, mounts.clocks);
        sources.sort_by_key(|status| status.source);
        let joined = join::join(&snapshot);
        self.remember(&snapshot, begun, &joined, &host.listening, &sources)
            .await;
        self.count_disuse(&snapshot, &joined, clock, &sources);
        evaluate(&snapshot, joined, &self.history, sources, &self.settings)
    }

    /// Queries the runtime once more if a process is in a new container that the runtime did not list: the container
    /// was created meanwhile.
    async fn ask_runtime_again(&mut self, snapshot: &mut Snapshot, listening: &Arc<ListeningFiles>) {
        let mut unlisted = join::unlisted_containers(snapshot);
        if !unlisted.is_subset(&self.unlisted) {
            let (runtime, host) = (&mut self.runtime, &mut self.host);
            snapshot.runtime = ask_runtime(runtime, host, &snapshot.kubelet, listening, &unlisted).await;
            unlisted = join::unlisted_containers(snapshot);
        }
        self.unlisted = unlisted;
    }

    /// Adds the look to the history.
    async fn remember(
        &mut self,
        snapshot: &Snapshot,
        begun: SystemTime,
        joined: &Joined,
        listening: &ListeningFiles,
        sources: &[SourceStatus],
    ) {
        let open = joined.clients.items();
        let runtime = self.find_runtime_side(snapshot, listening, open).await;
        let history = Arc::make_mut(&mut self.history);
        let mut doubts = false;
        if let Some(open) = joined.clients.known() {
            let of_runtime = joined.runtime_clients.items();
            let all: Vec<OpenClient> = open.iter().chain(of_runtime).cloned().collect();
            history.record(snapshot.taken, &all);
            history.mark_runtime(open, &runtime);
            if saw_every_client(sources) {
                history.mark_whole(snapshot.taken);
            }
            let unseen = history.record_marks(moment_of(begun), &joined.marks);
            doubts = recorded_since(snapshot).is_some_and(|since| {
                snapshot.taken > since && (unseen.iter().any(|at| *at > since) || history.has_unreported())
            });
        }
        self.taken_in = taken_in(snapshot, joined).unwrap_or(self.taken_in);
        if let Some(mounted) = joined.all_mounted() {
            history.rename_exposures(named_since(snapshot, &mounted, history));
            history.record_exposures(snapshot.taken, &mounted);
        }
        if doubts {
            // A look that hangs is reported by the next one.
            let _ = self.host.run(HOST_DEADLINE, HostSide::doubt_connects).await;
        }
    }

    /// Looks at the mounts that lead to engines, and at those that lead to the runtime's own socket.
    async fn look_at_mounts(
        &mut self,
        facts: MountFacts,
        runtime: &mut Reading<RuntimeSocket>,
    ) -> (Timed<Sighting<Vec<Reach>>>, MountsSeen) {
        let start = Instant::now();
        let server = runtime.known().map(|socket| socket.server.clone());
        let look = move |disk: &mut MountSide| disk.look(&facts, server);
        let (seen, to_runtime) = self.mounts.run(HOST_DEADLINE, look).await.unwrap_or_else(|error| {
            let unknown = MountsSeen::unknown(gap_of(error, Hides::Exposure));
            (unknown.clone(), Some(unknown.reaches))
        });
        if let (Reading::Known(socket), Some(reaches)) = (runtime, to_runtime) {
            socket.reaches = reaches;
        }
        let reaches = Timed {
            source: Source::Mounts,
            took: start.elapsed(),
            sighting: seen.reaches.clone(),
        };
        (reaches, seen)
    }
}

/// The answer about connects whose clients were joined; none if the join needed a fact that is not known.
fn taken_in(snapshot: &Snapshot, joined: &Joined) -> Option<u64> {
    let is_joined = joined.engines.gap().is_none() && joined.clients.gap().is_none();
    snapshot
        .connects
        .reading
        .known()
        .filter(|_| is_joined)
        .map(|seen| seen.answer)
}

/// The time since which the kernel reports connects; none if it does not.
fn recorded_since(snapshot: &Snapshot) -> Option<Timestamp> {
    let events = &snapshot.connects.reading.known()?.events;
    events.since.filter(|_| events.method.is_some())
}

/// Queries the runtime. If no runtime is found but there is evidence that this is a node, the runtime is unknown.
async fn ask_runtime(
    runtime: &mut RuntimeSource,
    host: &mut Offload<HostSide>,
    kubelet: &Sighting<Kubelet>,
    listening: &Arc<ListeningFiles>,
    wanted: &BTreeSet<ContainerId>,
) -> RuntimeSighting {
    let seen = runtime.query(kubelet, listening, wanted).await;
    if !matches!(seen.runtime.reading, Reading::Absent) {
        return seen;
    }
    let evidence = match &kubelet.reading {
        Reading::Known(kubelet) => Some(kubelet.without_runtime()),
        Reading::Unknown(gap) => {
            let asked = "the runtime that the kubelet is configured to use";
            Some(Gap::new(Reason::DependsOnAnother, Hides::Runtime, asked, gap))
        }
        Reading::Absent => {
            let found = host.run(HOST_DEADLINE, HostSide::find_evidence).await;
            found.unwrap_or_else(|error| Some(gap_of(error, Hides::Runtime)))
        }
    };
    match evidence {
        Some(gap) => runtime::hidden(seen, gap),
        None => seen,
    }
}

/// True if no gap of this look hides a client. A gap of the history hides earlier clients.
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

fn unanswered<T>(source: Source, error: OffloadError, hides: Hides) -> Timed<Sighting<T>> {
    Timed::of(source, Sighting::unknown(gap_of(error, hides)))
}

/// The gap of a look without an answer.
fn gap_of(error: OffloadError, hides: Hides) -> Gap {
    unanswered_gap(&error, hides, "the host's processes and files")
}

/// The gap of work without an answer to `asked`.
fn unanswered_gap(error: &OffloadError, hides: Hides, asked: &str) -> Gap {
    Gap::new(error.reason(), hides, asked, error)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::model::connect::ConnectsSeen;
    use crate::model::identity::{FileIdentity, NetNs};
    use crate::model::sample;

    use crate::sources::connects::Asked;
    use crate::sources::kernel::diag::Envelope;
    use crate::sources::kernel::diag::encode::{Reply, SocketFacts};
    use crate::sources::kernel::rooted::Rooted;
    use crate::sources::recorded::RecordedHost;
    use crate::sources::sockets::recorded::RecordedTables;

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

    #[test]
    fn connects_are_taken_in_only_by_a_look_that_knows_engines_and_clients() {
        let mut node = sample::clear_node();
        let taken_in_by = |node: &Snapshot| taken_in(node, &join::join(node));
        assert_eq!(taken_in_by(&node), None, "nothing reports connects");
        node.connects = Sighting::full(ConnectsSeen {
            events: sample::events(),
            connects: Vec::new(),
            answer: 7,
        });
        assert_eq!(taken_in_by(&node), Some(7));
        let mut without_engines = node.clone();
        without_engines.engines = Sighting::unknown(sample::gap(Hides::Engine));
        assert_eq!(taken_in_by(&without_engines), None);
        node.connections = Sighting::unknown(sample::gap(Hides::Client));
        assert_eq!(taken_in_by(&node), None);
    }

    /// A node with dockerd and one client.
    fn node() -> (RecordedHost, Agent) {
        let (name, file) = (&b"/run/docker.sock\0"[..], Some(FileIdentity::from_stat(0x19, 99)));
        node_with(&[
            SocketFacts::listening(11, name, file),
            SocketFacts::accepted(12, name, file, 21),
            SocketFacts::client(21, 12),
        ])
    }

    /// The same node with other `sockets`.
    fn node_with(sockets: &[SocketFacts<'_>]) -> (RecordedHost, Agent) {
        let (host, netns) = (RecordedHost::new(), 4_026_531_840);
        host.process(800, 1, "dockerd").exe("/usr/bin/dockerd").socket(11);
        host.process(900, 1, "curl").exe("/usr/bin/curl").socket(21);
        let bytes = Reply::dump(Envelope { sequence: 1, port: 2 }, sockets);
        let tables = host.folder().to_owned();
        std::fs::write(RecordedTables::file(&tables, NetNs(netns)), bytes).expect("a file");
        let look = Look {
            host: host.paths(),
            runtime_endpoint: None,
            runtime_timeout: Duration::from_secs(60),
            node: None,
            connect_events: Asked::default(),
            scan_host_files: false,
        };
        let settings = Settings {
            ready_for: Vec::new(),
            node: None,
            window: Duration::from_secs(60),
        };
        let tables = Box::new(RecordedTables::new(tables));
        (host, Agent::with_tables(look, settings, History::default(), tables))
    }

    /// A mounted socket of another machine is identified by its path, which only the disk shows.
    #[tokio::test]
    async fn sockets_are_looked_at_without_the_disk() {
        let listener = tempfile::tempdir().expect("a temporary directory");
        let path = listener.path().join("outer.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&path).expect("a free name");
        let outer = Rooted::open(listener.path()).and_then(|root| root.read_identity("/outer.sock"));
        let (file, _) = outer.expect("it is there");
        let name = &b"/home/outer.sock\0"[..];
        let sockets = [
            SocketFacts::accepted(12, name, Some(file), 21),
            SocketFacts::client(21, 12),
        ];
        for hangs in [false, true] {
            let (host, mut agent) = node_with(&sockets);
            std::fs::create_dir_all(host.paths().root.join("run")).expect("a directory");
            std::fs::hard_link(&path, host.paths().root.join("run/docker.sock")).expect("one file system");
            let _release = if hangs {
                Some(hang(&mut agent.files).await)
            } else {
                None
            };
            let report = agent.look().await;
            let clients = report.clients.known().map_or(0, Vec::len);
            assert_eq!(clients, usize::from(!hangs));
            let is_said = |gap: &Gap| gap.asked.contains("where engines have their sockets");
            let engines = report.sources.iter().find(|s| s.source == Source::Engines);
            let gaps = &engines.expect("it was asked").gaps;
            assert_eq!(gaps.iter().any(is_said), hangs, "{gaps:?}");
        }
    }

    /// Lets a look hang until the returned sender is dropped.
    async fn hang<S: Send + 'static>(look: &mut Offload<S>) -> mpsc::Sender<()> {
        let (release, hang) = mpsc::channel::<()>();
        let stuck = look.run(Duration::from_millis(1), move |_| hang.recv());
        assert!(stuck.await.is_err());
        release
    }

    #[tokio::test]
    async fn an_agent_answers_while_its_look_at_the_processes_comes_back() {
        let (_host, mut agent) = node();
        let disks = [
            hang(&mut agent.kubelet).await,
            hang(&mut agent.files).await,
            hang(&mut agent.mounts).await,
        ];
        agent.look().await;
        assert!(agent.answers(), "a disk that hangs stops no look at the processes");
        let release = hang(&mut agent.host).await;
        agent.look().await;
        assert!(!agent.answers(), "everything hangs, and the cycle still ends");
        drop((disks, release));
        while !agent.answers() {
            agent.look().await;
        }
    }

    #[tokio::test]
    async fn a_disk_that_hangs_hides_no_client() {
        let (_host, mut agent) = node();
        let _releases = [
            hang(&mut agent.kubelet).await,
            hang(&mut agent.files).await,
            hang(&mut agent.mounts).await,
        ];
        let report = agent.look().await;
        let clients = report.clients.known().expect("the socket tables were read");
        assert_eq!(clients.iter().map(|client| client.connections).collect::<Vec<_>>(), [1]);
        let is_late = |status: &&SourceStatus| status.gaps.iter().any(|gap| gap.reason == Reason::DeadlineExceeded);
        let late: Vec<Source> = report.sources.iter().filter(is_late).map(|s| s.source).collect();
        // The units show the TCP ports on which systemd listens for an engine: without them a client may be hidden.
        assert_eq!(
            late,
            [Source::Kubelet, Source::Holders, Source::Mounts, Source::HostFiles]
        );
    }
}
