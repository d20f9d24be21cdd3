//! Whether a kubelet serves CRI for Docker by itself, by the socket that it holds: the name of the socket proves
//! nothing, and who listens on it does.

use crate::model::identity::SocketInode;
use crate::sources::HostPaths;
use crate::sources::kernel::unix_table::{LineState, read_lines};
use crate::sources::processes::{ProcessEntry, ProcessReader};

/// Some(true) where the process listens on a `dockershim.sock`; none where it does not, or where that may not be read:
/// a kubelet without one may be any.
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
