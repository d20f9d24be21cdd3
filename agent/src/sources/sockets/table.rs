//! A table of Unix sockets, as it is asked and as it fails, whether the kernel answers or a recording.

use std::io;

use thiserror::Error;

use super::diag::{Ask, DecodeError, Row};
use super::namespaces::Namespace;
use crate::model::identity::NetNs;
use crate::model::reading::{Gap, Hides, Reason};
use crate::model::snapshot::HolderMethod;

/// The Unix sockets of one network namespace.
pub trait SocketTable {
    /// Calls `each` with every socket that `ask` takes.
    ///
    /// Sockets that come or go during the dump may be missing or come twice: the kernel goes on by position in a hash
    /// chain. A socket that is missed once is there in the next look.
    ///
    /// After an error rows may be missing, and those that came may not be used.
    fn dump(&mut self, ask: Ask, each: &mut dyn FnMut(&Row<'_>)) -> Result<(), DumpError>;
}

/// How often a dump is begun anew when the kernel says that the tables changed under it.
const ATTEMPTS: u32 = 3;

/// What `pick` makes of the sockets that `ask` takes; a dump that was interrupted is begun anew and leaves nothing.
pub fn collect_dump<T>(
    table: &mut dyn SocketTable,
    ask: Ask,
    pick: &mut dyn FnMut(&Row<'_>) -> Option<T>,
) -> Result<Vec<T>, DumpError> {
    for _ in 0..ATTEMPTS {
        let mut picked = Vec::new();
        match table.dump(ask, &mut |row| picked.extend(pick(row))) {
            Ok(()) => return Ok(picked),
            Err(DumpError::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
    Err(DumpError::Interrupted)
}

/// What is done with each table in turn. It may be called on another thread.
pub type Look<'a> = dyn FnMut(NetNs, &mut dyn SocketTable) + Send + 'a;

/// The tables of many network namespaces.
pub trait SocketTables {
    /// How they answer.
    fn method(&self) -> HolderMethod;

    /// Goes into each of `namespaces` in turn and shows its table to `look`. Returns those it could not go into; one
    /// that vanished is left out.
    fn visit(&mut self, namespaces: &[&Namespace], look: &mut Look<'_>) -> Vec<NotEntered>;
}

/// A network namespace that could not be entered.
#[derive(Debug)]
pub struct NotEntered {
    /// Which.
    pub netns: NetNs,
    /// Why.
    pub error: EnterError,
}

/// A network namespace whose table was not seen, with why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// Which.
    pub netns: NetNs,
    /// Why, in a word.
    pub reason: Reason,
    /// Why, in full.
    pub answer: String,
}

impl Unseen {
    /// Its table could not be dumped.
    pub fn not_dumped(netns: NetNs, error: &DumpError) -> Self {
        Self {
            netns,
            reason: error.reason(),
            answer: Gap::chain(error),
        }
    }

    /// It as a gap.
    pub fn gap(&self, hides: Hides) -> Gap {
        let asked = format_args!("Unix sockets of net:[{}]", self.netns.0);
        Gap::new(self.reason, hides, asked, &self.answer)
    }
}

impl From<NotEntered> for Unseen {
    fn from(refusal: NotEntered) -> Self {
        Self {
            netns: refusal.netns,
            reason: refusal.error.reason(),
            answer: Gap::chain(&refusal.error),
        }
    }
}

/// Why a network namespace could not be entered.
#[derive(Debug, Error)]
pub enum EnterError {
    /// Its file could not be opened.
    #[error("open {path} (needs CAP_SYS_PTRACE)")]
    Open {
        /// The file.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file that was opened is another namespace, or none.
    #[error("{0} is not that namespace any more")]
    Another(String),
    /// The kernel did not let the thread in.
    #[error("setns (needs CAP_SYS_ADMIN)")]
    Enter(#[source] io::Error),
    /// No thread could be started to go there.
    #[error("start a thread")]
    Thread(#[source] io::Error),
    /// The time for all namespaces was up before it was its turn.
    #[error("no time left")]
    Deadline,
}

impl EnterError {
    /// The reason for a gap.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Open { source, .. } | Self::Enter(source) | Self::Thread(source) => Reason::of(source),
            Self::Another(_) => Reason::NotFound,
            Self::Deadline => Reason::DeadlineExceeded,
        }
    }
}

/// Why a dump failed.
#[derive(Debug, Error)]
pub enum DumpError {
    /// No socket to ask with.
    #[error("open a sock_diag socket")]
    Open(#[source] io::Error),
    /// The request could not be sent.
    #[error("ask sock_diag")]
    Ask(#[source] io::Error),
    /// The reply could not be read.
    #[error("read the reply of sock_diag")]
    Receive(#[source] io::Error),
    /// The kernel answered with an error.
    #[error("sock_diag refused")]
    Refused(#[source] io::Error),
    /// The reply came from another sender than the kernel.
    #[error("reply from port {0} and not from the kernel")]
    Stranger(u32),
    /// The reply is larger than any the kernel makes.
    #[error("reply of {0} bytes")]
    TooLarge(usize),
    /// The reply is not what the protocol allows.
    #[error("reply of sock_diag")]
    Decode(#[from] DecodeError),
    /// The reply ended without its end.
    #[error("reply of sock_diag ended early")]
    Unended,
    /// The table changed during the dump so that it may be asked anew.
    #[error("the socket table changed during the dump")]
    Interrupted,
    /// It took too long.
    #[error("dump not complete in time")]
    Deadline,
    /// The recording could not be read.
    #[error("read the recorded dump {path}")]
    Recording {
        /// The file.
        path: String,
        /// What the host said.
        source: io::Error,
    },
}

impl DumpError {
    /// The reason for a gap.
    pub fn reason(&self) -> Reason {
        match self {
            // EPROTONOSUPPORT or EAFNOSUPPORT: no NETLINK_SOCK_DIAG.
            Self::Open(error) if lacks_protocol(error) => Reason::NoKernelSupport,
            // ENOENT: no handler for AF_UNIX, because unix_diag is neither built in nor loaded (sock_diag_rcv_msg).
            Self::Refused(error) if error.kind() == io::ErrorKind::NotFound => Reason::NoKernelSupport,
            Self::Open(error) | Self::Ask(error) | Self::Receive(error) | Self::Refused(error) => Reason::of(error),
            Self::Stranger(_) | Self::Decode(_) | Self::Unended => Reason::ProtocolError,
            Self::TooLarge(_) => Reason::TooLarge,
            Self::Interrupted => Reason::HostError,
            Self::Deadline => Reason::DeadlineExceeded,
            Self::Recording { source, .. } => Reason::of(source),
        }
    }
}

fn lacks_protocol(error: &io::Error) -> bool {
    [rustix::io::Errno::PROTONOSUPPORT, rustix::io::Errno::AFNOSUPPORT]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
