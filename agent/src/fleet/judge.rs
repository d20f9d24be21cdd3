//! Makes a Node's row of the Node, its agent and the agent's answer. Pure.

use std::time::Duration;

use super::join::{AgentPod, Node, Unsupported};
use super::look::FleetSettings;
use super::readiness::{self, ago};
use super::report::{NoReport, Report};
use super::row::{AgentSeen, Doubt, NodeRow, Reported};
use crate::apiserver::refusal::Refusal;
use crate::findings::report::Verdict;
use crate::model::publishing::Outcome;
use crate::model::time::Timestamp;

/// The answer of an agent.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    pub(super) bytes: &'a [u8],
    /// The time by the agent's clock where it sent one, else by our own.
    pub(super) now: Timestamp,
}

/// Returns the row of a Node without an agent to ask.
pub(super) fn without_agent(node: &Node, pod: Option<&AgentPod>) -> NodeRow {
    let not_ready = if node.status.split(',').any(|word| word == "Ready") {
        String::new()
    } else {
        format!("; the node is {}", node.status)
    };
    if let Some(pod) = pod {
        let reason = format!("the agent's pod {} is {}{not_ready}", pod.name, pod.status);
        return NodeRow {
            agent: Some(agent(pod)),
            ..NodeRow::unknown(&node.name, Doubt::AgentNotReady, reason)
        };
    }
    match &node.unsupported {
        Some(Unsupported::System(system)) => {
            let reason = format!("no agent can run on {system}");
            NodeRow::unknown(&node.name, Doubt::NotLinux, reason)
        }
        Some(Unsupported::Virtual(label)) => {
            let reason = format!("no agent can run there: it has no machine of its own ({label})");
            NodeRow::unknown(&node.name, Doubt::VirtualNode, reason)
        }
        None => NodeRow::unknown(
            &node.name,
            Doubt::NoAgent,
            format!("no castoff pod is on it{not_ready}"),
        ),
    }
}

/// Returns the row of a Node whose agent gave no report.
pub(super) fn refused(node: &Node, pod: &AgentPod, refusal: &Refusal) -> NodeRow {
    let doubt = match refusal.outcome {
        Outcome::Unauthenticated => Doubt::Unauthenticated,
        Outcome::Forbidden => Doubt::Refused,
        Outcome::BadAnswer => Doubt::NotUnderstood,
        _ if !pod.ready => Doubt::AgentNotReady,
        _ => Doubt::NoAnswer,
    };
    let state = if pod.ready {
        String::new()
    } else {
        format!(" (pod is {})", pod.status)
    };
    let reason = format!("{}{state}", refusal.answer);
    NodeRow {
        agent: Some(agent(pod)),
        ..NodeRow::unknown(&node.name, doubt, reason)
    }
}

/// Returns the row of a Node whose agent answered.
pub(super) fn answered(node: &Node, pod: &AgentPod, answer: &Answer<'_>, settings: &FleetSettings) -> NodeRow {
    let report = match Report::read(answer.bytes) {
        Ok(report) => report,
        Err(why) => {
            let doubt = match why {
                NoReport::NotOne(_) => Doubt::NotUnderstood,
                NoReport::OtherSchema(_) | NoReport::OtherVerdict(_) => Doubt::OtherSchema,
            };
            return NodeRow {
                agent: Some(agent(pod)),
                ..NodeRow::unknown(&node.name, doubt, why.to_string())
            };
        }
    };
    let age = answer.now.since(report.time);
    let agent = AgentSeen {
        version: report.version,
        look: Some(report.time),
        age_seconds: Some(age.as_secs()),
        ..agent(pod)
    };
    if let Some(other) = report.node.as_ref().filter(|named| **named != node.name) {
        // Nothing in it belongs to this Node.
        return NodeRow {
            agent: Some(agent),
            ..NodeRow::unknown(
                &node.name,
                Doubt::OtherNode,
                format!("the agent on it reports node {other}"),
            )
        };
    }
    let is_stale = age > settings.stale_after;
    let (verdict, reason, doubt) = if is_stale {
        stale(report.verdict, &report.reason, age)
    } else if report.verdict == Verdict::Unknown {
        (Verdict::Unknown, report.reason, Some(Doubt::AgentCannotTell))
    } else {
        (report.verdict, report.reason, None)
    };
    NodeRow {
        node: node.name.clone(),
        verdict,
        readiness: readiness::judge(&settings.ready_for, answer.bytes, is_stale.then_some(age)),
        reason,
        doubt,
        agent: Some(agent),
        runtime: report.runtime,
        kubelet_ceiling: report.kubelet_ceiling,
        clients: report.clients.weakened(is_stale),
        exposures: report.exposures.weakened(is_stale),
        shadow_containers: report.shadow_containers.weakened(is_stale),
        docker_free: Some(report.docker_free)
            .filter(|_| !is_stale)
            .unwrap_or(Reported::Unknown),
        // The days of an old look are not those of now.
        week: Some(report.week).filter(|_| !is_stale).unwrap_or_default(),
        runtime_is_hidden: report.runtime_is_hidden,
    }
}

/// Keeps what was seen; conclusions from what was not seen do not outlive the look.
fn stale(verdict: Verdict, reason: &str, age: Duration) -> (Verdict, String, Option<Doubt>) {
    let ago = ago(age);
    match verdict {
        Verdict::Runtime | Verdict::InUse => (
            verdict,
            format!("{reason} (the agent's last look was {ago})"),
            Some(Doubt::Stale),
        ),
        Verdict::Exposed | Verdict::Idle | Verdict::Clear | Verdict::Unknown => {
            let reason = format!("the agent's last look was {ago}, and said {verdict}");
            (Verdict::Unknown, reason, Some(Doubt::Stale))
        }
    }
}

fn agent(pod: &AgentPod) -> AgentSeen {
    AgentSeen {
        pod: pod.name.clone(),
        version: None,
        look: None,
        age_seconds: None,
    }
}
