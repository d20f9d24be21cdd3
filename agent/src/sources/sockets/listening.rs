//! The Unix sockets that accept connections, in every network namespace.
//!
//! Never opens a socket. The kernel reports the files of sockets; only if it cannot be asked, the files are looked up
//! with stat(2), by the names that the sockets were bound to.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::connected::{Connected, ConnectedSocket};
use super::namespaces::{Namespace, Namespaces, none_seen};
use super::tables::{SocketTables, Unseen};
use super::vanished::find_vanished;
use crate::model::identity::{FileIdentity, NetNs, Pid, SocketInode};
use crate::model::reading::{Gap, Hides, Reading, Reason, Sighting};
use crate::model::socket::{ListeningSocket, SocketName};
use crate::sources::docker::SOCKETS;
use crate::sources::host_files::SocketPlaces;
use crate::sources::kernel::diag::table::{DumpError, SocketTable, collect_dump};
use crate::sources::kernel::diag::{Ask, SocketRow, State};
use crate::sources::kernel::unix_table::{self, LineState};

/// The most listening sockets that are kept.
const SOCKETS_KEPT: usize = 50_000;

/// A backlog of this length may exceed the kernel's buffer.
const LONG_BACKLOG: u32 = 512;

/// The most members of a namespace through whose root the file of a name is looked up, if only names are known.
const ROOTS_TRIED: usize = 16;

/// The result of one sweep over the namespaces.
#[derive(Debug)]
pub struct SocketsSeen {
    /// The sockets that accept connections.
    pub listening: Sighting<Vec<ListeningSocket>>,
    /// The sockets that may be connected to one of them; none if they were not requested.
    pub connected: Option<Connected>,
    is_cut: bool,
}

impl SocketsSeen {
    /// Limits the listening sockets. Those that engines hold come first (`read_held`, which is called only if there are
    /// too many), then those with an engine's name, so that a flood cannot displace the node's own engine.
    pub fn bound(&mut self, read_held: &dyn Fn(&[ListeningSocket]) -> BTreeSet<SocketInode>) {
        self.bound_to(SOCKETS_KEPT, read_held);
    }

    fn bound_to(&mut self, most: usize, read_held: &dyn Fn(&[ListeningSocket]) -> BTreeSet<SocketInode>) {
        let Reading::Known(found) = &mut self.listening.reading else {
            return;
        };
        if found.len() <= most {
            return;
        }
        let answer = format!("{} sockets listen, {most} are kept", found.len());
        let held = read_held(found);
        let is_named = |socket: &ListeningSocket| {
            let name = socket.name.to_string();
            SOCKETS.iter().any(|(known, _)| name.rsplit('/').next() == Some(*known))
        };
        let rank = |socket: &ListeningSocket| (!held.contains(&socket.inode), !is_named(socket));
        found.sort_by_cached_key(rank);
        let may_be_of_engine = found[most..].iter().any(|socket| rank(socket) != (true, true));
        found.truncate(most);
        found.sort_by_key(|socket| socket.inode);
        let hides = if may_be_of_engine { Hides::Engine } else { Hides::Detail };
        let gap = Gap::new(Reason::LimitReached, hides, "listening sockets", answer);
        self.listening.gaps.push(gap);
        self.is_cut = true;
    }

    /// Adds the listeners that are known only from their connections. `places` has the files at the usual paths of
    /// engines' sockets.
    pub fn add_vanished(&mut self, places: &SocketPlaces) {
        let (Reading::Known(found), Some(connected)) = (&mut self.listening.reading, &self.connected) else {
            return;
        };
        // If some listeners were not seen or not kept, they would look like closed ones.
        if self.is_cut || !connected.unseen.is_empty() {
            return;
        }
        let gaps = &mut self.listening.gaps;
        found.extend(find_vanished(found, connected, places, gaps));
        found.sort_by_key(|socket| socket.inode);
    }

    /// Returns the server's ends of connections, in all namespaces.
    pub fn accepted(&self) -> BTreeSet<SocketInode> {
        let sockets = self.connected.iter().flat_map(|connected| &connected.sockets);
        let rows = sockets
            .map(ConnectedSocket::row)
            .filter(|row| row.name.is_some() || row.file.is_some());
        rows.map(|row| row.inode).collect()
    }
}

/// Finds the listening sockets of the known `namespaces`, whose processes are under `proc`. A namespace that could not
/// be read hides an engine.
pub fn find_listening_sockets(
    tables: &mut dyn SocketTables,
    proc: &Path,
    namespaces: &Namespaces,
) -> Sighting<Vec<ListeningSocket>> {
    find_sockets(tables, proc, namespaces, false).listening
}

/// Finds the listening sockets and, if `with_connected` is set, in the same sweep the sockets that may be connected to
/// them.
pub fn find_sockets(
    tables: &mut dyn SocketTables,
    proc: &Path,
    namespaces: &Namespaces,
    with_connected: bool,
) -> SocketsSeen {
    let mut connected = with_connected.then(Connected::default);
    let listening = sweep(tables, proc, namespaces, &mut connected);
    SocketsSeen {
        listening,
        connected,
        is_cut: false,
    }
}

fn sweep(
    tables: &mut dyn SocketTables,
    proc: &Path,
    namespaces: &Namespaces,
    connected: &mut Option<Connected>,
) -> Sighting<Vec<ListeningSocket>> {
    let plan: Vec<&Namespace> = namespaces.known.iter().collect();
    let mut gaps = namespaces.gaps(Hides::Engine);
    let mut found = Vec::new();
    let mut unseen = Vec::new();
    let refused = tables.visit(
        &plan,
        &mut |netns, table| match read_listeners(netns, table, connected.as_mut()) {
            Ok(more) => found.extend(more),
            Err(error) => unseen.push(Unseen::not_dumped(netns, &error)),
        },
    );
    unseen.extend(refused.into_iter().map(Unseen::from));
    let mut looked = plan.len() - unseen.len();
    if let Some(connected) = connected {
        connected.unseen.clone_from(&unseen);
        connected.looked = looked;
    }
    for one in &unseen {
        let namespace = plan.iter().find(|namespace| namespace.netns == one.netns);
        if let Some(by_name) = namespace.and_then(|namespace| read_by_name(proc, namespace)) {
            looked += 1;
            // Without its file a listener cannot be distinguished from another one with the same name.
            if by_name.iter().any(|socket| socket.id().is_none()) {
                one.gap(Hides::Engine).fold_into(&mut gaps);
            }
            found.extend(by_name);
        } else {
            // An engine runs in a namespace with a process. A namespace that only a mount keeps changes no verdict.
            let is_empty = namespace.is_none_or(|namespace| namespace.members.is_empty());
            let hides = if is_empty { Hides::Detail } else { Hides::Engine };
            one.gap(hides).fold_into(&mut gaps);
        }
    }
    if looked == 0 {
        return none_seen(gaps, Hides::Engine);
    }
    // A socket that moved in its hash chain during the dump is listed twice.
    found.sort_by_key(|socket| socket.inode);
    found.dedup_by_key(|socket| socket.inode);
    Sighting::partial(found, gaps)
}

/// Returns the listeners of one namespace, with the clients that wait for them.
fn read_listeners(
    netns: NetNs,
    table: &mut dyn SocketTable,
    connected: Option<&mut Connected>,
) -> Result<Vec<ListeningSocket>, DumpError> {
    let mut sockets = match connected {
        None => collect_dump(table, Ask::Listening, &mut |row| listener(netns, row))?,
        Some(connected) => {
            let both = collect_dump(table, Ask::Both, &mut |row| match row.state {
                State::LISTENING => listener(netns, row).map(Picked::Listener),
                _ => ConnectedSocket::of(netns, row).map(Picked::Connected),
            })?;
            let mut sockets = Vec::new();
            for picked in both {
                match picked {
                    Picked::Listener(listener) => sockets.push(listener),
                    Picked::Connected(socket) => connected.sockets.push(socket),
                }
            }
            sockets
        }
    };
    let longest = sockets.iter().map(|(_, waiting)| *waiting).max().unwrap_or(0);
    if longest > 0 {
        let backlogs = collect_dump(table, Ask::Backlogs, &mut |row| {
            let clients: Vec<SocketInode> = row.icons().filter(|inode| inode.0 != 0).collect();
            Some((row.inode, clients))
        })?;
        let mut backlogs: HashMap<SocketInode, Vec<SocketInode>> = backlogs.into_iter().collect();
        for (socket, waiting) in &mut sockets {
            match backlogs.remove(&socket.inode) {
                Some(clients) => socket.pending = clients,
                // It was closed meanwhile, or the kernel's answer was truncated: see `Ask::Backlogs`.
                None if *waiting > 0 && longest >= LONG_BACKLOG => {
                    socket.unlisted = *waiting;
                }
                None => {}
            }
        }
    }
    Ok(sockets.into_iter().map(|(socket, _)| socket).collect())
}

/// A row of a dump of both, by kind.
enum Picked {
    Listener((ListeningSocket, u32)),
    Connected(ConnectedSocket),
}

/// Returns a listener and the number of clients that wait for it.
fn listener(netns: NetNs, row: &SocketRow<'_>) -> Option<(ListeningSocket, u32)> {
    Some((listening_socket(netns, row)?, row.waiting.unwrap_or(0)))
}

/// Returns the listener that has the name and the file of this row; none if the row has no name, or its kind never listens.
pub fn listening_socket(netns: NetNs, row: &SocketRow<'_>) -> Option<ListeningSocket> {
    Some(ListeningSocket {
        inode: row.inode,
        netns,
        name: row.kind.connects().then(|| bound_name(row.name?)).flatten()?,
        file: row.file,
        pending: Vec::new(),
        unlisted: 0,
    })
}

/// Returns the name in `sun_path`. Zero bytes in an abstract name are shown as `@`, like in `/proc/net/unix` and `ss`.
pub fn bound_name(sun_path: &[u8]) -> Option<SocketName> {
    match sun_path {
        [] => None,
        [0, name @ ..] => {
            let name: Vec<u8> = name.iter().map(|b| if *b == 0 { b'@' } else { *b }).collect();
            Some(SocketName::Abstract(lossy(&name)))
        }
        path => path
            .split(|byte| *byte == 0)
            .next()
            .map(|path| SocketName::Path(single_slashed(path))),
    }
}

/// Returns the name in a row of `/proc/net/unix`.
pub fn printed_name(name: &[u8]) -> SocketName {
    match name {
        [b'@', name @ ..] => SocketName::Abstract(lossy(name)),
        path => SocketName::Path(single_slashed(path)),
    }
}

/// Removes redundant slashes from a path: podman 3.0 binds `///run/podman/podman.sock`, and paths are compared with
/// other spellings of the same socket.
fn single_slashed(path: &[u8]) -> String {
    let mut path = path.to_vec();
    path.dedup_by(|next, previous| (*next, *previous) == (b'/', b'/'));
    lossy(&path)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns the listeners of a namespace whose table cannot be read otherwise, through the first member that still runs.
/// Returns none if that fails too.
fn read_by_name(proc: &Path, namespace: &Namespace) -> Option<Vec<ListeningSocket>> {
    namespace.members.iter().find_map(|pid| {
        let mut found = Vec::new();
        let read = unix_table::read_lines(proc, *pid, &mut |line| {
            if let (LineState::Listening, true, Some(name)) = (line.state, line.kind.connects(), line.name) {
                found.push((line.inode, printed_name(name)));
            }
        });
        read.ok()?;
        let sockets = found.into_iter().map(|(inode, name)| ListeningSocket {
            inode,
            netns: namespace.netns,
            file: file_of(proc, &namespace.members, &name),
            name,
            pending: Vec::new(),
            unlisted: 0,
        });
        Some(sockets.collect())
    })
}

/// Returns the file that has this name now for one of the members. It is not proven to be the bound one.
fn file_of(proc: &Path, members: &[Pid], name: &SocketName) -> Option<FileIdentity> {
    let SocketName::Path(path) = name else { return None };
    let path = path.strip_prefix('/')?;
    members.iter().take(ROOTS_TRIED).find_map(|pid| {
        let found: io::Result<fs::Metadata> = fs::symlink_metadata(proc.join(format!("{pid}/root")).join(path));
        let found = found.ok().filter(|file| file.file_type().is_socket())?;
        Some(FileIdentity::from_stat(found.dev(), found.ino()))
    })
}
