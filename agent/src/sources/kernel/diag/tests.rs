use super::encode::{Reply, SocketFacts};
use super::*;

const OURS: Envelope = Envelope {
    sequence: 7,
    port: 10874,
};

/// Recorded on Linux 6.18 (little-endian): a listener with one waiting client, the server's end of an accepted
/// connection, and the end of the dump. Requested with every `UDIAG_SHOW_*` up to RQLEN.
#[cfg(target_endian = "little")]
#[rustfmt::skip]
const CAPTURED: &[u8] = &[
    // nlmsghdr
    0x5c, 0, 0, 0,          // nlmsg_len 92
    20, 0, 2, 0,            // nlmsg_type SOCK_DIAG_BY_FAMILY, nlmsg_flags NLM_F_MULTI
    7, 0, 0, 0,             // nlmsg_seq
    0x7a, 0x2a, 0, 0,       // nlmsg_pid 10874
    // unix_diag_msg
    1, 1, 10, 0,            // AF_UNIX, SOCK_STREAM, TCP_LISTEN, padding
    0xe7, 0x97, 0, 0,       // udiag_ino 38887
    5, 0, 0, 0, 0, 0, 0, 0, // udiag_cookie
    // nlattr UNIX_DIAG_NAME: 4 + 15 bytes and one of padding
    19, 0, 0, 0,
    b'/', b't', b'm', b'p', b'/', b's', b'k', b'/', b'd', b'.', b's', b'o', b'c', b'k', 0, 0,
    // nlattr UNIX_DIAG_VFS
    12, 0, 1, 0,
    0x1f, 0x80, 0x98, 0,    // udiag_vfs_ino 9994271, as in stat(2)
    0, 0, 0xe0, 0x0f,       // udiag_vfs_dev 254 << 20, which is 0xfe00 in stat(2)
    // nlattr UNIX_DIAG_ICONS
    8, 0, 3, 0,
    0xea, 0x97, 0, 0,       // the waiting client, 38890
    // nlattr UNIX_DIAG_RQLEN
    12, 0, 4, 0,
    1, 0, 0, 0,             // udiag_rqueue: one waiting client
    8, 0, 0, 0,             // udiag_wqueue: listen(8)
    // nlattr UNIX_DIAG_SHUTDOWN, which is always sent: 4 + 1 bytes and three of padding
    5, 0, 6, 0,
    0, 0, 0, 0,

    // nlmsghdr: 92 bytes
    0x5c, 0, 0, 0, 20, 0, 2, 0, 7, 0, 0, 0, 0x7a, 0x2a, 0, 0,
    // unix_diag_msg: AF_UNIX, SOCK_STREAM, TCP_ESTABLISHED, inode 38889
    1, 1, 1, 0, 0xe9, 0x97, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0,
    // UNIX_DIAG_NAME and UNIX_DIAG_VFS: its listener's
    19, 0, 0, 0,
    b'/', b't', b'm', b'p', b'/', b's', b'k', b'/', b'd', b'.', b's', b'o', b'c', b'k', 0, 0,
    12, 0, 1, 0, 0x1f, 0x80, 0x98, 0, 0, 0, 0xe0, 0x0f,
    // UNIX_DIAG_PEER: the client's end, 38888
    8, 0, 2, 0, 0xe8, 0x97, 0, 0,
    // UNIX_DIAG_RQLEN: nothing unread; UNIX_DIAG_SHUTDOWN
    12, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    5, 0, 6, 0, 0, 0, 0, 0,

    // nlmsghdr: 20 bytes, NLMSG_DONE, and an `int` of 0
    20, 0, 0, 0, 3, 0, 2, 0, 7, 0, 0, 0, 0x7a, 0x2a, 0, 0, 0, 0, 0, 0,
];

fn file() -> FileIdentity {
    FileIdentity::from_stat(0xfe00, 9_994_271)
}

fn read(bytes: &[u8]) -> Vec<Result<Message<'_>, DecodeError>> {
    Messages::new(bytes, OURS).collect()
}

#[cfg(target_endian = "little")]
#[test]
fn a_captured_reply_is_read() {
    let messages = read(CAPTURED);
    let [
        Ok(Message::SocketRow(listener)),
        Ok(Message::SocketRow(accepted)),
        Ok(Message::Done),
    ] = *messages
    else {
        panic!("{messages:?}");
    };
    assert_eq!(listener.inode, SocketInode(38887));
    assert_eq!((listener.kind, listener.state), (Kind::STREAM, State::LISTENING));
    assert_eq!(listener.name, Some(&b"/tmp/sk/d.sock\0"[..]));
    assert_eq!(listener.file, Some(file()));
    assert_eq!((listener.peer, listener.waiting), (None, Some(1)));
    assert_eq!(listener.icons().collect::<Vec<_>>(), [SocketInode(38890)]);

    assert_eq!(accepted.inode, SocketInode(38889));
    assert_eq!(accepted.state, State::CONNECTED);
    assert_eq!((accepted.name, accepted.file), (listener.name, listener.file));
    assert_eq!(accepted.peer, Some(SocketInode(38888)));
    assert_eq!(accepted.icons().count(), 0);
}

#[cfg(target_endian = "little")]
#[test]
fn every_truncated_reply_is_an_error_or_lacks_its_end() {
    let whole = read(CAPTURED);
    for end in 0..CAPTURED.len() {
        let cut = read(&CAPTURED[..end]);
        assert!(!cut.contains(&Ok(Message::Done)), "{end} bytes");
        let (last, rows) = match cut.split_last() {
            Some((Err(error), rows)) => (Some(error), rows),
            _ => (None, &*cut),
        };
        assert_eq!(rows, &whole[..rows.len()], "{end} bytes");
        // Without an error it was cut between two messages.
        assert!(last.is_some() || [0, 92, 184].contains(&end), "{end} bytes");
    }
}

#[cfg(target_endian = "little")]
#[test]
fn no_single_wrong_byte_panics() {
    let mut bytes = CAPTURED.to_vec();
    for at in 0..bytes.len() {
        let right = bytes[at];
        for wrong in [0, 1, 3, 4, 0x7f, 0x80, 0xff] {
            bytes[at] = wrong;
            for message in read(&bytes).into_iter().flatten() {
                if let Message::SocketRow(row) = message {
                    assert_ne!(row.inode.0, 0);
                    let _ = row.icons().count();
                }
            }
        }
        bytes[at] = right;
    }
}

#[test]
fn an_encoded_dump_is_decoded_again() {
    let icons = [SocketInode(9), SocketInode(0)];
    let sockets = [
        SocketFacts {
            icons: &icons,
            ..SocketFacts::listening(1, b"/run/docker.sock\0", Some(file()))
        },
        SocketFacts::accepted(2, b"/run/docker.sock\0", Some(file()), 3),
        SocketFacts::client(3, 2),
        SocketFacts {
            kind: Kind::SEQUENCED,
            ..SocketFacts::listening(4, b"\0\xff\0", None)
        },
    ];
    let bytes = Reply::dump(OURS, &sockets);
    let messages = read(&bytes);
    assert_eq!(messages.last(), Some(&Ok(Message::Done)));
    let rows: Vec<SocketRow<'_>> = messages
        .iter()
        .filter_map(|message| match message {
            Ok(Message::SocketRow(row)) => Some(*row),
            _ => None,
        })
        .collect();
    assert_eq!(rows.len(), sockets.len());
    for (row, facts) in rows.iter().zip(&sockets) {
        assert_eq!((row.inode, row.kind, row.state), (facts.inode, facts.kind, facts.state));
        assert_eq!((row.name, row.file, row.peer), (facts.name, facts.file, facts.peer));
        assert_eq!(row.icons().collect::<Vec<_>>(), facts.icons);
    }
}

/// Returns a message of `kind` with `flags` and `payload`, addressed to [`OURS`].
fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER_LEN + payload.len()).expect("a short message");
    [
        &length.to_ne_bytes()[..],
        &kind.to_ne_bytes(),
        &flags.to_ne_bytes(),
        &OURS.sequence.to_ne_bytes(),
        &OURS.port.to_ne_bytes(),
        payload,
    ]
    .concat()
}

#[test]
fn ends_and_refusals_are_decoded() {
    let number = |errno: i32| errno.to_ne_bytes();
    for (bytes, expected) in [
        (message(NLMSG_DONE, 2, &number(0)), Ok(Message::Done)),
        (message(NLMSG_DONE, 2, &[]), Ok(Message::Done)),
        (message(NLMSG_DONE, 2, &number(-105)), Ok(Message::Refused(105))),
        (message(NLMSG_ERROR, 0, &number(-2)), Ok(Message::Refused(2))),
        (
            message(NLMSG_ERROR, 0, &number(i32::MIN)),
            Ok(Message::Refused(i32::MAX)),
        ),
        (message(NLMSG_ERROR, 0, &number(0)), Err(DecodeError::Type(NLMSG_ERROR))),
        (message(NLMSG_DONE, 2, &number(5)), Err(DecodeError::Type(NLMSG_DONE))),
        (message(NLMSG_OVERRUN, 2, &[]), Ok(Message::Overrun)),
        (
            message(NLMSG_DONE, NLM_F_DUMP_INTR | 2, &number(0)),
            Ok(Message::Interrupted),
        ),
        (message(16, 2, &[]), Err(DecodeError::Type(16))),
        (
            message(NLMSG_ERROR, 0, &[1]),
            Err(DecodeError::Length {
                what: "error number",
                said: 4,
                left: 1,
            }),
        ),
    ] {
        assert_eq!(read(&bytes), [expected]);
    }
    let padded = [message(NLMSG_NOOP, 0, &[]), message(NLMSG_DONE, 2, &number(0))].concat();
    assert_eq!(read(&padded), [Ok(Message::Done)]);
}

#[test]
fn invalid_rows_are_errors() {
    let head = |family: u8, inode: u32| [&[family, 1, 1, 0], &inode.to_ne_bytes()[..], &[0; 8]].concat();
    let attribute = |kind: u16, value: &[u8]| {
        let length = u16::try_from(4 + value.len()).expect("a short attribute");
        [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat()
    };
    let length = |what, said, left| Err(DecodeError::Length { what, said, left });
    for (attributes, family, inode, expected) in [
        (vec![], 16, 5, Err(DecodeError::Family(16))),
        (vec![], 1, 0, Err(DecodeError::NoInode)),
        (vec![0; 2], 1, 5, length("row", 4, 2)),
        (
            vec![3, 0, 0, 0],
            1,
            5,
            length("attribute", usize::from(u16::from_ne_bytes([3, 0])), 4),
        ),
        (vec![0xff, 0xff, 0, 0], 1, 5, length("attribute", 0xffff, 4)),
        (attribute(ATTR_VFS, &[0; 7]), 1, 5, length("file attribute", 8, 7)),
        (attribute(ATTR_PEER, &[0; 3]), 1, 5, length("peer attribute", 4, 3)),
        (attribute(ATTR_ICONS, &[0; 6]), 1, 5, length("backlog attribute", 8, 6)),
        (attribute(ATTR_RQLEN, &[]), 1, 5, length("queue attribute", 8, 0)),
    ] {
        let bytes = message(SOCK_DIAG_BY_FAMILY, 2, &[head(family, inode), attributes].concat());
        assert_eq!(read(&bytes), [expected]);
    }
    // An unknown attribute is skipped, also with flags in the top bits of its type.
    let newer = [head(1, 5), attribute(0xc063, &[1, 2, 3, 4]), attribute(ATTR_NAME, &[])].concat();
    let bytes = message(SOCK_DIAG_BY_FAMILY, 2, &newer);
    let messages = read(&bytes);
    let [Ok(Message::SocketRow(row))] = *messages else {
        panic!("{messages:?}");
    };
    assert_eq!((row.inode.0, row.name), (5, None));
}

#[test]
fn replies_to_others_are_refused() {
    for (sequence, port) in [(8, OURS.port), (OURS.sequence, 1)] {
        let bytes = Reply::dump(Envelope { sequence, port }, &[]);
        assert_eq!(read(&bytes), [Err(DecodeError::NotOurs { sequence, port })]);
    }
}

#[cfg(target_endian = "little")]
#[test]
fn a_request_is_written_field_by_field() {
    #[rustfmt::skip]
    let expected = [
        40, 0, 0, 0,                 // nlmsg_len
        20, 0, 1, 3,                 // SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP
        0x44, 0x33, 0x22, 0x11,      // nlmsg_seq
        0, 0, 0, 0,                  // nlmsg_pid
        1, 0, 0, 0,                  // AF_UNIX, protocol, padding
        2, 0, 0, 0,                  // udiag_states 1 << TCP_ESTABLISHED
        0, 0, 0, 0,                  // udiag_ino
        7, 0, 0, 0,                  // udiag_show NAME | VFS | PEER
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    ];
    assert_eq!(Ask::Connected.request(0x1122_3344), expected);
    // Rows of any length come only if they are requested alone: see `Ask::Backlogs`.
    assert_eq!(
        Ask::Listening.request(0)[20..32],
        [0, 4, 0, 0, 0, 0, 0, 0, 0x13, 0, 0, 0]
    );
    assert_eq!(Ask::Backlogs.request(0)[20..32], [0, 4, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0]);
    assert!(Ask::Connected.takes(State::CONNECTED) && !Ask::Connected.takes(State::LISTENING));
    assert!(Ask::Listening.takes(State::LISTENING) && !Ask::Listening.takes(State(7)));
}
