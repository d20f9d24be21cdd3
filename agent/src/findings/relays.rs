//! Clients of an engine that pass the Docker API on to clients of their own, or may do so.

use super::advice::with_agent;
use super::catalogue::finding;
use super::engines::listed;
use super::report::{Code, Finding, Severity};
use super::{Facts, seen};
use crate::model::relay::{Relay, RelayBasis};

/// The findings of this family.
pub(super) fn find(facts: &Facts<'_>) -> Vec<Finding> {
    let named = |found: &Relay| {
        let known = facts.agents.agent_of(&found.identity, &[]);
        with_agent(relay(found), known, |agent| Some(agent.advice))
    };
    seen(facts.relays).map(named).collect()
}

fn relay(relay: &Relay) -> Finding {
    let is_sure = relay.is_sure();
    let points = relay.listeners.iter().filter(|point| point.basis.is_some() == is_sure);
    let points: Vec<String> = points
        .map(|point| match point.basis {
            Some(basis) => format!("{}, {}", point.name, evidence(basis)),
            None => point.name.to_string(),
        })
        .collect();
    let points = listed(points.iter().map(String::as_str));
    let upstream: Vec<String> = relay.upstream.iter().map(ToString::to_string).collect();
    let upstream = listed(upstream.iter().map(String::as_str));
    let clients: Vec<String> = relay.clients.iter().map(|client| client.identity.to_string()).collect();
    let mut message = if is_sure {
        format!("passes the Docker API of {upstream} on to clients at {points}")
    } else {
        format!("uses {upstream}, accepts connections at {points}, and may pass the Docker API on")
    };
    if !clients.is_empty() {
        message += "; connected to it: ";
        message += &listed(clients.iter().map(String::as_str));
    }
    if relay.loops {
        message += "; its connections lead back to itself";
    }
    let severity = if is_sure { Severity::Warning } else { Severity::Info };
    finding(Code::DockerRelay, severity, &relay.identity, message)
}

const fn evidence(basis: RelayBasis) -> &'static str {
    match basis {
        RelayBasis::Requests => "where clients send requests of the Docker API",
        RelayBasis::Port => "which is a port of the Docker API",
        RelayBasis::Name => "which has the name of an engine's socket",
        RelayBasis::Process => "where a process for each client has one connection to the engine",
        RelayBasis::Pairs => "where connections come and go with those to the engine",
    }
}
