//! The meaning of a listening socket's name: the Docker API, or an internal socket of dockerd.
//!
//! A name proves nothing. It is used only if the program is not enough: to find the API among dockerd's sockets, and to
//! recognise an unknown program that behaves like an engine.

use crate::model::engine::EngineKind;
use crate::model::socket::SocketName;
use crate::sources::docker::{EXEC_ROOTS, INTERNAL_SOCKETS, engine_of_socket};

/// The directory of the plugins' sockets below an exec root.
const PLUGINS: &str = "plugins";

/// The length of the shortened ID of a network controller (moby `pkg/stringid`).
const CONTROLLER_ID: usize = 12;

/// Returns the engine that a socket's name suggests.
pub(in crate::sources) fn suggested_kind(name: &SocketName) -> Option<EngineKind> {
    let (SocketName::Path(path) | SocketName::Abstract(path)) = name else {
        return None;
    };
    if is_internal(name) {
        return None;
    }
    engine_of_socket(path.rsplit('/').find(|c| !c.is_empty())?)
}

/// True if a socket is internal to a dockerd, by its path below an exec root of a usual name. Elsewhere the same name
/// means nothing: Jenkins has a directory called `plugins` too.
pub(super) fn is_internal(name: &SocketName) -> bool {
    let SocketName::Path(path) = name else { return false };
    let path = path.strip_prefix("/var").unwrap_or(path);
    let Some(below) = path.strip_prefix("/run/") else {
        return false;
    };
    let below = match below.strip_prefix("user/").and_then(|rest| rest.split_once('/')) {
        Some((uid, rest)) if uid.bytes().all(|b| b.is_ascii_digit()) => rest,
        _ => below,
    };
    below
        .split_once('/')
        .is_some_and(|(root, rest)| EXEC_ROOTS.contains(&root) && is_listed(rest))
}

/// True if a dockerd makes this socket of its own for itself. It only connects to those of its plugins.
pub(super) fn is_internal_to_its_dockerd(name: &SocketName) -> bool {
    let is_of_plugin = |path: &str| path.split('/').any(|component| component == PLUGINS);
    is_internal(name) && !matches!(name, SocketName::Path(path) if is_of_plugin(path))
}

/// True if only a dockerd makes a socket of this name, whatever its program and its exec root are called: the one for
/// sandbox keys, `libnetwork/<id of the controller>.sock`. This shows its process, and hides none of its sockets.
pub(super) fn is_of_dockerd(name: &SocketName) -> bool {
    let SocketName::Path(path) = name else { return false };
    let mut components = path.rsplit('/');
    let id = components.next().and_then(|file| file.strip_suffix(".sock"));
    let is_id = |id: &str| id.len() >= CONTROLLER_ID && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    id.is_some_and(is_id) && components.next() == Some("libnetwork")
}

/// True if a socket is internal, by its path below the daemon's configured `exec_root`.
pub(super) fn is_internal_below(exec_root: &str, name: &SocketName) -> bool {
    let SocketName::Path(path) = name else { return false };
    let below = path.strip_prefix(exec_root.trim_end_matches('/'));
    let below = below.and_then(|rest| rest.strip_prefix('/'));
    below.is_some_and(|below| is_listed(below) && !below.starts_with(PLUGINS))
}

fn is_listed(below: &str) -> bool {
    INTERNAL_SOCKETS.iter().any(|(pattern, _)| {
        let components: Vec<&str> = below.split('/').collect();
        let fits = |(wanted, component): (&&str, &&str)| *wanted == "*" || wanted == component;
        components.len() == pattern.len() && pattern.iter().zip(&components).all(fits)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apis_are_distinguished_from_dockerds_internal_sockets() {
        use EngineKind::{Dockerd, Podman};
        for (path, kind, internal) in [
            ("/run/docker.sock", Some(Dockerd), false),
            ("/run/user/1000/docker.sock", Some(Dockerd), false),
            ("docker.sock", Some(Dockerd), false),
            ("/run/podman/podman.sock", Some(Podman), false),
            ("/srv/ci/engine.sock", None, false),
            ("/run/dockershim.sock", None, false),
            ("/run/cri-dockerd.sock", None, false),
            ("/run/containerd/containerd.sock", None, false),
            ("/run/docker/metrics.sock", None, true),
            ("/run/user/1000/docker/libnetwork/0c2ab1c57a3e.sock", None, true),
            ("/run/docker/plugins/rexray.sock", None, true),
            ("/run/docker/plugins/0c2a/docker.sock", None, true),
            ("/var/run/docker/swarm/control.sock", None, true),
            ("/srv/control.sock", None, false),
            // such names elsewhere, deeper, or in no directory
            ("/run/jenkins/plugins/docker.sock", Some(Dockerd), false),
            ("/srv/docker/plugins/docker.sock", Some(Dockerd), false),
            ("/run/docker/x/plugins/docker.sock", Some(Dockerd), false),
            ("/run/docker/docker.sock", Some(Dockerd), false),
            ("/run/user/ci/docker/plugins/docker.sock", Some(Dockerd), false),
            ("plugins/docker.sock", Some(Dockerd), false),
            ("/srv/metrics.sock", None, false),
            ("/run/docker/nri.sock", None, true),
            ("/var/run/balena-engine/metrics.sock", None, true),
            ("/run/docker/containerd/containerd.sock.ttrpc", None, true),
            ("/", None, false),
            ("", None, false),
        ] {
            let name = SocketName::Path(path.to_owned());
            assert_eq!(suggested_kind(&name), kind, "{path}");
            assert_eq!(is_internal(&name), internal, "{path}");
        }
    }

    #[test]
    fn a_dockerd_is_known_by_its_socket_for_sandbox_keys() {
        for (path, expected) in [
            ("/run/docker/libnetwork/0c2ab1c57a3e.sock", true),
            ("/srv/exec/libnetwork/0c2ab1c57a3e4f0e.sock", true),
            ("/srv/libnetwork/0c2a.sock", false),
            ("/srv/libnetwork/controller01.sock", false),
            ("/srv/network/0c2ab1c57a3e.sock", false),
            ("/srv/libnetwork/0c2ab1c57a3e", false),
            ("0c2ab1c57a3e.sock", false),
        ] {
            assert_eq!(is_of_dockerd(&SocketName::Path(path.to_owned())), expected, "{path}");
        }
    }

    #[test]
    fn a_configured_exec_root_is_used() {
        let name = |path: &str| SocketName::Path(path.to_owned());
        for (root, path, internal) in [
            ("/srv/exec", "/srv/exec/metrics.sock", true),
            ("/srv/exec/", "/srv/exec/swarm/control.sock", true),
            ("/srv/exec/", "/srv/exec/plugins/docker.sock", false),
            ("/srv/exec", "/srv/execute/metrics.sock", false),
            ("/srv/exec", "/srv/exec/docker.sock", false),
            ("/srv", "/srv/exec/metrics.sock", false),
        ] {
            assert_eq!(is_internal_below(root, &name(path)), internal, "{root} {path}");
        }
    }
}
