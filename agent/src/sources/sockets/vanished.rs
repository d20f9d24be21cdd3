//! Listeners that are known only from their connections: they were closed while clients were connected, or belong to
//! another machine whose socket is mounted here, or to a process that castoff cannot see.
//!
//! An accepted socket has the bound file and the name of its listener, and is in its client's network namespace.

use std::collections::{BTreeMap, BTreeSet};

use super::connected::Connected;
use super::listening::listening_socket;
use crate::model::reading::Gap;
use crate::model::socket::{ListenerId, ListeningSocket, SocketName};
use crate::sources::host_files::SocketPlaces;

/// Returns the listeners of accepted connections that are not among `listening`, each with the server's end of one of
/// its connections. A listener whose file is at the usual path of an engine's socket gets that path as its name,
/// whatever name it was bound to. If a listener may be at such a path and not all paths could be read, adds the gaps of
/// the paths to `gaps`.
pub(super) fn find_vanished(
    listening: &[ListeningSocket],
    connected: &Connected,
    places: &SocketPlaces,
    gaps: &mut Vec<Gap>,
) -> Vec<ListeningSocket> {
    let known: BTreeSet<ListenerId> = listening.iter().filter_map(ListeningSocket::id).collect();
    let mut found: BTreeMap<ListenerId, ListeningSocket> = BTreeMap::new();
    for socket in &connected.sockets {
        let Some(listener) = listening_socket(socket.netns, &socket.row()) else {
            continue;
        };
        if let Some(id) = listener.id().filter(|id| !known.contains(id)) {
            let kept = found.entry(id).or_insert_with(|| listener.clone());
            // The lowest inode is taken, so that each look reports the same.
            if listener.inode < kept.inode {
                *kept = listener;
            }
        }
    }
    let mut found: Vec<ListeningSocket> = found.into_values().collect();
    let mut is_complete = true;
    for listener in &mut found {
        let Some(file) = listener.file else { continue };
        match places.files.reading.items().iter().find(|(_, there)| *there == file) {
            Some((path, _)) => listener.name = SocketName::Path((*path).to_owned()),
            None => is_complete = false,
        }
    }
    if !is_complete {
        places.files.all_gaps().for_each(|gap| gap.clone().fold_into(gaps));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::identity::{FileIdentity, NetNs, SocketInode};
    use crate::model::reading::{Hides, Reason, Sighting};
    use crate::sources::kernel::diag::{SocketRow, State};
    use crate::sources::sockets::connected::ConnectedSocket;

    fn file(inode: u32) -> FileIdentity {
        FileIdentity::from_stat(0x19, inode.into())
    }

    fn accepted(inode: u32, netns: u64, name: &[u8], file: Option<FileIdentity>) -> ConnectedSocket {
        let mut row = SocketRow::bare(SocketInode(inode), State::CONNECTED);
        (row.name, row.file, row.peer) = (Some(name), file, Some(SocketInode(9)));
        ConnectedSocket::of(NetNs(netns), &row).expect("it has a name")
    }

    /// Returns the places with this file at Docker's usual path. Podman's could not be read, which the gap reports.
    fn places(docker: FileIdentity) -> (SocketPlaces, Gap) {
        let lost = Gap::new(
            Reason::PermissionDenied,
            Hides::Engine,
            "/run/podman/podman.sock",
            "EACCES",
        );
        let found = vec![("/run/docker.sock", docker)];
        let places = SocketPlaces {
            files: Sighting::partial(found, vec![lost.clone()]),
            ports: Sighting::absent(),
        };
        (places, lost)
    }

    #[test]
    fn a_listener_that_is_gone_is_found_from_its_connection() {
        let foreign = file(3);
        let (places, lost) = places(foreign);
        let known = ListeningSocket {
            inode: SocketInode(1),
            netns: NetNs(10),
            name: SocketName::Path("/run/known.sock".into()),
            file: Some(file(1)),
            pending: Vec::new(),
            unlisted: 0,
        };
        let connected = Connected {
            sockets: vec![
                accepted(50, 20, b"/run/known.sock\0", Some(file(1))),
                accepted(51, 10, b"/srv/closed.sock\0", Some(file(2))),
                accepted(52, 20, b"/srv/closed.sock\0", Some(file(2))),
                accepted(53, 10, b"/home/outer.sock\0", Some(foreign)),
                accepted(54, 10, b"\0engine", None),
                accepted(55, 20, b"\0engine", None),
            ],
            ..Connected::default()
        };
        let mut gaps = Vec::new();
        let found = find_vanished(&[known], &connected, &places, &mut gaps);
        let mut said: Vec<_> = found.iter().map(|l| (l.inode.0, l.name.to_string())).collect();
        said.sort();
        let expected = [
            (51, "/srv/closed.sock"),
            (53, "/run/docker.sock"),
            (54, "@engine"),
            (55, "@engine"),
        ];
        assert_eq!(said, expected.map(|(inode, name)| (inode, name.to_owned())));
        assert_eq!(gaps, [lost]);
    }

    #[test]
    fn gaps_of_places_are_reported_only_if_a_listener_may_be_there() {
        let foreign = file(3);
        let (places, _) = places(foreign);
        let connected = Connected {
            sockets: vec![
                accepted(53, 10, b"/home/outer.sock\0", Some(foreign)),
                accepted(54, 10, b"\0engine", None),
            ],
            ..Connected::default()
        };
        let mut gaps = Vec::new();
        find_vanished(&[], &connected, &places, &mut gaps);
        assert_eq!(gaps, []);
    }
}
