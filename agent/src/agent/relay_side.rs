//! The look at relays: which clients of an engine accept connections themselves, and who uses those. It comes after the
//! runtime has answered: the kubelet and its runtime are clients of dockershim's Docker and pass nothing on.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::connect::{Connects, ConnectsSeen};
use crate::model::engine::{Api, Containerd, EngineKind, EngineSighting, Listener};
use crate::model::identity::{ProcessKey, SocketInode};
use crate::model::reading::{Gap, Hides, Reading, Reason, Sighting};
use crate::model::relay::{ClientEnd, RelayBasis, RelayListener, RelaySighting, is_docker_api};
use crate::model::snapshot::{ConnectionsSeen, Snapshot};
use crate::model::socket::{Connection, ListenerId, ListeningSocket};
use crate::sources::engines::transport_of_relay;
use crate::sources::holders::{HolderMemory, ProcessView, Watch, find_connections};
use crate::sources::relays::{Candidates, Ends, Role};
use crate::sources::sockets::tcp::{TcpHeld, TcpSeen, find_tcp};

use super::host_side::{HostSide, Swept, leave_out_own};
use super::{Agent, HOST_DEADLINE, gap_of};

/// Relays behind relays that are followed.
const ROUNDS: usize = 4;

/// The facts of relays that are kept from look to look.
#[derive(Default)]
pub(super) struct RelayMemory {
    holders: HolderMemory,
    relays: Vec<RelaySighting>,
}

impl RelayMemory {
    /// Adds the relays of the last look to the listeners that the kernel watches.
    pub(super) fn add_to(&self, watched: &mut Sighting<Vec<EngineSighting>>) {
        if let Reading::Known(watched) = &mut watched.reading {
            // The kernel reports connects to a file only. Listeners with an engine's name are watched as engines.
            let is_file = |listener: &RelayListener| {
                matches!(listener.id, ListenerId::File(_)) && listener.basis != Some(RelayBasis::Name)
            };
            watched.extend(self.relays.iter().map(|relay| as_engine(relay, is_file)));
        }
    }
}

/// The input of a look for relays.
struct Known {
    connections: Vec<Connection>,
    /// The connects to engines and to relays.
    connects: Vec<Connects>,
    roles: BTreeMap<ListenerId, Role>,
    /// The processes of engines, the kubelet and the runtime.
    expected: BTreeSet<ProcessKey>,
}

impl Known {
    fn of(snapshot: &Snapshot) -> Self {
        let engines = snapshot.engines.reading.items();
        // An engine that is known only by the name of its socket may be a relay.
        let is_daemon = |engine: &EngineSighting| engine.kind != EngineKind::Other;
        let daemons = engines.iter().filter(|engine| is_daemon(engine));
        let daemons = daemons.filter_map(|engine| engine.process.as_ref());
        let runtime = snapshot
            .runtime_socket
            .known()
            .into_iter()
            .flat_map(|socket| &socket.expected);
        let kubelet = snapshot.kubelet.reading.known().and_then(|kubelet| kubelet.process);
        let connections = snapshot.connections.reading.known();
        let connects = snapshot.connects.reading.known();
        let roles = engines.iter().flat_map(|engine| {
            let role = if is_daemon(engine) { Role::Daemons } else { Role::Named };
            engine.listeners.iter().map(move |listener| (listener.id.clone(), role))
        });
        Self {
            connections: connections.map_or_else(Vec::new, |seen| seen.connections.clone()),
            connects: connects.map_or_else(Vec::new, |seen| seen.connects.clone()),
            roles: roles.collect(),
            expected: daemons
                .chain(runtime)
                .map(|process| process.key)
                .chain(kubelet)
                .collect(),
        }
    }

    fn is_to_engine(&self, connects: &Connects) -> bool {
        self.roles.contains_key(&connects.listener)
    }

    fn role(&self, id: &ListenerId) -> Role {
        self.roles.get(id).copied().unwrap_or(Role::Other)
    }
}

impl Agent {
    /// Looks for relays, and adds those with evidence to the engines: a client of such a relay is a client of Docker.
    pub(super) async fn look_at_relays(&mut self, snapshot: &mut Snapshot) {
        let known = Known::of(snapshot);
        let look = move |host: &mut HostSide| host.look_at_relays(&known);
        let seen = self.host.run(HOST_DEADLINE, look).await;
        snapshot.relays = seen.unwrap_or_else(|error| Sighting::unknown(gap_of(error, Hides::Detail)));
        for relay in snapshot.relays.reading.items() {
            serve(
                relay,
                &mut snapshot.engines,
                &mut snapshot.connections,
                &mut snapshot.connects,
            );
        }
    }
}

/// Adds a relay to the engines, with the clients for which there is evidence that it passes their connections on.
fn serve(
    relay: &RelaySighting,
    engines: &mut Sighting<Vec<EngineSighting>>,
    connections: &mut Sighting<ConnectionsSeen>,
    connects: &mut Sighting<ConnectsSeen>,
) {
    let (Reading::Known(engines), Reading::Known(seen)) = (&mut engines.reading, &mut connections.reading) else {
        return;
    };
    let is_new = |listener: &RelayListener| listener.basis.is_some_and(|basis| basis != RelayBasis::Name);
    let engine = as_engine(relay, is_new);
    let serves = |id: &ListenerId| engine.listeners.iter().any(|listener| listener.id == *id);
    let passed = relay
        .connections
        .iter()
        .filter(|one| serves(&one.listener) && relay.is_passed_on(one));
    seen.connections.extend(passed.cloned());
    if let Reading::Known(connects) = &mut connects.reading {
        let is_of_all = |id: &ListenerId| {
            relay
                .listeners
                .iter()
                .any(|l| l.id == *id && l.basis.is_some_and(RelayBasis::is_of_all))
        };
        let counts = |connects: &Connects| is_of_all(&connects.listener) || is_docker_api(&connects.requests);
        connects
            .connects
            .retain(|connects| !serves(&connects.listener) || counts(connects));
    }
    engines.extend((!engine.listeners.is_empty()).then_some(engine));
}

/// Converts a relay to an engine with the wanted listeners.
fn as_engine(relay: &RelaySighting, is_wanted: impl Fn(&RelayListener) -> bool) -> EngineSighting {
    let listeners = relay.listeners.iter().filter(|listener| is_wanted(listener));
    EngineSighting {
        kind: EngineKind::Other,
        process: Some(relay.process.clone()),
        awaited_by: None,
        containerd: Containerd::Own,
        listeners: listeners
            .map(|listener| Listener {
                id: listener.id.clone(),
                api: Api::Docker,
                name: listener.name.clone(),
                socket: listener.socket,
                netns: listener.netns,
                activated: false,
                transport: transport_of_relay(&listener.name),
                last_connect: None,
            })
            .collect(),
    }
}

/// Returns the listeners whose clients this look has yet to find.
fn wanted_clients(candidates: &Candidates, visited: &mut BTreeSet<ListenerId>) -> BTreeSet<SocketInode> {
    let mut wanted = BTreeSet::new();
    for relay in candidates.relays.values() {
        let shown = relay.listeners.iter().filter(|l| l.shows_clients(relay.outgoing.len()));
        let new = shown.filter(|listener| visited.insert(listener.id.clone()));
        wanted.extend(new.map(|listener| listener.socket));
    }
    wanted
}

/// Counts requests of the Docker API as evidence if the relay used an engine in the same look. A request to a program
/// that passes nothing on proves nothing.
fn ask_kernel(relay: &mut RelaySighting, connects: &[Connects]) {
    let is_own = |connects: &&Connects| {
        let process = connects.process.as_ref();
        let is_member = process.is_some_and(|process| process.is_like(&relay.process));
        is_member && relay.upstream.contains(&connects.listener)
    };
    let is_used = connects.iter().any(|connects| is_own(&connects));
    for listener in &mut relay.listeners {
        let asked = connects
            .iter()
            .filter(|connects| connects.listener == listener.id && is_docker_api(&connects.requests));
        let askers: BTreeSet<ProcessKey> = asked
            .filter_map(|connects| Some(connects.process.as_ref()?.key))
            .collect();
        if !is_used || askers.is_empty() {
            continue;
        }
        if !listener.basis.is_some_and(RelayBasis::is_of_all) {
            listener.basis = Some(RelayBasis::Requests);
        }
        let is_asker = |c: &&Connection| c.listener == listener.id && c.holders.iter().any(|h| askers.contains(&h.key));
        let ends = relay.connections.iter().filter(is_asker).map(ClientEnd::of);
        relay.passed.extend(ends.map(|end| (listener.id.clone(), end)));
    }
    let open: BTreeSet<_> = relay
        .connections
        .iter()
        .map(|c| (c.listener.clone(), ClientEnd::of(c)))
        .collect();
    relay.passed.retain(|passed| open.contains(passed));
}

impl HostSide {
    fn look_at_relays(&mut self, known: &Known) -> Sighting<Vec<RelaySighting>> {
        let before = std::mem::take(&mut self.relays.relays);
        let Some(swept) = self.swept.take() else {
            let answer = "the sockets were not read";
            return Sighting::unknown(Gap::new(Reason::DependsOnAnother, Hides::Detail, "relays", answer));
        };
        self.tables.begin();
        let mut candidates = Candidates::default();
        let is_expected = |key| known.expected.contains(&key);
        candidates.recall(&self.reader, &swept.table, before);
        let to_engines: Vec<Connects> = known
            .connects
            .iter()
            .filter(|connects| known.is_to_engine(connects))
            .cloned()
            .collect();
        candidates.add_told(&self.reader, &swept.table, &to_engines, &is_expected);
        let (mut gaps, mut fresh) = (Vec::new(), known.connections.clone());
        let mut visited: BTreeSet<ListenerId> = BTreeSet::new();
        for _ in 0..ROUNDS {
            candidates.add(&self.reader, &swept.table, &fresh, &is_expected);
            if !candidates.read_sockets(&self.reader, &self.paths.proc, &mut self.protocols) {
                break;
            }
            let tcp = self.find_relay_listeners(&mut candidates, &swept, known);
            gaps.extend(tcp.gaps.iter().cloned());
            let new = wanted_clients(&candidates, &mut visited);
            let mut seen = self.find_relay_clients(&swept, &new, &tcp);
            gaps.append(&mut seen.gaps);
            fresh = seen.reading.items().to_vec();
            for relay in candidates.relays.values_mut() {
                let own = |c: &&Connection| relay.listeners.iter().any(|listener| listener.id == c.listener);
                relay.connections.extend(fresh.iter().filter(own).cloned());
            }
        }
        gaps.extend(candidates.gap());
        candidates.count_steps();
        let mut relays = candidates.into_relays();
        for relay in &mut relays {
            ask_kernel(relay, &known.connects);
        }
        self.relays.relays.clone_from(&relays);
        let gaps = gaps.into_iter().map(|gap| Gap {
            hides: Hides::Detail,
            ..gap
        });
        Sighting::partial(relays, gaps.collect())
    }

    fn find_relay_listeners(&mut self, candidates: &mut Candidates, swept: &Swept, known: &Known) -> TcpSeen {
        let held = candidates.held();
        let tcp_held = TcpHeld {
            sockets: candidates.tcp().clone(),
            of_node: BTreeSet::new(),
            of_init: BTreeSet::new(),
            ports: BTreeMap::new(),
            of_users: true,
        };
        let tcp = find_tcp(self.tables.as_mut(), &swept.namespaces, &tcp_held);
        let ends = Ends::new(&held, swept.connected.as_ref(), &tcp);
        let listening: Vec<ListeningSocket> = swept.listening.iter().chain(&tcp.listening).cloned().collect();
        candidates.find_listeners(&listening, &ends, &|id| known.role(id));
        tcp
    }

    fn find_relay_clients(
        &mut self,
        swept: &Swept,
        sockets: &BTreeSet<SocketInode>,
        tcp: &TcpSeen,
    ) -> Sighting<Vec<Connection>> {
        let all = swept.listening.iter().chain(&tcp.listening);
        let listeners: Vec<ListeningSocket> = all.filter(|l| sockets.contains(&l.inode)).cloned().collect();
        let processes = ProcessView {
            proc: &self.paths.proc,
            reader: &mut self.reader,
            table: &swept.table,
            namespaces: &swept.namespaces,
            memory: &mut self.relays.holders,
            iterator: &mut self.iterator,
        };
        let watch = Watch {
            tcp: &tcp.connections,
            ..Watch::of(&listeners)
        };
        let mut seen = find_connections(self.tables.as_mut(), processes, watch, swept.connected.as_ref());
        leave_out_own(&self.paths.proc, &mut seen);
        Sighting {
            reading: seen.reading.map(|seen| seen.connections),
            gaps: seen.gaps,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::identity::NetNs;
    use crate::model::relay::Steps;
    use crate::model::request::{Operation, Request, Requests};
    use crate::model::sample::{NOW, clear_node, connection, docker_socket, events, process};
    use crate::model::socket::SocketName;

    fn front() -> ListenerId {
        ListenerId::Abstract(NetNs(1), "front".to_owned())
    }

    /// A relay without evidence, with the clients 6 (process 301) and 7 (process 302).
    fn relay() -> RelaySighting {
        let client = |inode, pid| Connection {
            listener: front(),
            ..connection(inode, vec![process(pid, "/usr/bin/client")])
        };
        RelaySighting {
            process: process(300, "/usr/bin/proxy"),
            upstream: [docker_socket()].into(),
            outgoing: BTreeSet::new(),
            listeners: vec![RelayListener {
                id: front(),
                name: SocketName::Abstract("front".to_owned()),
                socket: SocketInode(9),
                netns: NetNs(1),
                basis: None,
                accepted: 2,
                steps: Steps::default(),
            }],
            connections: vec![client(6, 301), client(7, 302)],
            passed: BTreeSet::new(),
        }
    }

    fn connects(listener: ListenerId, pid: u32, program: &str, operation: Operation) -> Connects {
        let mut requests = Requests::default();
        let version = None;
        requests.add(Request { operation, version }, NOW);
        Connects {
            listener,
            process: Some(process(pid, program)),
            count: 1,
            first: NOW,
            last: NOW,
            requests,
        }
    }

    #[test]
    fn requests_through_a_relay_count_against_the_client_that_sent_them() {
        let by_relay = connects(docker_socket(), 310, "/usr/bin/proxy", Operation::Read);
        let by_client = connects(front(), 301, "/usr/bin/client", Operation::Read);
        let mut relay = relay();
        ask_kernel(&mut relay, &[by_relay, by_client]);
        assert_eq!(relay.listeners[0].basis, Some(RelayBasis::Requests));
        let passed: Vec<bool> = relay.connections.iter().map(|c| relay.is_passed_on(c)).collect();
        assert_eq!(passed, [true, false]);
    }

    #[test]
    fn requests_to_a_program_that_uses_no_engine_meanwhile_prove_nothing() {
        let by_client = connects(front(), 301, "/usr/bin/client", Operation::Read);
        let by_another = connects(docker_socket(), 320, "/usr/bin/docker", Operation::Read);
        let mut relay = relay();
        ask_kernel(&mut relay, &[by_client, by_another]);
        assert_eq!(relay.listeners[0].basis, None);
        assert!(relay.passed.is_empty());
    }

    #[test]
    fn a_relay_serves_the_clients_with_evidence_and_their_connects() {
        let mut node = clear_node();
        let mut relay = relay();
        relay.listeners[0].basis = Some(RelayBasis::Requests);
        relay.passed.insert((front(), ClientEnd::Socket(SocketInode(6))));
        let connects = vec![
            connects(front(), 301, "/usr/bin/client", Operation::Read),
            connects(front(), 302, "/usr/bin/client", Operation::Other),
            connects(docker_socket(), 320, "/usr/bin/docker", Operation::Other),
        ];
        node.engines = Sighting::full(Vec::new());
        let mut connects = Sighting::full(ConnectsSeen {
            events: events(),
            connects,
            answer: 1,
        });
        serve(&relay, &mut node.engines, &mut node.connections, &mut connects);
        let listeners = node.engines.reading.items().iter().flat_map(|engine| &engine.listeners);
        assert!(listeners.map(|listener| &listener.id).eq([&front()]));
        let seen = node.connections.reading.known().expect("the sample has connections");
        assert_eq!(seen.connections.iter().map(|c| c.client.0).collect::<Vec<_>>(), [6]);
        let kept = connects.reading.known().expect("it was known").connects.iter();
        let kept: Vec<u32> = kept
            .filter_map(|connects| Some(connects.process.as_ref()?.key.pid.0))
            .collect();
        assert_eq!(kept, [301, 320]);
    }
}
