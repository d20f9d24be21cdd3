//! The joins over one snapshot: cgroup → container → pod, connection → client, mount → exposure. Pure.

mod exposures;
mod place;
mod relays;
mod runtime;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

pub use exposures::{exposures, named_since, runtime_exposures};
use exposures::{files_mounts, is_readonly_mounted, lost_mounts, mounted};
use place::{Places, ProcessPlace};

use super::client::{Client, ClientIdentity, ClientKey, Connected, OpenClient, container_label};
use super::connect::Connects;
use super::container::{ShadowContainer, SupervisedContainer};
use super::engine::{Engine, EngineSighting, Listener, Scope};
use super::exposure::{ExposureKey, FilesMount, LostMount, Mounted};
use super::identity::ContainerId;
use super::last_connect::{ListenerClock, Moment};
use super::process::Process;
use super::reading::{Gap, Hides, Reading, Reason};
use super::relay::Relay;
use super::request::Requests;
use super::snapshot::Snapshot;
use super::socket::{Connection, ConnectionState, ListenerId, SocketName};

/// The joined facts of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The engines with their scope.
    pub engines: Reading<Vec<Engine>>,
    /// The clients that hold connections to them now.
    pub clients: Reading<Vec<OpenClient>>,
    /// The clients that pass an engine's API on, or may do so.
    pub relays: Reading<Vec<Relay>>,
    /// Containers outside Kubernetes.
    pub shadow_containers: Reading<Vec<ShadowContainer>>,
    /// The mounts that lead containers to an engine's socket.
    pub mounted: Reading<BTreeMap<ExposureKey, Mounted>>,
    /// True if a container may have a read-only mount of a socket of the node's Docker: a connect through it leaves no mark.
    pub is_readonly_mounted: bool,
    /// The clients of the runtime's own socket, except the kubelet and the runtime itself.
    pub runtime_clients: Reading<Vec<OpenClient>>,
    /// The mounts that lead containers to that socket.
    pub runtime_mounted: Reading<BTreeMap<ExposureKey, Mounted>>,
    /// The mounts that lead to no listener, each with its container.
    pub lost_mounts: Vec<(ClientIdentity, LostMount)>,
    /// The containers that mount Docker's files.
    pub files_mounts: Vec<(ClientIdentity, FilesMount)>,
    /// The moments of the last connects by the times of the sockets' files, each under the key of a client that no look saw.
    pub marks: Vec<(ClientKey, Moment)>,
}

impl Joined {
    /// The mounts that lead to the sockets of engines and of the runtime; none if those of the engines are unknown.
    pub fn all_mounted(&self) -> Option<BTreeMap<ExposureKey, Mounted>> {
        let of_runtime = self.runtime_mounted.known();
        let mut all = match &self.mounted {
            Reading::Known(mounted) => mounted.clone(),
            Reading::Absent => of_runtime.map(|_| BTreeMap::new())?,
            Reading::Unknown(_) => return None,
        };
        all.extend(of_runtime.cloned().unwrap_or_default());
        Some(all)
    }
}

/// Joins engines, connections and containers with what the runtime knows.
pub fn join(snapshot: &Snapshot) -> Joined {
    let places = Places::new(snapshot);
    let with_clocks = |sighting: EngineSighting| {
        let mut engine = engine(&places, sighting);
        for listener in &mut engine.listeners {
            let clock = snapshot.clocks.iter().find(|clock| clock.listener == listener.id);
            listener.last_connect = clock.map(|clock| clock.last_connect);
        }
        engine
    };
    let engines = snapshot
        .engines
        .reading
        .clone()
        .map(|engines| relays::placed(snapshot, engines.into_iter().map(with_clocks).collect()));
    let clients = snapshot.connections.reading.clone().map(|seen| {
        let engines: &[Engine] = engines.items();
        let connects = snapshot.connects.reading.known();
        let connects = connects.map_or(&[][..], |seen| &seen.connects);
        open_clients(&places, engines, &seen.connections, connects)
    });
    Joined {
        clients,
        relays: relays::found(snapshot, &places, engines.items()),
        shadow_containers: shadow_containers(snapshot, &places),
        mounted: mounted(&snapshot.reaches.reading, &places, engines.items()),
        is_readonly_mounted: is_readonly_mounted(snapshot, engines.items()),
        runtime_clients: runtime::clients(snapshot, &places),
        runtime_mounted: runtime::mounted_by_containers(snapshot, &places),
        lost_mounts: lost_mounts(snapshot, &places),
        files_mounts: files_mounts(snapshot, &places),
        marks: marks(snapshot, engines.items()),
        engines,
    }
}

/// The containers of pods that have a holder or an engine and are not in the runtime's lists, if there are lists. They
/// were created after the lists were read, so that a second request would name them, or they belong to another runtime.
/// Includes containers of a listed pod: otherwise the next look would count their client as another one.
pub fn unlisted_containers(snapshot: &Snapshot) -> BTreeSet<ContainerId> {
    let runtime = &snapshot.runtime;
    if runtime.pods.reading.known().is_none() || runtime.containers.reading.known().is_none() {
        return BTreeSet::new();
    }
    let places = Places::new(snapshot);
    let of_runtime = snapshot.runtime_socket.known().map(|socket| &socket.connections);
    let seen = [Some(&snapshot.connections), of_runtime].into_iter().flatten();
    let holders = seen
        .filter_map(|sighting| sighting.reading.known())
        .flat_map(|seen| &seen.connections);
    let relays = snapshot.relays.reading.items().iter();
    let holders = holders.chain(relays.flat_map(|relay| &relay.connections));
    let engines = snapshot.engines.reading.items().iter();
    let connects = snapshot.connects.reading.known().into_iter();
    holders
        .flat_map(|connection| &connection.holders)
        .chain(
            connects
                .flat_map(|seen| &seen.connects)
                .filter_map(|reported| reported.process.as_ref()),
        )
        .chain(engines.filter_map(|engine| engine.process.as_ref()))
        .filter(|p| places.lack(p))
        .filter_map(|p| p.membership.containers.first().map(|c| c.id.clone()))
        .collect()
}

fn engine(places: &Places<'_>, sighting: EngineSighting) -> Engine {
    let scope = match &sighting.process {
        Some(process) => match places.of(process) {
            ProcessPlace::Pod(place) => Scope::Pod(place),
            ProcessPlace::EngineContainer { name, image, .. } => Scope::Container {
                name: container_label(&name, image.as_deref()),
            },
            ProcessPlace::Host => host_scope(process.uid.unwrap_or(0)),
        },
        None => host_scope(
            sighting
                .awaited_by
                .or_else(|| user_of(&sighting.listeners))
                .unwrap_or(0),
        ),
    };
    Engine {
        kind: sighting.kind,
        scope,
        process: sighting.process,
        listeners: sighting.listeners,
    }
}

fn marks(snapshot: &Snapshot, engines: &[Engine]) -> Vec<(ClientKey, Moment)> {
    let mark = |clock: &ListenerClock| {
        let (engine, listener) = served(engines, &clock.listener).next()?;
        Some((unseen_key(engine, listener), clock.mark?))
    };
    snapshot.clocks.iter().filter_map(mark).collect()
}

/// The key of a client of this listener that no look saw.
pub fn unseen_key(engine: &Engine, listener: &Listener) -> ClientKey {
    ClientKey {
        identity: ClientIdentity::Unseen,
        engine: engine.kind,
        scope: engine.scope.clone(),
        api: listener.api,
        listener: listener.name.clone(),
    }
}

fn host_scope(uid: u32) -> Scope {
    if uid == 0 { Scope::Host } else { Scope::User { uid } }
}

/// The first user whose runtime directory (`/run/user/UID`, `pam_systemd(8)`) one of the sockets is in.
fn user_of(listeners: &[Listener]) -> Option<u32> {
    listeners.iter().find_map(|listener| {
        let SocketName::Path(path) = &listener.name else {
            return None;
        };
        path.strip_prefix("/run/user/")?.split('/').next()?.parse().ok()
    })
}

/// The engine of each listener with the identity `id`: one, unless two processes accept on it.
fn served<'a>(engines: &'a [Engine], id: &'a ListenerId) -> impl Iterator<Item = (&'a Engine, &'a Listener)> {
    engines
        .iter()
        .filter_map(move |engine| engine.listeners.iter().find(|l| &l.id == id).map(|l| (engine, l)))
        .take(1)
}

fn open_clients(
    places: &Places<'_>,
    engines: &[Engine],
    connections: &[Connection],
    connects: &[Connects],
) -> Vec<OpenClient> {
    let mut clients: BTreeMap<ClientKey, OpenClient> = BTreeMap::new();
    let mut remotes = Remotes::default();
    for connection in connections {
        let Some((engine, listener)) = served(engines, &connection.listener).next() else {
            continue;
        };
        for (identity, holders) in by_identity(places, connection, &mut remotes) {
            let client = client_of(&mut clients, identity, engine, listener);
            match connection.state {
                ConnectionState::Accepted => client.connections += 1,
                ConnectionState::Pending => client.pending += 1,
            }
            client.sockets.insert(connection.client);
            for holder in holders {
                show(&mut client.holders, holder);
            }
            if let Some(connector) = &connection.connector {
                show(&mut client.connectors, connector);
            }
        }
    }
    // Connects of programs with a path come first, because they give the others their names.
    let has_no_path = |reported: &&Connects| reported.process.as_ref().is_some_and(|p| p.executable.is_none());
    let (without_path, with_path): (Vec<_>, Vec<_>) = connects.iter().partition(has_no_path);
    for reported in with_path.into_iter().chain(without_path) {
        let Some((engine, listener)) = served(engines, &reported.listener).next() else {
            continue;
        };
        let who = reported
            .process
            .as_ref()
            .map_or(ClientIdentity::Unnamed, |process| identity(places, process));
        let who = better_known(&clients, (who, reported.process.as_ref()), engine, listener);
        let client = client_of(&mut clients, who, engine, listener);
        let connected = client.connects.get_or_insert_with(|| Connected {
            count: 0,
            first: reported.first,
            last: reported.last,
            processes: Vec::new(),
            requests: Requests::default(),
        });
        connected.requests.absorb(&reported.requests);
        connected.count = connected.count.saturating_add(reported.count);
        connected.first = connected.first.min(reported.first);
        connected.last = connected.last.max(reported.last);
        if let Some(process) = &reported.process {
            show(&mut connected.processes, process);
        }
    }
    clients.into_values().collect()
}

/// Returns the client of this listener that is `who` under a more exact name, or under the name of the program that the same
/// process executes by now; else `who`.
fn better_known(
    clients: &BTreeMap<ClientKey, OpenClient>,
    (who, process): (ClientIdentity, Option<&Process>),
    engine: &Engine,
    listener: &Listener,
) -> ClientIdentity {
    let is_of_listener = |client: &&OpenClient| {
        let key = &client.key;
        key.listener == listener.name && (key.engine, &key.scope) == (engine.kind, &engine.scope)
    };
    let holds = |client: &OpenClient| {
        let mut keys = client.holders.iter().map(|holder| holder.key);
        process.is_some_and(|process| keys.any(|key| key == process.key))
    };
    let is_better = |client: &&OpenClient| {
        let known = &client.key.identity;
        known.is_known_better_than(&who) || known.may_have_been(&who) && holds(client)
    };
    let mut of_listener = clients.values().filter(is_of_listener);
    of_listener
        .find(is_better)
        .map(|client| client.key.identity.clone())
        .unwrap_or(who)
}

fn client_of<'c>(
    clients: &'c mut BTreeMap<ClientKey, OpenClient>,
    identity: ClientIdentity,
    engine: &Engine,
    listener: &Listener,
) -> &'c mut OpenClient {
    let key = ClientKey {
        identity,
        engine: engine.kind,
        scope: engine.scope.clone(),
        api: listener.api,
        listener: listener.name.clone(),
    };
    clients.entry(key.clone()).or_insert_with(|| OpenClient {
        key,
        connections: 0,
        pending: 0,
        holders: Vec::new(),
        connectors: Vec::new(),
        sockets: BTreeSet::new(),
        connects: None,
    })
}

/// Adds a process to those that are listed for a client.
fn show(shown: &mut Vec<Process>, process: &Process) {
    let is_there = shown.iter().any(|other| other.key == process.key);
    if !is_there && shown.len() < Client::HOLDERS_SHOWN {
        shown.push(process.clone());
    }
}

/// The remote addresses that are clients of their own, for each listener. Bounded: a host that sends from many addresses would
/// displace the others.
#[derive(Default)]
struct Remotes<'a>(BTreeMap<&'a ListenerId, BTreeSet<IpAddr>>);

impl<'a> Remotes<'a> {
    fn name(&mut self, listener: &'a ListenerId, address: IpAddr) -> ClientIdentity {
        let known = self.0.entry(listener).or_default();
        let has_room = known.len() < OpenClient::REMOTES_SHOWN || known.contains(&address);
        if has_room {
            known.insert(address);
        }
        ClientIdentity::Remote {
            address: has_room.then_some(address),
        }
    }
}

/// Groups the holders of one connection by their identity. A connection whose holder could not be named has a client
/// too.
fn by_identity<'a>(
    places: &Places<'_>,
    connection: &'a Connection,
    remotes: &mut Remotes<'a>,
) -> BTreeMap<ClientIdentity, Vec<&'a Process>> {
    let mut groups: BTreeMap<ClientIdentity, Vec<&Process>> = BTreeMap::new();
    for holder in &connection.holders {
        groups.entry(identity(places, holder)).or_default().push(holder);
    }
    if groups.is_empty() {
        let remote = connection
            .remote
            .map(|address| remotes.name(&connection.listener, address));
        groups.insert(remote.unwrap_or(ClientIdentity::Unnamed), Vec::new());
    }
    groups
}

fn identity(places: &Places<'_>, process: &Process) -> ClientIdentity {
    match places.of(process) {
        ProcessPlace::Pod(place) => ClientIdentity::Pod(place),
        ProcessPlace::EngineContainer { engine, name, image } => {
            ClientIdentity::EngineContainer { engine, name, image }
        }
        ProcessPlace::Host => ClientIdentity::Host {
            unit: process.membership.unit.clone(),
            executable: process.executable.clone().unwrap_or_else(|| process.name.clone()),
            uid: process.uid,
        }
        .lasting(),
    }
}

fn shadow_containers(snapshot: &Snapshot, places: &Places<'_>) -> Reading<Vec<ShadowContainer>> {
    let supervised = match &snapshot.supervised.reading {
        Reading::Known(supervised) => supervised,
        Reading::Absent => return Reading::Absent,
        Reading::Unknown(gap) => return Reading::Unknown(gap.clone()),
    };
    if !supervised.is_empty() {
        let lists = [
            snapshot.runtime.containers.reading.gap(),
            snapshot.runtime.pods.reading.gap(),
        ];
        if let Some(gap) = lists.into_iter().flatten().next() {
            return Reading::Unknown(Gap::new(
                Reason::DependsOnAnother,
                Hides::ShadowContainer,
                "which of the engines' containers Kubernetes knows",
                gap,
            ));
        }
    }
    let beside = supervised.iter().filter(|s| {
        let nested = s
            .inside
            .as_ref()
            .is_some_and(|outer| places.of_container(outer).is_some());
        !nested && places.of_container(&s.id).is_none()
    });
    let shadow = |s: &SupervisedContainer| ShadowContainer {
        id: s.id.clone(),
        engine: s.engine,
        scope: match (s.user, &s.inside) {
            (Some(uid), _) => Scope::User { uid },
            (None, Some(outer)) => Scope::Container {
                name: outer.short().to_owned(),
            },
            (None, None) => Scope::Host,
        },
        name: s.name.clone(),
        image: s.image.clone(),
    };
    Reading::Known(beside.map(shadow).collect())
}
