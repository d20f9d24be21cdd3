//! Clients of the node's engines, and containers that could become one.

use super::Facts;
use super::advice::{for_requests, with_agent};
use super::catalogue::finding;
use super::releases::{DOCKER_29_0_API, DOCKER_29_API};
use super::report::{Code, Finding, Severity};
use crate::model::client::{Client, ClientIdentity};
use crate::model::engine::{EngineKind, Scope};
use crate::model::exposure::{Access, Exposure, Via};
use crate::model::host::UserNamespaces;
use crate::model::request::Operation;

/// The findings of this family.
pub(super) fn find(facts: &Facts<'_>) -> Vec<Finding> {
    let clients = facts.used_by.iter().copied();
    let old = clients.clone().filter_map(old_api);
    let settings = facts.user_namespaces();
    let clients = clients.map(|found| client(found, settings));
    let exposures = facts.node_exposures().filter(|e| !e.used).map(exposure);
    clients.chain(old).chain(exposures).collect()
}

fn client(client: &Client, settings: Option<&UserNamespaces>) -> Finding {
    let key = &client.key;
    let target = format!("{} ({}) at {}", key.engine, key.scope, key.listener);
    if key.identity == ClientIdentity::Unseen {
        return unseen(client, &target);
    }
    let message = match (client.connections, client.pending) {
        (0, 0) => format!("used {target}, last seen {}", client.last_seen),
        (0, n) => format!(
            "waits with {} for {target}, which does not accept connections",
            connections(n)
        ),
        (n, 0) => format!("holds {} to {target}", connections(n)),
        (n, p) => format!("holds {} to {target} and waits with {p} more", connections(n)),
    };
    // `runtime-is-docker` reports the kubelet's own use of Docker, so here it is information only.
    let severity = if client.as_runtime {
        Severity::Info
    } else {
        Severity::Warning
    };
    let purposes = client.requests.purposes();
    let mut finding = finding(
        Code::SocketClient,
        severity,
        &key.identity,
        message + &asks_for(&purposes),
    );
    if !purposes.is_empty() {
        finding.advice = for_requests(&purposes, client.agent, settings);
    }
    with_agent(finding, client.agent, |agent| Some(agent.advice))
}

fn asks_for(purposes: &[Operation]) -> String {
    let codes: Vec<&str> = purposes.iter().map(|operation| operation.code()).collect();
    if codes.is_empty() {
        return String::new();
    }
    format!("; asks for: {}", codes.join(", "))
}

/// The finding for a client that newer releases of Docker refuse. Podman accepts all versions.
fn old_api(client: &Client) -> Option<Finding> {
    let version = client.requests.lowest_api?.version();
    if client.key.engine != EngineKind::Dockerd || version.0 >= DOCKER_29_0_API {
        return None;
    }
    let (severity, refusing) = if version.0 < DOCKER_29_API {
        (Severity::Warning, "Docker Engine 29 refuses")
    } else {
        (
            Severity::Info,
            "Docker Engine 29.0 refuses, and later releases of 29 accept,",
        )
    };
    let message = format!(
        "uses version {version} of the Docker API at {}, which {refusing} by default",
        client.key.listener
    );
    Some(finding(Code::OldDockerApi, severity, &client.key.identity, message))
}

/// The finding for a client that no look saw: the advice says how to see it.
fn unseen(client: &Client, target: &str) -> Finding {
    let message = format!(
        "connected to {target}, last at {}, by the times of the socket's file",
        client.last_seen
    );
    Finding {
        advice:
            "Identify the client: look more often at that time (`castoff check --sample 10m`, or a shorter --period)."
                .to_owned(),
        ..finding(Code::SocketClient, Severity::Warning, &client.key.identity, message)
    }
}

fn connections(n: u32) -> String {
    if n == 1 {
        "1 connection".to_owned()
    } else {
        format!("{n} connections")
    }
}

fn exposure(exposure: &Exposure) -> Finding {
    let Exposure {
        engine,
        scope,
        listener,
        host_path,
        container_path,
        ..
    } = exposure;
    let how = match exposure.via {
        Via::Socket => "the socket",
        Via::Directory => "a directory above the socket",
    };
    let mode = if exposure.readonly {
        ", read-only, which does not prevent connections"
    } else {
        ""
    };
    let user = match exposure.access {
        Access::Denied => "; its user may not open it now",
        Access::Allowed | Access::Unknown => "",
    };
    let (mounts, until) = if exposure.mounted {
        ("mounts", String::new())
    } else {
        ("mounted", format!(" until {}", exposure.last_seen))
    };
    let message = format!(
        "{mounts} {how} of {engine} ({scope}) at {listener}{until}: {host_path} as {container_path}{mode}; not seen using it{user}"
    );
    let code = if *scope == Scope::Outside {
        Code::ForeignSocket
    } else {
        Code::SocketExposure
    };
    let finding = finding(code, Severity::Warning, &exposure.identity, message);
    with_agent(finding, exposure.agent, |agent| Some(agent.advice))
}
