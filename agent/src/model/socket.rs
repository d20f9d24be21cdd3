//! Sockets as the kernel lists them: Unix sockets, and the TCP sockets of engines.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::engine::EngineKind;
use super::identity::{FileIdentity, NetNs, SocketInode};
use super::process::Process;

/// The name that a socket was bound to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SocketName {
    /// A path as the server wrote it: in its own mount namespace, perhaps relative, bytes outside UTF-8 replaced.
    Path(String),
    /// A name in the abstract namespace, without its leading zero byte. It is no path in any file system.
    Abstract(String),
    /// An address and a port of TCP, in the network namespace of the server.
    Tcp(SocketAddr),
}

impl SocketName {
    /// The part after the last slash; none for a TCP port, which has no name.
    pub fn last_component(&self) -> Option<&str> {
        match self {
            Self::Path(name) | Self::Abstract(name) => name.rsplit('/').next(),
            Self::Tcp(_) => None,
        }
    }
}

impl fmt::Display for SocketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => f.pad(path),
            Self::Abstract(name) => write!(f, "@{name}"),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

/// A bound socket on which a process accepts connections, as `sock_diag` lists it. Also a listener that is closed: then
/// its name and file come from its connections, and the inode is that of the server's end of one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListeningSocket {
    /// The socket's own inode.
    pub inode: SocketInode,
    /// The network namespace it was listed in.
    pub netns: NetNs,
    /// The name that it was bound to.
    pub name: SocketName,
    /// The file it was bound to; none for an abstract name, and for TCP.
    pub file: Option<FileIdentity>,
    /// Inodes of *client* sockets, of any network namespace, that connected and were not accepted yet.
    pub pending: Vec<SocketInode>,
    /// The number of further clients that wait and that the kernel did not list.
    pub unlisted: u32,
}

/// The identity of a listener: the file it is bound to, or its abstract name or its address in one network namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ListenerId {
    /// Device and inode of the socket's file, whatever path leads to it.
    File(FileIdentity),
    /// An abstract name, which only its own network namespace can reach.
    Abstract(NetNs, String),
    /// An address and a port in one network namespace. Others may lead to it by routes of their own.
    Tcp(NetNs, SocketAddr),
}

impl ListeningSocket {
    /// The identity of this listener. A path whose file the kernel did not give (never seen) has none.
    pub fn id(&self) -> Option<ListenerId> {
        match (&self.file, &self.name) {
            (Some(file), _) => Some(ListenerId::File(*file)),
            (None, SocketName::Abstract(name)) => Some(ListenerId::Abstract(self.netns, name.clone())),
            (None, SocketName::Tcp(address)) => Some(ListenerId::Tcp(self.netns, *address)),
            (None, SocketName::Path(_)) => None,
        }
    }
}

/// The socket files that something was seen to listen on, and the engine of each: they tell a runtime's socket from an engine's
/// before it is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListeningFiles {
    /// The files.
    pub files: Vec<ListeningFile>,
    /// True if every listener was seen and every engine's is known.
    pub whole: bool,
}

/// A socket file that something was seen to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListeningFile {
    /// The file, as the kernel identifies it.
    pub file: FileIdentity,
    /// The listening socket's own inode.
    pub socket: SocketInode,
    /// The last component of the name that it was bound to.
    pub name: String,
    /// The engine that accepts on it; none if no engine does.
    pub engine: Option<EngineKind>,
}

impl ListeningFiles {
    /// Returns the entry of a file called `name`. On Btrfs and overlayfs the kernel and stat(2) report different devices for one
    /// file: there its inode and its name identify it.
    pub fn find(&self, file: FileIdentity, name: &str) -> Option<&ListeningFile> {
        let exact = self.files.iter().find(|listening| listening.file == file);
        exact.or_else(|| {
            let alike = |l: &&ListeningFile| l.file.inode == file.inode && l.name == name;
            self.files.iter().find(alike)
        })
    }
}

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionState {
    /// The engine accepted it.
    Accepted,
    /// It waits in the listener's backlog, because the engine hangs, or because only systemd listens and the engine is
    /// not running yet.
    Pending,
}

/// One connection of a client to a watched listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The listener it leads to.
    pub listener: ListenerId,
    /// The client's socket. Zero where only the server's end could be seen.
    pub client: SocketInode,
    /// The network namespace in which the *client* made it, where that is known. Both ends belong to it.
    pub netns: Option<NetNs>,
    /// The state of the connection.
    pub state: ConnectionState,
    /// Every process that holds a descriptor of the client's end now. Empty where none could be named, for which the
    /// sighting has a gap.
    pub holders: Vec<Process>,
    /// The process that made the connection and does not hold it, where its pid is still its own: it left the connection to a
    /// child, or passed it on.
    pub connector: Option<Process>,
    /// The address that it comes from, where its client is in no network namespace of this node.
    pub remote: Option<IpAddr>,
}
