//! The programs on the demo's node: clients of each kind, pods that only could be clients, and programs without Docker.

use std::time::Duration;

use anyhow::{Context, Result};

use super::stage::Stage;
use super::usual;
use crate::lab::cgroups::UnitCgroup;
use crate::lab::clients::{self, Client};
use crate::lab::containerd::{self, Containerd};
use crate::lab::containers::Container;
use crate::lab::docker::{self, Docker, DockerContainer};
use crate::lab::places::Place;
use crate::lab::pods::{Pod, RunningPod};
use crate::lab::rooms::Paths;
use crate::lab::scene::{self, SOCKET};

/// The node's name.
pub(super) const NAME: &str = "worker-1";
/// The programs of the host that use Docker.
pub(super) const BACKUP: &str = "/usr/local/bin/backup";
pub(super) const DEPLOY: &str = "/usr/local/bin/deploy";
pub(super) const WATCH: &str = "/usr/local/bin/watch-containers";
/// The times between two visits and of one visit of the job's pod.
const AWAY: Duration = Duration::from_secs(20);
const HERE: Duration = Duration::from_secs(10);

/// The node's daemons.
#[derive(Debug)]
pub(super) struct Daemons {
    docker: Docker,
    runtime: Containerd,
}

impl Daemons {
    pub(super) fn start(stage: &Stage) -> Result<Self> {
        let docker = stage.step("dockerd", || {
            Docker::start_with(&docker::Options {
                programs: usual::programs()?,
                paths: Paths::Usual,
                ..docker::Options::debian()?
            })
        })?;
        docker.open_to_all()?;
        let runtime = stage.step("containerd", || {
            Containerd::start_with(&containerd::Options {
                programs: usual::programs()?,
                paths: Paths::Usual,
                ..containerd::Options::debian()?
            })
        })?;
        Ok(Self { docker, runtime })
    }
}

/// The programs that stay. Each ends when this is dropped.
#[derive(Debug)]
pub(super) struct Inhabitants<'a> {
    _clients: Vec<Client>,
    _container: DockerContainer<'a>,
    _pods: Vec<RunningPod>,
}

impl<'a> Inhabitants<'a> {
    pub(super) fn of(daemons: &'a Daemons, stage: &Stage) -> Result<Self> {
        Ok(Self {
            _pods: stage.step("pods", || pods(daemons))?,
            _container: stage.step("a container", || {
                daemons
                    .docker
                    .run_client("portainer", daemons.docker.socket(), ["hold", SOCKET])
            })?,
            _clients: stage.step("clients", || clients(daemons))?,
        })
    }
}

/// Starts the pods, with the labels of their controllers.
fn pods(Daemons { docker, runtime }: &Daemons) -> Result<Vec<RunningPod>> {
    let socket = docker.socket();
    let of_deployment = |namespace: &str, name: &str, hash: &str, end: &str| {
        Pod::new(namespace, format!("{name}-{hash}-{end}")).label("pod-template-hash", hash)
    };
    let of_daemon_set = |namespace: &str, name: &str, end: &str| {
        Pod::new(namespace, format!("{name}-{end}")).label("controller-revision-hash", "6f5d8c9b7f")
    };
    let [builder, shipper] = scene::pods(
        socket,
        runtime,
        of_deployment("ci", "builder", "7d9c5b6f4", "x2v8q"),
        of_daemon_set("logging", "log-shipper", "p9v4c"),
    )?;
    let agent = runtime.run(of_daemon_set("monitoring", "metrics-agent", "k7d2z"))?;
    agent.start(Container::client("agent", ["blink", SOCKET, "3000", "4000"]).mount_read_only(socket, SOCKET))?;
    let mut pods = vec![builder, agent, shipper];
    for end in ["c8d5n", "m4t7w"] {
        let web = runtime.run(of_deployment("shop", "web", "5b8f7c6d9d", end))?;
        web.start(Container::sleeper("web"))?;
        pods.push(web);
    }
    Ok(pods)
}

fn clients(Daemons { docker, .. }: &Daemons) -> Result<Vec<Client>> {
    let socket = docker.socket();
    let socket = socket.to_str().context("the socket's path is UTF-8")?;
    let session = UnitCgroup::make("/user.slice/user-1000.slice/session-42.scope")?;
    let blink = ["blink", socket, "5000", "9000"];
    Ok(vec![
        clients::start_as(BACKUP, Place::unit("nightly-backup.service")?, &blink)?,
        clients::start_as(DEPLOY, Place::host().cgroup(session), &["hold", socket])?,
        clients::start_as(WATCH, Place::rootless().network_namespace(), &["hold", socket])?,
    ])
}

/// Until the end is requested, starts a job's pod that uses the socket and ends, again and again.
pub(super) fn come_and_go(Daemons { docker, runtime }: &Daemons, stage: &Stage) -> Result<()> {
    for run in 29_401_000_u32.. {
        stage.pass(AWAY)?;
        let name = format!("release-{run}");
        let visitor =
            runtime.run(Pod::new("ci", format!("{name}-t6w4k")).label("batch.kubernetes.io/job-name", name))?;
        visitor.start(Container::client("push", ["hold", SOCKET]).mount(docker.socket(), SOCKET))?;
        stage.pass(HERE)?;
    }
    Ok(())
}
