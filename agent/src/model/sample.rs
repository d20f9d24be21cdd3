//! A node that is fully seen and has no Docker, and functions that change it. For tests.

use std::collections::BTreeSet;

use super::connect::{Attributions, ConnectEvents, ConnectMethod, RequestEvents};
use super::container::{Container, Pod, SupervisedContainer};
use super::engine::{Api, Containerd, EngineKind, EngineSighting, Listener};
use super::exposure::{Access, Reach, Reached, Via};
use super::host::{CgroupVersion, HostFiles, UserNamespaces};
use super::identity::{ContainerId, Device, FileIdentity, NetNs, Pid, ProcessKey, SocketInode};
use super::kubelet::{EndpointCandidate, EndpointOrigin, Kubelet};
use super::process::Process;
use super::reading::{Gap, Hides, Reading, Reason, Sighting};
use super::runtime::{CgroupDriver, CriApi, Runtime, RuntimeSighting};
use super::runtime_socket::RuntimeSocket;
use super::snapshot::{ConnectionsSeen, HolderMethod, Snapshot};
use super::socket::{Connection, ConnectionState, ListenerId, SocketName};
use super::time::Timestamp;
use super::workload::{CgroupContainer, Manager, Membership};

/// 2026-11-24T12:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_unix(1_795_521_600);
/// The uid of the one pod.
pub(crate) const POD_UID: &str = "0a1b2c3d-0000-4000-8000-00000000beef";

pub(crate) fn id(n: u8) -> ContainerId {
    ContainerId(format!("{n:02x}").repeat(32))
}

pub(crate) fn gap(hides: Hides) -> Gap {
    Gap::new(Reason::PermissionDenied, hides, "something", "EACCES")
}

/// containerd 2.3 with everything that a kubelet needs, one pod `ci/builder-0` with the container `build` (1) in sandbox (2).
pub(crate) fn clear_node() -> Snapshot {
    let endpoint = EndpointCandidate {
        path: "/run/containerd/containerd.sock".into(),
        origin: EndpointOrigin::KubeletFlag {
            flag: "--container-runtime-endpoint".into(),
        },
    };
    Snapshot {
        connects: Sighting::absent(),
        relays: Sighting::full(Vec::new()),
        taken: NOW,
        kubelet: Sighting::full(Kubelet {
            program: Some("kubelet".into()),
            dockershim: Some(false),
            endpoints: vec![endpoint.clone()],
            fail_cgroup_v1: Reading::Absent,
            subordinate_ids: Reading::Absent,
            process: None,
        }),
        runtime: RuntimeSighting {
            runtime: Sighting::full(Runtime {
                canonical_path: endpoint.path.clone(),
                endpoint,
                api: CriApi::V1,
                name: "containerd".into(),
                version: "2.3.4".into(),
                conditions: Reading::Known(Vec::new()),
                deprecations: Reading::Known(Vec::new()),
                silenced_deprecations: Vec::new(),
                pod_metrics: Reading::Known(true),
                cgroup_driver: Reading::Known(CgroupDriver::Systemd),
            }),
            socket: None,
            refused: Vec::new(),
            pods: Sighting::full(vec![Pod {
                sandbox: id(2),
                namespace: "ci".into(),
                name: "builder-0".into(),
                uid: POD_UID.into(),
                workload: None,
                ready: true,
            }]),
            containers: Sighting::full(vec![Container {
                id: id(1),
                sandbox: id(2),
                name: "build".into(),
                image: "registry.test/build:1".into(),
                mounts: Reading::Known(Vec::new()),
            }]),
            waiting: Vec::new(),
            ended: Vec::new(),
        },
        runtime_socket: Reading::Known(runtime_socket()),
        engines: Sighting::full(Vec::new()),
        supervised: Sighting::full(Vec::new()),
        connections: Sighting::full(no_connections()),
        reaches: Sighting::full(Vec::new()),
        lost_mounts: Vec::new(),
        files_mounts: Vec::new(),
        clocks: Vec::new(),
        host: Sighting::full(HostFiles {
            docker_data: BTreeSet::new(),
            cgroups: Reading::Known(CgroupVersion::V2),
            left_overs: Reading::Known(Vec::new()),
            containerd_io: Reading::Absent,
            orphaned_shims: Reading::Absent,
            user_namespaces: Box::new(user_namespaces()),
            docker_callers: Reading::Absent,
        }),
        settings: Sighting::absent(),
    }
}

/// The settings of a kernel that lets everybody make user namespaces, with AppArmor and seccomp.
pub(crate) fn user_namespaces() -> UserNamespaces {
    UserNamespaces {
        limit: Reading::Known(63_542),
        unprivileged: Reading::Absent,
        restricted: Reading::Absent,
        apparmor: Reading::Known(true),
        seccomp: Reading::Known(true),
    }
}

fn no_connections() -> ConnectionsSeen {
    ConnectionsSeen {
        method: HolderMethod::SockDiag,
        iterator_refused: None,
        connections: Vec::new(),
        namespaces: 2,
    }
}

/// The socket of containerd, which only its kubelet uses.
pub(crate) fn runtime_socket() -> RuntimeSocket {
    RuntimeSocket {
        server: EngineSighting {
            kind: EngineKind::Other,
            process: Some(process(600, "/usr/bin/containerd")),
            awaited_by: None,
            containerd: Containerd::Own,
            listeners: vec![Listener {
                id: containerd_socket(),
                api: Api::Cri,
                name: SocketName::Path("/run/containerd/containerd.sock".into()),
                socket: SocketInode(66),
                netns: NetNs(4_026_531_840),
                activated: false,
                transport: None,
                last_connect: None,
            }],
        },
        expected: vec![process(700, "/usr/bin/kubelet"), process(600, "/usr/bin/containerd")],
        connections: Sighting::full(no_connections()),
        reaches: Sighting::full(Vec::new()),
    }
}

pub(crate) fn containerd_socket() -> ListenerId {
    ListenerId::File(FileIdentity {
        device: Device { major: 0, minor: 25 },
        inode: 4321,
    })
}

/// Returns the value of a sighting, to change it.
pub(crate) fn known<T>(sighting: &mut Sighting<T>) -> &mut T {
    match &mut sighting.reading {
        Reading::Known(value) => value,
        other => panic!("not known: {}", matches!(other, Reading::Absent)),
    }
}

/// A process of the host's root in no unit.
pub(crate) fn process(pid: u32, executable: &str) -> Process {
    Process {
        key: ProcessKey {
            pid: Pid(pid),
            start: u64::from(pid) * 100,
        },
        name: executable.rsplit('/').next().unwrap_or(executable).to_owned(),
        executable: Some(executable.to_owned()),
        uid: Some(0),
        netns: Some(NetNs(4_026_531_840)),
        membership: Membership::default(),
    }
}

/// A process inside containers, outermost first, of `manager`.
pub(crate) fn contained(pid: u32, manager: Manager, ids: &[ContainerId]) -> Process {
    let containers = ids
        .iter()
        .map(|id| CgroupContainer {
            id: id.clone(),
            manager,
            user: None,
        })
        .collect();
    Process {
        membership: Membership {
            containers,
            ..Membership::default()
        },
        ..process(pid, "/bin/client")
    }
}

pub(crate) fn docker_socket() -> ListenerId {
    ListenerId::File(FileIdentity {
        device: Device { major: 0, minor: 25 },
        inode: 1234,
    })
}

/// dockerd on the host with `/run/docker.sock`.
pub(crate) fn dockerd() -> EngineSighting {
    EngineSighting {
        kind: EngineKind::Dockerd,
        process: Some(process(800, "/usr/bin/dockerd")),
        awaited_by: None,
        containerd: Containerd::Own,
        listeners: vec![Listener {
            id: docker_socket(),
            api: Api::Docker,
            name: SocketName::Path("/run/docker.sock".into()),
            socket: SocketInode(77),
            netns: NetNs(4_026_531_840),
            activated: false,
            transport: None,
            last_connect: None,
        }],
    }
}

/// An accepted connection to [`dockerd`] from the client socket `inode`.
pub(crate) fn connection(inode: u32, holders: Vec<Process>) -> Connection {
    Connection {
        listener: docker_socket(),
        client: SocketInode(inode),
        netns: Some(NetNs(4_026_531_840)),
        state: ConnectionState::Accepted,
        holders,
        connector: None,
        remote: None,
    }
}

/// The kernel has reported each connect for a day.
pub(crate) fn events() -> ConnectEvents {
    ConnectEvents {
        method: Some(ConnectMethod::Fentry),
        refused: Vec::new(),
        since: Some(Timestamp::from_unix(NOW.as_unix() - 86_400)),
        self_test: None,
        listeners: 1,
        recorded: 0,
        lost: 0,
        attributed: Attributions::default(),
        requests: RequestEvents::default(),
    }
}

/// The container `build` mounts `/run`.
pub(crate) fn reach() -> Reach {
    Reach {
        membership: Membership::of_container(id(1), None),
        reached: Reached::Listener(docker_socket()),
        via: Via::Directory,
        host_path: "/var/run".into(),
        container_path: "/host/run".into(),
        readonly: true,
        is_readonly_somewhere: true,
        access: Access::Unknown,
    }
}

/// A container under dockerd's own supervisor.
pub(crate) fn supervised(n: u8, name: Option<&str>) -> SupervisedContainer {
    SupervisedContainer {
        id: id(n),
        engine: EngineKind::Dockerd,
        supervisor: Pid(900),
        inside: None,
        has_child: false,
        user: None,
        name: name.map(str::to_owned),
        image: None,
        mounts: Vec::new(),
    }
}
