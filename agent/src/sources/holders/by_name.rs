//! Connections in namespaces whose socket table cannot be read, by the names in `/proc/<pid>/net/unix`. This is the
//! case for castoff without `CAP_SYS_ADMIN` or as an ordinary user, and on a kernel without `unix_diag`.
//!
//! Only the server's end is visible there, so the client's inode is 0 and the process is not known. If all processes of
//! the namespace belong to one pod or one container, that is the holder, and its first process represents it in
//! `holders`; otherwise `holders` is empty. Either way a gap of [`Hides::Identity`] reports it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::CONNECTIONS_KEPT;
use crate::model::identity::{NetNs, Pid, SocketInode};
use crate::model::process::Process;
use crate::model::reading::{Gap, Hides};
use crate::model::socket::{Connection, ConnectionState, ListeningSocket, SocketName};
use crate::sources::kernel::refusal;
use crate::sources::kernel::unix_table::{Line, LineState, read_lines};
use crate::sources::processes::{ProcessReader, ProcessTable};
use crate::sources::sockets::listening::printed_name;
use crate::sources::sockets::namespaces::Namespaces;
use crate::sources::sockets::tables::Unseen;

/// The connections that were found by name.
#[derive(Debug, Default)]
pub(super) struct SeenByName {
    /// The connections.
    pub(super) connections: Vec<Connection>,
    /// The gaps that remain, including those of namespaces that could not be searched this way either.
    pub(super) gaps: Vec<Gap>,
    /// The number of namespaces that were searched.
    pub(super) looked: usize,
}

/// The processes of one namespace, and the reason why its table was not read.
struct Group<'a> {
    netns: Option<NetNs>,
    members: &'a [Pid],
    refusal: Gap,
}

impl Group<'_> {
    /// Returns the gap that says why its table was not read, with the given effect.
    fn gap(&self, hides: Hides) -> Gap {
        Gap {
            hides,
            ..self.refusal.clone()
        }
    }
}

/// Searches by name in the namespaces that are `unseen` and in those whose own name is not known. Connections that are
/// `named` already, counted by listener and namespace, are left out.
pub(super) fn find_by_name(
    proc: &Path,
    reader: &ProcessReader,
    table: &ProcessTable,
    namespaces: &Namespaces,
    unseen: &[Unseen],
    listeners: &[ListeningSocket],
    named: &BTreeMap<(NetNs, SocketInode), usize>,
) -> SeenByName {
    let members = |netns: NetNs| {
        let namespace = namespaces.known.iter().find(|known| known.netns == netns);
        namespace.map_or(&[][..], |namespace| &namespace.members)
    };
    let known = unseen.iter().map(|unseen| Group {
        netns: Some(unseen.netns),
        members: members(unseen.netns),
        refusal: unseen.gap(Hides::Client),
    });
    let unnamed = namespaces.unnamed.iter().enumerate().filter_map(|(index, members)| {
        Some(Group {
            netns: None,
            members,
            refusal: namespaces.refusal(index)?.clone(),
        })
    });
    // The kernel lists the clients that wait for a listener together with it, whatever namespace they are in.
    let lists_waiting = |listener: &ListeningSocket| !unseen.iter().any(|unseen| unseen.netns == listener.netns);
    let mut seen = SeenByName::default();
    let mut servers = BTreeSet::new();
    for group in known.chain(unnamed) {
        let Some(mut found) = read_group(proc, &group, listeners, &mut seen) else {
            continue;
        };
        // Two groups may be one namespace, which the server's end shows.
        found.retain(|found| match found.state {
            ConnectionState::Accepted => servers.insert(found.server),
            ConnectionState::Pending => !lists_waiting(found.listener),
        });
        leave_out_named(&mut found, group.netns, named);
        if found.is_empty() {
            continue;
        }
        group.gap(Hides::Identity).fold_into(&mut seen.gaps);
        let holder = common_holder(reader, table, group.members);
        let room = CONNECTIONS_KEPT.saturating_sub(seen.connections.len());
        seen.connections
            .extend(found.into_iter().take(room).filter_map(|found| {
                Some(Connection {
                    listener: found.listener.id()?,
                    client: SocketInode(0),
                    netns: group.netns,
                    state: found.state,
                    holders: holder.iter().cloned().collect(),
                    connector: None,
                    remote: None,
                })
            }));
    }
    seen
}

/// Removes from `found` as many connections to each listener as are named already in this namespace.
fn leave_out_named(found: &mut Vec<Found<'_>>, netns: Option<NetNs>, named: &BTreeMap<(NetNs, SocketInode), usize>) {
    let mut left: BTreeMap<SocketInode, usize> = BTreeMap::new();
    found.retain(|found| {
        let listener = found.listener.inode;
        let count = netns.and_then(|netns| named.get(&(netns, listener)));
        let left = left.entry(listener).or_insert(count.copied().unwrap_or(0));
        let is_named = *left > 0;
        *left = left.saturating_sub(1);
        !is_named
    });
}

struct Found<'a> {
    server: SocketInode,
    listener: &'a ListeningSocket,
    state: ConnectionState,
}

/// Reads the connections in the group's table, through the first member that still runs. Returns none if the table
/// could not be read or the group has ended.
fn read_group<'a>(
    proc: &Path,
    group: &Group<'_>,
    listeners: &'a [ListeningSocket],
    seen: &mut SeenByName,
) -> Option<Vec<Found<'a>>> {
    for pid in group.members {
        let mut found = Vec::new();
        let read = read_lines(proc, *pid, &mut |line| {
            if found.len() < CONNECTIONS_KEPT {
                found.extend(connection(line, group.netns, listeners));
            }
        });
        match read {
            Ok(()) => {
                seen.looked += 1;
                return Some(found);
            }
            Err(error) if refusal::is_gone(&error) => {}
            Err(_) => break,
        }
    }
    if group.members.is_empty() {
        // Only a mount keeps the namespace: see `namespaces`.
        group.gap(Hides::Detail).fold_into(&mut seen.gaps);
    } else if group.members.iter().any(|pid| proc.join(pid.to_string()).exists()) {
        group.refusal.clone().fold_into(&mut seen.gaps);
    }
    None
}

fn connection<'a>(line: &Line<'_>, netns: Option<NetNs>, listeners: &'a [ListeningSocket]) -> Option<Found<'a>> {
    let state = match line.state {
        LineState::Connected if line.inode.0 != 0 => ConnectionState::Accepted,
        LineState::Waiting => ConnectionState::Pending,
        _ => return None,
    };
    let name = printed_name(line.name.filter(|_| line.kind.connects())?);
    let here = |listener: &&ListeningSocket| Some(listener.netns) == netns;
    let mut named = listeners.iter().filter(|listener| listener.name == name);
    let listener = match name {
        SocketName::Abstract(_) | SocketName::Tcp(_) => named.find(here),
        // The same path may be another file in another mount namespace: the listener of this namespace comes first.
        SocketName::Path(_) => named.clone().find(here).or_else(|| named.next()),
    }?;
    Some(Found {
        server: line.inode,
        listener,
        state,
    })
}

/// Returns one process that represents the pod or container to which all `members` belong. If they are in several
/// containers of one pod, it does not name a container: any of them may hold the connection.
fn common_holder(reader: &ProcessReader, table: &ProcessTable, members: &[Pid]) -> Option<Process> {
    let mut first: Option<Process> = None;
    for pid in members {
        let at = table.entries.binary_search_by_key(pid, |entry| entry.key.pid).ok();
        let entry = at.and_then(|at| table.entries.get(at));
        let Some(process) = entry.and_then(|entry| reader.describe(entry)) else {
            continue;
        };
        let place = place(&process)?;
        let container = outermost(&process).map(str::to_owned);
        match &first {
            None => first = Some(process),
            Some(first) if self::place(first) != Some(place) => return None,
            Some(_) => {}
        }
        if let Some(first) = &mut first
            && outermost(first) != container.as_deref()
        {
            first.membership.containers.clear();
        }
    }
    first
}

/// Returns the pod of a process, or else its outermost container.
fn place(process: &Process) -> Option<&str> {
    process.membership.pod_uid.as_deref().or_else(|| outermost(process))
}

fn outermost(process: &Process) -> Option<&str> {
    process
        .membership
        .containers
        .first()
        .map(|container| container.id.0.as_str())
}
