//! Nodes on which a mount leads to a Docker socket, or was meant to.

use std::path::PathBuf;

use super::*;
use castoff_tests::fake::cri::{Fault, Method};
use tonic::Code;

const ENDPOINT: &str = "/run/containerd/containerd.sock";

/// Returns a node with containerd on which one pod mounts the socket and another one the directory above it.
fn node(edit: impl FnOnce(Script) -> Script) -> Result<Host> {
    let mut host = Host::new()?;
    host.kubelet(&[&format!("--container-runtime-endpoint=unix://{ENDPOINT}")]);
    host.serve(ENDPOINT, edit(script("containerd", "2.1.4", &[Api::V1])))?;
    Ok(host)
}

/// dockerd without a client. The runtime lists containers and no pods.
pub(crate) fn without_a_list_of_pods() -> Result<Host> {
    let mut host = node(|script| script.fault(Method::ListPodSandbox, Fault::Error(Code::Internal, "broken")))?;
    host.quiet_dockerd()?;
    Ok(host)
}

/// dockerd without a client, on a node whose mounts keep access times as `option` says.
pub(crate) fn with_access_times(option: &str) -> Result<Host> {
    let mut host = node(|mut script| {
        script.pods.clear();
        script.containers.clear();
        script
    })?;
    host.quiet_dockerd()?;
    let device = std::fs::metadata(host.paths().root)?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let root = format!("20 1 {major}:{minor} / / rw{option} - ext4 /dev/vda rw\n");
    let cgroups = "30 20 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
    let mounts = root + cgroups;
    host.init().file("mountinfo", &mounts);
    host.daemon().socket(50).file("mountinfo", &mounts);
    Ok(host)
}

/// dockerd without a client. Of its own container `watchtower` there are only the supervisor and the record.
pub(crate) fn a_container_of_docker() -> Result<Host> {
    let mut host = node(|script| script)?;
    host.quiet_dockerd()?;
    host.docker_container(&id(0x40), "watchtower");
    std::fs::remove_dir_all(host.paths().proc.join("951"))?;
    let record = r#"{"Name":"/watchtower","Config":{"Image":"registry.test/watchtower:1"},"MountPoints":{
        "/var/run/docker.sock":{"Source":"/var/run/docker.sock","Destination":"/var/run/docker.sock","RW":true},
        "/data":{"Source":"/var/lib/docker/volumes/data/_data","Destination":"/data","RW":true,"Name":"data"}}}"#;
    host.tree.file(
        &format!("/var/lib/docker/containers/{}/config.v2.json", id(0x40)),
        record,
    );
    Ok(host)
}

/// No Docker, and no file at the path of its socket.
pub(crate) fn a_socket_that_is_missing() -> Result<Host> {
    node(|script| script)
}

/// No Docker, and a directory at the path of its socket.
pub(crate) fn a_directory_in_the_sockets_place() -> Result<Host> {
    let host = node(|script| script)?;
    std::fs::create_dir_all(host.at(DOCKER_SOCKET)?)?;
    Ok(host)
}

/// A Docker socket on which no process of the node listens, like one of another machine.
pub(crate) fn a_socket_of_another_machine() -> Result<Host> {
    let mut host = node(|script| script)?;
    host.socket(DOCKER_SOCKET)?;
    Ok(host)
}

/// dockerd in a pod, whose socket is in a volume of the host. Another pod mounts `/`.
pub(crate) fn docker_in_a_pod_below_the_root() -> Result<Host> {
    let mut host = node(|script| {
        script
            .pod(&id(0x50), "debug", "shell", STATIC_UID)
            .container(&id(0x50), &id(0x51), "shell", &[("/", "/host")])
    })?;
    let volume = "/var/lib/kubelet/pods/x/volumes/sock";
    let file = host.socket(&format!("{volume}/docker.sock"))?;
    // The pod's own view: its root is elsewhere, and the volume is its `/run`.
    let rootfs = host.at("/run/rootfs/run")?;
    std::fs::create_dir_all(&rootfs)?;
    let inside: PathBuf = rootfs.join("docker.sock");
    std::fs::hard_link(host.at(&format!("{volume}/docker.sock"))?, inside)?;
    let device = file.device;
    let dockerd = host
        .tree
        .process(800, 1, "dockerd")
        .exe("/usr/bin/dockerd")
        .arguments(&["/usr/bin/dockerd"]);
    dockerd
        .cgroup(&pod_cgroup(&id(0x11)))
        .link("root", host.at("/run/rootfs")?.to_str().context("it is UTF-8")?)
        .file(
            "mountinfo",
            format!("50 1 0:70 / / rw - overlay x rw\n51 50 {device} {volume} /run rw - ext4 x rw\n"),
        )
        .socket(50);
    let mountinfo =
        format!("1 0 {device} / / rw - ext4 x rw\n30 1 0:27 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n");
    std::fs::write(host.paths().proc.join("1/mountinfo"), mountinfo)?;
    host.open_on_host(&[SocketFacts::listening(50, b"/run/docker.sock\0", Some(file))])?;
    Ok(host)
}

impl Host {
    /// Adds a container (990) that no engine lists and no supervisor names, with a read-only mount of Docker's socket.
    pub(crate) fn add_nameless_container(&self) -> Result<()> {
        let device = std::fs::metadata(self.paths().root)?.dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let socket = format!("51 50 {major}:{minor} /run/docker.sock /var/run/docker.sock ro - ext4 x rw\n");
        let process = self.tree.process(990, 1, "sh").exe("/bin/sh").in_host_root();
        process
            .cgroup(&format!("/custom/{}", id(0x77)))
            .file("mountinfo", "50 1 0:70 / / rw - overlay x rw\n".to_owned() + &socket);
        Ok(())
    }

    /// Ends that container.
    pub(crate) fn end_nameless_container(&self) -> Result<()> {
        Ok(std::fs::remove_dir_all(self.paths().proc.join("990"))?)
    }

    /// Adds dockerd (800) on its usual socket, without any connection.
    fn quiet_dockerd(&mut self) -> Result<()> {
        let file = Some(self.socket(DOCKER_SOCKET)?);
        self.daemon().socket(50);
        self.open_on_host(&[SocketFacts::listening(50, b"/run/docker.sock\0", file)])
    }
}
