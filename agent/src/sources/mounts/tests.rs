mod files;
mod own;
mod views;

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::SystemTime;

use super::*;
use crate::model::container::Mount;
use crate::model::engine::{Api, EngineKind, Listener};
use crate::model::exposure::{Access, Lost, Reached, Via};
use crate::model::identity::{Device, NetNs, Pid, ProcessKey, SocketInode};
use crate::model::last_connect::{LastConnect, NoMark, moment_of};
use crate::model::process::Process;
use crate::model::socket::{ListenerId, SocketName};
use crate::model::workload::{CgroupContainer, Manager, Membership};
use crate::sources::engines::data_roots_of;
use crate::sources::recorded::RecordedHost;

const OWN: &str = "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd3d";

/// A host whose dockerd, process 10, listens on `/run/docker.sock`, with links of every kind to it.
struct Node {
    host: RecordedHost,
    _socket: UnixListener,
}

impl Node {
    fn new() -> Self {
        let host = RecordedHost::new();
        let at = |path: &str| host.paths().root.join(path);
        for directory in ["run/containerd", "var/lib", "srv/links", "home"] {
            fs::create_dir_all(at(directory)).expect("fresh");
        }
        let socket = UnixListener::bind(at("run/docker.sock")).expect("fresh");
        for (link, target) in [
            ("var/run", "/run"),
            ("srv/links/socket", "/var/run/docker.sock"),
            ("srv/links/parent", "../../run"),
            ("srv/links/up", "/../../../../run"),
            ("srv/links/dangling", "/nowhere"),
        ] {
            symlink(target, at(link)).expect("fresh");
        }
        fs::hard_link(at("run/docker.sock"), at("srv/renamed")).expect("the same file system");
        host.file("/home/docker.sock", "no socket at all");
        host.process(10, 1, "dockerd")
            .exe("/usr/bin/dockerd")
            .in_host_root()
            .link("cwd", "/run");
        Self { host, _socket: socket }
    }

    fn process(&self) -> Process {
        let table = self.host.reader().read_table();
        let table = table.reading.known().expect("a process is recorded");
        let dockerd = table.get(Pid(10)).expect("it is recorded");
        self.host.reader().describe(dockerd).expect("it is there")
    }

    fn engine(&self, name: &str) -> EngineSighting {
        let file = identity(&self.host.paths().root.join("run/docker.sock"));
        EngineSighting {
            kind: EngineKind::Dockerd,
            process: Some(self.process()),
            awaited_by: None,
            containerd: crate::model::engine::Containerd::Own,
            listeners: vec![Listener {
                id: ListenerId::File(file),
                api: Api::Docker,
                name: SocketName::Path(name.to_owned()),
                socket: SocketInode(1),
                netns: NetNs(1),
                activated: false,
                transport: None,
                last_connect: None,
            }],
        }
    }

    fn reaches(&self, mounts: &[&str], engine: EngineSighting) -> (Vec<(String, Via)>, Vec<Gap>) {
        let sighting = self.find(
            container(Reading::Known(mounts.iter().map(|m| mount(m)).collect())),
            engine,
        );
        let reaches = sighting.reading.known().cloned().unwrap_or_default();
        (
            reaches.into_iter().map(|r| (r.host_path, r.via)).collect(),
            sighting.gaps,
        )
    }

    fn find(&self, container: Container, engine: EngineSighting) -> Sighting<Vec<Reach>> {
        let engines = Sighting::full(vec![engine]);
        let seen = self.look(&Sighting::full(vec![container]), &engines, &[], true);
        seen.reaches
    }

    fn look(
        &self,
        containers: &Sighting<Vec<Container>>,
        engines: &Sighting<Vec<EngineSighting>>,
        processes: &[ContainerProcess],
        sees_machine: bool,
    ) -> MountsSeen {
        let memory = &mut MountMemory::default();
        look(&self.host, containers, engines, processes, sees_machine, memory)
    }

    /// Returns the listeners that a container reaches. The mounts `declared` were requested for it, and it has the
    /// mounts of `mountinfo`, where `DISK` is the file system of the host's root.
    fn own(&self, declared: &[(&str, &str)], mountinfo: &str) -> Vec<String> {
        let seen = self.look(
            &declaring(declared),
            &self.engines(),
            &[self.container(mountinfo)],
            false,
        );
        assert_eq!(seen.reaches.gaps, []);
        let reaches = seen.reaches.reading.known().cloned().unwrap_or_default();
        let shown = |r: Reach| format!("{} {} at {}", r.via, r.host_path, r.container_path);
        reaches.into_iter().map(shown).collect()
    }

    /// Gives the engine the same mounts as the host.
    fn engines(&self) -> Sighting<Vec<EngineSighting>> {
        self.mountinfo(1, HOST);
        self.mountinfo(10, HOST);
        Sighting::full(vec![self.engine("/run/docker.sock")])
    }

    /// Returns the container's first process.
    fn container(&self, mountinfo: &str) -> ContainerProcess {
        self.mountinfo(20, mountinfo);
        ContainerProcess {
            key: ProcessKey {
                pid: Pid(20),
                start: 200,
            },
            membership: Membership::of_container(ContainerId(OWN.to_owned()), None),
            is_kept: false,
        }
    }

    fn mountinfo(&self, pid: u32, mounts: &str) {
        let device = identity(&self.host.paths().root.join("run/docker.sock")).device;
        let mounts = mounts.replace("DISK", &format!("{}:{}", device.major, device.minor));
        if pid == 10 {
            fs::write(self.host.paths().proc.join("10/mountinfo"), mounts).expect("a file");
        } else {
            self.host
                .process(pid, 0, "first")
                .in_host_root()
                .file("mountinfo", mounts);
        }
    }
}

/// The host's mounts: one file system, except for a pod's volume.
const HOST: &str = "\
    1 0 DISK / / rw - ext4 x rw\n\
    2 1 0:99 /volume /srv/pods/volume rw - tmpfs x rw\n\
    3 1 DISK /run /srv/alias rw - ext4 x rw\n";

fn declaring(mounts: &[(&str, &str)]) -> Sighting<Vec<Container>> {
    let mounts = mounts.iter().map(|(host_path, container_path)| Mount {
        host_path: (*host_path).to_owned(),
        container_path: (*container_path).to_owned(),
        readonly: false,
    });
    Sighting::full(vec![container(Reading::Known(mounts.collect()))])
}

fn look(
    host: &RecordedHost,
    containers: &Sighting<Vec<Container>>,
    engines: &Sighting<Vec<EngineSighting>>,
    processes: &[ContainerProcess],
    sees_machine: bool,
    memory: &mut MountMemory,
) -> MountsSeen {
    let data = Rooted::open(&host.paths().root)
        .map(|root| data_roots_of(&root))
        .unwrap_or_default();
    let looked = Looked {
        host: &host.paths(),
        reader: &host.reader(),
        containers,
        sandboxes: &BTreeSet::new(),
        supervised: &[],
        processes: &Sighting::full(processes.to_vec()),
        docker_data: &data,
        engines,
        listening: &BTreeSet::new(),
        sees_machine,
        now: moment_of(SystemTime::now()),
    };
    find_mounts(&looked, memory)
}

fn identity(path: &Path) -> FileIdentity {
    let file = fs::symlink_metadata(path).expect("it was made above");
    FileIdentity::from_stat(file.dev(), file.ino())
}

fn container(mounts: Reading<Vec<Mount>>) -> Container {
    Container {
        id: ContainerId(OWN.to_owned()),
        sandbox: ContainerId("s".to_owned()),
        name: "build".to_owned(),
        image: "ci:1".to_owned(),
        mounts,
    }
}

fn mount(host_path: &str) -> Mount {
    Mount {
        host_path: host_path.to_owned(),
        container_path: "/mnt".to_owned(),
        readonly: true,
    }
}

#[test]
fn every_way_to_a_listener_is_found() {
    let node = Node::new();
    for (path, expected) in [
        ("/run/docker.sock", Some(Via::Socket)),
        ("/var/run/docker.sock", Some(Via::Socket)),
        ("/srv/renamed", Some(Via::Socket)),
        ("/srv/links/socket", Some(Via::Socket)),
        ("/run", Some(Via::Directory)),
        ("/run/", Some(Via::Directory)),
        ("/var/run", Some(Via::Directory)),
        ("/srv/links/parent", Some(Via::Directory)),
        ("/srv/links/up", Some(Via::Directory)),
        ("/", Some(Via::Directory)),
        // `/var` has a link to `/run`, and a link does not lead out of a mount
        ("/var", None),
        ("/srv", None),
        ("/run/containerd", None),
        ("/home/docker.sock", None),
        ("/srv/links/dangling", None),
        ("/nonexistent/docker.sock", None),
        ("/home/docker.sock/x", None),
        ("", None),
    ] {
        let (reaches, gaps) = node.reaches(&[path], node.engine("/run/docker.sock"));
        let expected: Vec<_> = expected.map(|via| (path.to_owned(), via)).into_iter().collect();
        assert_eq!((reaches, gaps), (expected, vec![]), "{path}");
    }
}

#[test]
fn the_listeners_name_may_have_links_or_be_relative() {
    let node = Node::new();
    for name in [
        "/var/run/docker.sock",
        "/srv/links/parent/docker.sock",
        "docker.sock",
        "./containerd/../docker.sock",
    ] {
        let (reaches, gaps) = node.reaches(&["/var/run", "/srv/links"], node.engine(name));
        assert_eq!(
            (reaches, gaps),
            (vec![("/var/run".to_owned(), Via::Directory)], vec![]),
            "{name}"
        );
    }
}

#[test]
fn a_name_that_cannot_be_followed_hides_directories_and_not_the_socket() {
    let node = Node::new();
    let mut activated = node.engine("docker.sock");
    activated.process = None; // no process to be relative to
    let broken = node.engine("/run/d\u{fffd}cker.sock");
    for engine in [activated, broken] {
        let (reaches, gaps) = node.reaches(&["/run", "/run/docker.sock"], engine);
        assert_eq!(reaches, [("/run/docker.sock".to_owned(), Via::Socket)]);
        assert_eq!(
            gaps.iter().map(|g| (g.reason, g.hides)).collect::<Vec<_>>(),
            [(Reason::NotFound, Hides::Exposure)]
        );
    }
}

#[test]
fn a_file_that_was_replaced_leads_to_another_listener() {
    let node = Node::new();
    let old = node.engine("/run/docker.sock");
    let path = node.host.paths().root.join("run/docker.sock");
    fs::rename(&path, node.host.paths().root.join("home/old.sock")).expect("it is there"); // keeps its inode in use
    let _new = UnixListener::bind(&path).expect("the name is free");
    assert_eq!(node.reaches(&["/run", "/run/docker.sock"], old), (vec![], vec![]));
}

#[test]
fn an_engine_that_is_not_started_is_resolved_on_the_host() {
    let node = Node::new();
    let mut engine = node.engine("/run/docker.sock");
    engine.process = None;
    let (reaches, gaps) = node.reaches(&["/var/run"], engine);
    assert_eq!((reaches, gaps), (vec![("/var/run".to_owned(), Via::Directory)], vec![]));
}

#[test]
fn an_engine_in_a_pod_is_reached_by_its_neighbours_and_not_by_itself() {
    let node = Node::new();
    // The pod's volume is `/run` in the engine's own mount namespace: one inode, two paths.
    let rootfs = node.host.paths().root.join("rootfs");
    fs::create_dir_all(rootfs.join("run")).expect("fresh");
    let _socket = UnixListener::bind(rootfs.join("run/docker.sock")).expect("fresh");
    node.host
        .process(10, 1, "dockerd")
        .cgroup(&format!("/docker/{OWN}"))
        .link("root", rootfs.to_str().expect("temporary paths are UTF-8"));
    let mut engine = node.engine("/run/docker.sock");
    engine.listeners[0].id = ListenerId::File(identity(&rootfs.join("run/docker.sock")));
    let mut neighbour = container(Reading::Known(vec![mount("/rootfs/run")]));
    assert_eq!(
        node.find(neighbour.clone(), engine.clone()),
        Sighting::absent(),
        "it is the engine's own"
    );
    neighbour.id = ContainerId("another".to_owned());
    let reaches = node.find(neighbour, engine);
    assert_eq!(reaches.reading.known().map(|r| r[0].via), Some(Via::Directory));
}

#[test]
fn unread_mounts_are_gaps() {
    let node = Node::new();
    let gap = Gap::new(
        Reason::DeadlineExceeded,
        Hides::Exposure,
        "ContainerStatus",
        "no answer",
    );
    let engines = Sighting::full(vec![node.engine("/run/docker.sock")]);

    let unknown = node.find(
        container(Reading::Unknown(gap.clone())),
        node.engine("/run/docker.sock"),
    );
    assert_eq!(
        unknown.gaps.iter().map(|g| (g.reason, g.hides)).collect::<Vec<_>>(),
        [(Reason::DependsOnAnother, Hides::Exposure)]
    );
    let reason = |seen: MountsSeen| seen.reaches.reading.gap().map(|g| (g.reason, g.hides));
    let depends = Some((Reason::DependsOnAnother, Hides::Exposure));
    let unlisted = Sighting::unknown(gap.clone());
    assert_eq!(reason(node.look(&unlisted, &engines, &[], true)), depends);
    let empty = Sighting::full(vec![]);
    assert_eq!(reason(node.look(&empty, &Sighting::unknown(gap), &[], true)), depends);
    // There is no listener, so no mount leads to one.
    assert_eq!(
        node.look(&unlisted, &Sighting::absent(), &[], true).reaches,
        Sighting::absent()
    );
    fs::remove_dir_all(node.host.paths().root).expect("it is there");
    assert_eq!(
        reason(node.look(&empty, &engines, &[], true)),
        Some((Reason::NotFound, Hides::Exposure))
    );
}

#[test]
fn no_connect_is_known_only_if_the_mounts_keep_access_times() {
    let since = |told: LastConnect| matches!(told, LastConnect::NoneSince { .. });
    let no_mark = |because| move |told: LastConnect| told == LastConnect::NoMark { because };
    let (mount, system) = (no_mark(NoMark::Mount), no_mark(NoMark::FileSystem));
    let cases: [(&str, &dyn Fn(LastConnect) -> bool); 8] = [
        ("1 0 DISK / / rw - tmpfs x rw\n", &since),
        ("1 0 DISK / / rw,nosuid,relatime - ext4 x rw\n", &since),
        ("1 0 DISK / / rw,noatime - ext4 x rw\n", &mount),
        ("1 0 DISK / / ro,relatime - ext4 x rw\n", &mount),
        ("1 0 DISK / / rw,relatime - ext4 x ro\n", &mount),
        ("1 0 DISK / / rw,relatime - overlay x rw\n", &system),
        ("1 0 DISK / / rw,relatime - btrfs x rw\n", &system),
        // Another way to it whose mount does not keep access times.
        (
            "1 0 DISK / / rw,relatime - ext4 x rw\n2 1 DISK /run /srv/alias rw,noatime - ext4 x rw\n",
            &mount,
        ),
    ];
    for (mounts, is_told) in cases {
        let node = Node::new();
        node.mountinfo(1, mounts);
        node.mountinfo(10, mounts);
        let engines = Sighting::full(vec![node.engine("/run/docker.sock")]);
        let seen = node.look(&Sighting::full(Vec::new()), &engines, &[], true);
        let [clock] = seen.clocks.as_slice() else {
            panic!("{mounts}: {:?}", seen.clocks)
        };
        assert!(is_told(clock.last_connect), "{mounts}: {:?}", clock.last_connect);
    }
}

#[test]
fn a_socket_without_a_file_gives_the_reason_for_an_unknown_time() {
    let node = Node::new();
    node.engines();
    let mut engine = node.engine("/run/docker.sock");
    let listener = engine.listeners[0].clone();
    let of = |id: ListenerId, name: SocketName| Listener {
        id,
        name,
        ..listener.clone()
    };
    let address = "127.0.0.1:2375".parse().expect("an address");
    engine.listeners = vec![
        of(
            ListenerId::Abstract(NetNs(1), "docker".into()),
            SocketName::Abstract("docker".into()),
        ),
        of(ListenerId::Tcp(NetNs(1), address), SocketName::Tcp(address)),
        of(ListenerId::File(FileIdentity::from_stat(1, 1)), listener.name.clone()),
    ];
    let seen = node.look(&Sighting::full(Vec::new()), &Sighting::full(vec![engine]), &[], true);
    let told: Vec<_> = seen
        .clocks
        .iter()
        .filter_map(|clock| clock.last_connect.missing())
        .collect();
    assert_eq!(told, [NoMark::Abstract, NoMark::Tcp]);
    let removed = LastConnect::NoMark {
        because: NoMark::Removed,
    };
    assert_eq!(seen.clocks[2].last_connect, removed, "another file has its name");
}
