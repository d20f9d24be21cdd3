//! Unix sockets by `/proc/<pid>/net/unix`: their names and states, but neither files nor peers.
//!
//! Any user may read it, for any network namespace. Therefore it is used if `sock_diag` is missing or a namespace
//! cannot be entered. It proves less: a name is the path in the server's own mount namespace, and a name may contain
//! newlines, so a process can forge rows (in its own namespace's table only).
//!
//! Relies on the row format of `unix_seq_show`, <https://github.com/torvalds/linux/blob/v6.12/net/unix/af_unix.c>.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::diag::Kind;
use crate::model::identity::{Pid, SocketInode};

/// The most bytes that are read of one table: some 500,000 sockets.
const TABLE_LIMIT: u64 = 64 << 20;

/// `__SO_ACCEPTCON` of <https://github.com/torvalds/linux/blob/v6.12/include/linux/net.h>: the socket listens.
const ACCEPTS: u32 = 1 << 16;

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The socket's inode; 0 if it is not accepted yet or is closed.
    pub inode: SocketInode,
    /// Its type.
    pub kind: Kind,
    /// The state of the socket.
    pub state: LineState,
    /// The bound name: a path, or `@` and an abstract name with `@` for each zero byte. A socket that is accepted, or
    /// waits to be accepted, has its listener's.
    pub name: Option<&'a [u8]>,
}

/// The state of a socket in this table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineState {
    /// It listens.
    Listening,
    /// It is connected and belongs to a process.
    Connected,
    /// It is the server's end of a connection that is not accepted yet.
    Waiting,
    /// None of these.
    Other,
}

/// Reads a row. Returns none for the heading and for a line that is no row.
pub fn parse_line(line: &[u8]) -> Option<Line<'_>> {
    // Num RefCount Protocol Flags Type St Inode Path, separated by blanks; the path may contain blanks.
    let mut rest = line;
    let mut field = || {
        let start = rest.iter().position(|byte| *byte != b' ')?;
        let end = rest[start..].iter().position(|byte| *byte == b' ');
        let end = end.map_or(rest.len(), |length| start + length);
        let field = str::from_utf8(&rest[start..end]).ok();
        rest = &rest[end..];
        field
    };
    let (number, _references, _protocol) = (field()?, field()?, field()?);
    let flags = u32::from_str_radix(field()?, 16).ok()?;
    let kind = u8::from_str_radix(field()?, 16).ok()?;
    let state = u8::from_str_radix(field()?, 16).ok()?;
    let inode = field()?.parse().ok()?;
    let is_row = number
        .strip_suffix(':')
        .is_some_and(|n| u64::from_str_radix(n, 16).is_ok());
    is_row.then(|| Line {
        inode: SocketInode(inode),
        kind: Kind(kind),
        state: match state {
            _ if flags & ACCEPTS != 0 => LineState::Listening,
            // SS_CONNECTED and SS_CONNECTING of include/uapi/linux/net.h; the latter is shown for a connected socket
            // without a `struct socket`.
            3 => LineState::Connected,
            2 => LineState::Waiting,
            _ => LineState::Other,
        },
        name: rest.strip_prefix(b" ").filter(|name| !name.is_empty()),
    })
}

/// Calls `each` with every row of the table of process `pid`'s network namespace.
///
/// Errors: that of the host; `InvalidData` if the file is not such a table or exceeds 64 MiB.
pub fn read_lines(proc: &Path, pid: Pid, each: &mut dyn FnMut(&Line<'_>)) -> io::Result<()> {
    let file = File::open(table_path(proc, pid))?;
    let mut reader = BufReader::new(file.take(TABLE_LIMIT));
    let mut line = Vec::new();
    if reader.read_until(b'\n', &mut line)? > 0 && !line.starts_with(b"Num") {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no table of Unix sockets"));
    }
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if let Some(row) = parse_line(line.strip_suffix(b"\n").unwrap_or(&line)) {
            each(&row);
        }
    }
    if reader.get_ref().limit() == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "more than 64 MiB"));
    }
    Ok(())
}

/// Returns the path of the table of process `pid`'s network namespace.
pub(crate) fn table_path(proc: &Path, pid: Pid) -> PathBuf {
    proc.join(format!("{pid}/net/unix"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn rows_of_the_kernel_are_read() {
        // Recorded on Linux 6.18.
        let listening = &b"000000002bc97c92: 00000002 00000000 00010000 0001 01 38887 /tmp/a b/d.sock"[..];
        let waiting = &b"00000000193f53c1: 00000003 00000000 00000000 0001 02     0 /tmp/d.sock"[..];
        let accepted = &b"0000000033c79c20: 00000003 00000000 00000000 0001 03 38889 /tmp/d.sock"[..];
        let unbound = &b"0000000033c79c20: 00000003 00000000 00000000 0001 03 38888"[..];
        let abstract_name = &b"000000004d7ccd3d: 00000002 00000000 00010000 0005 01 38891 @abs@\xff"[..];
        for (line, inode, state, name) in [
            (listening, 38887, LineState::Listening, Some(&b"/tmp/a b/d.sock"[..])),
            (waiting, 0, LineState::Waiting, Some(b"/tmp/d.sock")),
            (accepted, 38889, LineState::Connected, Some(b"/tmp/d.sock")),
            (unbound, 38888, LineState::Connected, None),
            (abstract_name, 38891, LineState::Listening, Some(b"@abs@\xff")),
        ] {
            let row = parse_line(line).expect("a row");
            assert_eq!((row.inode.0, row.state, row.name), (inode, state, name));
            assert!(row.kind.connects());
        }
    }

    #[test]
    fn other_lines_are_not_rows() {
        for line in [
            &b""[..],
            b"Num       RefCount Protocol Flags    Type St Inode Path",
            b"00000000193f53c1: 00000003 00000000 00000000 0001 03",
            b"00000000193f53c1 00000003 00000000 00000000 0001 03 7 /x",
            b"00000000193f53c1: 00000003 00000000 00000000 0001 03 99999999999 /x",
            b"\xff\xff: \xff \xff \xff \xff \xff \xff",
            b"       ",
        ] {
            assert_eq!(parse_line(line), None, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn every_truncated_row_is_a_row_or_none() {
        let line = b"0000000033c79c20: 00000003 00000000 00000000 0001 03 38889 /tmp/d.sock";
        for end in 0..line.len() {
            let _ = parse_line(&line[..end]);
        }
    }

    #[test]
    fn a_mebibyte_without_a_line_break_is_read_and_garbage_refused() {
        let proc = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir_all(proc.path().join("7/net")).expect("an empty directory");
        let path = table_path(proc.path(), Pid(7));
        let row = b"\n0000000033c79c20: 00000003 00000000 00000000 0001 03 38889 /x\n";
        fs::write(&path, [b"Num ", &*vec![b'x'; 1 << 20], row].concat()).expect("a file");
        let mut rows = 0;
        read_lines(proc.path(), Pid(7), &mut |_| rows += 1).expect("a table");
        assert_eq!(rows, 1);

        fs::write(&path, b"\x7fELF").expect("a file");
        let error = read_lines(proc.path(), Pid(7), &mut |_| {}).expect_err("no table");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
