//! The half of a cycle that reads from the kernel: processes, sockets, engines, holders. Blocks; runs in one thread at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::relay_side::RelayMemory;
use super::runtime_side::RuntimeMemory;
use super::{folded, micros};
use crate::findings::report::SourceStatus;
use crate::model::connect::ConnectsSeen;
use crate::model::container::SupervisedContainer;
use crate::model::engine::{EngineKind, EngineSighting};
use crate::model::identity::{Pid, ProcessKey, SocketInode};
use crate::model::reading::{Gap, Hides, Reading, Reason, Sighting, Source};
use crate::model::snapshot::ConnectionsSeen;
use crate::model::socket::{ListeningFile, ListeningFiles, ListeningSocket};
use crate::sources::HostPaths;
use crate::sources::connects::{Asked, ConnectSource, Wanted};
use crate::sources::engines::held::{HeldSocket, read_held, read_sockets_of_init, sockets_of_users, tcp_sockets};
use crate::sources::engines::{
    ListenerMemory, SupervisorMemory, add_grouped, add_tcp_listeners, find_engines, find_supervised,
    read_engine_sockets,
};
use crate::sources::holders::{HolderIterator, HolderMemory, ProcessView, Unplaced, Watch, find_connections};
use crate::sources::host_files::SocketPlaces;
use crate::sources::kubelet::find_evidence;
use crate::sources::mounts::{ContainerProcess, MembershipMemory, find_container_processes};
use crate::sources::processes::{ProcessReader, ProcessTable};
use crate::sources::sockets::connected::Connected;
use crate::sources::sockets::listening::{SocketsSeen, find_sockets};
use crate::sources::sockets::namespaces::{NamespaceFinder, Namespaces};
use crate::sources::sockets::protocol::ProtocolMemory;
use crate::sources::sockets::tables::SocketTables;
use crate::sources::sockets::tcp::{TcpSeen, find_tcp};

/// The result of one source, and its duration.
pub(super) struct Timed<T> {
    pub(super) source: Source,
    pub(super) took: Duration,
    pub(super) sighting: T,
}

impl<T> Timed<T> {
    pub(super) async fn measure_async(source: Source, look: impl Future<Output = T>) -> Self {
        let start = Instant::now();
        let sighting = look.await;
        Self {
            source,
            took: start.elapsed(),
            sighting,
        }
    }
}

impl<T> Timed<Sighting<T>> {
    pub(super) fn of(source: Source, sighting: Sighting<T>) -> Self {
        Self {
            source,
            took: Duration::ZERO,
            sighting,
        }
    }

    pub(super) fn measure(source: Source, look: impl FnOnce() -> Sighting<T>) -> Self {
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

/// The results of the blocking half.
pub(super) struct HostSightings {
    /// The processes of the latest read; none if they were not read.
    pub(super) table: Arc<ProcessTable>,
    processes: Timed<Sighting<()>>,
    pub(super) engines: Timed<Sighting<Vec<EngineSighting>>>,
    pub(super) supervised: Sighting<Vec<SupervisedContainer>>,
    pub(super) connections: Timed<Sighting<ConnectionsSeen>>,
    pub(super) connects: Timed<Sighting<ConnectsSeen>>,
    /// The listening sockets, for a look that is about to open a socket.
    pub(super) listening: Arc<ListeningFiles>,
    /// The processes that show the mounts of each container.
    pub(super) contained: Sighting<Vec<ContainerProcess>>,
    /// True if those are all listeners of this machine.
    pub(super) sees_machine: bool,
}

impl HostSightings {
    /// Returns the result of a half without an answer: everything is unknown, with the reason.
    pub(super) fn unanswered(gap: &dyn Fn(Hides) -> Gap) -> Self {
        Self {
            table: Arc::default(),
            processes: Timed::of(Source::Processes, Sighting::unknown(gap(Hides::Client))),
            engines: Timed::of(Source::Engines, Sighting::unknown(gap(Hides::Engine))),
            supervised: Sighting::unknown(gap(Hides::ShadowContainer)),
            connections: Timed::of(Source::Holders, Sighting::unknown(gap(Hides::Client))),
            // The connects that the kernel reported wait for the next look.
            connects: Timed::of(Source::Connects, Sighting::absent()),
            listening: Arc::default(),
            contained: Sighting::unknown(gap(Hides::Exposure)),
            sees_machine: false,
        }
    }

    /// The status of each source of this half.
    pub(super) fn statuses(&self) -> Vec<SourceStatus> {
        let mut engines = self.engines.status();
        self.supervised
            .all_gaps()
            .for_each(|gap| gap.clone().fold_into(&mut engines.gaps));
        let [connections, connects] = [self.connections.status(), self.connects.status()];
        vec![self.processes.status(), engines, connections, connects]
    }
}

/// The state that the blocking half keeps from cycle to cycle.
pub(super) struct HostSide {
    pub(super) paths: HostPaths,
    pub(super) reader: ProcessReader,
    pub(super) tables: Box<dyn SocketTables + Send>,
    table: Timed<Sighting<Arc<ProcessTable>>>,
    namespaces: NamespaceFinder,
    listeners: ListenerMemory,
    supervisors: SupervisorMemory,
    memberships: MembershipMemory,
    holders: HolderMemory,
    pub(super) iterator: HolderIterator,
    pub(super) protocols: ProtocolMemory,
    unplaced: Unplaced,
    connects: ConnectSource,
    /// The sockets of this look, which are kept to find the clients of further listeners.
    pub(super) swept: Option<Arc<Swept>>,
    pub(super) relays: RelayMemory,
    pub(super) runtime: RuntimeMemory,
}

/// The sockets that one pass over the network namespaces saw.
pub(super) struct Swept {
    pub(super) table: Arc<ProcessTable>,
    pub(super) namespaces: Namespaces,
    pub(super) listening: Vec<ListeningSocket>,
    pub(super) connected: Option<Connected>,
}

impl HostSide {
    pub(super) fn new(paths: HostPaths, connect_events: Asked, tables: Box<dyn SocketTables + Send>) -> Self {
        let reader = ProcessReader::new(paths.proc.clone());
        let iterator = HolderIterator::new(connect_events.method != Wanted::Off, paths.proc.clone());
        let connects = ConnectSource::new(connect_events, paths.clone());
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
            iterator,
            protocols: ProtocolMemory::default(),
            unplaced: Unplaced::default(),
            connects,
            swept: None,
            relays: RelayMemory::default(),
            runtime: RuntimeMemory::default(),
        }
    }

    /// First step: reads the process table, in which the kubelet is searched. Empty where it could not be read.
    pub(super) fn read_table(&mut self) -> Arc<ProcessTable> {
        self.table = Timed::measure(Source::Processes, || shared(self.reader.read_table()));
        self.table.sighting.reading.known().cloned().unwrap_or_default()
    }

    /// Second step: everything else, while the kubelet is looked at, and before the runtime is queried. `places` holds the files
    /// at the usual places of the engines' sockets; `taken_in` is the last answer about connects that the agent took in.
    pub(super) fn look_at_engines(&mut self, places: &SocketPlaces, taken_in: u64) -> HostSightings {
        let start = Instant::now();
        let Some(table) = self.table.sighting.reading.known().cloned() else {
            return self.without_table();
        };
        self.swept = None;
        self.protocols.begin();
        self.tables.begin();
        let namespaces = self.namespaces.find(&self.paths.proc, &table);
        let sockets = self.find_sockets(&table, &namespaces, places);
        let listening = sockets.listening.reading.items();
        if self.listeners.finds_new(listening) {
            // A process that has begun to listen may have become an engine since its row was read.
            self.table = Timed::measure(Source::Processes, || shared(self.reader.read_table_anew()));
        }
        let Some(table) = self.table.sighting.reading.known().cloned() else {
            return self.without_table();
        };
        let mut engines = find_engines(&self.reader, &table, listening, &mut self.listeners);
        engines.gaps.extend(sockets.listening.all_gaps().cloned());
        let (supervised, contained) = self.find_containers(&table, engines.reading.items());
        let held = self.find_tcp_listeners(&table, &namespaces, places, &mut engines);
        let files = Arc::new(listening_files(&engines, &self.table.sighting.gaps, listening));
        let sees_machine = files.whole && self.reader.sees_machine();
        let engines = Timed {
            source: Source::Engines,
            took: start.elapsed(),
            sighting: engines,
        };
        let mut watched = self.runtime.beside(&engines.sighting);
        self.relays.add_to(&mut watched);
        let connects = Timed::measure(Source::Connects, || self.connects.look(&watched, taken_in));
        let begun = Instant::now();
        let connections = self.find_connections(&table, &namespaces, &engines.sighting, &sockets, held);
        let connections = Timed {
            source: Source::Holders,
            took: begun.elapsed(),
            sighting: connections,
        };
        self.swept = Some(Arc::new(Swept {
            table: Arc::clone(&table),
            namespaces,
            listening: sockets.listening.reading.known().cloned().unwrap_or_default(),
            connected: sockets.connected,
        }));
        HostSightings {
            processes: self.processes(),
            table,
            engines,
            supervised,
            connections,
            connects,
            listening: files,
            contained,
            sees_machine,
        }
    }

    /// Finds the containers that engines run by themselves, and the processes of all containers.
    fn find_containers(
        &mut self,
        table: &ProcessTable,
        engines: &[EngineSighting],
    ) -> (Sighting<Vec<SupervisedContainer>>, Sighting<Vec<ContainerProcess>>) {
        let namespaces = self.listeners.namespaces();
        let mut supervised = find_supervised(&self.reader, table, namespaces, &mut self.supervisors);
        let containers = supervised.reading.items();
        let contained = find_container_processes(&self.reader, table, containers, &mut self.memberships);
        add_grouped(&self.reader, engines, self.memberships.in_containers(), &mut supervised);
        (supervised, contained)
    }

    /// Tests soon whether the kernel program works that records connects.
    pub(super) fn doubt_connects(&mut self) {
        self.connects.doubt();
    }

    /// Third step, only if no runtime was found: searches for evidence that this is a Kubernetes node.
    pub(super) fn find_evidence(&mut self) -> Option<Gap> {
        find_evidence(&self.paths, &self.reader, self.table.sighting.reading.known()?)
    }

    /// Returns those of `processes` that hold the listening `socket`.
    pub(super) fn find_servers(&self, socket: SocketInode, processes: &[ProcessKey]) -> BTreeSet<ProcessKey> {
        let holds = |process: &&ProcessKey| {
            let mut held = false;
            let read = self
                .reader
                .read_sockets(**process, &mut |_, inode| held |= inode == socket);
            read.is_ok() && held
        };
        processes.iter().filter(holds).copied().collect()
    }
}

/// The sockets that the engines hold, and the kernel's data about the TCP sockets among them.
struct Held {
    sockets: BTreeMap<SocketInode, HeldSocket>,
    tcp: TcpSeen,
}

impl HostSide {
    fn find_sockets(&mut self, table: &ProcessTable, namespaces: &Namespaces, places: &SocketPlaces) -> SocketsSeen {
        let mut seen = find_sockets(self.tables.as_mut(), &self.paths.proc, namespaces, true);
        seen.bound(&|listening| read_engine_sockets(&self.reader, table, listening));
        seen.add_vanished(places);
        seen
    }

    /// Adds to the engines the TCP ports that they listen on.
    fn find_tcp_listeners(
        &mut self,
        table: &ProcessTable,
        namespaces: &Namespaces,
        places: &SocketPlaces,
        engines: &mut Sighting<Vec<EngineSighting>>,
    ) -> Held {
        let mut found = engines.reading.known().cloned().unwrap_or_default();
        let ports = places.ports.reading.known().cloned().unwrap_or_default();
        let mut gaps: Vec<Gap> = places.ports.all_gaps().cloned().collect();
        let sockets = read_held(&self.reader, &self.paths.proc, &found, &mut self.protocols);
        let of_init = read_sockets_of_init(&self.reader, table, &ports, &mut gaps);
        let tcp_held = tcp_sockets(&sockets, &found, of_init, ports);
        let mut tcp = find_tcp(self.tables.as_mut(), namespaces, &tcp_held);
        tcp.gaps.extend(gaps);
        let held = (&sockets, &tcp_held);
        add_tcp_listeners(
            &self.reader,
            table,
            &mut found,
            &tcp.listening,
            held,
            &mut self.listeners,
        );
        tcp.gaps.extend(self.listeners.unread_settings());
        if !found.is_empty() {
            let before = std::mem::replace(&mut engines.reading, Reading::Known(found));
            engines.gaps.extend(before.gap().cloned());
        }
        Held { sockets, tcp }
    }

    fn find_connections(
        &mut self,
        table: &ProcessTable,
        namespaces: &Namespaces,
        engines: &Sighting<Vec<EngineSighting>>,
        sockets: &SocketsSeen,
        held: Held,
    ) -> Sighting<ConnectionsSeen> {
        let shown = sockets.accepted();
        let listening = sockets.listening.reading.items();
        let watched = watched(engines, listening, &held.tcp.listening);
        let found = engines.reading.items();
        let processes = ProcessView {
            proc: &self.paths.proc,
            reader: &mut self.reader,
            table,
            namespaces,
            memory: &mut self.holders,
            iterator: &mut self.iterator,
        };
        let watch = Watch {
            listeners: &watched,
            of_users: &sockets_of_users(found),
            tcp: &held.tcp.connections,
        };
        let mut seen = find_connections(self.tables.as_mut(), processes, watch, sockets.connected.as_ref());
        seen.gaps.extend(held.tcp.gaps);
        if seen.all_gaps().all(|gap| gap.hides != Hides::Client) {
            let (tables, reader, proc) = (self.tables.as_mut(), &mut self.reader, &self.paths.proc);
            let gaps = self
                .unplaced
                .find_gaps(tables, reader, proc, (found, &held.sockets), &shown);
            seen.gaps.extend(gaps);
        }
        leave_out_own(&self.paths.proc, &mut seen);
        seen
    }

    /// The status of reading the process table.
    fn processes(&self) -> Timed<Sighting<()>> {
        Timed {
            source: Source::Processes,
            took: self.table.took,
            sighting: Sighting {
                reading: Reading::Known(()),
                gaps: self.table.sighting.gaps.clone(),
            },
        }
    }

    /// Returns the result where the process table was not read.
    fn without_table(&self) -> HostSightings {
        let why = self.table.sighting.reading.gap();
        let gap = |hides| why.map_or_else(|| never_read(hides), |gap| Gap { hides, ..gap.clone() });
        HostSightings::unanswered(&gap)
    }
}

/// Returns the files with listeners, and the engines that listen. A table that misses a process may miss an engine.
fn listening_files(
    engines: &Sighting<Vec<EngineSighting>>,
    table_gaps: &[Gap],
    sockets: &[ListeningSocket],
) -> ListeningFiles {
    let known = engines.reading.items().iter();
    let owners: BTreeMap<SocketInode, EngineKind> = known
        .flat_map(|engine| engine.listeners.iter().map(|listener| (listener.socket, engine.kind)))
        .collect();
    let files = sockets.iter().filter_map(|socket| {
        Some(ListeningFile {
            file: socket.file?,
            socket: socket.inode,
            name: socket.name.last_component()?.to_owned(),
            engine: owners.get(&socket.inode).copied(),
        })
    });
    let mut gaps = engines.all_gaps().chain(table_gaps);
    ListeningFiles {
        files: files.collect(),
        whole: gaps.all(|gap| gap.hides != Hides::Engine),
    }
}

/// Removes castoff's own connections: castoff opens no engine's socket, and a connection to a runtime that has since
/// become an engine is not a use of the engine.
pub(super) fn leave_out_own(proc: &Path, seen: &mut Sighting<ConnectionsSeen>) {
    let own = fs::read_link(proc.join("self")).ok();
    let own: Option<u32> = own.and_then(|pid| pid.to_str()?.parse().ok());
    let (Some(own), Reading::Known(seen)) = (own, &mut seen.reading) else {
        return;
    };
    seen.connections.retain_mut(|connection| {
        let before = connection.holders.len();
        connection.holders.retain(|holder| holder.key.pid != Pid(own));
        before == 0 || !connection.holders.is_empty()
    });
}

/// The listening sockets that some engine of `engines` accepts on.
fn watched(
    engines: &Sighting<Vec<EngineSighting>>,
    sockets: &[ListeningSocket],
    tcp: &[ListeningSocket],
) -> Vec<ListeningSocket> {
    let listeners = engines.reading.items().iter().flat_map(|engine| &engine.listeners);
    let inodes: BTreeSet<SocketInode> = listeners.map(|listener| listener.socket).collect();
    let all = sockets.iter().chain(tcp);
    all.filter(|socket| inodes.contains(&socket.inode)).cloned().collect()
}

fn shared<T>(sighting: Sighting<T>) -> Sighting<Arc<T>> {
    Sighting {
        reading: sighting.reading.map(Arc::new),
        gaps: sighting.gaps,
    }
}

fn never_read(hides: Hides) -> Gap {
    Gap::new(Reason::DependsOnAnother, hides, "the process table", "it was not read")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::identity::NetNs;
    use crate::model::sample;
    use crate::model::snapshot::HolderMethod;
    use crate::model::socket::{Connection, ConnectionState, ListenerId};
    use crate::sources::recorded::RecordedHost;

    fn held_by(pids: &[u32]) -> Connection {
        Connection {
            listener: ListenerId::Abstract(NetNs(1), "docker.sock".to_owned()),
            client: SocketInode(2),
            netns: None,
            state: ConnectionState::Accepted,
            holders: pids.iter().map(|pid| sample::process(*pid, "/bin/x")).collect(),
            connector: None,
            remote: None,
        }
    }

    #[test]
    fn castoff_is_never_its_own_client() {
        let host = RecordedHost::new();
        let proc = host.paths().proc;
        std::os::unix::fs::symlink("40", proc.join("self")).expect("a link");
        let mut seen = Sighting::partial(
            ConnectionsSeen {
                method: HolderMethod::SockDiag,
                iterator_refused: None,
                connections: vec![held_by(&[40]), held_by(&[40, 41]), held_by(&[41]), held_by(&[])],
                namespaces: 1,
            },
            Vec::new(),
        );
        leave_out_own(&proc, &mut seen);
        let left = seen.reading.known().expect("known").connections.iter();
        let pids = left.map(|c| c.holders.iter().map(|h| h.key.pid.0).collect());
        let expected: [Vec<u32>; 3] = [vec![41], vec![41], vec![]];
        assert_eq!(pids.collect::<Vec<Vec<u32>>>(), expected);
    }
}
