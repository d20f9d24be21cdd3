//! Whether taking Docker away would take the kubelet's containerd away.

use super::Facts;
use super::catalogue::finding;
use super::report::{Code, Finding, Severity};
use crate::model::engine::{EngineKind, EngineSighting};
use crate::model::reading::Reading;
use crate::model::snapshot::Snapshot;

/// Where containerd listens by default: both Docker's package and dockerd use this socket, and so do distributions' own
/// packages. k3s, rke2, k0s and microk8s have others.
const DEFAULT_SOCKET: &str = "/run/containerd/containerd.sock";

/// The containerd that serves the kubelet, as far as Docker goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Containerd {
    /// Docker brought it or uses it; why.
    Shared(String),
    /// It stays when Docker goes.
    NotShared,
    /// That cannot be told.
    Unknown,
}

/// Judges the containerd that serves the kubelet.
pub(super) fn containerd(snapshot: &Snapshot) -> Containerd {
    let runtime = match &snapshot.runtime.runtime.reading {
        Reading::Known(runtime) => runtime,
        Reading::Absent => return Containerd::NotShared,
        Reading::Unknown(_) => return Containerd::Unknown,
    };
    if runtime.name != "containerd" || runtime.canonical_path != DEFAULT_SOCKET {
        return Containerd::NotShared;
    }
    let package = snapshot.host.reading.known().map(|host| &host.containerd_io);
    if let Some(Reading::Known(path)) = package {
        return Containerd::Shared(format!("it comes from Docker's package containerd.io ({path})"));
    }
    let engines = snapshot.engines.reading.items().iter();
    let is_the_hosts = |engine: &&EngineSighting| {
        let process = engine.process.as_ref();
        process.is_some_and(|p| p.uid == Some(0) && p.membership.containers.is_empty())
    };
    let mut daemons = engines
        .filter(|engine| engine.kind == EngineKind::Dockerd)
        .filter(is_the_hosts);
    if daemons.any(|daemon| !daemon.own_containerd) {
        return Containerd::Shared("dockerd runs without a containerd of its own, so it uses this one".to_owned());
    }
    match package {
        Some(Reading::Absent) => Containerd::NotShared,
        Some(Reading::Known(_) | Reading::Unknown(_)) | None => Containerd::Unknown,
    }
}

/// The finding of this family, where Docker is here.
pub(super) fn find(facts: &Facts<'_>) -> Vec<Finding> {
    let engine = facts.node_engines().any(|engine| engine.kind == EngineKind::Dockerd);
    let host = facts.snapshot.host.reading.known();
    let on_disk = host.is_some_and(|host| host.left_overs.known().is_some_and(|left| !left.is_empty()));
    match containerd(facts.snapshot) {
        Containerd::Shared(why) if engine || on_disk => {
            let message = format!("the kubelet's containerd goes when Docker's packages go: {why}");
            vec![finding(
                Code::SharedContainerd,
                Severity::Warning,
                DEFAULT_SOCKET,
                message,
            )]
        }
        _ => Vec::new(),
    }
}
