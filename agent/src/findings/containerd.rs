//! Judges if the removal of Docker would remove the kubelet's containerd.

use super::Facts;
use super::catalogue::finding;
use super::report::{Code, Finding, Severity};
use crate::model::engine::{Containerd, EngineKind, EngineSighting};
use crate::model::reading::{Gap, Hides, Reading, Reason};
use crate::model::snapshot::Snapshot;

/// The default socket of containerd: Docker's package, dockerd and the distributions' own packages use it. k3s, rke2, k0s and
/// microk8s have others.
const DEFAULT_SOCKET: &str = "/run/containerd/containerd.sock";

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
    let package = match snapshot.host.reading.known().map(|host| &host.containerd_io) {
        _ if !is_usual => &Reading::Absent,
        Some(package) => package,
        None => return Shared::Unknown,
    };
    if let Reading::Known(of) = package {
        return yes(format!("it comes from Docker's package containerd.io ({of})"));
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
