//! A CRI-O, built from its Go module, in a room of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::containerd::{Network, network_tasks};
use super::cri::{Cri, Interface};
use super::daemon::Daemon;
use super::images;
use super::modules::{self, Module};
use super::packages::{self, Programs};
use super::pods::{Pod, RunningPod};
use super::rooms::Room;
use super::suites::{self, Suite};

/// A running CRI-O.
#[derive(Debug)]
pub struct Crio {
    // Before the daemon, because a client's threads are useless after it.
    cri: Cri,
    daemon: Daemon,
    socket: PathBuf,
}

impl Crio {
    /// Starts it, with the lab's images in it. The first call builds it, which takes minutes.
    pub fn start() -> Result<Self> {
        let built = modules::build(Module::Crio)?;
        // CRI-O starts conmon without an environment: these programs find their libraries without one.
        let programs = suites::programs(Suite::Bookworm, suites::Kind::Podman)?;
        let room = Room::make("crio")?;
        let network = format!("lab{}", room.serial());
        let socket = room.join("crio.sock");
        room.folder("cni")?;
        room.file(
            "cni/lab.conflist",
            Network::Closed.configuration(&network, &room.join("addresses")),
        )?;
        let runc = write_runc(&room, &programs.path("runc")?)?;
        let configuration = room.file("crio.conf", configuration(&room, &programs, &built, &runc, &socket)?)?;
        for image in [
            images::write_pause(room.path())?,
            images::write_lab(room.path(), &programs)?,
        ] {
            load(&room, &programs, &image)?;
        }
        let mut command = Command::new(built.join("crio"));
        command
            .arg("-c")
            .arg(configuration)
            .arg("-d")
            .arg(room.folder("crio.d")?);
        for (variable, value) in programs.environment() {
            command.env(variable, value);
        }
        // Without it CRI-O would read the machine's own.
        command.env("CONTAINERS_REGISTRIES_CONF", room.file("registries.conf", "")?);
        let daemon = Daemon::start("crio", &room, &command, &network_tasks(&network))?;
        let cri = Cri::of(&socket, Interface::V1)?;
        daemon.wait_until(|| cri.ready())?;
        Ok(Self { cri, daemon, socket })
    }

    /// Returns the endpoint in the notation of a kubelet's flag.
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Returns the version that it reports, like `1.34.0`.
    pub fn version(&self) -> Result<String> {
        Ok(self.cri.version()?.runtime_version)
    }

    /// Runs a pod's sandbox like a kubelet, and waits until it is ready.
    pub fn run(&self, pod: Pod) -> Result<RunningPod> {
        RunningPod::run(self.cri.clone(), pod, &self.daemon)
    }
}

/// Loads a docker-archive into CRI-O's storage, which is in podman's format.
fn load(room: &Room, programs: &Programs, archive: &Path) -> Result<()> {
    let policy = room.file("policy.json", r#"{"default":[{"type":"insecureAcceptAnything"}]}"#)?;
    let mut podman = programs.command("podman")?;
    podman
        .args(["--storage-driver=overlay", "--root"])
        .arg(room.join("root"));
    podman.arg("--runroot").arg(room.join("runroot"));
    podman
        .args(["--cgroup-manager=cgroupfs", "--tmpdir"])
        .arg(room.join("podman"));
    podman.args(["load", "--quiet", "--signature-policy"]).arg(policy);
    packages::run(podman.arg("--input").arg(archive))
}

/// Writes a runc wrapper that lowers no process's OOM score. That needs `CAP_SYS_RESOURCE`, which not every test
/// machine grants, and no setting prevents CRI-O (or dockershim) from requesting it for the pause container.
pub(crate) fn write_runc(room: &Room, runc: &Path) -> Result<PathBuf> {
    let script = format!(
        r#"#!/bin/sh
bundle=
for word do
    [ "$last" = --bundle ] || [ "$last" = -b ] && bundle=$word
    last=$word
done
[ -z "$bundle" ] || sed -i 's/"oomScoreAdj": *-[0-9]*/"oomScoreAdj":0/' "$bundle/config.json"
exec {} "$@"
"#,
        runc.display()
    );
    let path = room.file("runc.sh", script)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).context("make a script executable")?;
    Ok(path)
}

fn configuration(room: &Room, programs: &Programs, built: &Path, runc: &Path, socket: &Path) -> Result<String> {
    let conmon = programs.path("conmon")?;
    Ok(format!(
        r#"[crio]
root = "{room}/root"
runroot = "{room}/runroot"
log_dir = "{room}/log.d"
version_file = "{room}/version"
version_file_persist = "{room}/version.persist"
clean_shutdown_file = "{room}/clean"
storage_driver = "overlay"
[crio.api]
listen = "{socket}"
[crio.runtime]
conmon = "{conmon}"
conmon_cgroup = "pod"
disable_hostport_mapping = true
cgroup_manager = "cgroupfs"
pinns_path = "{built}/pinns"
default_runtime = "runc"
container_exits_dir = "{room}/exits"
container_attach_socket_dir = "{room}/attach"
namespaces_dir = "{room}/ns"
[crio.runtime.runtimes.runc]
runtime_path = "{runc}"
runtime_root = "{room}/runc"
[crio.image]
pause_image = "{pause}"
[crio.network]
network_dir = "{room}/cni"
plugin_dirs = ["{plugins}"]
[crio.nri]
enable_nri = false
"#,
        room = room.path().display(),
        socket = socket.display(),
        conmon = conmon.display(),
        built = built.display(),
        runc = runc.display(),
        pause = images::PAUSE,
        plugins = programs.cni_plugins().display(),
    ))
}
