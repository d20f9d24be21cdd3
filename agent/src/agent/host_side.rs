//! The blocking half of a cycle: processes, kubelet, sockets, engines, holders, files. Runs in one thread at a time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{folded, micros};
use crate::findings::report::SourceStatus;
use crate::model::container::SupervisedContainer;
use crate::model::engine::EngineSighting;
use crate::model::host::{CgroupVersion, HostFiles};
use crate::model::identity::{FileIdentity, SocketInode};
use crate::model::kubelet::Kubelet;
use crate::model::reading::{Gap, Hides, Reading, Reason, Sighting, Source};
use crate::model::snapshot::ConnectionsSeen;
use crate::model::socket::ListeningSocket;
use crate::sources::HostPaths;
use crate::sources::engines::{ListenerMemory, SupervisorMemory, find_engines, find_supervised};
use crate::sources::holders::{HolderMemory, ProcessView, Unplaced, find_connections};
use crate::sources::host_files::read_host_files;
use crate::sources::kubelet::read_kubelet;
use crate::sources::mounts::{ContainerProcess, MembershipMemory, find_container_processes};
use crate::sources::processes::{ProcessReader, ProcessTable};
use crate::sources::sockets::listening::{SocketsSeen, find_sockets};
use crate::sources::sockets::namespaces::NamespaceFinder;
use crate::sources::sockets::tables::SocketTables;

/// What one source saw, and how long it took.
pub(super) struct Timed<T> {
    pub(super) source: Source,
    pub(super) took: Duration,
    pub(super) sighting: T,
}

impl<T> Timed<Sighting<T>> {
    pub(super) fn of(source: Source, sighting: Sighting<T>) -> Self {
        Self {
            source,
            took: Duration::ZERO,
            sighting,
        }
    }

    fn measure(source: Source, look: impl FnOnce() -> Sighting<T>) -> Self {
        let start = Instant::now();
        let sighting = look();
        Self {
            source,
            took: start.elapsed(),
            sighting,
        }
    }

    pub(super) fn status(&self) -> SourceStatus {
        SourceStatus {
            source: self.source,
            up: self.sighting.reading.gap().is_none(),
            duration_micros: micros(self.took),
            gaps: folded(self.sighting.all_gaps()),
        }
    }
}

/// What the blocking half saw.
pub(super) struct HostSightings {
    processes: Timed<Sighting<()>>,
    pub(super) engines: Timed<Sighting<Vec<EngineSighting>>>,
    pub(super) supervised: Sighting<Vec<SupervisedContainer>>,
    pub(super) connections: Timed<Sighting<ConnectionsSeen>>,
    pub(super) files: Timed<Sighting<HostFiles>>,
    /// The first process of each container.
    pub(super) contained: Sighting<Vec<ContainerProcess>>,
    /// The files of all sockets that accept.
    pub(super) listening: BTreeSet<FileIdentity>,
    /// Whether those are all of this machine.
    pub(super) sees_machine: bool,
}

impl HostSightings {
    /// What is known where the half gave no answer: nothing, and why.
    pub(super) fn unanswered(gap: &dyn Fn(Hides) -> Gap) -> Self {
        Self {
            processes: Timed::of(Source::Processes, Sighting::unknown(gap(Hides::Client))),
            engines: Timed::of(Source::Engines, Sighting::unknown(gap(Hides::Engine))),
            supervised: Sighting::unknown(gap(Hides::ShadowContainer)),
            connections: Timed::of(Source::Holders, Sighting::unknown(gap(Hides::Client))),
            files: Timed::of(Source::HostFiles, Sighting::unknown(gap(Hides::Engine))),
            contained: Sighting::unknown(gap(Hides::Exposure)),
            listening: BTreeSet::new(),
            sees_machine: false,
        }
    }

    /// How each source of this half did.
    pub(super) fn statuses(&self) -> Vec<SourceStatus> {
        let mut engines = self.engines.status();
        self.supervised
            .all_gaps()
            .for_each(|gap| gap.clone().fold_into(&mut engines.gaps));
        let mut files = self.files.status();
        if let Reading::Known(host) = &self.files.sighting.reading {
            let parts = host.cgroups.gap().into_iter().chain(host.left_overs.gap());
            parts.for_each(|gap| gap.clone().fold_into(&mut files.gaps));
        }
        vec![self.processes.status(), engines, self.connections.status(), files]
    }
}

/// The state that the blocking half keeps from cycle to cycle.
pub(super) struct HostSide {
    paths: HostPaths,
    reader: ProcessReader,
    tables: Box<dyn SocketTables + Send>,
    table: Timed<Sighting<ProcessTable>>,
    namespaces: NamespaceFinder,
    listeners: ListenerMemory,
    supervisors: SupervisorMemory,
    memberships: MembershipMemory,
    holders: HolderMemory,
    unplaced: Unplaced,
    /// The control group version, once it was seen.
    cgroups: Option<CgroupVersion>,
    /// Whether connections are looked for in the sweep that finds the listeners: where there was one to watch.
    expects_connections: bool,
}

impl HostSide {
    pub(super) fn new(paths: HostPaths, tables: Box<dyn SocketTables + Send>) -> Self {
        let reader = ProcessReader::new(paths.proc.clone());
        Self {
            paths,
            reader,
            tables,
            table: Timed::of(Source::Processes, Sighting::absent()),
            namespaces: NamespaceFinder::default(),
            listeners: ListenerMemory::default(),
            supervisors: SupervisorMemory::default(),
            memberships: MembershipMemory::default(),
            holders: HolderMemory::default(),
            unplaced: Unplaced::default(),
            cgroups: None,
            expects_connections: true,
        }
    }

    /// First step: the process table and the kubelet, which the runtime's source waits for.
    pub(super) fn look_at_kubelet(&mut self) -> Timed<Sighting<Kubelet>> {
        self.table = Timed::measure(Source::Processes, || self.reader.read_table());
        let none = ProcessTable::default();
        let table = self.table.sighting.reading.known().unwrap_or(&none);
        Timed::measure(Source::Kubelet, || read_kubelet(&self.paths, &self.reader, table))
    }

    /// Second step: everything else, while the runtime is asked.
    pub(super) fn look_at_engines(&mut self) -> HostSightings {
        let files = Timed::measure(Source::HostFiles, || read_host_files(&self.paths, self.cgroups));
        self.cgroups = files
            .sighting
            .reading
            .known()
            .and_then(|host| host.cgroups.known().copied());
        let start = Instant::now();
        let Some(table) = self.table.sighting.reading.known() else {
            return self.without_table(files);
        };
        let namespaces = self.namespaces.find(&self.paths.proc, table);
        let SocketsSeen { listening, connected } = find_sockets(
            self.tables.as_mut(),
            &self.paths.proc,
            &namespaces,
            self.expects_connections,
        );
        let sockets = listening.reading.known().map_or(&[][..], Vec::as_slice);
        if self.listeners.finds_new(sockets) {
            // Whoever listens anew may have become an engine since its row was read.
            self.table = Timed::measure(Source::Processes, || self.reader.read_table_anew());
        }
        let Some(table) = self.table.sighting.reading.known() else {
            return self.without_table(files);
        };
        let mut engines = find_engines(&self.reader, table, sockets, &mut self.listeners);
        engines.gaps.extend(listening.all_gaps().cloned());
        let supervised = find_supervised(&self.reader, table, &mut self.supervisors);
        let found = supervised.reading.known().map_or(&[][..], Vec::as_slice);
        let contained = find_container_processes(&self.reader, table, found, &mut self.memberships);
        let missed_none = engines.all_gaps().all(|gap| gap.hides != Hides::Engine);
        let sees_machine = missed_none && self.reader.sees_machine();
        let watched = watched(&engines, sockets);
        self.expects_connections = !watched.is_empty();
        let engines = Timed {
            source: Source::Engines,
            took: start.elapsed(),
            sighting: engines,
        };
        let connections = Timed::measure(Source::Holders, || {
            let processes = ProcessView {
                proc: &self.paths.proc,
                reader: &mut self.reader,
                table,
                namespaces: &namespaces,
                memory: &mut self.holders,
            };
            let mut seen = find_connections(self.tables.as_mut(), processes, &watched, connected);
            if seen.all_gaps().all(|gap| gap.hides != Hides::Client) {
                let found = engines.sighting.reading.known().map_or(&[][..], Vec::as_slice);
                let unplaced = &mut self.unplaced;
                let gaps = unplaced.find_gaps(self.tables.as_mut(), &mut self.reader, &self.paths.proc, found);
                seen.gaps.extend(gaps);
            }
            seen
        });
        let processes = Timed {
            source: Source::Processes,
            took: self.table.took,
            sighting: Sighting {
                reading: Reading::Known(()),
                gaps: self.table.sighting.gaps.clone(),
            },
        };
        HostSightings {
            processes,
            engines,
            supervised,
            connections,
            files,
            contained,
            listening: sockets.iter().filter_map(|socket| socket.file).collect(),
            sees_machine,
        }
    }
}

impl HostSide {
    /// What is seen where the process table was not read.
    fn without_table(&self, files: Timed<Sighting<HostFiles>>) -> HostSightings {
        let why = self.table.sighting.reading.gap();
        let gap = |hides| why.map_or_else(|| never_read(hides), |gap| Gap { hides, ..gap.clone() });
        HostSightings {
            files,
            ..HostSightings::unanswered(&gap)
        }
    }
}

/// The listening sockets that some engine of `engines` accepts on.
fn watched(engines: &Sighting<Vec<EngineSighting>>, sockets: &[ListeningSocket]) -> Vec<ListeningSocket> {
    let listeners = engines
        .reading
        .known()
        .into_iter()
        .flatten()
        .flat_map(|engine| &engine.listeners);
    let inodes: BTreeSet<SocketInode> = listeners.map(|listener| listener.socket).collect();
    sockets
        .iter()
        .filter(|socket| inodes.contains(&socket.inode))
        .cloned()
        .collect()
}

fn never_read(hides: Hides) -> Gap {
    Gap::new(Reason::DependsOnAnother, hides, "the process table", "it was not read")
}
