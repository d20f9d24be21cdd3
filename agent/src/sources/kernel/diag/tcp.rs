//! The records of `sock_diag` for TCP sockets: the requests, and the rows decoded from the replies.
//!
//! Relies on <https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/inet_diag.h> (the layout) and
//! <https://github.com/torvalds/linux/blob/v6.12/net/ipv4/inet_diag.c> (the contents). The interface exists since 3.3.
//! An MPTCP socket, which Go requests since 1.24, is listed by its subflows, which have its inode
//! (`mptcp_subflow_create_socket` of `net/mptcp/subflow.c`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{AF_INET, AF_INET6, DecodeError, HEADER_LEN, State, length_error, u32_at};
use crate::model::identity::SocketInode;

/// `IPPROTO_TCP` of ip(7).
const PROTOCOL: u8 = 6;
// struct inet_diag_sockid: be16 sport, be16 dport, be32 src[4], be32 dst[4], u32 if, u32 cookie[2]
const ENDS_LEN: usize = 48;
// struct inet_diag_req_v2: u8 family, u8 protocol, u8 ext, u8 pad, u32 states, struct inet_diag_sockid
const REQUEST_LEN: usize = 8 + ENDS_LEN;
// struct inet_diag_msg: u8 family, u8 state, u8 timer, u8 retrans, struct inet_diag_sockid, u32 expires, u32 rqueue,
// u32 wqueue, u32 uid, u32 inode
const ROW_LEN: usize = 4 + ENDS_LEN + 20;
const INODE_AT: usize = ROW_LEN - 4;

/// The address family of the requested TCP sockets: the kernel lists each family separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6, including sockets that accept both.
    V6,
}

impl Family {
    /// Both families.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    const fn number(self) -> u8 {
        match self {
            Self::V4 => AF_INET,
            Self::V6 => AF_INET6,
        }
    }
}

/// The contents of one dump.
///
/// The state is one, because the kernel has one table of all listeners and one, which is much larger, of all connections,
/// and walks a table for each network namespace in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpAsk {
    /// The family.
    pub family: Family,
    /// [`State::LISTENING`] or [`State::CONNECTED`].
    pub state: State,
}

impl TcpAsk {
    /// True if this request selects `row`. The kernel selects the same.
    pub fn takes(self, row: &TcpRow) -> bool {
        row.state == self.state && row.local.is_ipv4() == (self.family == Family::V4)
    }

    /// Returns the request, ready to be sent to the kernel (port 0).
    pub(super) fn request(self, sequence: u32) -> [u8; HEADER_LEN + REQUEST_LEN] {
        let states: u32 = 1 << (self.state.0 & 31);
        let mut bytes = super::ask::dump_header(sequence);
        bytes[HEADER_LEN] = self.family.number();
        bytes[HEADER_LEN + 1] = PROTOCOL;
        // Two bytes: no extension, padding.
        bytes[HEADER_LEN + 4..HEADER_LEN + 8].copy_from_slice(&states.to_ne_bytes());
        // The two ends are ignored in a dump.
        bytes
    }
}

/// A TCP socket that listens or is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpRow {
    /// Its inode; 0 if it is not accepted yet.
    pub inode: SocketInode,
    /// Its state.
    pub state: State,
    /// Its own address and port. An IPv4 address is shown as IPv4, whatever family it was listed in.
    pub local: SocketAddr,
    /// The peer's address and port; zero for a listener.
    pub remote: SocketAddr,
}

/// Reads a row of a TCP dump.
pub(super) fn decode(payload: &[u8]) -> Result<TcpRow, DecodeError> {
    let (Some(row), Some(inode)) = (payload.get(..ROW_LEN), u32_at(payload, INODE_AT)) else {
        return Err(length_error("row", ROW_LEN, payload));
    };
    let end = |port: usize, address: usize| {
        let port = u16::from_be_bytes([row[port], row[port + 1]]);
        let octets = &row[address..address + 16];
        let address = match row[0] {
            AF_INET => octets.first_chunk::<4>().map(|four| IpAddr::V4(Ipv4Addr::from(*four))),
            _ => octets
                .first_chunk::<16>()
                .map(|all| Ipv6Addr::from(*all).to_canonical()),
        };
        Some(SocketAddr::new(address?, port))
    };
    let (Some(local), Some(remote)) = (end(4, 8), end(6, 24)) else {
        return Err(length_error("row", ROW_LEN, payload));
    };
    Ok(TcpRow {
        inode: SocketInode(inode),
        state: State(row[1]),
        local,
        remote,
    })
}

/// Writes a row for [`decode`], for tests and for recorded tables.
#[cfg(any(test, feature = "recorded"))]
pub(super) fn encode(row: &TcpRow) -> [u8; ROW_LEN] {
    let mut bytes = [0; ROW_LEN];
    bytes[0] = if row.local.is_ipv4() { AF_INET } else { AF_INET6 };
    bytes[1] = row.state.0;
    for (end, port, address) in [(row.local, 4, 8), (row.remote, 6, 24)] {
        bytes[port..port + 2].copy_from_slice(&end.port().to_be_bytes());
        match end.ip() {
            IpAddr::V4(ip) => bytes[address..address + 4].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => bytes[address..address + 16].copy_from_slice(&ip.octets()),
        }
    }
    bytes[INODE_AT..].copy_from_slice(&row.inode.0.to_ne_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(local: &str, remote: &str) -> TcpRow {
        TcpRow {
            inode: SocketInode(77),
            state: State::CONNECTED,
            local: local.parse().expect("an address"),
            remote: remote.parse().expect("an address"),
        }
    }

    #[test]
    fn rows_of_both_families_are_read_and_truncated_ones_refused() {
        for row in [
            row("127.0.0.1:2375", "127.0.0.1:40000"),
            row("[2001:db8::1]:2376", "[2001:db8::2]:50000"),
        ] {
            let bytes = encode(&row);
            assert_eq!(decode(&bytes), Ok(row));
            for end in 0..bytes.len() {
                assert!(decode(&bytes[..end]).is_err(), "{end} bytes");
            }
        }
    }

    #[test]
    fn an_ipv4_address_is_shown_as_ipv4_in_either_family() {
        let mapped = row("[::ffff:10.0.0.1]:2375", "[::ffff:10.0.0.2]:40000");
        assert_eq!(decode(&encode(&mapped)), Ok(row("10.0.0.1:2375", "10.0.0.2:40000")));
    }
}
