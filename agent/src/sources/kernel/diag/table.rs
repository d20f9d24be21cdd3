//! The socket table of one network namespace, from the kernel or from a recording, and its errors.

use std::io;

use rustix::io::Errno;
use thiserror::Error;

use super::tcp::{Family, TcpAsk, TcpRow};
use super::{Ask, DecodeError, SocketRow, State};
use crate::model::reading::Reason;

/// The sockets of one network namespace.
pub trait SocketTable {
    /// Calls `each` with every Unix socket that `ask` selects.
    ///
    /// Sockets that appear or disappear during the dump may be missing or listed twice, because the kernel continues by
    /// position in a hash chain. The next look has a missed socket.
    ///
    /// After an error rows may be missing, and those that were passed must not be used.
    fn dump(&mut self, ask: Ask, each: &mut dyn FnMut(&SocketRow<'_>)) -> Result<(), DumpError>;

    /// Calls `each` with every TCP socket that `ask` selects. Otherwise like [`SocketTable::dump`].
    fn dump_tcp(&mut self, ask: TcpAsk, each: &mut dyn FnMut(&TcpRow)) -> Result<(), DumpError>;
}

/// The most attempts at a dump when the kernel reports that the tables changed meanwhile.
const ATTEMPTS: u32 = 3;

/// Returns the results of `pick` for the sockets that `ask` selects. An interrupted dump is discarded and repeated.
pub fn collect_dump<T>(
    table: &mut dyn SocketTable,
    ask: Ask,
    pick: &mut dyn FnMut(&SocketRow<'_>) -> Option<T>,
) -> Result<Vec<T>, DumpError> {
    collect(&mut |picked| table.dump(ask, &mut |row| picked.extend(pick(row))))
}

/// Does the same for TCP sockets of both families that are in `state`.
pub fn collect_tcp<T>(
    table: &mut dyn SocketTable,
    state: State,
    pick: &mut dyn FnMut(&TcpRow) -> Option<T>,
) -> Result<Vec<T>, DumpError> {
    let mut all = Vec::new();
    for family in Family::ALL {
        all.extend(collect(&mut |picked| {
            table.dump_tcp(TcpAsk { family, state }, &mut |row| picked.extend(pick(row)))
        })?);
    }
    Ok(all)
}

fn collect<T>(dump: &mut dyn FnMut(&mut Vec<T>) -> Result<(), DumpError>) -> Result<Vec<T>, DumpError> {
    for _ in 0..ATTEMPTS {
        let mut picked = Vec::new();
        match dump(&mut picked) {
            Ok(()) => return Ok(picked),
            Err(DumpError::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
    Err(DumpError::Interrupted)
}

/// The reason why a dump failed.
#[derive(Debug, Error)]
pub enum DumpError {
    /// The socket for the request could not be opened.
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
    /// The reply is larger than any that the kernel makes.
    #[error("reply of {0} bytes")]
    TooLarge(usize),
    /// The reply is not what the protocol allows.
    #[error("reply of sock_diag")]
    Decode(#[from] DecodeError),
    /// The reply is incomplete.
    #[error("reply of sock_diag ended early")]
    Unended,
    /// The table changed during the dump, which may be repeated.
    #[error("the socket table changed during the dump")]
    Interrupted,
    /// The deadline passed.
    #[error("dump not complete in time")]
    Deadline,
    /// The recording could not be read.
    #[cfg(any(test, feature = "recorded"))]
    #[error("read the recorded dump {path}")]
    Recording {
        /// The file.
        path: String,
        /// The host's error.
        source: io::Error,
    },
}

impl DumpError {
    /// Returns the reason for a gap.
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
            #[cfg(any(test, feature = "recorded"))]
            Self::Recording { source, .. } => Reason::of(source),
        }
    }
}

fn lacks_protocol(error: &io::Error) -> bool {
    [Errno::PROTONOSUPPORT, Errno::AFNOSUPPORT]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::identity::SocketInode;
    use crate::sources::kernel::diag::encode::{Reply, SocketFacts};
    use crate::sources::kernel::diag::{Envelope, Message, Messages};

    /// Gives one row in each dump; this number of dumps are interrupted first.
    struct Busy(u32);

    impl SocketTable for Busy {
        fn dump_tcp(&mut self, _: TcpAsk, _: &mut dyn FnMut(&TcpRow)) -> Result<(), DumpError> {
            Ok(())
        }

        fn dump(&mut self, _: Ask, each: &mut dyn FnMut(&SocketRow<'_>)) -> Result<(), DumpError> {
            let envelope = Envelope { sequence: 1, port: 1 };
            let bytes = Reply::dump(envelope, &[SocketFacts::client(self.0 + 1, 9)]);
            for message in Messages::new(&bytes, envelope) {
                if let Message::SocketRow(row) = message? {
                    each(&row);
                }
            }
            match self.0.checked_sub(1) {
                Some(left) => {
                    self.0 = left;
                    Err(DumpError::Interrupted)
                }
                None => Ok(()),
            }
        }
    }

    #[test]
    fn an_interrupted_dump_is_discarded_and_repeated() {
        let inodes = |interruptions| collect_dump(&mut Busy(interruptions), Ask::Connected, &mut |row| Some(row.inode));
        assert_eq!(inodes(0).expect("none"), [SocketInode(1)]);
        assert_eq!(inodes(2).expect("two of three"), [SocketInode(1)]);
        assert!(matches!(inodes(3), Err(DumpError::Interrupted)));
    }
}
