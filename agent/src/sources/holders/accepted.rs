//! The open connections to watched listeners, from the kernel's socket tables.
//!
//! Rows are judged while they are decoded: the memory in use grows with the connections to watched listeners and not
//! with the sockets of the node.

use std::collections::{BTreeMap, BTreeSet};

use super::watched::Watched;
use super::{CONNECTIONS_KEPT, Watch};
use crate::model::identity::{NetNs, SocketInode};
use crate::model::reading::{Gap, Hides, Reason};
use crate::model::socket::{ConnectionState, SocketName};
use crate::sources::kernel::diag::table::{DumpError, SocketTable, collect_dump};
use crate::sources::kernel::diag::{Ask, SocketRow};
use crate::sources::sockets::connected::Connected;
use crate::sources::sockets::namespaces::{Namespace, Namespaces};
use crate::sources::sockets::tables::{SocketTables, Unseen};
use crate::sources::sockets::tcp::{TcpClient, TcpConnection};

/// One open connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Open {
    /// The client's end.
    pub(super) client: SocketInode,
    /// The index of its listener.
    pub(super) listener: usize,
    /// The state of the connection.
    pub(super) state: ConnectionState,
    /// The network namespace in which it was seen.
    pub(super) netns: Option<NetNs>,
}

/// The result of the search for open connections.
#[derive(Debug, Default)]
pub(super) struct OpenSeen {
    /// The connections, with each client's end once, sorted by its inode.
    pub(super) open: Vec<Open>,
    /// The namespaces that could not be searched.
    pub(super) unseen: Vec<Unseen>,
    /// The number of namespaces that were searched.
    pub(super) looked: usize,
    /// The gaps beside `unseen`.
    pub(super) gaps: Vec<Gap>,
}

/// Searches every known namespace for connections to the watched listeners, unless a sweep has searched it already.
pub(super) fn find_open(
    tables: &mut dyn SocketTables,
    namespaces: &Namespaces,
    watched: &Watched<'_>,
    watch: Watch<'_>,
    connected: Option<&Connected>,
) -> OpenSeen {
    let mut seen = OpenSeen::default();
    // A waiting client was seen with its listener, perhaps in another namespace. Its own row shows which one.
    let waiting = watched.pending().iter().map(|(client, listener)| Open {
        client: *client,
        listener: *listener,
        state: ConnectionState::Pending,
        netns: None,
    });
    let mut open: Vec<Open> = waiting.collect();
    open.extend(watch.tcp.iter().filter_map(|connection| over_tcp(watched, connection)));
    if let Some(connected) = connected {
        let rows = connected.sockets.iter();
        open.extend(rows.filter_map(|s| judge(s.netns, &s.row(), watched)));
        (seen.unseen, seen.looked) = (connected.unseen.clone(), connected.looked);
    } else {
        let plan: Vec<&Namespace> = namespaces.known.iter().collect();
        let refused = tables.visit(&plan, &mut |netns, table| match read_open(netns, table, watched) {
            Ok(more) => {
                seen.looked += 1;
                open.extend(more);
            }
            Err(error) => seen.unseen.push(Unseen::not_dumped(netns, &error)),
        });
        seen.unseen.extend(refused.into_iter().map(Unseen::from));
    }
    // The most specific row of a client comes first: accepted, then waiting in a known namespace.
    open.sort_by_key(|open| {
        (
            open.client,
            open.state == ConnectionState::Pending,
            open.netns.is_none(),
        )
    });
    open.dedup_by_key(|open| open.client);
    if open.len() > CONNECTIONS_KEPT {
        seen.gaps.push(cut(&mut open, watched, watch));
    }
    seen.open = open;
    seen
}

/// Shortens `open` to the limit, with equal shares for all listeners, so that a flood of one cannot displace the
/// clients of another.
fn cut(open: &mut Vec<Open>, watched: &Watched<'_>, watch: Watch<'_>) -> Gap {
    let answer = format!("{} are open, {CONNECTIONS_KEPT} are kept", open.len());
    let mut ranks: BTreeMap<usize, usize> = BTreeMap::new();
    let mut ranked: Vec<(usize, Open)> = Vec::with_capacity(open.len());
    for open in open.drain(..) {
        let rank = ranks.entry(open.listener).or_default();
        *rank += 1;
        ranked.push((*rank, open));
    }
    ranked.sort_by_key(|(rank, _)| *rank); // Stable: rows of one rank stay sorted by inode.
    let left_out = ranked.split_off(CONNECTIONS_KEPT);
    open.extend(ranked.into_iter().map(|(_, open)| open));
    open.sort_by_key(|open| open.client);
    let mut listeners = left_out.iter().filter_map(|(_, open)| watched.listener(open.listener));
    let hides = if listeners.any(|listener| watch.hides(listener.inode) == Hides::Client) {
        Hides::Client
    } else {
        Hides::Detail
    };
    Gap::new(Reason::LimitReached, hides, "connections to watched listeners", answer)
}

/// Returns a TCP connection whose client is on this node.
fn over_tcp(watched: &Watched<'_>, connection: &TcpConnection) -> Option<Open> {
    let TcpClient::Here(client, netns) = connection.client else {
        return None;
    };
    Some(Open {
        client,
        listener: watched.find(connection.listener)?,
        state: connection.state,
        netns: Some(netns),
    })
}

fn read_open(netns: NetNs, table: &mut dyn SocketTable, watched: &Watched<'_>) -> Result<Vec<Open>, DumpError> {
    collect_dump(table, Ask::Connected, &mut |row| judge(netns, row, watched))
}

/// Returns the connection that a row is an end of.
fn judge(netns: NetNs, row: &SocketRow<'_>, watched: &Watched<'_>) -> Option<Open> {
    let (client, listener, state) = if let Some(listener) = watched.accepted_by(netns, row) {
        // No peer: the client has closed its end, and the server has not.
        let client = row.peer.filter(|client| client.0 != 0)?;
        (client, listener, ConnectionState::Accepted)
    } else {
        (row.inode, watched.waits_for(row.inode)?, ConnectionState::Pending)
    };
    Some(Open {
        client,
        listener,
        state,
        netns: Some(netns),
    })
}

/// Returns those of `open` that are closed by now. A connection that cannot be checked is not closed.
pub(super) fn find_closed(
    tables: &mut dyn SocketTables,
    namespaces: &Namespaces,
    watched: &Watched<'_>,
    open: &[Open],
) -> BTreeSet<SocketInode> {
    // The tables that are read here have no TCP.
    let listener = |open: &Open| {
        watched
            .listener(open.listener)
            .filter(|l| !matches!(l.name, SocketName::Tcp(_)))
    };
    let place = |open: &Open| match open.state {
        ConnectionState::Accepted => listener(open).and(open.netns),
        ConnectionState::Pending => listener(open).map(|listener| listener.netns),
    };
    let places: BTreeSet<NetNs> = open.iter().filter_map(place).collect();
    let plan: Vec<&Namespace> = namespaces.known.iter().filter(|n| places.contains(&n.netns)).collect();
    let mut closed = BTreeSet::new();
    tables.visit(&plan, &mut |netns, table| {
        let here = open.iter().filter(|open| place(open) == Some(netns));
        let (accepted, pending): (Vec<&Open>, Vec<&Open>) = here.partition(|o| o.state == ConnectionState::Accepted);
        let mut keep = |asked: Vec<&Open>, still: Result<Vec<SocketInode>, DumpError>| {
            if let Ok(still) = still {
                let still: BTreeSet<SocketInode> = still.into_iter().collect();
                closed.extend(
                    asked
                        .iter()
                        .map(|open| open.client)
                        .filter(|client| !still.contains(client)),
                );
            }
        };
        if !accepted.is_empty() {
            let still = read_open(netns, table, watched);
            keep(
                accepted,
                still.map(|open| open.iter().map(|open| open.client).collect()),
            );
        }
        if !pending.is_empty() {
            let still = collect_dump(table, Ask::Backlogs, &mut |row| Some(row.icons().collect::<Vec<_>>()));
            keep(pending, still.map(|icons| icons.concat()));
        }
    });
    closed
}
