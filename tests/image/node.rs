//! A node with clients of several kinds, and castoff on it with the chart's rights or with fewer.

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::clients::{self, Client};
use castoff_tests::lab::containerd::Containerd;
use castoff_tests::lab::containers::{Container, Rights, RunningContainer};
use castoff_tests::lab::docker::Docker;
use castoff_tests::lab::image::Image;
use castoff_tests::lab::places::Place;
use castoff_tests::lab::pods::{Pod, RunningPod};
use castoff_tests::report::clients_of;
use serde_json::Value;

/// A pod and a rootless user, each in a network namespace of its own, and a unit hold connections to one Docker.
pub(crate) struct Node {
    _clients: Vec<Client>,
    _builder: RunningPod,
    docker: Docker,
    runtime: Containerd,
    image: Image,
}

/// The rights of castoff's container.
pub(crate) struct Way {
    pub(crate) host_pid: bool,
    pub(crate) user: u32,
    pub(crate) capabilities: Vec<String>,
}

impl Node {
    pub(crate) fn start() -> Result<Self> {
        let image = Image::of_this_tree()?;
        let docker = Docker::start()?;
        docker.open_to_all()?;
        let runtime = Containerd::start()?;
        runtime.import(&image.archive)?;
        let builder = runtime.run(Pod::new("builds", "builder-0"))?;
        let build = Container::client("build", ["hold", "/var/run/docker.sock"]);
        builder.start(build.mount(docker.socket(), "/var/run/docker.sock"))?;
        let clients = vec![
            clients::hold(docker.socket(), Place::rootless().network_namespace())?,
            clients::hold(docker.socket(), Place::unit("castoff-lab-backup.service")?)?,
        ];
        Ok(Self {
            _clients: clients,
            _builder: builder,
            docker,
            runtime,
            image,
        })
    }

    /// Returns the report of `castoff check` in a container of the image.
    pub(crate) fn look(&self, way: &Way) -> Result<Value> {
        self.look_with(way, &[])
    }

    /// Does the same with more arguments.
    pub(crate) fn look_with(&self, way: &Way, more: &[&str]) -> Result<Value> {
        let (_pod, running) = self.run(way, &[&["check", "-o", "json"], more].concat())?;
        let code = running.wait()?;
        let log = running.log();
        ensure!(code == 1 || code == 2 || code == 0, "exit code {code}: {log}");
        serde_json::from_str(&stdout_of(&log)).with_context(|| log.clone())
    }

    /// Runs castoff in a container of the image, with these arguments.
    pub(crate) fn run(&self, way: &Way, arguments: &[&str]) -> Result<(RunningPod, RunningContainer)> {
        let pod = Pod::new("castoff", "castoff-x");
        let pod = self.runtime.run(if way.host_pid { pod.host_pid() } else { pod })?;
        let endpoint = self.runtime.endpoint();
        let arguments = arguments.iter().copied().chain(["--runtime-endpoint", &endpoint]);
        let container = Container::of(&self.image.tag, "castoff", arguments).rights(Rights {
            user: way.user,
            capabilities: way.capabilities.clone(),
        });
        let running = pod.start(container)?;
        Ok((pod, running))
    }

    /// Returns the clients of the node's Docker, as in the table, sorted.
    pub(crate) fn clients_in(&self, report: &Value) -> Result<Vec<String>> {
        let mut who = clients_of(report, self.docker.socket())?;
        who.sort();
        Ok(who)
    }
}

/// Returns a container's standard output from a log in CRI's format: `TIME STREAM F|P TEXT`, where P is part of a line.
fn stdout_of(log: &str) -> String {
    let mut text = String::new();
    for line in log.lines() {
        let mut words = line.splitn(4, ' ');
        if let (_, Some("stdout"), Some(tag), Some(part)) = (words.next(), words.next(), words.next(), words.next()) {
            text.push_str(part);
            if tag == "F" {
                text.push('\n');
            }
        }
    }
    text
}
