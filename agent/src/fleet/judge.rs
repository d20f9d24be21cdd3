//! Makes a Node's row of the Node, its agent and the agent's answer. Pure.

use std::time::Duration;

use super::days::Week;
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
        version: report.version.clone(),
        look: Some(report.time),
        age_seconds: Some(age.as_secs()),
        ..agent(pod)
    };
    if let Some(other) = report.node.as_ref().filter(|named| **named != node.name) {
        // The report is about another Node, so nothing of it counts.
        return NodeRow {
            agent: Some(agent),
            ..NodeRow::unknown(
                &node.name,
                Doubt::OtherNode,
                format!("the agent on it reports node {other}"),
            )
        };
    }
    let stale = (age > settings.stale_after).then_some(age);
    let (report, doubt) = match stale {
        Some(age) => (outdated(report, age), Some(Doubt::Stale)),
        None if report.verdict == Verdict::Unknown => (report, Some(Doubt::AgentCannotTell)),
        None => (report, None),
    };
    NodeRow {
        node: node.name.clone(),
        verdict: report.verdict,
        readiness: readiness::judge(&settings.ready_for, answer.bytes, stale),
        reason: report.reason,
        doubt,
        agent: Some(agent),
        runtime: report.runtime,
        kubelet_ceiling: report.kubelet_ceiling,
        clients: report.clients,
        exposures: report.exposures,
        shadow_containers: report.shadow_containers,
        docker_free: report.docker_free,
        week: report.week,
        runtime_is_hidden: report.runtime_is_hidden,
    }
}

/// Keeps the uses and mounts that were seen. Conclusions from their absence are valid only for the time of the look.
fn outdated(report: Report, age: Duration) -> Report {
    let ago = ago(age);
    let (verdict, reason) = match report.verdict {
        Verdict::Runtime | Verdict::InUse => {
            let reason = format!("{} (the agent's last look was {ago})", report.reason);
            (report.verdict, reason)
        }
        Verdict::Exposed | Verdict::Idle | Verdict::Clear | Verdict::Unknown => {
            let reason = format!("the agent's last look was {ago}, and said {}", report.verdict);
            (Verdict::Unknown, reason)
        }
    };
    Report {
        verdict,
        reason,
        clients: report.clients.weakened(),
        exposures: report.exposures.weakened(),
        shadow_containers: report.shadow_containers.weakened(),
        docker_free: Reported::Unknown,
        // The days of an old look are not the current ones.
        week: Week::default(),
        ..report
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
