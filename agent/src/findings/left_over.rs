//! Engines without a use: the steps to remove them, and the reasons not to.

use super::Facts;
use super::catalogue::{entry, finding};
use super::containerd::{Shared, shared};
use super::report::{Code, Finding, Severity};
use super::runtime::docker_is_the_runtime;
use super::verdict::{in_use, missing_fact};
use crate::model::engine::{Engine, EngineKind, Scope};

/// Advice where it is not known if the kubelet's containerd is Docker's.
const CHECK_CONTAINERD: &str = "First check that the kubelet's containerd is not Docker's package containerd.io; then stop and \
                                disable docker.service and docker.socket, and remove docker-ce and /var/lib/docker.";
/// Advice while a needed fact is unknown.
const LOOK_FIRST: &str = "Do not remove it yet: castoff could not see enough to tell that nobody uses it. Fix the blind \
                          spots, then look again.";
/// Advice while containers mount its socket.
const UNMOUNT_FIRST: &str = "First remove the mounts of its socket, because those containers can use it at any time.";
const STOP_PODMAN: &str = "Stop and disable podman.socket and podman.service; podman runs containers without them.";
const FIND_OUT: &str = "Find out which program this is (`castoff check -o wide` shows its process), then stop it.";

/// The findings of this family: none on a node whose engines are used, run containers, or are the kubelet's runtime.
pub(super) fn find(facts: &Facts<'_>) -> Vec<Finding> {
    if in_use(facts).is_some() || docker_is_the_runtime(facts.snapshot).is_some() {
        return Vec::new();
    }
    let removable = |engine: &&Engine| matches!(engine.scope, Scope::Host | Scope::User { .. });
    let (docker, others): (Vec<&Engine>, Vec<&Engine>) = facts
        .node_engines()
        .filter(removable)
        .partition(|engine| engine.kind == EngineKind::Dockerd);
    let host = facts.snapshot.host.reading.known();
    let on_disk = host.and_then(|h| h.left_overs.known()).into_iter().flatten();
    let mut parts: Vec<String> = docker.into_iter().map(described).collect();
    parts.extend(on_disk.map(|left| format!("{} {}", left.kind, left.path)));
    let mut found = Vec::new();
    if !parts.is_empty() {
        let message = format!(
            "Docker is still on this node and no client was seen using it: {}",
            parts.join(", ")
        );
        let mut left = finding(Code::EngineLeftOver, Severity::Info, "node", message);
        match shared(facts.snapshot) {
            Shared::Yes { .. } => entry(Code::SharedContainerd).instead[0].clone_into(&mut left.advice),
            Shared::Unknown => CHECK_CONTAINERD.clone_into(&mut left.advice),
            Shared::No => {}
        }
        found.push(left);
    }
    if facts.node_exposures().next().is_some() {
        for finding in &mut found {
            finding.advice = format!("{UNMOUNT_FIRST} {}", finding.advice);
        }
    }
    found.extend(others.into_iter().map(not_docker));
    if missing_fact(facts).is_some() {
        for finding in &mut found {
            LOOK_FIRST.clone_into(&mut finding.advice);
        }
    }
    found
}

/// Describes an engine that serves the Docker API and is not Docker: removing Docker's packages does not remove it.
fn not_docker(engine: &Engine) -> Finding {
    let (subject, advice) = match engine.kind {
        EngineKind::Podman => ("podman", STOP_PODMAN),
        EngineKind::Dockerd | EngineKind::Other => ("unknown engine", FIND_OUT),
    };
    let at: Vec<String> = engine.listeners.iter().map(|l| l.name.to_string()).collect();
    let message = format!(
        "{}, serves the Docker API at {} and nothing was seen using it",
        described(engine),
        at.join(", ")
    );
    let mut found = finding(Code::EngineLeftOver, Severity::Info, subject, message);
    advice.clone_into(&mut found.advice);
    found
}

fn described(engine: &Engine) -> String {
    let verb = if engine.is_awaited() {
        "would be started by systemd"
    } else {
        "runs"
    };
    format!("{} {verb} ({})", engine.kind, engine.scope)
}
