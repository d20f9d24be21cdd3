//! Mounts of Docker's files, and mounts that are named as a Docker socket and lead to none that is served.

use super::Facts;
use super::advice::with_agent;
use super::agents::Agent;
use super::catalogue::finding;
use super::report::{Code, Finding, Severity};
use super::runtime::docker_is_the_runtime;
use crate::model::client::ClientIdentity;
use crate::model::engine::EngineKind;
use crate::model::exposure::{DockerFiles, FilesMount, Lost, LostMount};
use crate::model::request::Operation;

/// The findings of this family: one for each mount.
pub(super) fn find(facts: &Facts<'_>) -> Vec<Finding> {
    let lost = facts.lost_mounts.iter().map(|(who, mount)| lost_mount(who, mount));
    let docker_runs = docker_is_the_runtime(facts.snapshot).is_some()
        || facts.node_engines().any(|engine| engine.kind == EngineKind::Dockerd);
    let files = facts.files_mounts.iter();
    let files = files.map(|(who, mount)| {
        let known = facts.agents.agent_of(who, &[]);
        with_agent(files_mount(who, mount, docker_runs), known, |agent| {
            for_files(agent, mount.files)
        })
    });
    lost.chain(files).collect()
}

/// An agent's advice for the files that it reads.
fn for_files(agent: &Agent, files: DockerFiles) -> Option<&'static str> {
    let of_logs = match files {
        DockerFiles::Logs => agent.by_operation.get(&Operation::Logs).copied(),
        DockerFiles::Data | DockerFiles::Configuration => None,
    };
    of_logs.or(Some(agent.advice))
}

/// A container that reads Docker's files depends on Docker while Docker runs. If Docker does not run, the mount has no
/// use.
fn files_mount(who: &ClientIdentity, mount: &FilesMount, docker_runs: bool) -> Finding {
    let FilesMount {
        host_path,
        container_path,
        ..
    } = mount;
    let files = match mount.files {
        DockerFiles::Data => "data of Docker",
        DockerFiles::Logs => "the logs of Docker's containers",
        DockerFiles::Configuration => "Docker's configuration",
    };
    let (severity, state) = if docker_runs {
        (Severity::Warning, "")
    } else {
        (Severity::Info, "; Docker does not run on this node")
    };
    let message = format!("mounts {host_path} as {container_path}: {files}{state}");
    finding(Code::DockerFiles, severity, who, message)
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
