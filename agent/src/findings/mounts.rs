//! Mounts that are named as a Docker socket and lead to none that is served.

use super::Facts;
use super::catalogue::finding;
use super::report::{Code, Finding, Severity};
use crate::model::client::ClientIdentity;
use crate::model::exposure::{Lost, LostMount};

/// The findings of this family: one for each mount.
pub(super) fn find(facts: &Facts<'_>) -> Vec<Finding> {
    let lost = facts.lost_mounts.iter();
    lost.map(|(who, mount)| lost_mount(who, mount)).collect()
}

fn lost_mount(who: &ClientIdentity, mount: &LostMount) -> Finding {
    let LostMount {
        host_path,
        container_path,
        state,
        ..
    } = mount;
    let mounts = format!("mounts {host_path} as {container_path}");
    let (code, message) = match state {
        Lost::Missing => (Code::DanglingMount, format!("{mounts}, and the node has nothing there")),
        Lost::Directory => (
            Code::DanglingMount,
            format!("{mounts}, which is a directory, and no daemon can listen there"),
        ),
        Lost::File => (Code::DanglingMount, format!("{mounts}, which is an ordinary file")),
        Lost::Stale => (
            Code::StaleMount,
            format!("{mounts}, a socket on which nothing listens any more"),
        ),
        Lost::Dockershim => (
            Code::DockershimMount,
            format!("{mounts}, a socket that goes away with dockershim or cri-dockerd"),
        ),
    };
    finding(code, Severity::Warning, who, message)
}
