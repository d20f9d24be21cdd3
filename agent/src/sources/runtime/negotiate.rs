//! Decides which endpoint is the runtime's, and which version of the interface it speaks.

use std::path::Path;

use castoff_cri::{Call, v1};
use tokio::task::JoinSet;

use super::client::Client;
use super::convert::printable;
use super::endpoint::{self, Candidates, FoundSocket};
use super::fence;
use super::refusal::CallError;
use crate::model::identity::FileIdentity;
use crate::model::kubelet::EndpointCandidate;
use crate::model::reading::{Gap, Hides, Reading, Reason};
use crate::model::runtime::{CriApi, RefusedEndpoint};
use crate::model::socket::ListeningFiles;

/// The sockets that may be the runtime's. They are found in the file system alone.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// True if the endpoint was named, so that no other may replace it.
    pub named: bool,
    /// The kubelet's default, if the kubelet uses it and it is a socket.
    pub default: Option<FileIdentity>,
    /// The sockets, in the order in which they are preferred.
    pub sockets: Vec<FoundSocket>,
    /// Candidates that are not sockets.
    pub refused: Vec<RefusedEndpoint>,
    /// The gap for a setting that differs from the kubelet's.
    pub gaps: Vec<Gap>,
}

/// Finds the sockets of the candidates that castoff may open. `elsewhere` is the kubelet's endpoint if castoff's own
/// setting is used instead.
pub(crate) fn find(
    root: &Path,
    candidates: Candidates,
    elsewhere: Option<&EndpointCandidate>,
    seen: &ListeningFiles,
) -> Found {
    let mut found = find_all(root, candidates, elsewhere);
    let (open, refused) = fence::separate(found.sockets, seen);
    found.sockets = open;
    found.refused.extend(refused);
    found
}

fn find_all(root: &Path, candidates: Candidates, elsewhere: Option<&EndpointCandidate>) -> Found {
    match candidates {
        Candidates::Known(known) => find_known(root, known),
        Candidates::Default => Found {
            default: endpoint::walk(root, endpoint::KUBELETS_DEFAULT)
                .ok()
                .map(|walked| walked.identity),
            ..find_known(root, endpoint::well_known())
        },
        Candidates::Named(candidate) => {
            let gap = elsewhere.and_then(|kubelets| differs(root, &candidate, kubelets));
            let (sockets, refused) = match endpoint::find_socket(root, candidate) {
                Ok(socket) => (vec![socket], Vec::new()),
                Err(refusal) => (Vec::new(), vec![refusal]),
            };
            Found {
                named: true,
                default: None,
                sockets,
                refused,
                gaps: gap.into_iter().collect(),
            }
        }
    }
}

fn find_known(root: &Path, known: Vec<EndpointCandidate>) -> Found {
    let (sockets, refused) = endpoint::find_known(root, known);
    Found {
        sockets,
        refused,
        ..Found::default()
    }
}

fn differs(root: &Path, own: &EndpointCandidate, kubelets: &EndpointCandidate) -> Option<Gap> {
    let canonical = |c: &EndpointCandidate| endpoint::walk(root, &c.path).ok().map(|walked| walked.name);
    let same = own.path == kubelets.path || canonical(own).is_some_and(|o| canonical(kubelets) == Some(o));
    (!same).then(|| {
        let answer = format!("castoff is configured to ask {} instead", own.path);
        let asked = format!("the kubelet's runtime at {}", kubelets.path);
        Gap::new(Reason::DependsOnAnother, Hides::Runtime, asked, answer)
    })
}

/// A runtime that returned its name and version.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    /// The socket where it answered.
    pub socket: FoundSocket,
    /// The client for more calls.
    pub client: Client,
    /// The version of the interface that it answered in.
    pub api: CriApi,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// Calls `Version` on every socket concurrently. The results are in the order of `sockets`.
pub(crate) async fn query_versions(sockets: Vec<(FoundSocket, Client)>) -> Vec<Result<Answered, RefusedEndpoint>> {
    let mut asked = JoinSet::new();
    for (nth, (socket, client)) in sockets.into_iter().enumerate() {
        asked.spawn(async move { (nth, query_version(socket, client).await) });
    }
    let mut answers = asked.join_all().await;
    answers.sort_by_key(|(nth, _)| *nth);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

async fn query_version(socket: FoundSocket, client: Client) -> Result<Answered, RefusedEndpoint> {
    let (api, answer) = match ask(&client, CriApi::V1).await {
        // The only error after which v1alpha2 may be tried: see the module `runtime`.
        Err(error) if error.reason() == Reason::Unimplemented => {
            (CriApi::V1alpha2, ask(&client, CriApi::V1alpha2).await)
        }
        answer => (CriApi::V1, answer),
    };
    let path = &socket.candidate.path;
    let refusal = match answer {
        Ok(answer) if !answer.runtime_name.is_empty() => {
            let (name, version) = (printable(&answer.runtime_name), printable(&answer.runtime_version));
            return Ok(Answered {
                socket,
                client,
                api,
                name,
                version,
            });
        }
        Ok(_) => {
            let asked = format!("Version (CRI {api}) on {path}");
            Gap::new(
                Reason::ProtocolError,
                Hides::Runtime,
                asked,
                "an answer without the runtime's name",
            )
        }
        Err(error) => error.gap(Hides::Runtime, api, v1::VersionRequest::METHOD, path),
    };
    Err(RefusedEndpoint {
        candidate: socket.candidate,
        refusal,
    })
}

async fn ask(client: &Client, api: CriApi) -> Result<v1::VersionResponse, CallError> {
    // The version of the kubelet's own API, which runtimes ignore (kubeRuntimeAPIVersion of the kubelet).
    let request = v1::VersionRequest {
        version: b"0.1.0".to_vec(),
    };
    client.query_first(api, request).await
}

/// The chosen runtime, and what remains uncertain.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// The runtime.
    pub answered: Reading<Answered>,
    /// Every candidate that did not answer.
    pub refused: Vec<RefusedEndpoint>,
    /// The reasons why the kubelet may use another runtime.
    pub gaps: Vec<Gap>,
}

/// Chooses one of the answers by the rules in the module `runtime`.
pub(crate) fn decide(found: Found, answers: Vec<Result<Answered, RefusedEndpoint>>) -> Chosen {
    let Found {
        named,
        default,
        mut refused,
        mut gaps,
        sockets: _,
    } = found;
    let mut answered = Vec::new();
    for answer in answers {
        match answer {
            Ok(answer) => answered.push(answer),
            Err(refusal) => refused.push(refusal),
        }
    }
    if answered.is_empty() {
        let hidden = refused.iter().find(|r| named || !serves_no_cri(r));
        let reading = hidden.map_or(Reading::Absent, |r| Reading::Unknown(r.refusal.clone()));
        return Chosen {
            answered: reading,
            refused,
            gaps,
        };
    }
    if let Some(default) = answered.iter().position(|a| Some(a.socket.identity) == default)
        && !may_be_dockershims(&answered, &refused)
    {
        return Chosen {
            answered: Reading::Known(answered.swap_remove(default)),
            refused,
            gaps,
        };
    }
    let docker = answered.iter().position(|a| a.name == "docker");
    let taken = answered.swap_remove(docker.unwrap_or_default());
    for rival in &answered {
        let (one, other) = (&taken.socket.candidate.path, &rival.socket.candidate.path);
        let asked = format!("whether the kubelet uses {one} or {other}");
        let answer = "both answer, and no kubelet names one of them";
        gaps.push(Gap::new(Reason::DependsOnAnother, Hides::Runtime, asked, answer));
    }
    let silent = refused.iter().filter(|r| may_be_in_use(r)).map(|r| r.refusal.clone());
    gaps.extend(silent);
    Chosen {
        answered: Reading::Known(taken),
        refused,
        gaps,
    }
}

/// True if one of the sockets may be that of a dockershim, which is the default of a kubelet up to 1.23.
fn may_be_dockershims(answered: &[Answered], refused: &[RefusedEndpoint]) -> bool {
    let answered = answered.iter().filter(|a| a.name == "docker");
    let answered = answered.map(|a| &a.socket.candidate);
    let silent = refused.iter().filter(|r| may_be_in_use(r)).map(|r| &r.candidate);
    answered.chain(silent).any(|c| endpoint::is_dockershim(&c.path))
}

/// True if it answers and knows no version of CRI.
fn serves_no_cri(refused: &RefusedEndpoint) -> bool {
    refused.refusal.reason == Reason::Unimplemented
}

/// True if the kubelet may use this endpoint: a program listens there, and castoff could not find out which one.
fn may_be_in_use(refused: &RefusedEndpoint) -> bool {
    let nobody = [Reason::NotASocket, Reason::NotFound, Reason::ConnectionRefused];
    !serves_no_cri(refused) && !nobody.contains(&refused.refusal.reason)
}

#[cfg(test)]
mod tests;
