//! Engines inside pods or on TCP, and containers that an engine runs outside Kubernetes.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::builds;
use super::catalogue::finding;
use super::report::{Code, Finding, Severity};
use super::{Facts, seen};
use crate::model::container::ShadowContainer;
use crate::model::engine::{Engine, EngineKind, Listener, Scope, Security, SecurityBasis};
use crate::model::socket::SocketName;

/// The advice where a pod needs an engine of its own.
const ISOLATE: &str = "Where an engine is needed, isolate it (sysbox, user namespaces, a VM).";

/// The number of names that a finding lists; the report has all of them.
const NAMES_LISTED: usize = 5;

/// The findings of this family.
pub(super) fn find(facts: &Facts<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = seen(facts.engines)
        .filter_map(|engine| docker_in_docker(facts, engine))
        .collect();
    found.extend(seen(facts.engines).flat_map(|engine| engine.listeners.iter().filter_map(|l| docker_tcp(engine, l))));
    for &kind in EngineKind::ALL {
        let of_kind = seen(facts.shadow_containers).filter(|c| c.engine == kind);
        found.extend(shadow_containers(kind, &of_kind.collect::<Vec<_>>()));
    }
    found
}

/// An engine inside a pod, with its clients: they do not count for the node, so no other finding names them.
fn docker_in_docker(facts: &Facts<'_>, engine: &Engine) -> Option<Finding> {
    let Scope::Pod(_) = engine.scope else { return None };
    let mut message = format!("{} runs inside the pod", engine.kind);
    let at: Vec<String> = engine.listeners.iter().map(|l| l.name.to_string()).collect();
    if !at.is_empty() {
        let _ = write!(message, ", listening at {}", at.join(", "));
    }
    let clients = seen(facts.clients).filter(|c| c.key.scope == engine.scope && c.key.engine == engine.kind);
    let users: BTreeSet<String> = clients.map(|c| c.key.identity.to_string()).collect();
    if !users.is_empty() {
        let _ = write!(message, "; used by {}", listed(users.iter().map(String::as_str)));
    }
    let finding = finding(Code::DockerInDocker, Severity::Warning, &engine.scope, message);
    Some(Finding {
        advice: format!("{} {ISOLATE}", builds::advice(facts.user_namespaces())),
        ..finding
    })
}

/// A TCP listener: critical if no client certificate is needed.
fn docker_tcp(engine: &Engine, listener: &Listener) -> Option<Finding> {
    let (SocketName::Tcp(address), Some(transport)) = (&listener.name, listener.transport) else {
        return None;
    };
    let (severity, how) = match transport.security {
        Security::Plain => (
            Severity::Critical,
            "without TLS: everyone who can reach it controls the engine",
        ),
        Security::Tls => (
            Severity::Warning,
            "with TLS but without client certificates: everyone who can reach it controls the engine",
        ),
        Security::VerifiedTls => (Severity::Warning, "with TLS"),
    };
    // A pod's own loopback can be reached only from within the pod.
    let is_inside = matches!(engine.scope, Scope::Pod(_) | Scope::Container { .. }) && address.ip().is_loopback();
    let severity = if is_inside { Severity::Warning } else { severity };
    let basis = match transport.basis {
        SecurityBasis::Settings => "its arguments and daemon.json show",
        SecurityBasis::Port => "only the port number shows",
    };
    let accepts = if engine.is_awaited() {
        format!("systemd listens for {}", engine.kind)
    } else {
        format!("{} accepts", engine.kind)
    };
    let message = format!("{accepts} at {} {how}, as {basis}", listener.name);
    Some(finding(Code::DockerTcp, severity, &engine.scope, message))
}

/// Lists the first names, and the number of the others.
pub(super) fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let rest = names.len().saturating_sub(NAMES_LISTED);
    let shown = names.take(NAMES_LISTED).collect::<Vec<_>>().join(", ");
    if rest == 0 {
        shown
    } else {
        format!("{shown} and {rest} more")
    }
}

fn shadow_containers(kind: EngineKind, containers: &[&ShadowContainer]) -> Option<Finding> {
    if containers.is_empty() {
        return None;
    }
    let names = containers
        .iter()
        .map(|c| c.name.as_deref().unwrap_or_else(|| c.id.short()));
    let noun = if containers.len() == 1 {
        "container"
    } else {
        "containers"
    };
    let message = format!(
        "{kind} runs {} {noun} outside Kubernetes: {}",
        containers.len(),
        listed(names)
    );
    Some(finding(Code::ShadowContainers, Severity::Warning, kind.code(), message))
}
