//! Engines where there should be none, and what is left of them.

use super::Facts;
use super::catalogue::finding;
use super::report::{Code, Finding, Severity};
use super::runtime::docker_is_the_runtime;
use crate::model::container::ShadowContainer;
use crate::model::engine::{Engine, EngineKind, Scope};

/// How many names a finding lists; the report has them all.
const NAMES_LISTED: usize = 5;

/// The findings of this family.
pub(super) fn find(facts: &Facts<'_>) -> Vec<Finding> {
    let engines = facts.engines.known().map_or(&[][..], Vec::as_slice);
    let mut found: Vec<Finding> = engines.iter().filter_map(docker_in_docker).collect();
    for &kind in EngineKind::ALL {
        let of_kind = facts
            .shadow_containers
            .known()
            .into_iter()
            .flatten()
            .filter(|c| c.engine == kind);
        found.extend(shadow_containers(kind, &of_kind.collect::<Vec<_>>()));
    }
    let used = !facts.used_by.is_empty();
    if !used && docker_is_the_runtime(facts.snapshot).is_none() {
        found.extend(left_over(facts, engines));
    }
    found
}

fn docker_in_docker(engine: &Engine) -> Option<Finding> {
    let Scope::Pod(_) = engine.scope else { return None };
    let at: Vec<String> = engine.listeners.iter().map(|l| l.name.to_string()).collect();
    let at = if at.is_empty() {
        String::new()
    } else {
        format!(", listening at {}", at.join(", "))
    };
    let message = format!("{} runs inside the pod{at}", engine.kind);
    Some(finding(Code::DockerInDocker, Severity::Warning, &engine.scope, message))
}

fn shadow_containers(kind: EngineKind, containers: &[&ShadowContainer]) -> Option<Finding> {
    if containers.is_empty() {
        return None;
    }
    let names = containers
        .iter()
        .map(|c| c.name.as_deref().unwrap_or_else(|| c.id.short()));
    let listed: Vec<&str> = names.take(NAMES_LISTED).collect();
    let rest = containers.len() - listed.len();
    let more = if rest == 0 {
        String::new()
    } else {
        format!(" and {rest} more")
    };
    let noun = if containers.len() == 1 {
        "container that Kubernetes does"
    } else {
        "containers that Kubernetes does"
    };
    let message = format!(
        "{kind} runs {} {noun} not know: {}{more}",
        containers.len(),
        listed.join(", ")
    );
    Some(finding(Code::ShadowContainers, Severity::Warning, kind.code(), message))
}

/// Docker is here and nobody uses it: it runs, would start, is installed, or left data.
fn left_over(facts: &Facts<'_>, engines: &[Engine]) -> Option<Finding> {
    let mut what: Vec<String> = Vec::new();
    for engine in engines
        .iter()
        .filter(|e| matches!(e.scope, Scope::Host | Scope::User { .. }))
    {
        let verb = if engine.is_awaited() {
            "would be started by systemd"
        } else {
            "runs"
        };
        what.push(format!("{} {verb} ({})", engine.kind, engine.scope));
    }
    let host = facts.snapshot.host.reading.known();
    for left in host.and_then(|h| h.left_overs.known()).into_iter().flatten() {
        what.push(format!("{} {}", left.kind, left.path));
    }
    if what.is_empty() {
        return None;
    }
    let message = format!(
        "Docker is still here and nothing was seen using it: {}",
        what.join(", ")
    );
    Some(finding(Code::EngineLeftOver, Severity::Info, "node", message))
}
