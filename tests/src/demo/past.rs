//! The week before the demo, as an earlier agent would have recorded it: the demo's own clients, and one that has been replaced.

use std::path::Path;

use anyhow::Result;
use castoff::model::client::{ClientIdentity, ClientKey};
use castoff::model::container::PodContainer;
use castoff::model::engine::EngineKind;
use castoff::model::history::ClientRecord;
use castoff::model::workload::Unit;
use castoff::model::workload::owner::{Workload, WorkloadKind};

use super::node;
use crate::past;

/// Writes the state file of the earlier agent, which did not run for half a day.
pub(super) fn save(state: &Path) -> Result<()> {
    past::save(clients(), past::hours(looked), state)
}

fn looked(ago: u64) -> bool {
    !(70..83).contains(&ago)
}

/// Returns the clients. Each is given by whether it was seen in an hour, by the number of hours ago.
fn clients() -> Vec<(ClientKey, ClientRecord)> {
    let seen = |identity, hours: &dyn Fn(u64) -> bool| {
        past::client(
            identity,
            "/run/docker.sock",
            past::hours(|ago| looked(ago) && hours(ago)),
        )
    };
    let is_working_hour = |ago: u64| (1..9).contains(&(ago % 24));
    vec![
        seen(
            pod("ci", "builder", "7d9c5b6f4-x2v8q", "build", WorkloadKind::Deployment),
            &|ago| is_working_hour(ago) && ago % 5 != 0,
        ),
        seen(
            pod("monitoring", "metrics-agent", "k7d2z", "agent", WorkloadKind::DaemonSet),
            &|ago| ago < 40,
        ),
        seen(portainer(), &|ago| ago < 100),
        seen(unit("nightly-backup.service", node::BACKUP), &|ago| ago % 24 == 14),
        seen(session(1_000), &|ago| is_working_hour(ago) && ago % 24 == 4),
        seen(unit("registry-gc.service", "/usr/bin/docker"), &|ago| {
            ago >= 86 && ago % 12 == 2
        }),
    ]
}

fn pod(namespace: &str, workload: &str, end: &str, container: &str, kind: WorkloadKind) -> ClientIdentity {
    ClientIdentity::Pod(PodContainer {
        namespace: namespace.to_owned(),
        pod: format!("{workload}-{end}"),
        container: Some(container.to_owned()),
        workload: Some(Workload {
            kind,
            name: workload.to_owned(),
            certain: true,
        }),
    })
}

fn portainer() -> ClientIdentity {
    ClientIdentity::EngineContainer {
        engine: Some(EngineKind::Dockerd),
        name: "portainer".to_owned(),
        image: None,
    }
}

fn unit(name: &str, executable: &str) -> ClientIdentity {
    ClientIdentity::Host {
        unit: Some(Unit::System { name: name.to_owned() }),
        executable: executable.to_owned(),
        uid: Some(0),
    }
}

fn session(uid: u32) -> ClientIdentity {
    ClientIdentity::Host {
        unit: Some(Unit::Session { uid }),
        executable: node::DEPLOY.to_owned(),
        uid: Some(0),
    }
}
