//! The advice about one program: that for the known agent that it claims to be comes first, then that for its requests.

use std::borrow::Cow;

use super::agents::{self, Agent};
use super::builds;
use super::catalogue::entry;
use super::report::{Code, Finding};
use crate::model::host::UserNamespaces;
use crate::model::known_agent::KnownAgent;
use crate::model::request::Operation;

/// The maximum number of classes of requests that the advice of one finding covers.
const CLASSES: usize = 3;

/// Returns the advice to replace the most frequent requests of a program, on a node with these settings.
pub(super) fn for_requests(
    purposes: &[Operation],
    known: Option<KnownAgent>,
    settings: Option<&UserNamespaces>,
) -> String {
    let agent = known.and_then(agents::entry);
    let own = |operation| agent.and_then(|agent| agent.by_operation.get(operation)).copied();
    let advice = purposes.iter().take(CLASSES).map(|operation| match own(operation) {
        Some(own) => Cow::Borrowed(own),
        None => instead_of(*operation, settings),
    });
    advice.collect::<Vec<_>>().join(" ")
}

/// Returns the general advice to replace such a request to Docker.
fn instead_of(operation: Operation, settings: Option<&UserNamespaces>) -> Cow<'static, str> {
    Cow::Borrowed(match operation {
        Operation::Build => return Cow::Owned(builds::advice(settings)),
        Operation::Run => "Run these containers as pods, or as static pods of this node.",
        Operation::Exec => "Run programs in containers by kubectl exec, or by crictl exec on the node.",
        Operation::Read => "List and inspect containers through the Kubernetes API, or by crictl on the node.",
        Operation::Pull => "Let the kubelet pull images, or pull them by crictl on the node.",
        Operation::Push => "Push images with Buildah, skopeo or crane, which need no engine.",
        Operation::Events => "Watch pods and Events through the Kubernetes API.",
        Operation::Logs => "Read logs in /var/log/pods, or through the Kubernetes API.",
        Operation::Swarm => "Move the services of Swarm to Deployments and Services of Kubernetes.",
        Operation::Volumes => "Use PersistentVolumeClaims or emptyDir volumes of pods in place of Docker's volumes.",
        Operation::Networks => "Use Services and NetworkPolicies in place of Docker's networks.",
        Operation::System => "Find out what this client needs Docker for: it only asked about the engine itself.",
        Operation::Other => entry(Code::SocketClient).instead[0],
    })
}

/// Adds to a finding the known agent that its subject claims to be, and the advice for it. The general advice stays, because the
/// claim may be wrong.
#[must_use]
pub(super) fn with_agent(
    mut finding: Finding,
    known: Option<KnownAgent>,
    advice: impl Fn(&Agent) -> Option<&'static str>,
) -> Finding {
    let Some(known) = known else { return finding };
    finding.message = format!("{}; {known}", finding.message);
    if let Some(advice) = agents::entry(known).and_then(advice) {
        finding.advice = format!("{advice} {}", finding.advice);
    }
    finding
}
