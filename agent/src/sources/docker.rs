//! The names of Docker's and Podman's programs, sockets, directories and files, in one table for every source. One more
//! engine, or one more vendor's Docker, is a few more rows here.

use crate::model::engine::EngineKind;

/// The condition under which a program is an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Invocation {
    /// Always.
    Any,
    /// If it is called by one of these names: one file is several programs.
    As(&'static [&'static str]),
    /// If its first argument is one of these.
    With(&'static [&'static str]),
}

/// Programs that serve a Docker API, by file name.
pub(super) const PROGRAMS: [(&str, EngineKind, Invocation); 12] = [
    ("dockerd", EngineKind::Dockerd, Invocation::Any),
    ("dockerd-current", EngineKind::Dockerd, Invocation::Any), // Red Hat's docker 1.13
    ("dockerd-latest", EngineKind::Dockerd, Invocation::Any),  // likewise
    ("dockerd-ce", EngineKind::Dockerd, Invocation::Any),      // docker-ce 18.09
    ("dockerd-ee", EngineKind::Dockerd, Invocation::Any),      // likewise
    ("balenad", EngineKind::Dockerd, Invocation::Any),
    ("balena-engine-daemon", EngineKind::Dockerd, Invocation::Any),
    ("balena-engine", EngineKind::Dockerd, Invocation::As(BALENA_DAEMONS)),
    ("balena", EngineKind::Dockerd, Invocation::As(BALENA_DAEMONS)),
    ("docker", EngineKind::Dockerd, Invocation::With(CLIENT_AS_DAEMON)),
    (
        "docker-current",
        EngineKind::Dockerd,
        Invocation::With(CLIENT_AS_DAEMON),
    ),
    ("podman", EngineKind::Podman, Invocation::Any),
];

/// The names under which balenaEngine's single executable is its daemon.
const BALENA_DAEMONS: &[&str] = &["balenad", "balena-engine-daemon"];

/// Up to Docker 1.12 the client's executable was the daemon too.
const CLIENT_AS_DAEMON: &[&str] = &["daemon", "-d", "--daemon"];

/// Prefixes of the names of the programs that supervise Docker's containers: containerd's shims, and those of the
/// containerd that Docker and balenaEngine used to ship.
pub(super) const SHIMS: [&str; 3] = [
    "containerd-shim",
    "docker-containerd-shim",
    "balena-engine-containerd-shim",
];

/// The containerd namespace of Docker's containers. Its plugins are in `plugins.moby`.
pub(super) const CONTAINERD_NAMESPACE: &str = "moby";

/// The program that supervises the containers of Podman and of CRI-O.
pub(super) const CONMON: &str = "conmon";

/// Names of the sockets through which a kubelet runs its pods with Docker.
pub(super) const CRI_SOCKETS: [&str; 2] = ["dockershim.sock", "cri-dockerd.sock"];

/// Names of sockets that serve a Docker API, and the engine that usually serves it.
pub(super) const SOCKETS: [(&str, EngineKind); 7] = [
    ("docker.sock", EngineKind::Dockerd), // docker.socket's ListenStream, and rootless dockerd's
    ("dockerd.sock", EngineKind::Dockerd), // frequent with a second dockerd
    ("docker.raw.sock", EngineKind::Dockerd), // Docker Desktop's daemon behind its proxy
    ("docker-cli.sock", EngineKind::Dockerd), // Docker Desktop's proxy
    ("balena-engine.sock", EngineKind::Dockerd), // balenaOS
    ("balena.sock", EngineKind::Dockerd), // balenaOS before 2019
    ("podman.sock", EngineKind::Podman),  // podman.socket's ListenStream
];

/// Returns the engine that usually serves the Docker API on a socket of this name, the last component of its path.
pub(super) fn engine_of_socket(name: &str) -> Option<EngineKind> {
    SOCKETS.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
}

/// The paths of those sockets on a host.
pub(super) const SOCKET_PATHS: [&str; 4] = [
    "/run/docker.sock",
    "/run/podman/podman.sock",
    "/run/balena-engine.sock",
    "/run/balena.sock",
];

/// Names of a daemon's exec root, which has its internal sockets, below `/run` and below a user's `/run/user/UID`.
pub(super) const EXEC_ROOTS: [&str; 3] = ["docker", "balena-engine", "snap.docker"];

/// Listeners of dockerd that serve no Docker API, by their paths below its exec root (`*` is any one component), with
/// the reason.
pub(super) const INTERNAL_SOCKETS: [(&[&str], &str); 8] = [
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
    (&["containerd", "*"], "its containerd (moby libcontainerd/supervisor)"),
    (&["libcontainerd", "*"], "its containerd up to Docker 18.06"),
];

/// The paths of the daemon's executable.
pub(super) const BINARIES: [&str; 9] = [
    "/usr/bin/dockerd",                 // docker-ce and most distributions
    "/usr/sbin/dockerd",                // Debian's docker.io
    "/usr/local/bin/dockerd",           // Docker's static archive
    "/usr/local/sbin/dockerd",          // likewise
    "/opt/bin/dockerd",                 // Flatcar's extensions
    "/usr/bin/dockerd-current",         // Red Hat's docker 1.13
    "/usr/bin/dockerd-ce",              // docker-ce 18.09
    "/snap/docker/current/bin/dockerd", // the snap
    "/usr/bin/balena-engine-daemon",    // balenaOS
];

/// Units that start a Docker daemon, immediately or on the first connection.
pub(super) const UNITS: [&str; 5] = [
    "docker.service",
    "docker.socket",
    "snap.docker.dockerd.service",
    "balena-engine.service",
    "balena-engine.socket",
];

/// Returns the engine that a unit of this name starts.
pub(super) fn engine_of_unit(unit: &str) -> Option<EngineKind> {
    match unit {
        "podman.service" | "podman.socket" => Some(EngineKind::Podman),
        _ if UNITS.contains(&unit) => Some(EngineKind::Dockerd),
        // It has the name of the program.
        _ => unit.rsplit_once('.').and_then(|(name, _)| engine_of_command(&[name])),
    }
}

/// Returns the engine that a command line starts, by any of its words: a shell or a wrapper may be in front.
pub(super) fn engine_of_command(words: &[&str]) -> Option<EngineKind> {
    let engine_at = |at: usize| {
        let name = words[at].rsplit('/').next()?;
        let (_, kind, invocation) = PROGRAMS.iter().find(|(program, ..)| *program == name)?;
        let next = words.get(at + 1).copied().unwrap_or_default();
        let starts = match invocation {
            Invocation::Any => *kind != EngineKind::Podman || words[at + 1..].starts_with(&["system", "service"]),
            Invocation::As(names) => names.contains(&name),
            Invocation::With(first) => first.contains(&next),
        };
        starts.then_some(*kind)
    };
    (0..words.len()).find_map(engine_at)
}

/// The default directories of the daemon's images, containers and volumes (moby `daemon/config/config_linux.go`;
/// balenaOS; the snap).
pub(super) const DATA_ROOTS: [&str; 3] = [
    "/var/lib/docker",
    "/var/lib/balena-engine",
    "/var/snap/docker/common/var-lib-docker",
];

/// The directories of the daemon's configuration and of its registries' certificates.
pub(super) const CONFIGURATION_DIRECTORIES: [&str; 2] = ["/etc/docker", "/var/snap/docker/current/config"];

/// The paths of the daemon's configuration: the default one, then the snap's.
pub(super) const CONFIGURATIONS: [&str; 2] = ["/etc/docker/daemon.json", "/var/snap/docker/current/config/daemon.json"];
