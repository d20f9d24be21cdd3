//! What is asked of `sock_diag`: the 40 bytes of a request, and why there are several.

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

/// What one dump asks for. Closed, because the combinations are not free: see [`Ask::Backlogs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Sockets that accept: name, file, and how many connections wait.
    Listening,
    /// Sockets that accept: the clients that wait, and nothing else.
    ///
    /// Apart from `Listening`, because a row that does not fit the kernel's buffer ends the dump as if there were no
    /// more rows (`unix_diag_dump` returns no bytes, which means done): seen on 6.18, 1,000 waiting clients on one
    /// socket hide every socket of the namespace after it. Rows of the others always fit.
    Backlogs,
    /// Connected sockets: name, file and peer.
    Connected,
    /// What `Listening` and `Connected` ask for, at once: one walk of the kernel over its table instead of two.
    Both,
    /// Sockets in any state, those that were only made among them: name, file and peer.
    Any,
}

impl Ask {
    /// `udiag_states`: one bit for each state.
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

    /// True if a row in `state` is an answer to this; the kernel chooses likewise.
    pub const fn takes(self, state: State) -> bool {
        self.states() & (1 << (state.0 & 31)) != 0
    }

    /// The request, ready to be sent to the kernel (port 0).
    pub fn request(self, sequence: u32) -> [u8; HEADER_LEN + REQUEST_LEN] {
        let mut bytes: [u8; HEADER_LEN + REQUEST_LEN] = dump_header(sequence);
        bytes[16] = AF_UNIX;
        // 17 protocol, 18..20 padding: must be 0.
        bytes[20..24].copy_from_slice(&self.states().to_ne_bytes());
        // 24..28 ino: not looked at in a dump.
        bytes[28..32].copy_from_slice(&self.show().to_ne_bytes());
        bytes[32..40].fill(0xff); // INET_DIAG_NOCOOKIE twice
        bytes
    }
}

/// A request of `N` bytes for a dump, with nothing in it but its header.
pub(super) fn dump_header<const N: usize>(sequence: u32) -> [u8; N] {
    let mut bytes = [0; N];
    let length = u32::try_from(N).expect("a request is short");
    bytes[0..4].copy_from_slice(&length.to_ne_bytes());
    bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
    // 12..16 nlmsg_pid: 0, the kernel fills in ours.
    bytes
}
