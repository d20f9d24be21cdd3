//! The endpoints that may be the runtime's, and the socket of each.
//!
//! The first setting decides: castoff's own, or else the kubelet's. If neither names an endpoint, castoff tries the
//! paths that runtimes are known to use, and prefers the kubelet's default where the kubelet uses it. The name of a
//! socket proves nothing (`/run/dockershim.sock` is containerd's on some systems), so castoff resolves every path to a
//! socket and queries that.

use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use crate::model::identity::FileIdentity;
use crate::model::kubelet::{EndpointCandidate, EndpointOrigin, Kubelet};
use crate::model::reading::{Gap, Hides, Reason, Sighting};
use crate::model::runtime::RefusedEndpoint;
use crate::sources::kernel::refusal::{self, Right};
use crate::sources::kernel::rooted::{Rooted, Unresolved, Walked};

/// The socket of the containerd of k3s and rke2.
pub(crate) const K3S_CONTAINERD: &str = "/run/k3s/containerd/containerd.sock";

/// The socket where k3s serves CRI for Docker if it is configured to use Docker.
pub(crate) const K3S_CRI_DOCKERD: &str = "/run/k3s/cri-dockerd/cri-dockerd.sock";

/// The socket where a kubelet up to 1.23 serves CRI for Docker.
pub(crate) const DOCKERSHIM: &str = "/var/run/dockershim.sock";

/// The name of the kubelet's own program.
const KUBELET: &str = "kubelet";

/// The endpoint of a kubelet that is given none (`SetDefaults_KubeletConfiguration` since 1.27, the flag's default since
/// 1.24). Before, the default was dockershim's.
pub(crate) const KUBELETS_DEFAULT: &str = "/run/containerd/containerd.sock";

/// The paths that runtimes are known to use, with the runtime. `/run/…` includes `/var/run/…`, which is nearly always
/// the same directory.
const WELL_KNOWN: [(&str, &str); 11] = [
    (KUBELETS_DEFAULT, "containerd"),
    (K3S_CONTAINERD, "k3s, rke2"),
    ("/run/k0s/containerd.sock", "k0s"),
    ("/var/snap/microk8s/common/run/containerd.sock", "microk8s"),
    ("/var/snap/k8s/common/run/containerd.sock", "canonical k8s"),
    ("/run/crio/crio.sock", "cri-o"),
    ("/run/cri-dockerd.sock", "cri-dockerd"),
    (K3S_CRI_DOCKERD, "k3s with docker"),
    ("/run/dockershim.sock", "dockershim"),
    ("/run/frakti.sock", "frakti"),
    ("/run/rktlet.sock", "rktlet"),
];

/// The endpoints to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Candidates {
    /// The endpoint was named: it is the runtime, or the runtime is unknown.
    Named(EndpointCandidate),
    /// No endpoint was named: all of these that exist are asked.
    Known(Vec<EndpointCandidate>),
    /// The same with all well-known paths, of which the kubelet uses [`KUBELETS_DEFAULT`].
    Default,
}

/// Returns the candidates from castoff's and the kubelet's settings. If the kubelet has several, it uses the first and
/// not the others.
pub(crate) fn candidates(configured: Option<&EndpointCandidate>, kubelet: &Sighting<Kubelet>) -> Candidates {
    let given = kubelet.reading.known().map_or(&[][..], |k| &k.endpoints);
    match configured.or_else(|| given.first()) {
        Some(winner) if !is_well_known(winner) => Candidates::Named(winner.clone()),
        Some(_) => Candidates::Known(given.iter().filter(|c| is_well_known(c)).cloned().collect()),
        None if uses_default(kubelet) => Candidates::Default,
        None => Candidates::Known(well_known()),
    }
}

/// True if the kubelet's process was seen, all its settings were read, and none names an endpoint. The defaults of a
/// kubelet within another program are that program's.
fn uses_default(kubelet: &Sighting<Kubelet>) -> bool {
    let is_silent = |k: &Kubelet| {
        k.process.is_some()
            && k.program.as_deref() == Some(KUBELET)
            && k.dockershim != Some(true)
            && k.endpoints.is_empty()
    };
    kubelet.gaps.is_empty() && kubelet.reading.known().is_some_and(is_silent)
}

/// Returns the path of an endpoint in the notations of kubelets and runtimes: `unix:///path`, `unix:/path` or the bare
/// path. Other notations are left unchanged, and [`find_socket`] refuses them.
pub(crate) fn path_of(endpoint: &str) -> &str {
    let path = endpoint
        .strip_prefix("unix://")
        .or_else(|| endpoint.strip_prefix("unix:"));
    path.filter(|p| p.starts_with('/')).unwrap_or(endpoint)
}

/// True if a runtime is known to serve at this path, which is resolved.
pub(super) fn is_of_a_runtime(canonical: &Path) -> bool {
    let path = canonical.to_string_lossy();
    let run = path.strip_prefix("/var").filter(|rest| rest.starts_with("/run/"));
    WELL_KNOWN
        .iter()
        .any(|(known, _)| *known == path || Some(*known) == run)
}

/// True if the path is that of a kubelet's dockershim.
pub(super) fn is_dockershim(path: &str) -> bool {
    path == DOCKERSHIM || is_twin(path, DOCKERSHIM)
}

pub(super) fn is_well_known(candidate: &EndpointCandidate) -> bool {
    matches!(candidate.origin, EndpointOrigin::WellKnown { .. })
}

pub(super) fn well_known() -> Vec<EndpointCandidate> {
    let rows = WELL_KNOWN.iter().flat_map(|(path, of)| {
        let other = path.starts_with("/run/").then(|| format!("/var{path}"));
        [Some((*path).to_owned()), other]
            .into_iter()
            .flatten()
            .map(|path| EndpointCandidate {
                path,
                origin: EndpointOrigin::WellKnown { of: (*of).to_owned() },
            })
    });
    rows.collect()
}

/// A candidate's socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundSocket {
    /// The candidate, with the setting that named it.
    pub candidate: EndpointCandidate,
    /// The host's path, with all links resolved.
    pub canonical: PathBuf,
    /// The path that castoff connects to.
    pub connect: PathBuf,
    /// The identity of the socket file: a restarted runtime creates a new file with the same name.
    pub identity: FileIdentity,
    /// True if the file has other names (hard links).
    pub has_other_names: bool,
}

/// Finds the sockets of the well-known paths that exist, each once, in the order of `known`. A path that exists and is
/// no socket is refused; one that does not exist is ignored.
pub(crate) fn find_known(root: &Path, known: Vec<EndpointCandidate>) -> (Vec<FoundSocket>, Vec<RefusedEndpoint>) {
    let mut found: Vec<FoundSocket> = Vec::new();
    let mut refused: Vec<RefusedEndpoint> = Vec::new();
    for candidate in known {
        match find_socket(root, candidate) {
            Ok(socket) => match found.iter_mut().find(|f| f.canonical == socket.canonical) {
                // Two names of one socket: the one without a link is preferred.
                Some(same) if Path::new(&socket.candidate.path) == socket.canonical => *same = socket,
                Some(_) => {}
                None => found.push(socket),
            },
            Err(refusal) if refusal.refusal.reason == Reason::NotFound => {}
            Err(refusal)
                if refused
                    .iter()
                    .any(|r| is_twin(&r.candidate.path, &refusal.candidate.path)) => {}
            Err(refusal) => refused.push(refusal),
        }
    }
    (found, refused)
}

/// True if the two paths are the same below `/run` and `/var/run`.
fn is_twin(run: &str, var_run: &str) -> bool {
    var_run.strip_prefix("/var") == Some(run)
}

/// Finds the socket of a candidate.
pub(crate) fn find_socket(root: &Path, candidate: EndpointCandidate) -> Result<FoundSocket, RefusedEndpoint> {
    let (reason, answer) = match look(root, &candidate.path) {
        Ok((canonical, identity, has_other_names)) => {
            let connect = on_disk(root, &canonical);
            return Ok(FoundSocket {
                candidate,
                canonical,
                connect,
                identity,
                has_other_names,
            });
        }
        Err(refusal) => refusal,
    };
    let refusal = Gap::new(reason, Hides::Runtime, &candidate.path, answer);
    Err(RefusedEndpoint { candidate, refusal })
}

fn look(root: &Path, path: &str) -> Result<(PathBuf, FileIdentity, bool), (Reason, String)> {
    if !path.starts_with('/') {
        let answer = "not a Unix socket: castoff asks runtimes at unix:///PATH only";
        return Err((Reason::NotASocket, answer.to_owned()));
    }
    let found = walk(root, path).map_err(|e| explain(&e))?;
    match found.kind {
        FileType::Socket => Ok((found.name, found.identity, found.owner.names > 1)),
        FileType::Directory => Err((Reason::NotASocket, "a directory, not a socket".to_owned())),
        _ => Err((Reason::NotASocket, "a file, not a socket".to_owned())),
    }
}

/// Resolves the host's `path`.
pub(super) fn walk(root: &Path, path: &str) -> Result<Walked, Unresolved> {
    let root = Rooted::open(root).map_err(|error| Unresolved {
        at: PathBuf::from("/"),
        is_link: false,
        error,
    })?;
    root.walk(path)
}

/// Returns the host's resolved `path` as castoff opens it.
fn on_disk(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn explain(error: &Unresolved) -> (Reason, String) {
    let at = error.at.display();
    if error.is_missing() {
        (Reason::NotFound, format!("no {at}"))
    } else if error.is_link && Reason::of(&error.error) != Reason::PermissionDenied {
        (
            Reason::NotASocket,
            format!("a link that leads nowhere: {at}: {}", error.error),
        )
    } else {
        let answer = refusal::explain(&error.error, Right::Root);
        (Reason::of(&error.error), format!("{at}: {answer}"))
    }
}

#[cfg(test)]
mod tests;
