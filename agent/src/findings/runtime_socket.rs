//! Clients of the runtime's own socket, and containers that could become one. They do not use Docker and change no verdict: the
//! next upgrade of the runtime may break them.

use super::advice::with_agent;
use super::catalogue::finding;
use super::report::{Code, Finding, Severity};
use super::{Facts, seen};
use crate::model::client::Client;
use crate::model::exposure::{Exposure, Via};
use crate::model::snapshot::Snapshot;

/// containerd's id for the use of CRI v1alpha2.
const V1ALPHA2: &str = "io.containerd.deprecation/cri-api-v1alpha2";

/// The findings of this family.
pub(super) fn find(facts: &Facts<'_>) -> Vec<Finding> {
    let speaks_v1alpha2 = is_v1alpha2_reported(facts.snapshot);
    let clients = seen(facts.runtime_clients).map(|found| client(found, speaks_v1alpha2));
    let exposures = seen(facts.runtime_exposures).filter(|found| !found.used).map(exposure);
    clients.chain(exposures).collect()
}

/// True if the runtime reports a use of CRI v1alpha2. It does not name the client.
fn is_v1alpha2_reported(snapshot: &Snapshot) -> bool {
    let runtime = snapshot.runtime.runtime.reading.known();
    runtime.is_some_and(|runtime| {
        runtime
            .deprecations
            .items()
            .iter()
            .any(|use_of_it| use_of_it.id == V1ALPHA2)
    })
}

fn client(client: &Client, speaks_v1alpha2: bool) -> Finding {
    let listener = &client.key.listener;
    let open = client.connections.saturating_add(client.pending);
    let mut message = match open {
        0 => format!("used the runtime's socket {listener}, last seen {}", client.last_seen),
        1 => format!("holds 1 connection to the runtime's socket {listener}"),
        n => format!("holds {n} connections to the runtime's socket {listener}"),
    };
    let mut severity = Severity::Info;
    if speaks_v1alpha2 {
        message += "; the runtime reports that a client used CRI v1alpha2, which containerd 2 does not have";
        severity = Severity::Warning;
    }
    let finding = finding(Code::RuntimeSocketClient, severity, &client.key.identity, message);
    with_agent(finding, client.agent, |agent| agent.runtime_advice)
}

fn exposure(exposure: &Exposure) -> Finding {
    let how = match exposure.via {
        Via::Socket => "the runtime's socket",
        Via::Directory => "a directory above the runtime's socket",
    };
    let (mounts, until) = if exposure.mounted {
        ("mounts", String::new())
    } else {
        ("mounted", format!(" until {}", exposure.last_seen))
    };
    let Exposure {
        listener,
        host_path,
        container_path,
        ..
    } = exposure;
    let message = format!("{mounts} {how} {listener}{until}: {host_path} as {container_path}; not seen using it");
    let finding = finding(Code::RuntimeSocketExposure, Severity::Info, &exposure.identity, message);
    with_agent(finding, exposure.agent, |agent| agent.runtime_advice)
}
