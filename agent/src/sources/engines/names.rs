//! What the name of a listening socket suggests: the Docker API, or one of dockerd's own affairs.
//!
//! A name proves nothing. It is asked only where the program does not tell: which of dockerd's sockets is its API, and
//! whether a program that castoff does not know behaves as an engine.

use crate::model::engine::EngineKind;
use crate::model::socket::SocketName;

/// Names under which a Docker API is served, and by whom as a rule.
const WELL_KNOWN: [(&str, EngineKind); 7] = [
    ("docker.sock", EngineKind::Dockerd), // docker.socket's ListenStream, and rootless dockerd's
    ("dockerd.sock", EngineKind::Dockerd), // frequent with a second dockerd
    ("docker.raw.sock", EngineKind::Dockerd), // Docker Desktop's daemon behind its proxy
    ("docker-cli.sock", EngineKind::Dockerd), // Docker Desktop's proxy
    ("balena-engine.sock", EngineKind::Dockerd), // balenaOS
    ("balena.sock", EngineKind::Dockerd), // balenaOS before 2019
    ("podman.sock", EngineKind::Podman),  // podman.socket's ListenStream
];

/// Listeners of dockerd that serve no Docker API, by the last components of their paths (`*` is any one), and why.
const INTERNAL: [(&[&str], &str); 10] = [
    (&["metrics.sock"], "metrics for plugins (moby daemon/metrics_unix.go)"),
    (
        &["libnetwork", "*"],
        "sandbox keys from its runc hook (moby libnetwork/sandbox_externalkey_unix.go)",
    ),
    (&["plugins", "*"], "a plugin's own API (moby pkg/plugins)"),
    (
        &["plugins", "*", "*"],
        "a plugin's own API, managed (moby plugin/manager_linux.go)",
    ),
    (&["swarm", "control.sock"], "swarm's control API (moby daemon/cluster)"),
    (
        &["nri.sock"],
        "Node Resource Interface plugins (moby daemon/internal/nri)",
    ),
    (&["containerd.sock"], "its containerd (moby libcontainerd/supervisor)"),
    (&["containerd.sock.ttrpc"], "its containerd"),
    (&["containerd-debug.sock"], "its containerd"),
    (&["docker-containerd.sock"], "its containerd up to Docker 18.06"),
];

/// The engine that a socket's name suggests.
pub(super) fn suggested_kind(name: &SocketName) -> Option<EngineKind> {
    if internal_use(name).is_some() {
        return None;
    }
    let last = components_from_the_end(name).next()?;
    WELL_KNOWN
        .iter()
        .find(|(known, _)| *known == last)
        .map(|(_, kind)| *kind)
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
    INTERNAL
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
