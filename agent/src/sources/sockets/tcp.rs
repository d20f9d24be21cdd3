//! The TCP sockets of engines, and the clients of their connections, in every network namespace.
//!
//! The search runs only if an engine holds a TCP socket. It reads connections only if one of these sockets listens,
//! because the kernel walks its table of connections once for each network namespace. The client of a connection is the
//! socket of this node that has the same two addresses in reverse. If there is none, because an address is rewritten on
//! the way (a Service, a published port), it is a socket that has the client's address and port. Otherwise the client
//! is on another machine and is known by its address.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

use super::namespaces::{Namespace, Namespaces};
use super::tables::SocketTables;
use crate::model::identity::{NetNs, SocketInode};
use crate::model::reading::{Gap, Hides, Reason};
use crate::model::socket::{ConnectionState, ListeningSocket, SocketName};
use crate::sources::host_files::EnginePorts;
use crate::sources::kernel::diag::State;
use crate::sources::kernel::diag::table::{DumpError, collect_tcp};
use crate::sources::kernel::diag::tcp::TcpRow;

/// The most connections that are kept of one listener, accepted or not.
const CONNECTIONS_KEPT: usize = 10_000;

/// The TCP sockets of engines that were found.
#[derive(Debug, Default)]
pub struct TcpSeen {
    /// The sockets that accept connections.
    pub listening: Vec<ListeningSocket>,
    /// Their connections.
    pub connections: Vec<TcpConnection>,
    /// The gaps.
    pub gaps: Vec<Gap>,
}

/// One connection to an engine's TCP listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpConnection {
    /// The listener's socket.
    pub listener: SocketInode,
    /// The server's end; 0 for a connection that is not accepted yet.
    pub server: SocketInode,
    /// The state of the connection.
    pub state: ConnectionState,
    /// The client's end.
    pub client: TcpClient,
}

/// The client's end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpClient {
    /// A socket of this node, in this network namespace.
    Here(SocketInode, NetNs),
    /// Another machine.
    Remote(IpAddr),
    /// A socket of this node that is in no table: it was closed, or its namespace was not read.
    Unseen,
}

/// The server's end of a connection.
#[derive(Clone, Copy, Debug)]
struct End {
    netns: NetNs,
    socket: SocketInode,
    local: SocketAddr,
    remote: SocketAddr,
    /// Accepted if the socket is an engine's own, otherwise pending.
    state: ConnectionState,
}

impl End {
    const fn of(netns: NetNs, row: &TcpRow) -> Self {
        Self {
            netns,
            socket: row.inode,
            local: row.local,
            remote: row.remote,
            state: match row.inode.0 {
                0 => ConnectionState::Pending,
                _ => ConnectionState::Accepted,
            },
        }
    }
}

/// The TCP sockets that engines hold, and those that systemd may hold for them.
#[derive(Clone, Debug)]
pub struct TcpHeld {
    /// The engines' own.
    pub sockets: BTreeSet<SocketInode>,
    /// Those of the node's own engines.
    pub of_node: BTreeSet<SocketInode>,
    /// All sockets of pid 1. Only listeners on one of `ports` count.
    pub of_init: BTreeSet<SocketInode>,
    /// The ports on which systemd may listen for an engine.
    pub ports: EnginePorts,
    /// True if all of them are ordinary users' own: a gap there hides no client of the node's engines.
    pub of_users: bool,
}

impl TcpHeld {
    fn is_of_node(&self, listener: SocketInode) -> bool {
        self.of_node.contains(&listener) || self.of_init.contains(&listener)
    }

    fn is_listener_of_init(&self, row: &TcpRow) -> bool {
        self.ports.contains_key(&row.local.port()) && self.of_init.contains(&row.inode)
    }
}

/// Searches every known namespace for the sockets in `held` and their clients.
pub fn find_tcp(tables: &mut dyn SocketTables, namespaces: &Namespaces, held: &TcpHeld) -> TcpSeen {
    let mut seen = find(tables, namespaces, held);
    if held.of_users {
        seen.gaps.iter_mut().for_each(|gap| gap.hides = Hides::Detail);
    }
    seen
}

fn find(tables: &mut dyn SocketTables, namespaces: &Namespaces, held: &TcpHeld) -> TcpSeen {
    let mut seen = TcpSeen::default();
    if held.sockets.is_empty() && held.of_init.is_empty() {
        return seen;
    }
    let all: Vec<&Namespace> = namespaces.known.iter().collect();
    // Namespaces that cannot be entered are reported by the search for Unix sockets.
    let listens = |row: &TcpRow| held.sockets.contains(&row.inode) || held.is_listener_of_init(row);
    seen.listening = collect_rows(tables, &all, State::LISTENING, &listens, &mut seen.gaps)
        .iter()
        .map(|(netns, row)| listening_socket(*netns, row))
        .collect();
    // A socket that moved in its hash chain during the dump is listed twice.
    seen.listening.sort_by_key(|socket| socket.inode);
    seen.listening.dedup_by_key(|socket| socket.inode);
    if seen.listening.is_empty() {
        return seen;
    }
    // A connection is in the network namespace of its listener.
    let of_listeners: BTreeSet<NetNs> = seen.listening.iter().map(|socket| socket.netns).collect();
    let here = all
        .iter()
        .copied()
        .filter(|namespace| of_listeners.contains(&namespace.netns));
    // 0: not accepted yet.
    let is_served = |row: &TcpRow| row.inode.0 == 0 || held.sockets.contains(&row.inode);
    let ends = collect_rows(
        tables,
        &here.collect::<Vec<_>>(),
        State::CONNECTED,
        &is_served,
        &mut seen.gaps,
    );
    let served = keep(&seen.listening, &ends, held, &mut seen.gaps);
    if !served.is_empty() {
        seen.connections = find_clients(tables, &all, &served, &mut seen.gaps);
    }
    seen
}

/// Returns the server's ends of connections with their listeners, and adds a gap for each listener with more than are kept.
fn keep(
    listening: &[ListeningSocket],
    ends: &[(NetNs, TcpRow)],
    held: &TcpHeld,
    gaps: &mut Vec<Gap>,
) -> Vec<(SocketInode, End)> {
    let mut served = Vec::new();
    let mut counts: BTreeMap<SocketInode, usize> = BTreeMap::new();
    for (netns, row) in ends {
        let end = End::of(*netns, row);
        let Some(listener) = listener_of(listening, &end) else {
            continue; // a connection that the engine made itself
        };
        let count = counts.entry(listener).or_default();
        *count += 1;
        if *count <= CONNECTIONS_KEPT {
            served.push((listener, end));
        }
    }
    for socket in listening {
        let count = counts.get(&socket.inode).copied().unwrap_or(0);
        if count > CONNECTIONS_KEPT {
            let asked = format_args!("connections to {} in net:[{}]", socket.name, socket.netns.0);
            let answer = format_args!("there are {count}, {CONNECTIONS_KEPT} are kept");
            // The owner of any other engine can make as many connections to it as they like.
            let hides = if held.is_of_node(socket.inode) {
                Hides::Client
            } else {
                Hides::Detail
            };
            Gap::new(Reason::LimitReached, hides, asked, answer).fold_into(gaps);
        }
    }
    served
}

/// Returns the sockets in `state` that `matters` selects in these namespaces.
fn collect_rows(
    tables: &mut dyn SocketTables,
    namespaces: &[&Namespace],
    state: State,
    matters: &(dyn Fn(&TcpRow) -> bool + Sync),
    gaps: &mut Vec<Gap>,
) -> Vec<(NetNs, TcpRow)> {
    let mut found = Vec::new();
    tables.visit(
        namespaces,
        &mut |netns, table| match collect_tcp(table, state, &mut |row| matters(row).then_some((netns, *row))) {
            Ok(rows) => found.extend(rows),
            Err(error) => not_dumped(netns, &error).fold_into(gaps),
        },
    );
    found
}

fn listening_socket(netns: NetNs, row: &TcpRow) -> ListeningSocket {
    ListeningSocket {
        inode: row.inode,
        netns,
        name: SocketName::Tcp(row.local),
        file: None,
        pending: Vec::new(),
        unlisted: 0,
    }
}

/// Returns the listener of a connection: the one with its port in its namespace, preferably with its exact address.
fn listener_of(listening: &[ListeningSocket], end: &End) -> Option<SocketInode> {
    let here = listening.iter().filter(|socket| socket.netns == end.netns);
    let fits = here.filter_map(|socket| match socket.name {
        SocketName::Tcp(at)
            if at.port() == end.local.port() && (at.ip().is_unspecified() || at.ip() == end.local.ip()) =>
        {
            Some((at.ip().is_unspecified(), socket.inode))
        }
        _ => None,
    });
    fits.min().map(|(_, inode)| inode)
}

/// A socket of the node that has a client's address and port.
struct Candidate {
    inode: SocketInode,
    netns: NetNs,
    peer: SocketAddr,
}

fn find_clients(
    tables: &mut dyn SocketTables,
    namespaces: &[&Namespace],
    served: &[(SocketInode, End)],
    gaps: &mut Vec<Gap>,
) -> Vec<TcpConnection> {
    let wanted: BTreeSet<SocketAddr> = served.iter().map(|(_, end)| end.remote).collect();
    let mut candidates: HashMap<SocketAddr, Vec<Candidate>> = HashMap::new();
    let is_client = |row: &TcpRow| row.inode.0 != 0 && wanted.contains(&row.local);
    for (netns, row) in collect_rows(tables, namespaces, State::CONNECTED, &is_client, gaps) {
        candidates.entry(row.local).or_default().push(Candidate {
            inode: row.inode,
            netns,
            peer: row.remote,
        });
    }
    let mut connections = Vec::new();
    for (listener, end) in served {
        let clients = clients_of(end, candidates.get(&end.remote).map_or(&[][..], Vec::as_slice));
        connections.extend(clients.into_iter().map(|client| TcpConnection {
            listener: *listener,
            server: end.socket,
            state: end.state,
            client,
        }));
    }
    connections
}

/// Returns the clients. There are several if namespaces use the same addresses and it cannot be decided which one it
/// is.
fn clients_of(end: &End, candidates: &[Candidate]) -> Vec<TcpClient> {
    // Each namespace has its own loopback addresses.
    let is_local = end.remote.ip().is_loopback();
    let near = || candidates.iter().filter(|c| !is_local || c.netns == end.netns);
    let here = |c: &Candidate| TcpClient::Here(c.inode, c.netns);
    let exact: Vec<TcpClient> = near().filter(|c| c.peer == end.local).map(here).collect();
    if !exact.is_empty() {
        return exact;
    }
    let rewritten: Vec<TcpClient> = near().map(here).collect();
    match rewritten.is_empty() {
        false => rewritten,
        true if is_local || end.remote.ip() == end.local.ip() => vec![TcpClient::Unseen],
        true => vec![TcpClient::Remote(end.remote.ip())],
    }
}

fn not_dumped(netns: NetNs, error: &DumpError) -> Gap {
    let asked = format_args!("TCP sockets of net:[{}]", netns.0);
    Gap::new(error.reason(), Hides::Client, asked, Gap::chain(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::engine::EngineKind;
    use crate::model::snapshot::HolderMethod;
    use crate::sources::kernel::diag::encode::Reply;
    use crate::sources::kernel::diag::table::SocketTable;
    use crate::sources::kernel::diag::tcp::TcpAsk;
    use crate::sources::kernel::diag::{Ask, Envelope, SocketRow};
    use crate::sources::sockets::recorded::RecordedTables;
    use crate::sources::sockets::tables::{NotEntered, Visitor};

    const HOST: NetNs = NetNs(10);
    const POD: NetNs = NetNs(20);

    fn row(inode: u32, state: State, local: &str, remote: &str) -> TcpRow {
        TcpRow {
            inode: SocketInode(inode),
            state,
            local: local.parse().expect("an address"),
            remote: remote.parse().expect("an address"),
        }
    }

    fn listening(inode: u32, at: &str) -> TcpRow {
        row(inode, State::LISTENING, at, "0.0.0.0:0")
    }

    fn connected(inode: u32, local: &str, remote: &str) -> TcpRow {
        row(inode, State::CONNECTED, local, remote)
    }

    fn seen(host: &[TcpRow], pod: &[TcpRow], held: &[u32]) -> TcpSeen {
        seen_with_init(host, pod, held, &[])
    }

    /// Finds the sockets where pid 1 holds 5 and 7, and may listen on these ports for an engine.
    fn seen_with_init(host: &[TcpRow], pod: &[TcpRow], held: &[u32], ports: &[u16]) -> TcpSeen {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for (netns, rows) in [(HOST, host), (POD, pod)] {
            let bytes = Reply::tcp_dump(Envelope { sequence: 1, port: 1 }, rows);
            std::fs::write(RecordedTables::tcp_file(directory.path(), netns), bytes).expect("a file");
        }
        let mut tables = RecordedTables::new(directory.path().into());
        find_tcp(&mut tables, &namespaces(), &holding(held, ports))
    }

    fn namespaces() -> Namespaces {
        let known = [HOST, POD].map(|netns| Namespace {
            netns,
            members: Vec::new(),
            mounted: None,
        });
        let mut namespaces = Namespaces::default();
        namespaces.known = known.into();
        namespaces
    }

    /// The engines hold these sockets, and pid 1 holds 5 and 7 if it may listen on `ports` for an engine.
    fn holding(held: &[u32], ports: &[u16]) -> TcpHeld {
        let of_init: &[u32] = if ports.is_empty() { &[] } else { &[5, 7] };
        TcpHeld {
            sockets: held.iter().map(|inode| SocketInode(*inode)).collect(),
            of_node: held.iter().map(|inode| SocketInode(*inode)).collect(),
            of_init: of_init.iter().map(|inode| SocketInode(*inode)).collect(),
            ports: ports.iter().map(|port| (*port, EngineKind::Dockerd)).collect(),
            of_users: false,
        }
    }

    fn clients(seen: &TcpSeen) -> Vec<(u32, TcpClient)> {
        seen.connections.iter().map(|c| (c.listener.0, c.client)).collect()
    }

    #[test]
    fn clients_of_every_kind_are_found() {
        let here = |inode, netns| TcpClient::Here(SocketInode(inode), netns);
        let host = [
            listening(5, "0.0.0.0:2375"),
            listening(6, "[::]:9323"),
            listening(7, "0.0.0.0:80"), // another program's
            connected(50, "127.0.0.1:2375", "127.0.0.1:1000"),
            connected(60, "127.0.0.1:1000", "127.0.0.1:2375"),
            connected(51, "10.0.0.1:2375", "10.8.0.3:1000"),
            connected(52, "10.0.0.1:2375", "10.8.0.4:1000"),
            connected(53, "10.0.0.1:2375", "192.0.2.9:1000"),
            connected(54, "10.0.0.1:2375", "10.0.0.1:1009"), // its client's end was closed
            connected(55, "10.0.0.1:40000", "192.0.2.1:443"), // the engine pulls an image
            connected(0, "10.0.0.1:2375", "192.0.2.10:1000"), // not accepted yet
            connected(0, "10.0.0.1:80", "192.0.2.10:1000"),
        ];
        let pod = [
            connected(61, "10.8.0.3:1000", "10.0.0.1:2375"),
            connected(62, "10.8.0.4:1000", "10.96.0.7:2375"), // through the address of a Service
            connected(63, "127.0.0.1:1000", "127.0.0.1:2375"), // another namespace's loopback
        ];
        let seen = seen(&host, &pod, &[5, 6, 50, 51, 52, 53, 54, 55]);
        assert_eq!(seen.gaps, []);
        let names: Vec<_> = seen.listening.iter().map(|l| l.name.to_string()).collect();
        assert_eq!(names, ["tcp://0.0.0.0:2375", "tcp://[::]:9323"]);
        let remote = |ip: &str| TcpClient::Remote(ip.parse().expect("an address"));
        assert_eq!(
            clients(&seen),
            [
                (5, here(60, HOST)),
                (5, here(61, POD)),
                (5, here(62, POD)),
                (5, remote("192.0.2.9")),
                (5, TcpClient::Unseen),
                (5, remote("192.0.2.10")),
            ]
        );
        let last = seen.connections.last().expect("six");
        assert_eq!(last.state, ConnectionState::Pending);
    }

    #[test]
    fn of_inits_sockets_only_engine_ports_count() {
        let host = [
            listening(5, "0.0.0.0:4243"),
            listening(7, "0.0.0.0:22"),
            listening(8, "10.0.0.1:4243"), // another program's
            connected(0, "127.0.0.1:4243", "127.0.0.1:1000"),
            connected(60, "127.0.0.1:1000", "127.0.0.1:4243"),
        ];
        let seen = seen_with_init(&host, &[], &[], &[4243]);
        let names: Vec<_> = seen.listening.iter().map(|l| l.name.to_string()).collect();
        assert_eq!(names, ["tcp://0.0.0.0:4243"]);
        assert_eq!(clients(&seen), [(5, TcpClient::Here(SocketInode(60), HOST))]);
    }

    #[test]
    fn a_flood_of_a_port_that_may_hide_a_client_is_a_gap() {
        let most = u32::try_from(CONNECTIONS_KEPT).expect("it fits");
        for (count, gap) in [(most, false), (most + 1, true)] {
            let inodes: Vec<u32> = (100..100 + count).collect();
            let clients = inodes
                .iter()
                .map(|inode| connected(*inode, "10.0.0.1:2375", &format!("192.0.2.9:{inode}")));
            let host: Vec<TcpRow> = std::iter::once(listening(5, "0.0.0.0:2375")).chain(clients).collect();
            let held: Vec<u32> = std::iter::once(5).chain(inodes).collect();
            let seen = seen(&host, &[], &held);
            assert_eq!(seen.connections.len(), CONNECTIONS_KEPT);
            let gaps: Vec<_> = seen
                .gaps
                .iter()
                .map(|gap| (gap.reason, gap.hides, gap.asked.as_str()))
                .collect();
            let asked = "connections to tcp://0.0.0.0:2375 in net:[10]";
            let expected = gap.then_some((Reason::LimitReached, Hides::Client, asked));
            assert_eq!(gaps, Vec::from_iter(expected), "{count} connections");
        }
    }

    #[test]
    fn a_flood_hides_a_client_only_if_the_port_is_the_nodes_own() {
        let all = 100..=100 + u32::try_from(CONNECTIONS_KEPT).expect("it fits");
        let ends: Vec<(NetNs, TcpRow)> = all
            .map(|inode| connected(inode, "10.8.0.3:2375", &format!("10.8.0.3:{inode}")))
            .map(|row| (POD, row))
            .collect();
        let listening = [listening_socket(POD, &listening(5, "0.0.0.0:2375"))];
        let hidden = |of_node: &[u32], of_init: &[u32]| {
            let inodes = |all: &[u32]| all.iter().map(|inode| SocketInode(*inode)).collect();
            let held = TcpHeld {
                of_node: inodes(of_node),
                of_init: inodes(of_init),
                ..holding(&[5, 6], &[])
            };
            let mut gaps = Vec::new();
            keep(&listening, &ends, &held, &mut gaps);
            gaps.iter().map(|gap| gap.hides).collect::<Vec<_>>()
        };
        assert_eq!(hidden(&[5], &[]), [Hides::Client]);
        assert_eq!(hidden(&[], &[5]), [Hides::Client], "systemd listens for the node");
        assert_eq!(
            hidden(&[6], &[7]),
            [Hides::Detail],
            "another engine of the node has a port"
        );
    }

    /// Tables without rows, which record the requested states.
    #[derive(Default)]
    struct Asked(Vec<State>);

    impl SocketTable for Asked {
        fn dump(&mut self, _: Ask, _: &mut dyn FnMut(&SocketRow<'_>)) -> Result<(), DumpError> {
            Ok(())
        }

        fn dump_tcp(&mut self, ask: TcpAsk, _: &mut dyn FnMut(&TcpRow)) -> Result<(), DumpError> {
            self.0.push(ask.state);
            Ok(())
        }
    }

    impl SocketTables for Asked {
        fn method(&self) -> HolderMethod {
            HolderMethod::SockDiag
        }

        fn visit(&mut self, namespaces: &[&Namespace], look: &mut Visitor<'_>) -> Vec<NotEntered> {
            for namespace in namespaces {
                look(namespace.netns, self);
            }
            Vec::new()
        }
    }

    #[test]
    fn without_a_listener_no_connection_is_read() {
        let mut tables = Asked::default();
        find_tcp(&mut tables, &namespaces(), &holding(&[9], &[]));
        assert_eq!(tables.0, [State::LISTENING; 4], "two namespaces, two families");
    }

    #[test]
    fn without_an_engines_tcp_socket_no_table_is_read() {
        let seen = seen(&[listening(5, "0.0.0.0:2375")], &[], &[]);
        assert!(seen.listening.is_empty());
    }
}
