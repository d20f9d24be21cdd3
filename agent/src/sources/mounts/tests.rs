use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use super::*;
use crate::model::engine::{Api, EngineKind, Listener};
use crate::model::identity::{NetNs, Pid, ProcessKey, SocketInode};
use crate::model::process::Process;
use crate::model::socket::ListenerId;
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
            listeners: vec![Listener {
                id: ListenerId::File(file),
                api: Api::Docker,
                name: SocketName::Path(name.to_owned()),
                socket: SocketInode(1),
                netns: NetNs(1),
                activated: false,
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

    /// What the container reaches that was asked to mount `declared` and has the mounts of `mountinfo`, where `DISK` is
    /// the file system of the host's root.
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

    /// The engine's sees the same mounts as the host.
    fn engines(&self) -> Sighting<Vec<EngineSighting>> {
        self.mountinfo(1, HOST);
        self.mountinfo(10, HOST);
        Sighting::full(vec![self.engine("/run/docker.sock")])
    }

    /// The container's first process.
    fn container(&self, mountinfo: &str) -> ContainerProcess {
        self.mountinfo(20, mountinfo);
        ContainerProcess {
            key: ProcessKey {
                pid: Pid(20),
                start: 200,
            },
            membership: Membership::of_container(ContainerId(OWN.to_owned())),
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

/// The host's mounts: all on one file system, but for a pod's volume.
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
    let looked = Looked {
        host: &host.paths(),
        reader: &host.reader(),
        containers,
        sandboxes: &BTreeSet::new(),
        supervised: &[],
        processes: &Sighting::full(processes.to_vec()),
        engines,
        listening: &BTreeSet::new(),
        sees_machine,
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
fn every_way_to_a_listener() {
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
        // `/var` holds a link to `/run`, and a link does not lead out of a mount
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
fn the_listeners_name_may_lead_over_links_or_be_relative() {
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
    activated.process = None; // relative to whom?
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
    fs::rename(&path, node.host.paths().root.join("home/old.sock")).expect("it is there"); // keeps its inode taken
    let _new = UnixListener::bind(&path).expect("the name is free");
    assert_eq!(node.reaches(&["/run", "/run/docker.sock"], old), (vec![], vec![]));
}

#[test]
fn an_engine_nobody_started_is_resolved_on_the_host() {
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
fn what_was_not_seen_is_said() {
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
    // No listener: whatever the containers mount leads to none.
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
fn a_container_is_judged_by_the_mounts_that_it_has() {
    const ROOTFS: &str = "50 1 0:70 / / rw - overlay x rw\n";
    let node = Node::new();
    let socket = "51 50 DISK /run/docker.sock /var/run/docker.sock rw - ext4 x rw\n";
    let run = "52 50 DISK /run /host/run ro - ext4 x rw\n";
    let all = "53 50 DISK / /host rw - ext4 x rw\n54 53 0:99 /volume /host/srv/pods/volume rw - tmpfs x rw\n";
    let declared = [("/srv/links/dangling", "/var/run/docker.sock"), ("/", "/host")];
    for (what, mounts, declared, expected) in [
        (
            "a link that was pointed elsewhere since",
            [socket].concat(),
            &declared[..1],
            vec!["socket /srv/links/dangling at /var/run/docker.sock"],
        ),
        (
            "what nobody asked for has the host's name",
            [socket].concat(),
            &[],
            vec!["socket /run/docker.sock at /var/run/docker.sock"],
        ),
        (
            "a directory, read-only",
            [run].concat(),
            &[],
            vec!["directory /run at /host/run"],
        ),
        (
            "two mounts of one socket",
            [socket, &socket.replace("51", "55").replace("/var/run/d", "/d")].concat(),
            &[],
            vec![
                "socket /run/docker.sock at /var/run/docker.sock",
                "socket /run/docker.sock at /docker.sock",
            ],
        ),
        ("the root", [all].concat(), &declared[1..], vec!["directory / at /host"]),
        (
            "a tmpfs over the directory hides it",
            [run, "56 52 0:71 / /host/run rw - tmpfs x rw\n"].concat(),
            &[],
            vec![],
        ),
        (
            "a file over the socket hides it",
            [
                &socket.replace("/var/run/docker.sock", "/sock"),
                "57 51 0:5 /null /sock rw - devtmpfs x rw\n",
            ]
            .concat(),
            &[],
            vec![],
        ),
        (
            "asked for, and unmounted inside since",
            String::new(),
            &[("/run/docker.sock", "/var/run/docker.sock")],
            vec![],
        ),
    ] {
        assert_eq!(node.own(declared, &[ROOTFS, &mounts].concat()), expected, "{what}");
    }
}

#[test]
fn an_engine_with_mounts_of_its_own_is_reached_through_its_file_system() {
    let node = Node::new();
    node.engines();
    // Its `/run` is a volume, which the host has below `/srv`.
    node.mountinfo(
        10,
        "60 1 DISK / / rw - ext4 x rw\n61 60 0:99 /volume /run rw - tmpfs x rw\n",
    );
    let engines = Sighting::full(vec![node.engine("/run/docker.sock")]);
    let paths = |declared: &[(&str, &str)], processes: &[ContainerProcess]| {
        let seen = node.look(&declaring(declared), &engines, processes, false);
        assert_eq!(seen.reaches.gaps, []);
        let reaches = seen.reaches.reading.known().cloned().unwrap_or_default();
        reaches.into_iter().map(|r| r.host_path).collect::<Vec<_>>()
    };
    assert_eq!(
        paths(&[("/srv", "/x")], &[]),
        ["/srv"],
        "below a directory that was asked for"
    );
    assert_eq!(paths(&[("/srv/links", "/x")], &[]), [""; 0]);
    let beside = node.container("50 1 0:70 / / rw - overlay x rw\n51 50 0:99 /volume /sock rw - tmpfs x rw\n");
    assert_eq!(paths(&[], &[beside]), ["/srv/pods/volume"]);
}

#[test]
fn mounts_are_read_again_in_turns_and_when_a_listener_changes() {
    let node = Node::new();
    let engines = node.engines();
    let mut process = node.container("51 1 DISK /run/docker.sock /sock rw - ext4 x rw\n");
    let mut memory = MountMemory::default();
    let nobody = Sighting::full(Vec::new());
    let mut count = |engines: &_, process: &ContainerProcess| {
        let seen = look(
            &node.host,
            &nobody,
            engines,
            std::slice::from_ref(process),
            false,
            &mut memory,
        );
        seen.reaches.reading.known().map_or(0, Vec::len)
    };
    assert_eq!(count(&engines, &process), 1);
    node.mountinfo(20, "");
    process.is_kept = true;
    assert_eq!(count(&engines, &process), 1, "not its turn");
    process.is_kept = false;
    assert_eq!(count(&engines, &process), 0, "its turn");
    node.container("51 1 DISK /run/docker.sock /sock rw - ext4 x rw\n");
    process.is_kept = true;
    assert_eq!(count(&engines, &process), 0, "not its turn");
    let mut more = node.engine("/run/docker.sock");
    more.listeners[0].id = ListenerId::File(identity(&node.host.file("/other", "")));
    let both = Sighting::full(vec![node.engine("/run/docker.sock"), more]);
    assert_eq!(count(&both, &process), 1, "another listener");
}

#[test]
fn a_docker_socket_that_is_none_is_told_by_its_name() {
    let node = Node::new();
    let (root, engines) = (node.host.paths().root, Sighting::absent());
    fs::create_dir_all(root.join("made/docker.sock")).expect("fresh");
    let _left = UnixListener::bind(root.join("home/podman.sock")).expect("fresh");
    let _shim = UnixListener::bind(root.join("home/cri-dockerd.sock")).expect("fresh");
    for (path, sees_machine, expected) in [
        ("/nowhere/docker.sock", true, Some(Lost::Missing)),
        ("/made/docker.sock", true, Some(Lost::Directory)),
        ("/home/docker.sock", true, Some(Lost::File)),
        ("/home/podman.sock", true, Some(Lost::Stale)),
        ("/home/cri-dockerd.sock", true, Some(Lost::Dockershim)),
        ("/home/podman.sock", false, None),
        ("/nowhere/data", true, None),
    ] {
        let seen = node.look(&declaring(&[(path, "/x")]), &engines, &[], sees_machine);
        assert_eq!(seen.lost.first().map(|lost| lost.state), expected, "{path}");
        let reaches = seen.reaches.reading.known().cloned().unwrap_or_default();
        let is_foreign = |reach: &Reach| {
            matches!(
                reach.reached,
                Reached::Unseen {
                    kind: EngineKind::Podman,
                    ..
                }
            )
        };
        assert_eq!(
            reaches.iter().any(is_foreign),
            path.ends_with("podman.sock") && !sees_machine,
            "{path}"
        );
    }
}

#[test]
fn a_removed_file_is_the_listeners_own_or_a_stale_one() {
    let node = Node::new();
    let engines = node.engines();
    let removed = "51 1 DISK /run/docker.sock//deleted /run/docker.sock rw - ext4 x rw\n";
    let look = |engines: &_| node.look(&declaring(&[]), engines, &[node.container(removed)], true);
    let seen = look(&engines);
    assert_eq!(
        seen.reaches.reading.known().map(Vec::len),
        Some(1),
        "its inode is the listener's"
    );
    let other = identity(&node.host.file("/other", ""));
    let mut restarted = node.engine("/run/docker.sock");
    restarted.listeners[0].id = ListenerId::File(other);
    let seen = look(&Sighting::full(vec![restarted]));
    let states: Vec<_> = seen
        .lost
        .iter()
        .map(|lost| (lost.state, lost.container_path.as_str()))
        .collect();
    assert_eq!(states, [(Lost::Stale, "/run/docker.sock")]);
}

#[test]
fn a_foreign_socket_on_the_node_is_reached_through_directories_too() {
    let node = Node::new();
    let foreign = UnixListener::bind(node.host.paths().root.join("srv/docker.sock")).expect("fresh");
    node.mountinfo(
        1,
        "1 0 DISK / / rw - ext4 x rw\n2 1 DISK /srv/docker.sock /srv/docker.sock rw - ext4 x rw\n",
    );
    let seen = |sees_machine| {
        let seen = node.look(&declaring(&[("/srv", "/x")]), &Sighting::absent(), &[], sees_machine);
        seen.reaches.reading.known().map_or(0, Vec::len)
    };
    assert_eq!((seen(false), seen(true)), (1, 0));
    drop(foreign);
}

#[test]
fn a_user_who_may_not_open_the_socket_is_told() {
    use std::os::unix::fs::PermissionsExt;
    let node = Node::new();
    let engines = node.engines();
    let socket = node.host.paths().root.join("run/docker.sock");
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).expect("it is ours");
    let process = node.container("51 1 DISK / /host rw - ext4 x rw\n");
    let access = |uid: u32| {
        let file = |name: &str, text: String| {
            fs::write(node.host.paths().proc.join("20").join(name), text).expect("a file");
        };
        file(
            "status",
            format!("Uid:\t{uid} {uid} {uid} {uid}\nGid:\t9 9 9 9\nGroups:\t9\nCapEff:\t0\n"),
        );
        file("uid_map", "0 0 4294967295\n".to_owned());
        file("gid_map", "0 0 4294967295\n".to_owned());
        let seen = node.look(&declaring(&[]), &engines, std::slice::from_ref(&process), false);
        seen.reaches.reading.known().map(|reaches| reaches[0].access)
    };
    let owner = fs::metadata(&socket).expect("it is there").uid();
    assert_eq!(access(owner), Some(Access::Allowed));
    assert_eq!(access(owner + 65_534), Some(Access::Denied));
}
