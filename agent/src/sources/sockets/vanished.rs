//! Listeners that only their connections tell of: they were closed under their clients, or are of another machine whose
//! socket is mounted here, or of a process outside of all that castoff sees.
//!
//! An accepted socket carries the bound file and the name of its listener, and is in its client's network namespace.

use std::collections::{BTreeMap, BTreeSet};

use super::connected::Connected;
use super::listening::bound_name;
use crate::model::identity::FileIdentity;
use crate::model::socket::{ListenerId, ListeningSocket, SocketName};
use crate::sources::docker::SOCKET_PATHS;
use crate::sources::kernel::rooted::Rooted;

/// The listeners of accepted connections that are not among `listening`, each with the server's end of one of them. One whose
/// file is where engines have theirs is called so, whatever its own machine called it.
pub(super) fn find_vanished(
    listening: &[ListeningSocket],
    connected: &Connected,
    host: Option<&Rooted>,
) -> Vec<ListeningSocket> {
    let known: BTreeSet<ListenerId> = listening.iter().filter_map(ListeningSocket::id).collect();
    let mut found: BTreeMap<ListenerId, ListeningSocket> = BTreeMap::new();
    for socket in &connected.sockets {
        let row = socket.row();
        let Some(name) = row.name.filter(|_| row.kind.connects()).and_then(bound_name) else {
            continue;
        };
        let listener = ListeningSocket {
            inode: row.inode,
            netns: socket.netns,
            name,
            file: row.file,
            pending: Vec::new(),
            unlisted: 0,
        };
        if let Some(id) = listener.id().filter(|id| !known.contains(id)) {
            let kept = found.entry(id).or_insert_with(|| listener.clone());
            // The lowest, so that it is the same in each look.
            if listener.inode < kept.inode {
                *kept = listener;
            }
        }
    }
    let mut found: Vec<ListeningSocket> = found.into_values().collect();
    if let Some(host) = host
        && found.iter().any(|listener| listener.file.is_some())
    {
        let places = find_places(host);
        for listener in &mut found {
            let place = places.iter().find(|(_, file)| Some(*file) == listener.file);
            if let Some((path, _)) = place {
                listener.name = SocketName::Path((*path).to_owned());
            }
        }
    }
    found
}

/// What is where engines have their sockets.
fn find_places(host: &Rooted) -> Vec<(&'static str, FileIdentity)> {
    let place = |path: &&'static str| Some((*path, host.read_identity(path).ok()?.0));
    SOCKET_PATHS.iter().filter_map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::identity::{NetNs, SocketInode};
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

    #[test]
    fn a_connection_whose_listener_is_gone_tells_of_it() {
        let root = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(root.path().join("run")).expect("an empty directory");
        let mounted = root.path().join("run/docker.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&mounted).expect("a free name");
        let host = Rooted::open(root.path()).expect("it is there");
        let (foreign, _) = host.read_identity("/run/docker.sock").expect("it is there");
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
        let found = find_vanished(&[known], &connected, Some(&host));
        let mut said: Vec<_> = found.iter().map(|l| (l.inode.0, l.name.to_string())).collect();
        said.sort();
        let expected = [
            (51, "/srv/closed.sock"),
            (53, "/run/docker.sock"),
            (54, "@engine"),
            (55, "@engine"),
        ];
        assert_eq!(said, expected.map(|(inode, name)| (inode, name.to_owned())));
    }
}
