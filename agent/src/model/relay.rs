//! Relays: clients of an engine that may pass its API on to clients of their own. The rule is ADR 19's.

use std::collections::BTreeSet;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use super::client::ClientIdentity;
use super::identity::{NetNs, SocketInode};
use super::process::Process;
use super::reading::codes;
use super::request::{Operation, Requests};
use super::socket::{Connection, ListenerId, SocketName};

codes! {
    /// The evidence that a socket passes the Docker API on.
    RelayBasis {
        /// A client sent requests of the Docker API to it while the relay used the engine, as the kernel reported.
        Requests = "requests",
        /// It is one of the TCP ports that are registered for the Docker API.
        Port = "port",
        /// It has the name of an engine's socket.
        Name = "name",
        /// A process holds one connection from a client and one to the engine, and no listener.
        Process = "process",
        /// The connections to it and those to the engine came and went together.
        Pairs = "pairs",
    }
}

impl RelayBasis {
    /// True if it is evidence against all clients of the socket, and not only against the clients of single connections.
    pub const fn is_of_all(self) -> bool {
        matches!(self, Self::Port | Self::Name | Self::Pairs)
    }
}

/// A client's end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClientEnd {
    /// A socket of this node.
    Socket(SocketInode),
    /// An address of another machine.
    Remote(IpAddr),
}

impl ClientEnd {
    /// The client's end of this connection.
    pub fn of(connection: &Connection) -> Self {
        connection.remote.map_or(Self::Socket(connection.client), Self::Remote)
    }
}

/// The number of connections to a listener, compared over the looks with the number of its process's connections to engines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// The number of both in the last look, where they were equal.
    equal: Option<usize>,
    highest: usize,
    changes: u8,
}

impl Steps {
    /// Counts one more look. True if the numbers changed together often enough to prove that each connection has its own to the
    /// engine. A web server has equal numbers at times, by chance.
    pub fn count(&mut self, accepted: usize, outgoing: usize) -> bool {
        if accepted != outgoing {
            *self = Self::default();
            return false;
        }
        let is_changed = self.equal.is_some_and(|before| before != accepted);
        self.changes = self.changes.saturating_add(u8::from(is_changed));
        self.highest = self.highest.max(accepted);
        self.equal = Some(accepted);
        self.changes >= 2 && self.highest >= 2
    }
}

/// A socket on which a client of an engine accepts connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayListener {
    /// The identity of the listener.
    pub id: ListenerId,
    /// The name that it was bound to.
    pub name: SocketName,
    /// The socket's own inode.
    pub socket: SocketInode,
    /// The network namespace it was found in.
    pub netns: NetNs,
    /// The evidence that the relay passes the Docker API on; none if that is only possible.
    pub basis: Option<RelayBasis>,
    /// The connections to it now.
    pub accepted: usize,
    /// The comparison of the looks so far.
    pub steps: Steps,
}

/// A client of an engine that accepts connections itself, as a source saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelaySighting {
    /// Its process: the first of those that execute one program.
    pub process: Process,
    /// The listeners that it is connected to: an engine's, or another relay's.
    pub upstream: BTreeSet<ListenerId>,
    /// Its own ends of those connections.
    pub outgoing: BTreeSet<SocketInode>,
    /// The sockets that it accepts on.
    pub listeners: Vec<RelayListener>,
    /// The connections to those sockets, as far as they were looked for.
    pub connections: Vec<Connection>,
    /// The clients' ends of the connections that are known to be passed on, by listener.
    pub passed: BTreeSet<(ListenerId, ClientEnd)>,
}

/// A client of an engine that passes the API on, or may do so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Relay {
    /// The client.
    pub identity: ClientIdentity,
    /// The sockets that it accepts on.
    pub listeners: Vec<RelayPoint>,
    /// The listeners that it is connected to.
    pub upstream: Vec<SocketName>,
    /// The clients connected to it. If a TCP port has more connections than the relay has to engines, only clients with
    /// evidence are listed.
    pub clients: Vec<RelayClient>,
    /// True if its connections lead back to itself.
    pub loops: bool,
}

/// A socket on which a relay accepts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RelayPoint {
    /// Its name.
    pub name: SocketName,
    /// The evidence that it passes the Docker API on; none if that is only possible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basis: Option<RelayBasis>,
}

/// A client behind a relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RelayClient {
    /// The client.
    pub identity: ClientIdentity,
    /// The number of its connections.
    pub connections: u32,
    /// True if there is evidence that they are passed on, so that it is a client of Docker.
    pub passed_on: bool,
}

impl Relay {
    /// True if there is evidence that it passes the API on.
    pub fn is_sure(&self) -> bool {
        self.listeners.iter().any(|point| point.basis.is_some())
    }
}

impl RelayListener {
    /// True if its clients are read.
    pub fn shows_clients(&self, outgoing: usize) -> bool {
        self.basis.is_some() || !self.is_busy(outgoing)
    }

    /// True for a TCP port with more connections than its process has to engines: most of them are for something else.
    fn is_busy(&self, outgoing: usize) -> bool {
        matches!(self.name, SocketName::Tcp(_)) && self.accepted > outgoing
    }
}

impl RelaySighting {
    /// True if there is evidence that it passes the API on.
    pub fn is_proven(&self) -> bool {
        self.listeners.iter().any(|listener| listener.basis.is_some())
    }

    /// True if its client is shown: of a busy port only clients with evidence are.
    pub fn shows(&self, connection: &Connection) -> bool {
        let listener = self
            .listeners
            .iter()
            .find(|listener| listener.id == connection.listener);
        let is_busy = listener.is_none_or(|listener| listener.is_busy(self.outgoing.len()));
        !is_busy || self.is_passed_on(connection)
    }

    /// True if the client of this connection uses the engine.
    pub fn is_passed_on(&self, connection: &Connection) -> bool {
        let listener = self
            .listeners
            .iter()
            .find(|listener| listener.id == connection.listener);
        let end = ClientEnd::of(connection);
        listener
            .and_then(|listener| listener.basis)
            .is_some_and(RelayBasis::is_of_all)
            || self.passed.contains(&(connection.listener.clone(), end))
    }
}

/// The evidence by a listener's name alone.
pub fn basis_of_name(name: &SocketName, is_engines: bool) -> Option<RelayBasis> {
    const REGISTERED: [u16; 2] = [2375, 2376];
    match name {
        SocketName::Tcp(address) if REGISTERED.contains(&address.port()) => Some(RelayBasis::Port),
        _ => is_engines.then_some(RelayBasis::Name),
    }
}

/// True if one of these requests is of the Docker API and of no other.
pub fn is_docker_api(requests: &Requests) -> bool {
    let is_telling = |operation: &Operation| !matches!(operation, Operation::Other | Operation::System);
    requests.lowest_api.is_some() || requests.operations.keys().any(is_telling)
}

/// True if the connections of `relays[at]` lead back to it, through whatever relays.
pub fn leads_back(relays: &[RelaySighting], at: usize) -> bool {
    let next = |from: usize| {
        let upstream = &relays[from].upstream;
        let serves = |relay: &RelaySighting| relay.listeners.iter().any(|own| upstream.contains(&own.id));
        (0..relays.len()).filter(move |to| serves(&relays[*to]))
    };
    let mut seen = BTreeSet::new();
    let mut open: Vec<usize> = next(at).collect();
    while let Some(here) = open.pop() {
        if here == at {
            return true;
        }
        if seen.insert(here) {
            open.extend(next(here));
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::request::{ApiVersion, Request};
    use crate::model::sample::{NOW, connection, docker_socket, process};

    fn id(name: &str) -> ListenerId {
        ListenerId::Abstract(NetNs(1), name.to_owned())
    }

    fn relay(own: &str, upstream: &[&str]) -> RelaySighting {
        RelaySighting {
            process: process(1, "/usr/bin/socat"),
            upstream: upstream.iter().map(|name| id(name)).chain([docker_socket()]).collect(),
            outgoing: BTreeSet::new(),
            listeners: vec![RelayListener {
                id: id(own),
                name: SocketName::Abstract(own.to_owned()),
                socket: SocketInode(1),
                netns: NetNs(1),
                basis: None,
                accepted: 0,
                steps: Steps::default(),
            }],
            connections: Vec::new(),
            passed: BTreeSet::new(),
        }
    }

    #[test]
    fn a_web_server_that_watches_an_engine_is_not_a_relay_for_its_visitors() {
        let table: [(&[(usize, usize)], bool); 8] = [
            (&[(1, 1)], false),
            (&[(2, 2), (2, 2), (2, 2)], false),
            (&[(0, 1), (1, 1), (2, 1), (1, 1)], false),
            (&[(1, 1), (2, 2), (3, 2), (2, 2)], false),
            (&[(1, 1), (0, 0), (1, 1), (0, 0)], false),
            (&[(1, 1), (2, 2), (1, 1)], true),
            (&[(5, 1), (0, 0), (2, 2), (0, 0)], true),
            (&[(3, 3), (7, 7), (9, 8)], false),
        ];
        for (looks, expected) in table {
            let mut steps = Steps::default();
            let proven = looks
                .iter()
                .map(|(accepted, outgoing)| steps.count(*accepted, *outgoing));
            assert_eq!(proven.last(), Some(expected), "{looks:?}");
        }
    }

    #[test]
    fn evidence_of_one_connection_accuses_its_client_alone() {
        let mut proxy = relay("a", &[]);
        let of = |client: u32| Connection {
            listener: id("a"),
            ..connection(client, Vec::new())
        };
        proxy.listeners[0].basis = Some(RelayBasis::Process);
        proxy.passed.insert((id("a"), ClientEnd::Socket(SocketInode(5))));
        assert!(proxy.is_passed_on(&of(5)));
        assert!(!proxy.is_passed_on(&of(6)));
        proxy.listeners[0].basis = Some(RelayBasis::Pairs);
        assert!(proxy.is_passed_on(&of(6)));
    }

    #[test]
    fn a_busy_port_without_evidence_names_no_visitors() {
        let mut listener = relay("a", &[]).listeners.remove(0);
        listener.name = SocketName::Tcp(([0, 0, 0, 0], 80).into());
        listener.accepted = 40;
        assert!(!listener.shows_clients(1));
        assert!(listener.shows_clients(40));
        listener.basis = Some(RelayBasis::Port);
        assert!(listener.shows_clients(1));
    }

    #[test]
    fn requests_of_another_api_prove_nothing() {
        let asked = |operation, version| {
            let mut requests = Requests::default();
            requests.add(Request { operation, version }, NOW);
            is_docker_api(&requests)
        };
        assert!(!asked(Operation::System, None));
        assert!(!asked(Operation::Other, None));
        assert!(asked(Operation::Read, None));
        assert!(asked(Operation::System, Some(ApiVersion(41))));
    }

    #[test]
    fn a_relay_of_itself_is_found_and_the_search_ends() {
        let of = |relays: &[RelaySighting]| (0..relays.len()).map(|at| leads_back(relays, at)).collect::<Vec<_>>();
        assert_eq!(of(&[relay("a", &["a"])]), [true]);
        let ring = [relay("a", &["b"]), relay("b", &["c"]), relay("c", &["a"])];
        assert_eq!(of(&ring), [true, true, true]);
        let before_a_ring = [relay("a", &["b"]), relay("b", &["b"]), relay("c", &[])];
        assert_eq!(of(&before_a_ring), [false, true, false]);
    }
}
