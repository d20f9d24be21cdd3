//! Judges if the removal of Docker would remove the kubelet's containerd.

use super::Facts;
use super::catalogue::finding;
use super::report::{Code, Finding, Severity};
use crate::model::engine::{Containerd, EngineKind, EngineSighting};
use crate::model::reading::{Gap, Hides, Reading, Reason};
use crate::model::snapshot::Snapshot;
use crate::model::workload::Unit;

/// The default socket of containerd, which a dockerd without a containerd of its own uses.
const DEFAULT_SOCKET: &str = "/run/containerd/containerd.sock";

/// The sockets of distributions of Kubernetes that bring a containerd of their own: k3s and rke2, k0s, microk8s, and
/// Canonical's k8s.
const SOCKETS_OF_DISTRIBUTIONS: [&str; 4] = [
    "/run/k3s/containerd/containerd.sock",
    "/run/k0s/containerd.sock",
    "/var/snap/microk8s/common/run/containerd.sock",
    "/var/snap/k8s/common/run/containerd.sock",
];

/// The program and the unit in Docker's package containerd.io.
const PROGRAM: &str = "/usr/bin/containerd";
const UNIT: &str = "containerd.service";

/// The relation of the kubelet's containerd to Docker.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shared {
    /// Docker installed the one at this path, or uses it; with the reason.
    Yes { path: String, why: String },
    /// It is independent of Docker.
    No,
    /// It could not be determined.
    Unknown,
}

/// Judges the containerd that serves the kubelet.
pub(super) fn shared(snapshot: &Snapshot) -> Shared {
    let runtime = match &snapshot.runtime.runtime.reading {
        Reading::Known(runtime) if runtime.name == "containerd" => runtime,
        Reading::Known(_) | Reading::Absent => return Shared::No,
        Reading::Unknown(_) => return Shared::Unknown,
    };
    let path = &runtime.canonical_path;
    let yes = |why: String| Shared::Yes {
        path: path.clone(),
        why,
    };
    let is_usual = path == DEFAULT_SOCKET;
    let origin = origin(snapshot, path);
    let package = match snapshot.host.reading.known().map(|host| &host.containerd_io) {
        _ if origin == Origin::Other => &Reading::Absent,
        Some(package) => package,
        None => return Shared::Unknown,
    };
    match (package, origin) {
        (Reading::Known(of), Origin::Unit) => {
            return yes(format!(
                "its unit {UNIT} is also in Docker's package containerd.io ({of})"
            ));
        }
        (Reading::Known(of), _) => return yes(format!("it comes from Docker's package containerd.io ({of})")),
        (Reading::Absent | Reading::Unknown(_), _) => {}
    }
    let mut is_unknown = package.gap().is_some();
    for daemon in daemons(snapshot) {
        match &daemon.containerd {
            Containerd::Configured(socket) if socket == path => {
                return yes("dockerd is configured to use it (--containerd or daemon.json)".to_owned());
            }
            Containerd::Found if is_usual => {
                return yes("dockerd runs without a containerd of its own, so it uses this one".to_owned());
            }
            Containerd::Unknown => is_unknown = true,
            Containerd::Configured(_) | Containerd::Found | Containerd::Own => {}
        }
    }
    if is_unknown { Shared::Unknown } else { Shared::No }
}

/// The part of Docker's package that the kubelet's containerd would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// Its program, or this is not known.
    Program,
    /// Its unit alone, which a drop-in may let start another program. The package stops this unit when it is removed.
    Unit,
    /// None of it.
    Other,
}

/// Judges the process that serves the runtime's socket. The socket's path is a setting, which tells only if that
/// process is not known to be a containerd of the host.
fn origin(snapshot: &Snapshot, path: &str) -> Origin {
    let socket = snapshot.runtime_socket.known();
    let server = socket.and_then(|socket| socket.server.process.as_ref());
    // The path of a program in a container is not one of the host's.
    let of_host = server.filter(|server| server.uid == Some(0) && !server.membership.is_contained());
    let program = of_host.and_then(|server| server.executable.as_deref());
    let is_in_unit = of_host.is_some_and(|server| {
        let unit = &server.membership.unit;
        matches!(unit, Some(Unit::System { name }) if name == UNIT)
    });
    match program {
        Some(PROGRAM) => Origin::Program,
        _ if is_in_unit => Origin::Unit,
        Some(other) if other.ends_with("/containerd") => Origin::Other,
        _ if SOCKETS_OF_DISTRIBUTIONS.contains(&path) => Origin::Other,
        _ => Origin::Program,
    }
}

/// Returns the result as a reading: the reason why Docker also uses the kubelet's containerd.
pub(super) fn reading(snapshot: &Snapshot) -> Reading<String> {
    match shared(snapshot) {
        Shared::Yes { path, why } => Reading::Known(format!("{path}: {why}")),
        Shared::No => Reading::Absent,
        Shared::Unknown => {
            let runtime = snapshot.runtime.runtime.reading.gap();
            let package = snapshot.host.reading.known().and_then(|host| host.containerd_io.gap());
            let gap = runtime.or(package).or(snapshot.host.reading.gap()).cloned();
            let asked = "the origin of the kubelet's containerd too";
            let answer = "the settings of dockerd could not be read";
            Reading::Unknown(gap.unwrap_or_else(|| Gap::new(Reason::DependsOnAnother, Hides::Detail, asked, answer)))
        }
    }
}

/// The node's own dockerds: they run as root, in no container.
fn daemons(snapshot: &Snapshot) -> impl Iterator<Item = &EngineSighting> {
    let engines = snapshot.engines.reading.items().iter();
    engines.filter(|engine| engine.is_dockerd_of_host())
}

/// The finding of this family, if Docker is installed.
pub(super) fn find(facts: &Facts<'_>) -> Vec<Finding> {
    let engine = facts.node_engines().any(|engine| engine.kind == EngineKind::Dockerd);
    let host = facts.snapshot.host.reading.known();
    let on_disk = host.is_some_and(|host| host.left_overs.known().is_some_and(|left| !left.is_empty()));
    match shared(facts.snapshot) {
        Shared::Yes { path, why } if engine || on_disk => {
            let message = format!("Docker and the kubelet share this containerd: {why}");
            vec![finding(Code::SharedContainerd, Severity::Warning, path, message)]
        }
        _ => Vec::new(),
    }
}
