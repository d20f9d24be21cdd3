//! The requests of `sock_diag`: their 40 bytes, and the reason why there are several.

use super::{AF_UNIX, HEADER_LEN, SOCK_DIAG_BY_FAMILY, State, TCP_ESTABLISHED, TCP_LISTEN};

// struct unix_diag_req: u8 family, u8 protocol, u16 pad, u32 states, u32 ino, u32 show, u32 cookie[2]
const REQUEST_LEN: usize = 24;
const NLM_F_REQUEST: u16 = 0x01; // these two of include/uapi/linux/netlink.h
const NLM_F_DUMP: u16 = 0x300;
const SHOW_NAME: u32 = 0x01; // these of include/uapi/linux/unix_diag.h
const SHOW_VFS: u32 = 0x02;
const SHOW_PEER: u32 = 0x04;
const SHOW_ICONS: u32 = 0x08;
const SHOW_RQLEN: u32 = 0x10;

const _: () = assert!(size_of::<[u8; 4]>() + size_of::<[u32; 5]>() == REQUEST_LEN);

/// The contents of one dump. This is a closed set, because not every combination works: see [`Ask::Backlogs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Listening sockets: name, file, and the number of waiting connections.
    Listening,
    /// Listening sockets: the clients that wait, and nothing else.
    ///
    /// Separate from `Listening`, because a row that does not fit the kernel's buffer ends the dump as if there were no
    /// more rows (`unix_diag_dump` returns no bytes, which means done). On 6.18, 1,000 waiting clients on one socket
    /// hide every socket of the namespace after it. The rows of the other requests always fit.
    Backlogs,
    /// Connected sockets: name, file and peer.
    Connected,
    /// `Listening` and `Connected` at once: the kernel walks its table once instead of twice.
    Both,
    /// Sockets in any state, including those that were only created: name, file and peer.
    Any,
}

impl Ask {
    /// Returns `udiag_states`, with one bit for each state.
    const fn states(self) -> u32 {
        match self {
            Self::Listening | Self::Backlogs => 1 << TCP_LISTEN,
            Self::Connected => 1 << TCP_ESTABLISHED,
            Self::Both => 1 << TCP_LISTEN | 1 << TCP_ESTABLISHED,
            Self::Any => u32::MAX,
        }
    }

    const fn show(self) -> u32 {
        match self {
            Self::Listening => SHOW_NAME | SHOW_VFS | SHOW_RQLEN,
            Self::Backlogs => SHOW_ICONS,
            Self::Connected | Self::Any => SHOW_NAME | SHOW_VFS | SHOW_PEER,
            Self::Both => SHOW_NAME | SHOW_VFS | SHOW_PEER | SHOW_RQLEN,
        }
    }

    /// True if this request selects rows in `state`. The kernel selects the same.
    pub const fn takes(self, state: State) -> bool {
        self.states() & (1 << (state.0 & 31)) != 0
    }

    /// Returns the request, ready to be sent to the kernel (port 0).
    pub fn request(self, sequence: u32) -> [u8; HEADER_LEN + REQUEST_LEN] {
        let mut bytes: [u8; HEADER_LEN + REQUEST_LEN] = dump_header(sequence);
        bytes[16] = AF_UNIX;
        // 17 protocol, 18..20 padding: must be 0.
        bytes[20..24].copy_from_slice(&self.states().to_ne_bytes());
        // 24..28 ino: ignored in a dump.
        bytes[28..32].copy_from_slice(&self.show().to_ne_bytes());
        bytes[32..40].fill(0xff); // INET_DIAG_NOCOOKIE twice
        bytes
    }
}

/// Returns a request of `N` bytes for a dump that has only its header.
pub(super) fn dump_header<const N: usize>(sequence: u32) -> [u8; N] {
    let mut bytes = [0; N];
    let length = u32::try_from(N).expect("a request is short");
    bytes[0..4].copy_from_slice(&length.to_ne_bytes());
    bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
    // 12..16 nlmsg_pid: 0, the kernel fills it in.
    bytes
}
