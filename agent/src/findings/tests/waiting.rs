//! A container that does not run, and that its pod may start again.

use super::*;
use crate::model::container::Container;
use crate::model::exposure::{Lost, LostMount, Reach};
use crate::model::workload::Membership;

/// A node whose pod has a second container, which waits for its next start.
fn with_waiting() -> Snapshot {
    let mut node = clear_node();
    node.runtime.waiting = vec![Container {
        id: id(8),
        sandbox: id(2),
        name: "ship".into(),
        image: "gcr.io/datadoghq/agent:7".into(),
        mounts: Reading::Known(Vec::new()),
    }];
    node
}

#[test]
fn its_mount_is_an_exposure_and_it_does_not_count_as_running() {
    let mut node = with_waiting();
    known(&mut node.engines).push(dockerd());
    known(&mut node.reaches).push(Reach {
        membership: Membership::of_container(id(8), None),
        ..reach()
    });
    let report = judge(&node);
    assert_eq!(report.verdict, Verdict::Exposed, "{}", report.verdict_reason);
    let exposure = &report.exposures.known().expect("known")[0];
    assert_eq!(exposure.identity.to_string(), "pod ci/builder-0 (ship)");
    assert!(exposure.agent.is_some(), "its image is known");
    assert_eq!(report.containers, Reading::Known(1), "only one runs");
    assert_eq!(report.clients.known().map(Vec::len), Some(0));
}

#[test]
fn its_mount_that_leads_nowhere_is_found() {
    let mut node = with_waiting();
    node.lost_mounts.push(LostMount {
        membership: Membership::of_container(id(8), None),
        host_path: "/var/run/docker.sock".into(),
        container_path: "/x".into(),
        state: Lost::Directory,
    });
    let report = judge(&node);
    assert_eq!(codes(&report), [Code::DanglingMount]);
    assert_eq!(report.findings[0].subject, "pod ci/builder-0 (ship)");
}
