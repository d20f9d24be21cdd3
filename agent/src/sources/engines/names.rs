//! What the name of a listening socket suggests: the Docker API, or one of dockerd's own affairs.
//!
//! A name proves nothing. It is asked only where the program does not tell: which of dockerd's sockets is its API, and
//! whether a program that castoff does not know behaves as an engine.

use crate::model::engine::EngineKind;
use crate::model::socket::SocketName;
use crate::sources::docker::{INTERNAL_SOCKETS, SOCKETS};

/// The engine that a socket's name suggests.
pub(in crate::sources) fn suggested_kind(name: &SocketName) -> Option<EngineKind> {
    if internal_use(name).is_some() {
        return None;
    }
    let last = components_from_the_end(name).next()?;
    SOCKETS.iter().find(|(known, _)| *known == last).map(|(_, kind)| *kind)
}

/// What one of dockerd's sockets is for, where it is not the Docker API.
pub(super) fn internal_use(name: &SocketName) -> Option<&'static str> {
    let is_like = |pattern: &[&str]| {
        let mut components = components_from_the_end(name);
        pattern
            .iter()
            .rev()
            .all(|wanted| components.next().is_some_and(|c| *wanted == "*" || *wanted == c))
    };
    INTERNAL_SOCKETS
        .iter()
        .find(|(pattern, _)| is_like(pattern))
        .map(|(_, reason)| *reason)
}

fn components_from_the_end(name: &SocketName) -> impl Iterator<Item = &str> {
    let (SocketName::Path(name) | SocketName::Abstract(name)) = name;
    name.rsplit('/').filter(|c| !c.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apis_are_told_from_dockerds_own_affairs() {
        use EngineKind::{Dockerd, Podman};
        for (path, kind, internal) in [
            ("/run/docker.sock", Some(Dockerd), false),
            ("/run/user/1000/docker.sock", Some(Dockerd), false),
            ("docker.sock", Some(Dockerd), false),
            ("/run/podman/podman.sock", Some(Podman), false),
            ("/srv/ci/engine.sock", None, false),
            ("/run/dockershim.sock", None, false),
            ("/run/cri-dockerd.sock", None, false),
            ("/run/containerd/containerd.sock", None, true),
            ("/run/docker/metrics.sock", None, true),
            ("/run/user/1000/docker/libnetwork/0c2ab1c57a3e.sock", None, true),
            ("/run/docker/plugins/rexray.sock", None, true),
            ("/run/docker/plugins/0c2a/docker.sock", None, true),
            ("/var/run/docker/swarm/control.sock", None, true),
            ("/srv/control.sock", None, false),
            ("/run/docker/containerd/containerd.sock.ttrpc", None, true),
            ("/", None, false),
            ("", None, false),
        ] {
            let name = SocketName::Path(path.to_owned());
            assert_eq!(suggested_kind(&name), kind, "{path}");
            assert_eq!(internal_use(&name).is_some(), internal, "{path}");
        }
    }
}
