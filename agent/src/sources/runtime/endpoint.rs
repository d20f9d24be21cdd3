//! Which endpoints may be the runtime's, and the socket that each of them is.
//!
//! The first that names one decides: castoff's own setting, else the kubelet. Only where nobody names one are the paths
//! tried that runtimes are known to use. The name of a socket proves nothing (`/run/dockershim.sock` is containerd's on
//! some systems), so every path is resolved to the socket behind it, and the socket is asked.

use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use crate::model::identity::FileIdentity;
use crate::model::kubelet::{EndpointCandidate, EndpointOrigin, Kubelet};
use crate::model::reading::{Gap, Hides, Reason};
use crate::model::runtime::RefusedEndpoint;
use crate::sources::kernel::refusal::{self, Right};
use crate::sources::kernel::rooted::{Rooted, Unresolved, Walked};

/// Where k3s and rke2 have their own containerd.
pub(crate) const K3S_CONTAINERD: &str = "/run/k3s/containerd/containerd.sock";

/// Where k3s serves CRI for Docker when it is told to use Docker.
pub(crate) const K3S_CRI_DOCKERD: &str = "/run/k3s/cri-dockerd/cri-dockerd.sock";

/// Where a kubelet up to 1.23 serves CRI for Docker.
pub(crate) const DOCKERSHIM: &str = "/var/run/dockershim.sock";

/// Paths that runtimes are known to use, and whose they are. `/run/…` stands for `/var/run/…` too, which is nearly
/// always the same directory.
const WELL_KNOWN: [(&str, &str); 11] = [
    ("/run/containerd/containerd.sock", "containerd"),
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

/// What is to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Candidates {
    /// Somebody named it: it is the runtime, or the runtime is not known.
    Named(EndpointCandidate),
    /// Nobody named one: whichever of these exist are asked.
    Known(Vec<EndpointCandidate>),
}

/// The candidates by what castoff and the kubelet were told. Of several that the kubelet was given the first wins and
/// the others are what it does not use.
pub(crate) fn candidates(configured: Option<&EndpointCandidate>, kubelet: Option<&Kubelet>) -> Candidates {
    let given = kubelet.map_or(&[][..], |k| &k.endpoints);
    match configured.or_else(|| given.first()) {
        Some(winner) if !is_well_known(winner) => Candidates::Named(winner.clone()),
        Some(_) => Candidates::Known(given.iter().filter(|c| is_well_known(c)).cloned().collect()),
        None => Candidates::Known(well_known()),
    }
}

/// The path of an endpoint as kubelets and runtimes spell it: `unix:///path`, `unix:/path` or the bare path. Anything
/// else is left as it is, to be refused by [`find_socket`] under its own name.
pub(crate) fn path_of(endpoint: &str) -> &str {
    let path = endpoint
        .strip_prefix("unix://")
        .or_else(|| endpoint.strip_prefix("unix:"));
    path.filter(|p| p.starts_with('/')).unwrap_or(endpoint)
}

/// True if a runtime is known to serve at this path, which no link is on.
pub(super) fn is_of_a_runtime(canonical: &Path) -> bool {
    let path = canonical.to_string_lossy();
    let run = path.strip_prefix("/var").filter(|rest| rest.starts_with("/run/"));
    WELL_KNOWN
        .iter()
        .any(|(known, _)| *known == path || Some(*known) == run)
}

pub(super) fn is_well_known(candidate: &EndpointCandidate) -> bool {
    matches!(candidate.origin, EndpointOrigin::WellKnown { .. })
}

fn well_known() -> Vec<EndpointCandidate> {
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
    /// Who named it, and how.
    pub candidate: EndpointCandidate,
    /// The host's path without links.
    pub canonical: PathBuf,
    /// That path as castoff connects to it.
    pub connect: PathBuf,
    /// Which socket file it is: a restarted runtime makes a new one under the same name.
    pub identity: FileIdentity,
    /// True if the file has other names: hard links.
    pub has_other_names: bool,
}

/// Finds the sockets of those well-known paths that exist, each once, in the order of `known`. What exists and is no
/// socket is refused; what does not exist is not worth a word.
pub(crate) fn find_known(root: &Path, known: Vec<EndpointCandidate>) -> (Vec<FoundSocket>, Vec<RefusedEndpoint>) {
    let mut found: Vec<FoundSocket> = Vec::new();
    let mut refused: Vec<RefusedEndpoint> = Vec::new();
    for candidate in known {
        match find_socket(root, candidate) {
            Ok(socket) => match found.iter_mut().find(|f| f.canonical == socket.canonical) {
                // Two names of one socket: the one without a link on its way says more.
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

/// True if these are one path under `/run` and under `/var/run`.
fn is_twin(run: &str, var_run: &str) -> bool {
    var_run.strip_prefix("/var") == Some(run)
}

/// Finds the socket that a candidate names.
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

/// Follows the host's `path` to where it ends.
pub(super) fn walk(root: &Path, path: &str) -> Result<Walked, Unresolved> {
    let root = Rooted::open(root).map_err(|error| Unresolved {
        at: PathBuf::from("/"),
        is_link: false,
        error,
    })?;
    root.walk(path)
}

/// The host's canonical `path` as castoff opens it.
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
