//! A kubelet 1.23 whose runtime is Docker through its own dockershim. It is a node of a cluster, or runs static pods
//! without one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::containerd::{Network, network_tasks};
use super::crio::write_runc;
use super::daemon::Daemon;
use super::docker::{Docker, Options};
use super::images;
use super::keeper::Task;
use super::kubelet;
use super::kubernetes::Seat;
use super::modules::{self, Module};
use super::packages::{self, Programs};
use super::rooms::Room;
use super::stage::Stage;
use crate::wait;

/// The timeout of the kubelet to run a pod: it reads its directory of static pods every second.
const POD: Duration = Duration::from_secs(90);
/// The node's name without a cluster, which is the suffix of a static pod's name.
pub const NODE: &str = "node-1";

/// A kubelet with dockershim, and its Docker.
#[derive(Debug)]
pub struct Dockershim {
    // Before Docker, of which it is a client.
    kubelet: Daemon,
    docker: Docker,
    socket: PathBuf,
    stage: Arc<Stage>,
}

impl Dockershim {
    /// Starts Docker 20.10 and the kubelet. The first call builds the kubelet, which takes minutes.
    pub fn start(programs: Programs) -> Result<Self> {
        Self::start_on(&Stage::start(&[])?, programs, None)
    }

    /// Does the same, as a node of a cluster.
    pub(crate) fn join(programs: Programs, seat: &Seat) -> Result<Self> {
        Self::start_on(&seat.stage, programs, Some(seat))
    }

    fn start_on(stage: &Arc<Stage>, programs: Programs, seat: Option<&Seat>) -> Result<Self> {
        let built = modules::build(Module::Dockershim)?;
        let room = Room::make("kubelet")?;
        let runc = write_runc(&room, &programs.path("runc")?)?;
        let mut options = Options::debian()?;
        let configuration = json!({
            "runtimes": { "quiet": { "path": runc } },
            "default-runtime": "quiet",
        });
        options.configuration = configuration.as_object().cloned().unwrap_or_default();
        options.programs = programs;
        options.stage = Some(Arc::clone(stage));
        let docker = Docker::start_with(&options)?;
        docker.import(&images::write_pause(room.path())?)?;

        let network = format!("lab{}", room.serial());
        let reach = seat.map_or(Network::Closed, |seat| Network::Routed(seat.pods.clone()));
        room.folder("cni")?;
        let configuration = reach.configuration(&network, &room.join("addresses"));
        room.file("cni/lab.conflist", configuration)?;
        let socket = room.join("dockershim.sock");
        let cgroup = kubelet::cgroup(&room)?;
        let mut command = command(&room, &built, &docker, &options.programs, &socket)?;
        kubelet::configure(&mut command, &room, &cgroup, seat, json!({}))?;
        let mut tasks = network_tasks(&network);
        tasks.push(Task::Cgroup(cgroup));
        let kubelet = Daemon::start_on(Some(stage), "kubelet", &room, &command, &tasks)?;
        kubelet.wait_until(|| fs::metadata(&socket).map(drop).context("no socket yet"))?;
        Ok(Self {
            kubelet,
            docker,
            socket,
            stage: Arc::clone(stage),
        })
    }

    /// Stops the kubelet, and with it dockershim. Its containers continue to run in Docker.
    pub fn stop_kubelet(&self) -> Result<()> {
        let pid = self.kubelet.pid().to_string();
        packages::run(self.stage.command("kill").arg(&pid))?;
        self.kubelet.wait_for_the_end()
    }

    /// Removes the kubelet with what it has created. Docker stays, and so do its containers that do not run.
    pub fn into_docker(self) -> Docker {
        self.docker
    }

    /// Returns the socket where it serves CRI.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Returns its Docker.
    pub fn docker(&self) -> &Docker {
        &self.docker
    }

    /// Returns the stage on which both run. For a castoff on the machine this is a node in a container.
    pub fn stage(&self) -> &Arc<Stage> {
        &self.stage
    }

    /// Returns the kubelet: process ID on the stage, log, room.
    pub fn kubelet(&self) -> &Daemon {
        &self.kubelet
    }

    /// Runs a static pod of one container with one hostPath mount, and returns the machine's process ID of the
    /// container. If it runs the client, waits until that prints `ready`.
    pub fn run(&self, namespace: &str, pod: &str, container: &str, command: &[&str], mount: &Mount<'_>) -> Result<u32> {
        let manifest = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "namespace": namespace, "name": pod },
            "spec": {
                "automountServiceAccountToken": false,
                "enableServiceLinks": false,
                "containers": [{
                    "name": container,
                    "image": images::LAB,
                    "imagePullPolicy": "Never",
                    "command": command,
                    "volumeMounts": [{ "name": "v", "mountPath": mount.inside, "readOnly": mount.readonly }],
                }],
                "volumes": [{ "name": "v", "hostPath": { "path": mount.host } }],
            },
        });
        let folder = self.kubelet.room().join("pods");
        fs::write(folder.join(format!("{pod}.json")), manifest.to_string()).context("write a static pod")?;
        wait::until(&format!("container {container}"), POD, || {
            let found = self.find(container)?;
            found.with_context(|| format!("there is none; the kubelet's log ends:\n{}", self.kubelet.log_tail()))
        })
    }

    /// Returns the process ID of a container that runs and has printed `ready`.
    fn find(&self, container: &str) -> Result<Option<u32>> {
        let filter = format!("label=io.kubernetes.container.name={container}");
        let id = self.docker.ask(["ps", "--quiet", "--no-trunc", "--filter", &filter])?;
        let Some(id) = id.lines().next() else { return Ok(None) };
        if !self.docker.ask(["logs", id])?.contains("ready ") {
            return Ok(None);
        }
        let inspected: Value = serde_json::from_str(&self.docker.ask(["inspect", id])?).context("docker inspect")?;
        let pid = inspected[0]["State"]["Pid"].as_u64().context("a process id")?;
        self.stage.pid_outside(u32::try_from(pid)?).map(Some)
    }
}

/// A hostPath mount of a static pod.
#[derive(Debug)]
pub struct Mount<'a> {
    /// The path on the host.
    pub host: &'a Path,
    /// The path in the container.
    pub inside: &'a str,
    /// True if it is read-only.
    pub readonly: bool,
}

/// Returns the kubelet's command, without its configuration.
fn command(room: &Room, built: &Path, docker: &Docker, programs: &Programs, socket: &Path) -> Result<Command> {
    room.folder("pods")?;
    let mut command = Command::new(built.join("kubelet"));
    command.args(["--container-runtime=docker", "--network-plugin=cni"]);
    command.arg(format!("--pod-infra-container-image={}", images::PAUSE));
    command.arg(format!("--docker-endpoint=unix://{}", docker.socket().display()));
    command.arg(format!("--container-runtime-endpoint=unix://{}", socket.display()));
    command.arg(format!("--cni-bin-dir={}", programs.cni_plugins().display()));
    for (flag, folder) in [
        ("cni-conf-dir", "cni"),
        ("cni-cache-dir", "cni.cache"),
        ("experimental-dockershim-root-directory", "dockershim"),
        ("volume-plugin-dir", "plugins"),
    ] {
        command.arg(format!("--{flag}={}", room.join(folder).display()));
    }
    Ok(command)
}
