//! Mounts with the name of an engine's socket, and the problem of each that leads to no listener.

use rustix::fs::FileType;

use super::search::MountSearch;
use crate::model::container::Mount;
use crate::model::engine::EngineKind;
use crate::model::exposure::{Access, Lost, LostMount, Reach, Reached, Via};
use crate::model::identity::FileIdentity;
use crate::model::socket::SocketName;
use crate::model::workload::Membership;
use crate::sources::docker::CRI_SOCKETS;
use crate::sources::engines::suggested_kind;

/// The kind of socket that the name of a mount suggests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suggested {
    Engine(EngineKind),
    Dockershim,
}

impl Suggested {
    pub(super) const fn engine(self) -> Option<EngineKind> {
        match self {
            Self::Engine(kind) => Some(kind),
            Self::Dockershim => None,
        }
    }
}

/// Returns the kind that the last component of a path suggests.
pub(super) fn suggested(path: &[u8]) -> Option<Suggested> {
    let slashes = path.iter().rev().take_while(|byte| **byte == b'/').count();
    let path = &path[..path.len() - slashes];
    if !path.ends_with(b".sock") {
        return None; // nearly all paths
    }
    let path = String::from_utf8_lossy(path);
    if CRI_SOCKETS.iter().any(|name| path.rsplit('/').next() == Some(name)) {
        return Some(Suggested::Dockershim);
    }
    suggested_kind(&SocketName::Path(path.into_owned())).map(Suggested::Engine)
}

/// Returns the kind that the names of a requested mount suggest: the host's, or else the container's, where a client looks
/// for an engine's socket. The runtime's own socket may be mounted under the name of a dockershim, and is none.
pub(super) fn suggested_by(mount: &Mount) -> Option<Suggested> {
    let of_engine = |name: &Suggested| name.engine().is_some();
    suggested(mount.host_path.as_bytes()).or_else(|| suggested(mount.container_path.as_bytes()).filter(of_engine))
}

/// A mount with the name of an engine's socket.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) name: Suggested,
    pub(super) host_path: String,
    pub(super) container_path: String,
    pub(super) readonly: bool,
    /// The file that it leads to; none if there is no file.
    pub(super) what: Option<(FileIdentity, FileType)>,
    pub(super) is_deleted: bool,
}

impl MountSearch<'_> {
    /// Reports the problem of a mount that has the name of an engine's socket and leads to none.
    pub(super) fn judge(&mut self, membership: &Membership, named: Named) {
        let looked = self.looked;
        let is_like_a_listener = |file: FileIdentity| looked.listening.iter().any(|known| known.inode == file.inode);
        let state = match (named.what, named.name) {
            (None, _) => Lost::Missing,
            (Some((_, FileType::Directory)), _) => Lost::Directory,
            (Some((_, FileType::RegularFile)), _) => Lost::File,
            (Some((_, FileType::Socket)), Suggested::Dockershim) => Lost::Dockershim,
            (Some((file, FileType::Socket)), _) if looked.listening.contains(&file) => return,
            // On Btrfs and overlayfs stat(2) reports another device for a listener's file.
            (Some((file, FileType::Socket)), _) if looked.sees_machine && is_like_a_listener(file) => return,
            (Some((_, FileType::Socket)), _) if named.is_deleted || looked.sees_machine => Lost::Stale,
            (Some((file, FileType::Socket)), Suggested::Engine(kind)) => {
                let name = SocketName::Path(named.host_path.clone());
                self.reaches.push(Reach {
                    membership: membership.clone(),
                    reached: Reached::Unseen { file, kind, name },
                    via: Via::Socket,
                    host_path: named.host_path,
                    container_path: named.container_path,
                    readonly: named.readonly,
                    is_readonly_somewhere: named.readonly,
                    access: Access::Unknown,
                });
                return;
            }
            // `/dev/null` is mounted over a socket to hide it.
            (Some(_), _) => return,
        };
        self.lost.push(LostMount {
            membership: membership.clone(),
            host_path: named.host_path,
            container_path: named.container_path,
            state,
        });
    }
}
