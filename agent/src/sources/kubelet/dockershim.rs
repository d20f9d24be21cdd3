//! Whether a kubelet serves CRI for Docker by itself, by the socket that it holds: the name of the socket proves
//! nothing, and who listens on it does.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use crate::model::identity::SocketInode;
use crate::sources::HostPaths;
use crate::sources::processes::{ProcessEntry, ProcessReader};

/// The most that is read of a table of Unix sockets: some 100,000 lines.
const TABLE_MAX: u64 = 16 << 20;

/// Some(true) where the process listens on a `dockershim.sock`; none where it does not, or where that may not be read:
/// a kubelet without one may be any.
pub(super) fn serves_dockershim(host: &HostPaths, reader: &ProcessReader, entry: &ProcessEntry) -> Option<bool> {
    let path = host.proc.join(entry.key.pid.to_string()).join("net/unix");
    let table = BufReader::new(File::open(path).ok()?.take(TABLE_MAX));
    let named: Vec<SocketInode> = table
        .split(b'\n')
        .map_while(Result::ok)
        .filter_map(|l| listener(&l))
        .collect();
    if named.is_empty() {
        return None;
    }
    let mut held = false;
    reader
        .read_sockets(entry.key, &mut |_, socket| held |= named.contains(&socket))
        .ok()?;
    held.then_some(true)
}

/// `Num RefCount Protocol Flags Type St Inode Path` (proc(5)): the inode where the line is a listener
/// (`__SO_ACCEPTCON`, include/linux/net.h) of that name.
fn listener(line: &[u8]) -> Option<SocketInode> {
    let line = std::str::from_utf8(line).ok()?;
    let mut fields = line.split_ascii_whitespace();
    let flags = u32::from_str_radix(fields.nth(3)?, 16).ok()?;
    let inode = fields.nth(2)?.parse().ok()?;
    (flags & 0x1_0000 != 0 && fields.next()?.ends_with("/dockershim.sock")).then_some(SocketInode(inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_listener_of_that_name_counts() {
        for (line, inode) in [
            (
                "0000: 00000002 00000000 00010000 0001 01 4711 /var/run/dockershim.sock",
                Some(4711),
            ),
            (
                "0000: 00000003 00000000 00000000 0001 03 4711 /var/run/dockershim.sock",
                None,
            ),
            ("0000: 00000002 00000000 00010000 0001 01 4711 /run/docker.sock", None),
            ("0000: 00000002 00000000 00010000 0001 01 4711", None),
            ("Num       RefCount Protocol Flags    Type St Inode Path", None),
            ("", None),
        ] {
            assert_eq!(listener(line.as_bytes()), inode.map(SocketInode), "{line}");
        }
        assert_eq!(listener(b"0: 2 0 00010000 1 1 4711 /\xff/dockershim.sock"), None);
    }
}
