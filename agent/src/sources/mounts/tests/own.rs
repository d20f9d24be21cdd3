//! The actual mounts of containers, and mounts with the name of a Docker socket that are none.

use super::*;

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
            "a mount that was not requested has the host's name",
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
            "requested, and unmounted inside since then: a process may keep a descriptor of it",
            String::new(),
            &[("/run/docker.sock", "/var/run/docker.sock")],
            vec!["socket /run/docker.sock at /var/run/docker.sock"],
        ),
    ] {
        assert_eq!(node.own(declared, &[ROOTFS, &mounts].concat()), expected, "{what}");
    }
}

#[test]
fn a_requested_readonly_directory_is_writable_where_the_host_has_mounted_another_below_it() {
    let root = "1 0 DISK / / rw - ext4 x rw\n";
    let run = "2 1 DISK /run /run rw - ext4 x rw\n";
    let socket = "3 2 DISK /run/docker.sock /run/docker.sock rw - ext4 x rw\n";
    let above = "4 1 0:99 / /srv/alias rw - tmpfs x rw\n";
    for (what, mounts, path, expected) in [
        ("nothing is mounted below it", [root, above].concat(), "/", true),
        ("the socket's directory is", [root, run].concat(), "/", false),
        ("the socket is", [root, run, socket].concat(), "/run", false),
        ("it is such a mount itself", [root, run].concat(), "/run", true),
        (
            "the socket is requested",
            [root, run].concat(),
            "/run/docker.sock",
            true,
        ),
        ("the host's mounts are not known", String::new(), "/", true),
    ] {
        let node = Node::new();
        node.mountinfo(1, &mounts);
        node.mountinfo(10, &mounts);
        let seen = node.find(
            container(Reading::Known(vec![mount(path)])),
            node.engine("/run/docker.sock"),
        );
        let readonly: Vec<bool> = seen.reading.items().iter().map(|reach| reach.readonly).collect();
        assert_eq!(readonly, [expected], "{what}");
    }
}

#[test]
fn an_engine_with_mounts_of_its_own_is_reached_through_its_file_system() {
    let node = Node::new();
    node.engines();
    // Its `/run` is a volume, which is below `/srv` on the host.
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
    assert_eq!(paths(&[("/srv", "/x")], &[]), ["/srv"], "below a requested directory");
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
fn a_mount_that_is_not_a_docker_socket_is_reported_by_its_name() {
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
fn a_requested_mount_with_another_name_on_the_host_is_reported_by_the_containers_name() {
    let node = Node::new();
    let root = node.host.paths().root;
    fs::create_dir_all(root.join("run/dock")).expect("fresh");
    let _other = UnixListener::bind(root.join("home/other.sock")).expect("fresh");
    for (path, at, expected) in [
        ("/run/dock", "/var/run/docker.sock", Some(Lost::Directory)),
        ("/run/dock", "/var/run/docker.sock/", Some(Lost::Directory)),
        ("/nowhere", "/var/run/docker.sock", Some(Lost::Missing)),
        ("/home/other.sock", "/var/run/docker.sock", Some(Lost::Stale)),
        ("/srv/renamed", "/var/run/docker.sock", None),
        ("/home/other.sock", "/var/run/dockershim.sock", None),
        ("/run/dock", "/var/run/dock", None),
    ] {
        let seen = node.look(&declaring(&[(path, at)]), &node.engines(), &[], true);
        let lost: Vec<_> = seen
            .lost
            .iter()
            .map(|lost| (lost.state, lost.host_path.as_str()))
            .collect();
        let expected: Vec<_> = expected.map(|state| (state, path)).into_iter().collect();
        assert_eq!(lost, expected, "{path} at {at}");
    }
}

#[test]
fn a_socket_with_a_listener_is_not_stale() {
    let node = Node::new();
    let path = node.host.paths().root.join("home/podman.sock");
    let _live = UnixListener::bind(&path).expect("fresh");
    let file = identity(&path);
    // As on Btrfs and overlayfs: the kernel and stat(2) report different devices.
    let elsewhere = FileIdentity {
        device: Device { major: 0, minor: 9999 },
        ..file
    };
    for (listening, sees_machine, foreign) in [
        (file, true, 0),
        (file, false, 0),
        (elsewhere, true, 0),
        (elsewhere, false, 1), // it may be another machine's, with the same inode by chance
    ] {
        let looked = Looked {
            host: &node.host.paths(),
            reader: &node.host.reader(),
            containers: &declaring(&[("/home/podman.sock", "/x")]),
            sandboxes: &BTreeSet::new(),
            supervised: &[],
            processes: &Sighting::full(Vec::new()),
            docker_data: &BTreeSet::new(),
            engines: &Sighting::absent(),
            listening: &BTreeSet::from([listening]),
            sees_machine,
            now: moment_of(SystemTime::now()),
        };
        let seen = find_mounts(&looked, &mut MountMemory::default());
        assert_eq!(seen.lost, [], "{listening} {sees_machine}");
        assert_eq!(
            seen.reaches.reading.items().len(),
            foreign,
            "{listening} {sees_machine}"
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
fn a_socket_that_was_moved_or_has_another_name_is_reached_through_the_directory_that_it_is_in() {
    let reaches = |change: &dyn Fn(&Path)| {
        let node = Node::new();
        let (engines, root) = (node.engines(), node.host.paths().root);
        let process = node.container("50 1 0:50 / / rw - overlay x rw\n51 50 DISK /run/other /x rw - ext4 x rw\n");
        fs::create_dir(root.join("run/other")).expect("fresh");
        change(&root);
        let seen = node.look(&declaring(&[]), &engines, &[process], true);
        let reaches = seen.reaches.reading.known().cloned().unwrap_or_default();
        reaches
            .into_iter()
            .map(|reach| reach.container_path)
            .collect::<Vec<_>>()
    };
    assert_eq!(reaches(&|_| {}), [""; 0]);
    let moved = reaches(&|root| {
        fs::rename(root.join("run/docker.sock"), root.join("run/other/engine.sock")).expect("it is there");
    });
    assert_eq!(moved, ["/x"]);
    let linked = reaches(&|root| {
        fs::hard_link(root.join("run/docker.sock"), root.join("run/other/engine.sock")).expect("it is there");
    });
    assert_eq!(linked, ["/x"]);
    let removed = reaches(&|root| fs::remove_file(root.join("run/docker.sock")).expect("it is there"));
    assert_eq!(removed, [""; 0]);
}

#[test]
fn a_foreign_socket_is_found_in_a_mounted_directory_and_under_another_name() {
    for (mounted, path) in [
        ("2 1 DISK /outer /srv/a rw - ext4 x rw\n", "srv/a/docker.sock"),
        ("2 1 DISK /machine /srv/a rw - ext4 x rw\n", "srv/a/var/run/docker.sock"),
        (
            "2 1 DISK /outer/docker.sock /srv/a/engine.sock rw - ext4 x rw\n",
            "srv/a/engine.sock",
        ),
    ] {
        let node = Node::new();
        let path = node.host.paths().root.join(path);
        fs::create_dir_all(path.parent().expect("it is in a directory")).expect("fresh");
        let foreign = UnixListener::bind(&path).expect("fresh");
        node.mountinfo(1, &format!("1 0 DISK / / rw - ext4 x rw\n{mounted}"));
        let seen = |sees_machine| {
            let seen = node.look(&declaring(&[("/srv", "/x")]), &Sighting::absent(), &[], sees_machine);
            seen.reaches.reading.known().map_or(0, Vec::len)
        };
        assert_eq!((seen(false), seen(true)), (1, 0), "{mounted}");
        drop(foreign);
    }
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
fn a_user_who_may_not_open_the_socket_is_reported() {
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

#[test]
fn a_cgroup_named_after_a_container_does_not_represent_it() {
    let node = Node::new();
    let engines = node.engines();
    let beside = ContainerId("ee".repeat(32));
    let process = node.container("51 1 DISK /run/docker.sock /sock rw - ext4 x rw\n");
    let called = |outer: Option<&ContainerId>, user| {
        let group = |id: &ContainerId, user| CgroupContainer {
            id: id.clone(),
            manager: Manager::Unnamed,
            user,
        };
        let own = ContainerId(OWN.to_owned());
        let containers = outer.map(|id| group(id, None)).into_iter();
        ContainerProcess {
            membership: Membership {
                containers: containers.chain([group(&own, user)]).collect(),
                ..Membership::default()
            },
            ..process.clone()
        }
    };
    let mut both = declaring(&[]);
    let another = Container {
        id: beside.clone(),
        ..container(Reading::Known(Vec::new()))
    };
    both = Sighting::full([both.reading.known().cloned().unwrap_or_default(), vec![another]].concat());
    let reached = |process| {
        let seen = node.look(&both, &engines, &[process], true);
        let reaches = seen.reaches.reading.known().cloned().unwrap_or_default();
        reaches
            .into_iter()
            .map(|r| r.membership.containers[0].id.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(reached(called(None, None)), [ContainerId(OWN.to_owned())]);
    let by_the_outer = reached(called(Some(&beside), None));
    assert_eq!(by_the_outer, [beside], "whoever is in the outer one named it");
    assert_eq!(reached(called(None, Some(1000))), [], "a user named it");
}
