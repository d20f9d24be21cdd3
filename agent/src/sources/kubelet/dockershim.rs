//! Detects a kubelet that serves CRI for Docker itself, by the socket that it holds. The name of a socket proves
//! nothing, but the process that listens on it does.

use crate::model::identity::SocketInode;
use crate::sources::HostPaths;
use crate::sources::kernel::unix_table::{LineState, read_lines};
use crate::sources::processes::{ProcessEntry, ProcessReader};

/// Returns true if the process listens on a `dockershim.sock`; none if it does not or its sockets may not be read,
/// because a kubelet without one may be of any version.
pub(super) fn serves_dockershim(host: &HostPaths, reader: &ProcessReader, entry: &ProcessEntry) -> Option<bool> {
    let mut named: Vec<SocketInode> = Vec::new();
    let read = read_lines(&host.proc, entry.key.pid, &mut |line| {
        let is_dockershim = line.name.is_some_and(|name| name.ends_with(b"/dockershim.sock"));
        if line.state == LineState::Listening && is_dockershim {
            named.push(line.inode);
        }
    });
    read.ok()?;
    if named.is_empty() {
        return None;
    }
    let mut held = false;
    reader
        .read_sockets(entry.key, &mut |_, socket| held |= named.contains(&socket))
        .ok()?;
    held.then_some(true)
}
