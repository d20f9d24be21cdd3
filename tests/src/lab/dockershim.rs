//! A kubelet 1.23 whose runtime is Docker through its own dockershim, without a cluster: it runs static pods.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::cgroups;
use super::containerd::{cni_configuration, network_tasks};
use super::crio::write_runc;
use super::daemon::Daemon;
use super::docker::{Docker, Options};
use super::images;
use super::keeper::Task;
use super::modules::{self, Module};
use super::packages::Programs;
use super::rooms::Room;

/// How long the kubelet may take to run a pod: it looks at its folder of static pods every second.
const POD: Duration = Duration::from_secs(90);
/// The settings of the kernel that a kubelet changes when it starts, and what it wants there.
const TUNABLES: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];
/// The node's name; a static pod's ends with it.
pub const NODE: &str = "node-1";

/// A kubelet with dockershim, and the Docker below it.
#[derive(Debug)]
pub struct Dockershim {
    // Before Docker, of which it is a client.
    kubelet: Daemon,
    docker: Docker,
    socket: PathBuf,
}

impl Dockershim {
    /// Starts Docker 20.10 and the kubelet. The first call builds the kubelet, which takes minutes.
    pub fn start(programs: Programs) -> Result<Self> {
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
        let docker = Docker::start_with(&options)?;
        let pause = images::write_pause(room.path())?;
        docker.ask(["load", "--quiet", "--input", &pause.display().to_string()])?;

        let network = format!("lab{}", room.serial());
        room.folder("cni")?;
        room.file("cni/lab.conflist", cni_configuration(&network, &room.join("addresses")))?;
        let socket = room.join("dockershim.sock");
        let cgroup = PathBuf::from(format!("/castoff-lab-{}", room.serial()));
        let command = command(&room, &built, &docker, &options.programs, &socket, &cgroup)?;
        let mut tasks = network_tasks(&network);
        tasks.push(Task::Cgroup(cgroup.clone()));
        cgroups::make_everywhere(&cgroup)?;
        let kubelet = Daemon::start("kubelet", &room, &command, &tasks)?;
        kubelet.wait_until(|| fs::metadata(&socket).map(drop).context("no socket yet"))?;
        Ok(Self {
            kubelet,
            docker,
            socket,
        })
    }

    /// Where it serves CRI.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The Docker below.
    pub fn docker(&self) -> &Docker {
        &self.docker
    }

    /// The kubelet: process id, log, room.
    pub fn kubelet(&self) -> &Daemon {
        &self.kubelet
    }

    /// Runs a static pod of one container with one hostPath mount and returns the container's process id; a client is
    /// waited for until it says `ready`.
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
        let deadline = Instant::now() + POD;
        loop {
            if let Some(pid) = self.find(container)? {
                return Ok(pid);
            }
            if Instant::now() > deadline {
                bail!(
                    "no container {container}; the kubelet's log ends:\n{}",
                    self.kubelet.log_tail()
                );
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// The process id of a container that runs and has written that it is ready.
    fn find(&self, container: &str) -> Result<Option<u32>> {
        let filter = format!("label=io.kubernetes.container.name={container}");
        let id = self.docker.ask(["ps", "--quiet", "--no-trunc", "--filter", &filter])?;
        let Some(id) = id.lines().next() else { return Ok(None) };
        if !self.docker.ask(["logs", id])?.contains("ready ") {
            return Ok(None);
        }
        let inspected: Value = serde_json::from_str(&self.docker.ask(["inspect", id])?).context("docker inspect")?;
        let pid = inspected[0]["State"]["Pid"].as_u64().context("a process id")?;
        Ok(Some(u32::try_from(pid)?))
    }
}

/// A hostPath mount of a static pod.
#[derive(Debug)]
pub struct Mount<'a> {
    /// The path on the host.
    pub host: &'a Path,
    /// The path in the container.
    pub inside: &'a str,
    /// Whether it is read-only.
    pub readonly: bool,
}

/// The kubelet, in a mount namespace in which `/var/log` and the kernel's settings that it changes are the room's own.
fn command(
    room: &Room,
    built: &Path,
    docker: &Docker,
    programs: &Programs,
    socket: &Path,
    cgroup: &Path,
) -> Result<Command> {
    room.folder("pods")?;
    room.folder("var.log")?;
    room.folder("tunables")?;
    let place = room.path().display();
    let mut script = vec![format!("mount --no-mtab --bind {place}/var.log /var/log")];
    for (tunable, wanted) in TUNABLES {
        let name = format!("tunables/{}", tunable.replace('/', "."));
        let file = room.file(&name, format!("{wanted}\n"))?;
        script.push(format!("mount --no-mtab --bind {} /proc/sys/{tunable}", file.display()));
    }
    script.push(r#"exec "$@""#.to_owned());
    let script = script.join("\n");
    let configuration = configuration(room, cgroup)?;
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--propagation",
        "private",
        "--",
        "/bin/sh",
        "-ec",
        &script,
        "sh",
    ]);
    command.arg(built.join("kubelet"));
    command.args(["--container-runtime=docker", "--network-plugin=cni"]);
    command.arg(format!("--hostname-override={NODE}"));
    command.arg(format!("--pod-infra-container-image={}", images::PAUSE));
    command.arg(format!("--docker-endpoint=unix://{}", docker.socket().display()));
    command.arg(format!("--container-runtime-endpoint=unix://{}", socket.display()));
    command.arg(format!("--cni-bin-dir={}", programs.cni_plugins().display()));
    command.arg(format!("--config={}", configuration.display()));
    for (flag, folder) in [
        ("root-dir", "kubelet"),
        ("cert-dir", "certificates"),
        ("cni-conf-dir", "cni"),
        ("cni-cache-dir", "cni.cache"),
        ("experimental-dockershim-root-directory", "dockershim"),
        ("volume-plugin-dir", "plugins"),
    ] {
        command.arg(format!("--{flag}={place}/{folder}"));
    }
    Ok(command)
}

fn configuration(room: &Room, cgroup: &Path) -> Result<PathBuf> {
    // The kernel's choice; that it is free again at once is as sure as anything about ports.
    let port = TcpListener::bind("127.0.0.1:0")
        .context("find a free port")?
        .local_addr()?
        .port();
    let configuration = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "127.0.0.1",
        "port": port,
        "healthzPort": 0,
        "readOnlyPort": 0,
        "authentication": { "anonymous": { "enabled": true }, "webhook": { "enabled": false } },
        "authorization": { "mode": "AlwaysAllow" },
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup,
        "enforceNodeAllocatable": [],
        "failSwapOn": false,
        "fileCheckFrequency": "1s",
        // The host's firewall stays as it is.
        "makeIPTablesUtilChains": false,
        "evictionHard": { "memory.available": "1Mi", "nodefs.available": "0%", "imagefs.available": "0%" },
        "imageGCHighThresholdPercent": 100,
        // Lowering it takes CAP_SYS_RESOURCE.
        "oomScoreAdj": 0,
        "staticPodPath": room.join("pods"),
    });
    room.file("kubelet.yaml", configuration.to_string())
}
