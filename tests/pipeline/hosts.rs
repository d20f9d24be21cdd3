//! The nodes of this tier. Each is a host tree as a kernel would show it, with the open sockets and a runtime that
//! answers. The parts that all nodes share are in [`Host`].

pub(crate) mod mounted;
pub(crate) mod relays;
pub(crate) mod strangers;

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result};
use castoff::model::identity::{FileIdentity, NetNs};
use castoff::sources::HostPaths;
use castoff::sources::kernel::diag::Envelope;
use castoff::sources::kernel::diag::encode::{Reply, SocketFacts};
use castoff::sources::recorded::{RecordedHost, RecordedProcess};
use castoff::sources::sockets::recorded::RecordedTables;
use castoff_cri::v1::CgroupDriver;
use castoff_tests::fake::cri::{Api, FakeCri, Script};

/// The network namespace of the host, with Linux's number of the first one after boot.
const HOST_NETNS: u64 = 4_026_531_840;
/// The network namespace of a pod.
const POD_NETNS: u64 = 4_026_532_300;
const POD_UID: &str = "0a1b2c3d-1111-4222-8333-444455556666";
const SHIPPER_UID: &str = "bbbbbbbb-1111-4222-8333-444455556666";
const STATIC_UID: &str = "77a1c5d0e9b84f2d8c3b6a5f4e3d2c1b";
const DOCKER_SOCKET: &str = "/run/docker.sock";

/// Returns the ID of a sandbox or container.
fn id(n: u8) -> String {
    format!("{n:02x}").repeat(32)
}

/// A recorded node. The runtime's server and the sockets' files exist as long as it does.
pub(crate) struct Host {
    tree: RecordedHost,
    bound: Vec<UnixListener>,
    /// The sockets of the host's network namespace.
    sockets: Vec<SocketFacts<'static>>,
    /// The server, if the node has a runtime.
    pub(crate) runtime: Option<FakeCri>,
}

impl Host {
    /// Creates a host with init, a kernel thread, cgroup v2, and only the host's network namespace.
    fn new() -> Result<Self> {
        let tree = RecordedHost::new();
        tree.process(2, 0, "kthreadd").cgroup("/");
        tree.link_in_root("/var/run", "/run");
        let host = Self {
            tree,
            bound: Vec::new(),
            sockets: Vec::new(),
            runtime: None,
        };
        host.init().file(
            "mountinfo",
            "30 1 0:27 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n",
        );
        std::fs::create_dir(host.tables())?;
        host.set_clock("4f1c6d", 1_000)?;
        Ok(host)
    }

    /// Sets the kernel's own clock: the id of its boot, and the seconds since then.
    pub(crate) fn set_clock(&self, boot: &str, uptime: u64) -> Result<()> {
        let proc = self.paths().proc;
        std::fs::create_dir_all(proc.join("sys/kernel/random"))?;
        std::fs::write(proc.join("sys/kernel/random/boot_id"), format!("{boot}\n"))?;
        std::fs::write(proc.join("uptime"), format!("{uptime}.00 1.00\n"))?;
        Ok(())
    }

    /// Returns the process of systemd.
    fn init(&self) -> RecordedProcess<'_> {
        let init = self.tree.process(1, 0, "systemd").exe("/usr/lib/systemd/systemd");
        init.cgroup("/init.scope").in_host_root()
    }

    pub(crate) fn paths(&self) -> HostPaths {
        self.tree.paths()
    }

    /// Returns the temporary directory that has everything.
    pub(crate) fn folder(&self) -> &Path {
        self.tree.folder()
    }

    /// Returns the directory of the recorded socket tables.
    pub(crate) fn tables(&self) -> PathBuf {
        self.folder().join("tables")
    }

    /// Serves `script` at `path` of the host; process 70 listens there.
    pub(crate) fn serve(&mut self, path: &str, script: Script) -> Result<()> {
        let at = self.at(path)?;
        self.runtime = Some(FakeCri::start(&at, script)?);
        let name: &'static [u8] = format!("{path}\0").into_bytes().leak();
        let file = Some(identity(&at)?);
        self.open_on_host(&[SocketFacts::listening(70, name, file)])
    }

    /// Makes a connection that waits for dockerd, whose listener never accepts.
    pub(crate) fn accept(&self) -> std::io::Result<()> {
        let listener = &self.bound[0];
        listener.set_nonblocking(true)?;
        listener.accept().map(|_| ())
    }

    /// Accepts all connections to dockerd from now on, and reads what clients send: a full buffer would stop them.
    pub(crate) fn accept_and_read(&self) -> std::io::Result<()> {
        let listener = self.bound[0].try_clone()?;
        thread::spawn(move || {
            for mut connection in listener.incoming().flatten() {
                thread::spawn(move || std::io::copy(&mut connection, &mut std::io::sink()));
            }
        });
        Ok(())
    }

    /// Returns the path of dockerd's socket.
    pub(crate) fn docker_socket(&self) -> PathBuf {
        self.paths().root.join(DOCKER_SOCKET.trim_start_matches('/'))
    }

    /// Sets both times of dockerd's socket to now, as touch(1) does.
    pub(crate) fn touch_docker_socket(&self) -> Result<()> {
        use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW};
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        };
        let times = Timestamps {
            last_access: now,
            last_modification: now,
        };
        rustix::fs::utimensat(CWD, self.docker_socket(), &times, AtFlags::empty())?;
        Ok(())
    }

    /// Allows every user of this machine to connect to dockerd's socket.
    pub(crate) fn let_everybody_connect(&self) -> Result<()> {
        let socket = self.docker_socket();
        for path in socket.ancestors().take_while(|path| path.starts_with(self.folder())) {
            std::fs::set_permissions(path, Permissions::from_mode(0o777))?;
        }
        Ok(())
    }

    /// Creates the file of dockerd's socket again, like a restart.
    pub(crate) fn restart_dockerd(&mut self) -> Result<()> {
        let old = Some(identity(&self.docker_socket())?);
        std::fs::remove_file(self.docker_socket())?;
        let new = Some(self.socket(DOCKER_SOCKET)?);
        for socket in self.sockets.iter_mut().filter(|socket| socket.file == old) {
            socket.file = new;
        }
        self.record(HOST_NETNS, &self.sockets)
    }

    /// Makes every socket table unreadable.
    pub(crate) fn break_tables(&self) -> Result<()> {
        for table in std::fs::read_dir(self.tables())? {
            std::fs::write(table?.path(), "no dump")?;
        }
        Ok(())
    }

    /// Writes a file of the host.
    pub(crate) fn file(&self, path: &str, content: &str) {
        self.tree.file(path, content);
    }

    /// Creates `link` on the host, which leads to `target`.
    pub(crate) fn link(&self, link: &str, target: &str) {
        self.tree.link_in_root(link, target);
    }

    /// Adds k3s, which hides its arguments.
    pub(crate) fn k3s(&self) {
        let k3s = self.tree.process(700, 1, "k3s-server").exe("/usr/local/bin/k3s");
        k3s.cgroup("/system.slice/k3s.service")
            .in_host_root()
            .arguments(&["/usr/local/bin/k3s server"]);
    }

    fn open_on_host(&mut self, more: &[SocketFacts<'static>]) -> Result<()> {
        self.sockets.extend_from_slice(more);
        self.record(HOST_NETNS, &self.sockets)
    }

    /// Creates a socket's file at `path` of the host, and returns the kernel's identity of it.
    fn socket(&mut self, path: &str) -> Result<FileIdentity> {
        let path = self.at(path)?;
        self.bound.push(UnixListener::bind(&path)?);
        identity(&path)
    }

    fn at(&self, path: &str) -> Result<PathBuf> {
        let path = self.paths().root.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().context("it is below the root")?)?;
        Ok(path)
    }

    fn record(&self, netns: u64, sockets: &[SocketFacts<'_>]) -> Result<()> {
        let envelope = Envelope { sequence: 1, port: 1 };
        std::fs::write(
            RecordedTables::file(&self.tables(), NetNs(netns)),
            Reply::dump(envelope, sockets),
        )?;
        Ok(())
    }

    pub(crate) fn kubelet(&self, arguments: &[&str]) -> RecordedProcess<'_> {
        let kubelet = self
            .tree
            .process(700, 1, "kubelet")
            .exe("/usr/bin/kubelet")
            .cgroup("/system.slice/kubelet.service");
        kubelet
            .in_host_root()
            .arguments(&[&["/usr/bin/kubelet"], arguments].concat())
    }

    /// Adds the process of dockerd (800), as its unit starts it.
    fn daemon(&self) -> RecordedProcess<'_> {
        let dockerd = self.tree.process(800, 1, "dockerd").exe("/usr/bin/dockerd");
        dockerd
            .arguments(&["/usr/bin/dockerd"])
            .cgroup("/system.slice/docker.service")
            .in_host_root()
    }

    /// Adds dockerd (800), whose listening socket is 50, with one accepted connection 51 of the client's socket 60 in
    /// the host's network namespace, and 52 of 61 in the pod's.
    fn dockerd(&mut self) -> Result<()> {
        let file = Some(self.socket(DOCKER_SOCKET)?);
        self.daemon().socket(50).socket(51).socket(52);
        let name: &'static [u8] = b"/run/docker.sock\0";
        let listening = SocketFacts::listening(50, name, file);
        self.open_on_host(&[
            listening,
            SocketFacts::accepted(51, name, file, 60),
            SocketFacts::client(60, 51),
        ])?;
        self.record(
            POD_NETNS,
            &[SocketFacts::accepted(52, name, file, 61), SocketFacts::client(61, 52)],
        )
    }

    /// Adds a service of the host that holds the connection 60.
    fn backup(&self) {
        let backup = self.tree.process(900, 1, "backup").exe("/usr/local/bin/backup");
        backup.cgroup("/system.slice/backup.service").socket(60);
    }

    /// Adds the first process of a container, in the pod's network namespace.
    fn in_pod(&self, pid: u32, cgroup: &str) -> RecordedProcess<'_> {
        self.tree
            .process(pid, 1, "build")
            .exe("/usr/bin/docker")
            .cgroup(cgroup)
            .netns(POD_NETNS)
    }

    /// Adds a container that dockerd runs, with its supervisor.
    fn docker_container(&self, container: &str, name: &str) {
        let shim = [
            "/usr/bin/containerd-shim-runc-v2",
            "-namespace",
            "moby",
            "-id",
            container,
        ];
        self.tree
            .process(950, 1, "containerd-shim")
            .exe(shim[0])
            .arguments(&shim)
            .cgroup("/system.slice/containerd.service");
        self.tree
            .process(951, 950, "nginx")
            .exe("/usr/sbin/nginx")
            .cgroup(&format!("/system.slice/docker-{container}.scope"));
        let config =
            format!(r#"{{"Name":"/{name}","Config":{{"Image":"registry.test/{name}:1","Env":["SECRET=hunter2"]}}}}"#);
        self.tree.file(
            &format!("/var/lib/docker/containers/{container}/config.v2.json"),
            config,
        );
    }
}

fn identity(path: &Path) -> Result<FileIdentity> {
    let file = std::fs::symlink_metadata(path)?;
    Ok(FileIdentity::from_stat(file.dev(), file.ino()))
}

/// Returns the control group of a container without a recorded process.
pub(crate) fn shipper_cgroup() -> String {
    cgroup_of(SHIPPER_UID, &id(0x21))
}

fn pod_cgroup(container: &str) -> String {
    cgroup_of(POD_UID, container)
}

fn cgroup_of(pod: &str, container: &str) -> String {
    let uid = pod.replace('-', "_");
    format!(
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid}.slice/cri-containerd-{container}.scope"
    )
}

/// A pod that builds with the socket, one that mounts `/var/run` and never connects, and one that mounts something
/// else.
fn script(name: &str, version: &str, apis: &[Api]) -> Script {
    Script::of(name, version, apis.iter().copied())
        .pod(&id(0x10), "ci", "builder-0", POD_UID)
        .label(b"statefulset.kubernetes.io/pod-name", b"builder-0")
        .label(b"controller-revision-hash", b"builder-7d9c5b6f4")
        .container(
            &id(0x10),
            &id(0x11),
            "build",
            &[("/run/docker.sock", "/var/run/docker.sock")],
        )
        .pod(&id(0x20), "logging", "shipper-x7k2p", SHIPPER_UID)
        .label(b"controller-revision-hash", b"6f8bd4c5d7")
        .label(b"pod-template-generation", b"2")
        .container(&id(0x20), &id(0x21), "ship", &[("/var/run", "/host/run")])
        .pod(&id(0x30), "kube-system", "etcd-worker-1", STATIC_UID)
        .container(&id(0x30), &id(0x31), "etcd", &[("/var/lib/etcd", "/var/lib/etcd")])
}

/// containerd 1.7 with a dockerd that is used by a pod, a service and a program outside of Kubernetes.
pub(crate) fn containerd() -> Result<Host> {
    let mut host = Host::new()?;
    let endpoint = "/run/containerd/containerd.sock";
    host.kubelet(&[
        &format!("--container-runtime-endpoint=unix://{endpoint}"),
        "--config=/var/lib/kubelet/config.yaml",
    ]);
    host.tree.file(
        "/var/lib/kubelet/config.yaml",
        "kind: KubeletConfiguration\ncgroupDriver: systemd\n",
    );
    host.dockerd()?;
    host.backup();
    host.docker_container(&id(0x40), "web");
    host.in_pod(1000, &pod_cgroup(&id(0x11))).socket(61);
    let warned = r#"{"io.containerd.deprecation/cri-registry-mirrors":"The mirrors property is deprecated since containerd v1.5."}"#;
    let script = script("containerd", "1.7.24", &[Api::V1, Api::V1alpha2]);
    host.serve(
        endpoint,
        script.condition("ContainerdHasNoDeprecationWarnings", false, warned),
    )?;
    Ok(host)
}

/// The first node, with the process of containerd (600), whose proxy is Docker's.
pub(crate) fn with_settings() -> Result<Host> {
    let host = containerd()?;
    let containerd = host.tree.process(600, 1, "containerd").exe("/usr/bin/containerd");
    containerd
        .in_host_root()
        .cgroup("/system.slice/containerd.service")
        .file("environ", "HTTP_PROXY=http://u:hunter2@proxy.test\0")
        .socket(70);
    host.daemon()
        .socket(50)
        .socket(51)
        .socket(52)
        .file("environ", "PATH=/bin\0");
    Ok(host)
}

/// The first node, with `secret` in arguments, in an environment and in a pod's label.
pub(crate) fn with_a_secret(secret: &str) -> Result<Host> {
    let host = containerd()?;
    let told = format!("--token={secret}");
    for (pid, program) in [
        (700, "/usr/bin/kubelet"),
        (800, "/usr/bin/dockerd"),
        (900, "/usr/local/bin/backup"),
    ] {
        let process = host.paths().proc.join(pid.to_string());
        std::fs::write(process.join("cmdline"), format!("{program}\0{told}\0"))?;
        std::fs::write(process.join("environ"), format!("TOKEN={secret}\0"))?;
    }
    let runtime = host.runtime.as_ref().context("it has one")?;
    runtime.edit(|script| {
        *script = std::mem::take(script)
            .pod(&id(0x50), "ci", "labelled", STATIC_UID)
            .label(b"token", secret.as_bytes());
    });
    Ok(host)
}

/// CRI-O with everything that a kubelet needs, and no Docker.
pub(crate) fn crio() -> Result<Host> {
    let mut host = Host::new()?;
    host.kubelet(&["--config", "/etc/kubernetes/kubelet.conf"]);
    let config = "kind: KubeletConfiguration\ncontainerRuntimeEndpoint: unix:///var/run/crio/crio.sock\n";
    host.tree.file("/etc/kubernetes/kubelet.conf", config);
    host.in_pod(1000, &pod_cgroup(&id(0x11)).replace("cri-containerd", "crio"));
    let script = script("cri-o", "1.36.3", &[Api::V1]).cgroup_driver(CgroupDriver::Systemd);
    host.serve("/run/crio/crio.sock", script)?;
    Ok(host)
}

/// Docker through cri-dockerd, and a pod on its socket.
pub(crate) fn cri_dockerd() -> Result<Host> {
    let mut host = Host::new()?;
    host.kubelet(&["--container-runtime-endpoint", "unix:///run/cri-dockerd.sock"]);
    host.dockerd()?;
    let pod = format!("/kubepods/burstable/pod{POD_UID}/{}", id(0x11));
    host.in_pod(1000, &pod).socket(61);
    let shim = host.tree.process(810, 1, "cri-dockerd").exe("/usr/bin/cri-dockerd");
    shim.cgroup("/system.slice/cri-docker.service").socket(60).socket(70);
    host.serve(
        "/run/cri-dockerd.sock",
        script("docker", "28.5.2", &[Api::V1]).cgroup_driver(CgroupDriver::Systemd),
    )?;
    Ok(host)
}

/// A kubelet 1.23 with its dockershim, on cgroup v1.
pub(crate) fn dockershim() -> Result<Host> {
    let mut host = Host::new()?;
    host.tree.process(1, 0, "systemd").exe("/usr/lib/systemd/systemd").in_host_root().file(
        "mountinfo",
        "30 1 0:27 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n31 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
    );
    host.kubelet(&["--container-runtime=docker", "--network-plugin=cni"])
        .socket(60);
    host.dockerd()?;
    let pod = format!("/kubepods/burstable/pod{POD_UID}/{}", id(0x11));
    host.in_pod(1000, &pod).socket(61);
    host.serve("/run/dockershim.sock", script("docker", "20.10.24", &[Api::V1alpha2]))?;
    Ok(host)
}

/// dockerd alone.
pub(crate) fn with_dockerd() -> Result<Host> {
    let mut host = Host::new()?;
    host.dockerd()?;
    Ok(host)
}

/// A machine that runs Docker and is not a node.
pub(crate) fn docker_only() -> Result<Host> {
    let mut host = Host::new()?;
    host.dockerd()?;
    host.backup();
    host.docker_container(&id(0x40), "web");
    let container = format!("/system.slice/docker-{}.scope", id(0x40));
    host.in_pod(1000, &container).socket(61);
    Ok(host)
}

/// A machine that runs neither.
pub(crate) fn no_runtime() -> Result<Host> {
    Host::new()
}

/// containerd without Docker. A pod's agent and a service of the host hold connections to its socket, in addition to
/// the kubelet, `ctr`, and a user's program with the name of the kubelet.
pub(crate) fn clients_of_the_runtime() -> Result<Host> {
    let mut host = Host::new()?;
    let endpoint = "/run/containerd/containerd.sock";
    host.kubelet(&[&format!("--container-runtime-endpoint=unix://{endpoint}")])
        .socket(60);
    let with_mount = script("containerd", "2.1.4", &[Api::V1])
        .pod(&id(0x50), "monitoring", "node-agent", STATIC_UID)
        .container(
            &id(0x50),
            &id(0x51),
            "agent",
            &[("/run/containerd", "/host/containerd")],
        );
    host.serve(endpoint, with_mount)?;
    let name: &'static [u8] = b"/run/containerd/containerd.sock\0";
    let file = Some(identity(&host.at(endpoint)?)?);
    let containerd = host.tree.process(600, 1, "containerd").exe("/usr/bin/containerd");
    containerd
        .cgroup("/system.slice/containerd.service")
        .in_host_root()
        .socket(70)
        .socket(71);
    let held = |pid, program: &str, cgroup: &str, socket| {
        let process = host.tree.process(pid, 1, "client").exe(program);
        process.cgroup(cgroup).socket(socket);
    };
    held(910, "/usr/bin/ctr", "/user.slice", 62);
    held(920, "/usr/local/bin/scan", "/system.slice/scan.service", 63);
    held(930, "/usr/bin/kubelet", &pod_cgroup(&id(0x11)), 64);
    let connections: Vec<SocketFacts<'static>> = (60..=64)
        .filter(|client| *client != 61)
        .flat_map(|client| {
            [
                SocketFacts::accepted(client + 100, name, file, client),
                SocketFacts::client(client, client + 100),
            ]
        })
        .collect();
    host.open_on_host(&connections)?;
    host.record(
        POD_NETNS,
        &[SocketFacts::accepted(161, name, file, 61), SocketFacts::client(61, 161)],
    )?;
    host.in_pod(1000, &cgroup_of(STATIC_UID, &id(0x51))).socket(61);
    Ok(host)
}
