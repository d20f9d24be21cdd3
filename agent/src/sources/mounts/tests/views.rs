//! Containers whose processes see different mounts.

use super::*;
use crate::model::sample::supervised;

const ROOTFS: &str = "50 1 0:70 / / rw - overlay x rw\n";
const SOCKET: &str = "51 50 DISK /run/docker.sock /sock rw - ext4 x rw\n";

/// The container's mount namespace, and the host's.
const OWN_NAMESPACE: u64 = 7;
const HOST_NAMESPACE: u64 = 1;

impl Node {
    /// Adds a process of the container, which is older than those with greater IDs. It has the container's root, or one
    /// below it.
    fn member(&self, pid: u32, namespace: u64, root: &str, mountinfo: &str) {
        self.mountinfo(pid, mountinfo);
        let process = self.host.process(pid, 1, "app").mount_namespace(namespace);
        let root = self.host.paths().root.join(root.trim_start_matches('/'));
        fs::create_dir_all(&root).expect("directories can be made");
        process
            .cgroup(&format!("/kubepods/pod0a1b2c3d-1111-4222-8333-444455556666/{OWN}"))
            .link("root", root.to_str().expect("temporary paths are UTF-8"));
    }

    fn processes(&self) -> Sighting<Vec<ContainerProcess>> {
        self.host.process(1, 0, "init").mount_namespace(HOST_NAMESPACE);
        let mut reader = self.host.reader();
        let table = reader.read_table();
        let table = table.reading.known().expect("processes are recorded");
        find_container_processes(&reader, table, &[], &mut MembershipMemory::default())
    }

    /// Returns the listeners that the container reaches, and the states of its mounts that lead to none.
    fn seen(&self, declared: &[(&str, &str)]) -> (Vec<String>, Vec<Lost>) {
        let engines = self.engines();
        let processes = self.processes();
        assert_eq!(processes.gaps, []);
        let seen = self.look(&declaring(declared), &engines, processes.reading.items(), true);
        assert_eq!(seen.reaches.gaps, []);
        let reaches = seen.reaches.reading.items().iter();
        let shown = |r: &Reach| format!("{} {} at {}", r.via, r.host_path, r.container_path);
        let lost = seen.lost.iter().map(|lost| lost.state);
        (reaches.map(shown).collect(), lost.collect())
    }
}

#[test]
fn a_mount_that_the_first_process_does_not_see_is_found_by_another() {
    let with_socket = &[ROOTFS, SOCKET].concat();
    let below = "51 50 DISK /run/docker.sock /jail/sock rw - ext4 x rw\n";
    let in_jail = "51 50 DISK /run/docker.sock /sock rw - ext4 x rw\n";
    let with_below = &[ROOTFS, below].concat();
    let at_sock = "socket /run/docker.sock at /sock";
    for (what, first, second, expected) in [
        (
            "it has changed its root",
            (OWN_NAMESPACE, "/jail", ""),
            (OWN_NAMESPACE, "/", with_socket),
            vec![at_sock],
        ),
        (
            "it has unmounted it in a mount namespace of its own",
            (8, "/", ROOTFS),
            (OWN_NAMESPACE, "/", with_socket),
            vec![at_sock],
        ),
        (
            "another one has changed its root",
            (OWN_NAMESPACE, "/", with_socket),
            (OWN_NAMESPACE, "/jail", &String::new()),
            vec![at_sock],
        ),
        (
            "both see it, by different paths",
            (OWN_NAMESPACE, "/jail", in_jail),
            (OWN_NAMESPACE, "/", with_below),
            vec!["socket /run/docker.sock at /jail/sock"],
        ),
        (
            "both see it, in different mount namespaces",
            (OWN_NAMESPACE, "/", with_socket),
            (8, "/", with_socket),
            vec![at_sock],
        ),
        (
            "another one has joined the host's mounts",
            (OWN_NAMESPACE, "/", ROOTFS),
            (HOST_NAMESPACE, "/", &HOST.to_owned()),
            vec![],
        ),
    ] {
        let node = Node::new();
        node.member(20, first.0, first.1, first.2);
        node.member(30, second.0, second.1, second.2);
        let expected = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(node.seen(&[]), (expected, vec![]), "{what}");
    }
}

#[test]
fn the_rights_of_all_processes_at_a_mount_count() {
    let writable = &[ROOTFS, SOCKET].concat();
    let readonly = &writable.replace("/sock rw", "/sock ro");
    let other = "Uid:\t9\t9\t9\t9\nGid:\t9\t9\t9\t9\nGroups:\nCapEff:\t0\n";
    let owner = other.replace("CapEff:\t0", "CapEff:\t2");
    for (first, second, expected) in [
        (
            (writable, other),
            (readonly, owner.as_str()),
            (false, true, Access::Allowed),
        ),
        ((readonly, &owner), (writable, other), (false, true, Access::Allowed)),
        ((readonly, other), (readonly, other), (true, true, Access::Denied)),
        ((writable, other), (writable, other), (false, false, Access::Denied)),
    ] {
        let node = Node::new();
        for (pid, (mounts, status)) in [(20, first), (30, second)] {
            node.member(pid, u64::from(pid), "/", mounts);
            let process = node.host.process(pid, 1, "app").file("status", status);
            let all = "0 0 4294967295\n";
            process.file("uid_map", all).file("gid_map", all);
        }
        let (engines, processes) = (node.engines(), node.processes());
        let seen = node.look(&declaring(&[]), &engines, processes.reading.items(), true);
        let [reach] = seen.reaches.reading.items() else {
            panic!("{:?}", seen.reaches)
        };
        let rights = (reach.readonly, reach.is_readonly_somewhere, reach.access);
        assert_eq!(rights, expected);
    }
}

#[test]
fn a_requested_mount_counts_if_no_process_shows_what_is_at_its_path() {
    let another_sock = "51 50 0:99 /volume /sock rw - tmpfs x rw\n";
    for (what, root, mounts, path, expected) in [
        (
            "all have changed their root",
            "/jail",
            "",
            "/sock/",
            vec!["socket /run/docker.sock at /sock/"],
        ),
        (
            "something is mounted at the same path of another root",
            "/jail",
            another_sock,
            "/sock",
            vec!["socket /run/docker.sock at /sock"],
        ),
        (
            "something is mounted at that path instead",
            "/",
            another_sock,
            "/sock",
            vec![],
        ),
        (
            "it is mounted where a link of the image leads",
            "/",
            "51 50 DISK /run/docker.sock /run/docker.sock rw - ext4 x rw\n",
            "/var/run/docker.sock",
            vec!["socket /run/docker.sock at /run/docker.sock"],
        ),
    ] {
        let node = Node::new();
        node.member(20, OWN_NAMESPACE, root, mounts);
        let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
        let (reaches, _) = node.seen(&[("/run/docker.sock", path)]);
        assert_eq!(reaches, expected, "{what}");
    }
}

#[test]
fn a_requested_mount_that_is_stale_is_reported_once() {
    let node = Node::new();
    let path = node.host.paths().root.join("run/docker.sock");
    // Another socket of that name: the container has the old one, below a link of its image.
    let old = node.host.paths().root.join("run/old");
    fs::create_dir(&old).expect("fresh");
    fs::rename(&path, old.join("docker.sock")).expect("it is there");
    let _new = UnixListener::bind(&path).expect("the name is free");
    let mounted = "51 50 DISK /run/old/docker.sock /run/old/docker.sock rw - ext4 x rw\n";
    node.member(20, OWN_NAMESPACE, "/", mounted);
    let declared = [("/run/docker.sock", "/srv/links/parent/old/docker.sock")];
    assert_eq!(node.seen(&declared), (vec![], vec![Lost::Stale]));
}

#[test]
fn a_container_with_too_many_views_of_its_mounts_has_a_gap() {
    for (count, expected) in [(64, None), (65, Some((Reason::LimitReached, Hides::Exposure)))] {
        let node = Node::new();
        for pid in 100..100 + count {
            let socket = if pid == 163 { SOCKET } else { "" }; // the last one that is read
            node.member(pid, u64::from(pid), "/", &[ROOTFS, socket].concat());
        }
        let (engines, processes) = (node.engines(), node.processes());
        let seen = node.look(&declaring(&[]), &engines, processes.reading.items(), true);
        assert_eq!(seen.reaches.reading.items().len(), 1);
        let gap = seen.reaches.gaps.first();
        assert_eq!(gap.map(|gap| (gap.reason, gap.hides)), expected);
        let names_it = |gap: &Gap| gap.asked.contains(ContainerId(OWN.to_owned()).short());
        assert!(gap.is_none_or(names_it), "{gap:?}");
    }
}

#[test]
fn a_process_in_the_root_of_a_mount_namespace_shows_the_mounts_of_all_in_it() {
    let with_socket = &[ROOTFS, SOCKET].concat();
    for (what, first, expected) in [
        ("its root is the namespace's", ("/", with_socket.as_str()), 1),
        ("all have changed their root", ("/jail", with_socket), 66),
        ("its root was unmounted", ("/", ""), 66),
    ] {
        let node = Node::new();
        node.member(20, OWN_NAMESPACE, first.0, first.1);
        for pid in 100..165 {
            node.member(pid, OWN_NAMESPACE, &format!("/{pid}"), SOCKET);
        }
        let (engines, processes) = (node.engines(), node.processes());
        assert_eq!(processes.reading.items().len(), expected, "{what}");
        let seen = node.look(&declaring(&[]), &engines, processes.reading.items(), true);
        assert_eq!(seen.reaches.gaps.is_empty(), expected == 1, "{what}");
        assert!(!seen.reaches.reading.items().is_empty(), "{what}");
    }
}

#[test]
fn a_container_of_a_users_own_engine_with_too_many_views_does_not_hide_exposures() {
    let node = Node::new();
    let mut processes: Vec<ContainerProcess> = Vec::new();
    for pid in 100..165 {
        node.member(pid, u64::from(pid), "/", ROOTFS);
        processes.push(ContainerProcess {
            key: ProcessKey {
                pid: Pid(pid),
                start: u64::from(pid) * 10,
            },
            membership: Membership::of_container(ContainerId(OWN.to_owned()), Some(1000)),
            is_kept: false,
        });
    }
    let of_user = SupervisedContainer {
        id: ContainerId(OWN.to_owned()),
        user: Some(1000),
        ..supervised(1, None)
    };
    let looked = Looked {
        host: &node.host.paths(),
        reader: &node.host.reader(),
        containers: &Sighting::full(vec![]),
        sandboxes: &BTreeSet::new(),
        supervised: &[of_user],
        processes: &Sighting::full(processes),
        docker_data: &BTreeSet::new(),
        engines: &node.engines(),
        listening: &BTreeSet::new(),
        sees_machine: true,
        now: moment_of(SystemTime::now()),
    };
    let gaps = find_mounts(&looked, &mut MountMemory::default()).reaches.gaps;
    let gaps: Vec<_> = gaps.iter().map(|gap| (gap.reason, gap.hides)).collect();
    assert_eq!(gaps, [(Reason::LimitReached, Hides::Detail)]);
}

#[test]
fn a_user_makes_no_gap_by_processes_in_cgroups_with_a_containers_name() {
    let node = Node::new();
    for pid in 100..165 {
        node.member(pid, u64::from(pid), "/", ROOTFS);
        let group = format!("/user.slice/user-1000.slice/docker-{OWN}.scope");
        node.host.process(pid, 1, "app").cgroup(&group);
    }
    node.host.process(100, 1, "app").link("ns/mnt", "malformed");
    let (engines, processes) = (node.engines(), node.processes());
    assert_eq!((processes.reading.items().len(), processes.gaps), (64, vec![]));
    let seen = node.look(&declaring(&[]), &engines, processes.reading.items(), true);
    assert_eq!(seen.reaches.gaps, []);
}

/// As on a FUSE file system of an ordinary user, which refuses root.
#[test]
fn a_root_that_refuses_castoff_is_not_a_gap() {
    let node = Node::new();
    let directory = "51 50 DISK /run /host/run rw - ext4 x rw\n";
    node.member(20, OWN_NAMESPACE, "/", &[ROOTFS, directory].concat());
    node.host.process(20, 1, "app").link("root", "root"); // it leads to itself
    assert_eq!(node.seen(&[]).0, ["directory /run at /root/host/run"]);
    node.host.process(20, 1, "app").link("ns/mnt", "malformed");
    let gaps = node.processes().gaps;
    assert_eq!(gaps.iter().map(|gap| gap.hides).collect::<Vec<_>>(), [Hides::Exposure]);
}

#[test]
fn a_view_is_read_again_in_the_turn_of_its_process() {
    let node = Node::new();
    fs::write(node.host.paths().proc.join("uptime"), "1000.25 2000.00\n").expect("a file");
    for (pid, namespace) in [(30, OWN_NAMESPACE), (31, 8)] {
        node.member(pid, namespace, "/", ROOTFS);
        node.host.process(pid, 1, "app").exe("/app");
    }
    let (mut reader, mut memory) = (node.host.reader(), MembershipMemory::default());
    let mut count = || {
        let table = reader.read_table();
        let table = table.reading.known().expect("processes are recorded");
        let found = find_container_processes(&reader, table, &[], &mut memory);
        found.reading.items().len()
    };
    assert_eq!(count(), 2);
    node.host.process(31, 1, "app").mount_namespace(OWN_NAMESPACE);
    assert_eq!(count(), 2, "not its turn");
    assert!((0..20).any(|_| count() == 1), "its turn");
}

#[test]
fn a_process_that_still_sees_the_hosts_root_shows_no_mounts_of_a_new_container() {
    let of_host = "20 1 DISK / / rw - ext4 x rw\n";
    let declared = [("/run/docker.sock", "/sock")];
    // The process of a new container has started 0.3 seconds after boot.
    for (what, uptime, namespace, root, expected) in [
        (
            "a container is being created",
            "2.00",
            OWN_NAMESPACE,
            "/",
            vec!["socket /run/docker.sock at /sock"],
        ),
        (
            "a container is being created on a node that is busy",
            "90.00",
            OWN_NAMESPACE,
            "/",
            vec!["socket /run/docker.sock at /sock"],
        ),
        (
            "it still has the host's mount namespace, too",
            "2.00",
            HOST_NAMESPACE,
            "/",
            vec!["socket /run/docker.sock at /sock"],
        ),
        (
            "a container whose root is the host's",
            "200.00",
            OWN_NAMESPACE,
            "/",
            vec!["directory / at /"],
        ),
        (
            "a new container that has changed its root to a mount of the host's",
            "2.00",
            OWN_NAMESPACE,
            "/link-to-root",
            vec!["directory / at /link-to-root"],
        ),
        (
            "a new container",
            "2.00",
            OWN_NAMESPACE,
            "/rootfs",
            vec!["directory / at /rootfs"],
        ),
    ] {
        let node = Node::new();
        node.host.link_in_root("/link-to-root", ".");
        fs::write(node.host.paths().proc.join("uptime"), format!("{uptime} 1.00\n")).expect("a file");
        node.member(30, namespace, root, of_host);
        let (reaches, _) = node.seen(&declared);
        assert_eq!(reaches, expected, "{what}");
    }
}
