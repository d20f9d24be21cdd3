use std::fmt::Write;

use super::*;
use crate::model::identity::{Device, FileIdentity, NetNs};
use crate::model::socket::SocketName;
use crate::sources::recorded::RecordedHost;

const HOST: u64 = 4_026_531_840;

fn listening(inode: u32, netns: u64, path: &str) -> ListeningSocket {
    ListeningSocket {
        inode: SocketInode(inode),
        netns: NetNs(netns),
        name: SocketName::Path(path.to_owned()),
        file: Some(FileIdentity {
            device: Device { major: 0, minor: 25 },
            inode: inode + 1000,
        }),
        pending: Vec::new(),
        unlisted: 0,
    }
}

fn look(host: &RecordedHost, listening: &[ListeningSocket]) -> (Vec<String>, Vec<Gap>) {
    let table = host.reader().read_table();
    let table = table.reading.known().expect("processes are recorded");
    let sighting = find_engines(&host.reader(), table, listening, &mut ListenerMemory::default());
    let engines = sighting.reading.known().cloned().unwrap_or_default();
    (engines.iter().map(said).collect(), sighting.gaps)
}

/// Returns an engine as text: `dockerd 10: /run/docker.sock(activated)`. Without a process, it is that of a user or of nobody.
fn said(engine: &EngineSighting) -> String {
    let pid = match (&engine.process, engine.awaited_by) {
        (Some(process), _) => process.key.pid.to_string(),
        (None, Some(user)) => format!("user {user}"),
        (None, None) => "nobody".to_owned(),
    };
    let mut text = format!("{} {pid}:", engine.kind);
    for listener in &engine.listeners {
        let _ = write!(text, " {}", listener.name);
        if listener.activated {
            text.push_str("(activated)");
        }
    }
    text
}

fn systemd(host: &RecordedHost) -> crate::sources::recorded::RecordedProcess<'_> {
    host.process(1, 0, "systemd").exe("/usr/lib/systemd/systemd")
}

#[test]
fn a_socket_that_dockerd_is_told_to_serve_is_its_api_wherever_it_is() {
    for (arguments, path, serves) in [
        (&["dockerd"][..], "/run/docker/metrics.sock", false),
        (
            &["dockerd", "-H", "unix:///srv/x.sock"],
            "/run/docker/plugins/docker.sock",
            true,
        ),
        (
            &["dockerd", "-H", "unix:///run/docker/plugins/docker.sock"],
            "/run/docker/plugins/docker.sock",
            true,
        ),
        (
            &["dockerd", "-DHunix:///run/docker/metrics.sock"],
            "/run/docker/metrics.sock",
            true,
        ),
        // It has another directory for its internal sockets.
        (&["dockerd", "--exec-root=/srv/x"], "/run/docker/metrics.sock", true),
        (&["dockerd", "--exec-root=/srv/x"], "/srv/x/metrics.sock", false),
        (
            &["dockerd", "--exec-root=/srv/x", "--host=unix:///srv/x/metrics.sock"],
            "/srv/x/metrics.sock",
            true,
        ),
    ] {
        let host = RecordedHost::new();
        systemd(&host);
        let dockerd = host.process(20, 1, "dockerd").exe("/usr/bin/dockerd");
        dockerd.arguments(arguments).in_host_root().socket(11);
        let (engines, _) = look(&host, &[listening(11, HOST, path)]);
        let expected = if serves {
            format!("dockerd 20: {path}")
        } else {
            "dockerd 20:".to_owned()
        };
        assert_eq!(engines, [expected], "{arguments:?} {path}");
    }
}

#[test]
fn the_containerd_namespaces_of_roots_daemons_are_kept() {
    let host = RecordedHost::new();
    systemd(&host);
    let status = |uid: u32| format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n");
    for (pid, uid, arguments) in [
        (20, 0, &["dockerd", "--containerd-namespace", "ci"][..]),
        (21, 0, &["dockerd", "--config-file=/etc/second.json"]),
        (22, 0, &["dockerd", "--config-file=/etc/third.json"]),
        (23, 1000, &["dockerd", "--containerd-namespace=users"]),
    ] {
        let dockerd = host.process(pid, 1, "dockerd").exe("/usr/bin/dockerd");
        dockerd.arguments(arguments).in_host_root().file("status", status(uid));
    }
    host.file("/etc/second.json", r#"{"containerd-namespace":"builds"}"#);
    let table = host.reader().read_table();
    let table = table.reading.known().expect("processes are recorded");
    let mut memory = ListenerMemory::default();
    find_engines(&host.reader(), table, &[], &mut memory);
    assert_eq!(memory.namespaces().iter().collect::<Vec<_>>(), ["builds", "ci"]);
}

#[test]
fn without_docker_the_engines_are_absent() {
    let host = RecordedHost::new();
    systemd(&host).socket(7);
    host.process(20, 1, "containerd").exe("/usr/bin/containerd").socket(11);
    host.process(21, 1, "crio").exe("/usr/bin/crio").socket(12);
    host.process(22, 1, "cri-dockerd")
        .exe("/usr/bin/cri-dockerd")
        .socket(13);
    host.process(23, 1, "podman").exe("/usr/bin/podman"); // a `podman run` in the foreground
    let sockets = [
        listening(7, HOST, "/run/systemd/private"),
        listening(11, HOST, "/run/containerd/containerd.sock"),
        listening(12, HOST, "/run/crio/crio.sock"),
        listening(13, HOST, "/run/cri-dockerd.sock"),
    ];
    let table = host.reader().read_table();
    let table = table.reading.known().expect("processes are recorded");
    assert_eq!(
        find_engines(&host.reader(), table, &sockets, &mut ListenerMemory::default()),
        Sighting::absent()
    );
}

#[test]
fn engines_of_every_kind_with_their_api_listeners_only() {
    let host = RecordedHost::new();
    systemd(&host).socket(10);
    let dockerd = host.process(20, 1, "dockerd").exe("/usr/bin/dockerd");
    dockerd
        .socket(10)
        .socket(11)
        .socket(12)
        .socket(13)
        .socket(14)
        .socket(99);
    host.process(30, 1, "podman").exe("/usr/bin/podman").socket(20);
    let rootless = host.process(40, 1, "dockerd").exe("/usr/bin/dockerd").netns(5);
    rootless.socket(30).socket(31);
    host.process(50, 1, "dockerd").exe("/opt/second/dockerd"); // listens on TCP only
    let sockets = [
        listening(10, HOST, "/run/docker.sock"),
        listening(11, HOST, "/run/docker/metrics.sock"),
        listening(12, HOST, "/run/docker/libnetwork/0c2ab1c57a3e.sock"),
        listening(13, HOST, "/srv/ci/engine.sock"),
        listening(14, HOST, "/var/run/docker/swarm/control.sock"),
        listening(20, HOST, "/run/podman/podman.sock"),
        listening(30, 5, "/run/user/1000/docker.sock"),
        listening(31, 5, "/run/user/1000/docker/libnetwork/0c2a.sock"),
    ];
    let (engines, gaps) = look(&host, &sockets);
    assert_eq!(
        engines,
        [
            "dockerd 20: /run/docker.sock(activated) /srv/ci/engine.sock",
            "podman 30: /run/podman/podman.sock",
            "dockerd 40: /run/user/1000/docker.sock",
            "dockerd 50:",
        ]
    );
    assert_eq!(gaps, []);
}

#[test]
fn an_inherited_listener_is_reported_once() {
    let host = RecordedHost::new();
    systemd(&host);
    // Pids have wrapped around: the children have lower ones.
    host.process(900, 1, "dockerd").exe("/usr/bin/dockerd").socket(10);
    host.process(20, 900, "docker-untar").exe("/usr/bin/dockerd");
    host.process(21, 900, "dockerd").exe("/usr/bin/dockerd").socket(10);
    host.process(22, 21, "dockerd").exe("/usr/bin/dockerd").socket(10);
    host.process(23, 900, "containerd")
        .exe("/usr/bin/containerd")
        .socket(10);
    host.process(950, 1, "dockerd").exe("/usr/bin/dockerd").socket(10); // it received the listener
    // A container's hook is started by runc.
    let hook = ["libnetwork-setkey", "-exec-root=/run/docker", "4f2a", "0c2a"];
    host.process(960, 1, "dockerd").exe("/usr/bin/dockerd").arguments(&hook);
    // A second engine that was started by the first is an engine of its own.
    host.process(24, 900, "dockerd").exe("/usr/bin/dockerd").socket(11);
    host.process(26, 900, "dockerd").exe("/opt/other/dockerd");
    let sockets = [
        listening(10, HOST, "/run/docker.sock"),
        listening(11, HOST, "/run/second.sock"),
    ];
    let (engines, gaps) = look(&host, &sockets);
    assert_eq!(
        engines,
        [
            "dockerd 900: /run/docker.sock",
            "dockerd 24: /run/second.sock",
            "dockerd 26:"
        ]
    );
    assert_eq!(gaps, []);
}

#[test]
fn only_a_hook_of_the_same_owner_is_not_an_engine() {
    let hook: &[&str] = &["libnetwork-setkey", "4f2a"];
    let container = format!("/docker/{}", "4f2a".repeat(16));
    let (unit, other) = ("/system.slice/docker.service", "/system.slice/other.service");
    #[rustfmt::skip]
    let table = [
        ("a hook", hook, 0, other, false),
        ("a dockerd that listens on TCP", &["dockerd", "-H", "tcp://0.0.0.0:2375"], 0, unit, true),
        ("a dockerd that only names the hook", &["dockerd", "libnetwork-setkey"], 0, unit, true),
        ("a dockerd of a similar name", &["/usr/bin/libnetwork-setkey"], 0, unit, true),
        ("another user's", hook, 1000, unit, true),
        ("a container's", hook, 0, container.as_str(), true),
    ];
    for (name, arguments, uid, group, is_engine) in table {
        let host = RecordedHost::new();
        systemd(&host);
        let dockerd = |pid, uid: u32, group| {
            let process = host.process(pid, 1, "dockerd").exe("/usr/bin/dockerd").cgroup(group);
            process.file("status", format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n"))
        };
        dockerd(20, 0, unit).socket(10);
        dockerd(30, uid, group).arguments(arguments);
        let (engines, _) = look(&host, &[listening(10, HOST, "/run/docker.sock")]);
        let mut expected = vec!["dockerd 20: /run/docker.sock"];
        expected.extend(is_engine.then_some("dockerd 30:"));
        assert_eq!(engines, expected, "{name}");
    }
}

/// A copy of dockerd under another name, with its API on a socket of another name.
/// Otherwise a flood of listening sockets could displace those of a dockerd with another name.
#[test]
fn the_sockets_of_a_renamed_dockerd_are_those_of_an_engine() {
    let host = RecordedHost::new();
    let renamed = host.process(20, 1, "builder").exe("/opt/builder");
    renamed.socket(1).socket(2);
    host.process(30, 1, "web").exe("/opt/web").socket(3);
    host.process(40, 1, "dockerd").exe("/usr/bin/dockerd").socket(4);
    let sockets = [
        listening(1, HOST, "/srv/plain.sock"),
        listening(2, HOST, "/srv/exec/libnetwork/0c2ab1c57a3e.sock"),
        listening(3, HOST, "/srv/web.sock"),
        listening(4, HOST, "/srv/other.sock"),
    ];
    let table = host.reader().read_table();
    let table = table.reading.known().expect("processes are recorded");
    assert_eq!(
        read_engine_sockets(&host.reader(), table, &sockets),
        [1, 2, 4].map(SocketInode).into()
    );
}

#[test]
fn a_renamed_dockerd_is_found_by_its_socket_for_sandbox_keys() {
    let host = RecordedHost::new();
    let arguments = ["/opt/innocent", "--exec-root", "/srv/exec"];
    let renamed = host
        .process(20, 1, "innocent")
        .exe("/opt/innocent")
        .arguments(&arguments);
    renamed.socket(1).socket(2).socket(3).socket(4);
    host.process(21, 1, "other").exe("/opt/other").socket(5);
    let sockets = [
        listening(1, HOST, "/srv/plain.sock"),
        listening(2, HOST, "/srv/exec/libnetwork/0c2ab1c57a3e.sock"),
        listening(3, HOST, "/run/docker/metrics.sock"),
        listening(4, HOST, "/srv/docker.sock"),
        listening(5, HOST, "/srv/other.sock"),
    ];
    let (engines, gaps) = look(&host, &sockets);
    // A path that its owner chose hides no socket.
    let expected = "dockerd 20: /srv/plain.sock /srv/exec/libnetwork/0c2ab1c57a3e.sock /srv/docker.sock";
    assert_eq!(engines, [expected]);
    assert_eq!(gaps, []);
    // Without that socket only the name of the API's is known.
    let (engines, _) = look(&host, &sockets[2..]);
    assert_eq!(engines, ["other 20: /srv/docker.sock"]);
}

#[test]
fn a_named_listener_of_an_unknown_program_is_an_engine_of_another_kind() {
    let host = RecordedHost::new();
    systemd(&host).socket(12);
    // A proxy with its worker; one that systemd started; one in a pod that received its listener from outside.
    host.process(20, 1, "haproxy").exe("/usr/sbin/haproxy").socket(10);
    host.process(19, 20, "haproxy").exe("/usr/sbin/haproxy").socket(10);
    host.process(22, 1, "proxyd").exe("/usr/bin/proxyd").socket(12);
    host.process(23, 1, "fake").exe("/fake").netns(9).socket(11);
    let sockets = [
        listening(10, HOST, "/run/proxy/docker.sock"),
        listening(12, HOST, "/run/docker.sock"),
        listening(11, 5, "docker.sock"),
        listening(13, HOST, "/run/docker/plugins/docker.sock"),
    ];
    let (engines, gaps) = look(&host, &sockets);
    assert_eq!(
        engines,
        [
            "other 20: /run/proxy/docker.sock",
            "other 22: /run/docker.sock(activated)",
            "other 23: docker.sock"
        ]
    );
    assert_eq!(gaps, []);
}

#[test]
fn each_dockerd_has_its_configured_containerd() {
    let host = RecordedHost::new();
    systemd(&host);
    host.file("/run/containerd/containerd.sock", "");
    host.link_in_root("/var/run", "/run");
    let dockerd = |pid, arguments: &[&str]| {
        let command = [&["/usr/bin/dockerd"], arguments].concat();
        let process = host.process(pid, 1, "dockerd").exe("/usr/bin/dockerd");
        process.arguments(&command).in_host_root();
    };
    dockerd(20, &["--containerd", "/var/run/containerd/containerd.sock"]);
    dockerd(21, &["--containerd=/run/gone.sock"]);
    dockerd(22, &[]);
    host.process(30, 22, "containerd").exe("/usr/bin/containerd");
    dockerd(23, &[]);
    host.process(24, 1, "dockerd").exe("/usr/bin/dockerd"); // its root may not be read
    let table = host.reader().read_table();
    let table = table.reading.known().expect("processes are recorded");
    let seen = find_engines(&host.reader(), table, &[], &mut ListenerMemory::default());
    let found = seen.reading.known().expect("five").iter();
    let found: Vec<Containerd> = found.map(|engine| engine.containerd.clone()).collect();
    assert_eq!(
        found,
        [
            Containerd::Configured("/run/containerd/containerd.sock".to_owned()),
            Containerd::Configured("/run/gone.sock".to_owned()),
            Containerd::Own,
            Containerd::Found,
            Containerd::Unknown,
        ]
    );
}

#[test]
fn systemds_listener_is_an_engine_before_it_starts() {
    let host = RecordedHost::new();
    host.process(1, 0, "init").exe("/sbin/some-init").socket(10).socket(11); // pid 1 may be any program
    host.process(20, 1, "systemd")
        .exe("/usr/lib/systemd/systemd")
        .socket(12);
    host.process(21, 1, "cat").exe("/usr/bin/cat");
    let sockets = [
        listening(10, HOST, "/run/docker.sock"),
        listening(11, HOST, "/run/podman/podman.sock"),
        listening(12, HOST, "/run/user/1000/podman/podman.sock"),
    ];
    let (engines, gaps) = look(&host, &sockets);
    assert_eq!(
        engines,
        [
            "dockerd nobody: /run/docker.sock(activated)",
            "podman nobody: /run/podman/podman.sock(activated)",
            "podman nobody: /run/user/1000/podman/podman.sock(activated)",
        ]
    );
    assert_eq!(gaps, []);
}

/// Any container may have a program with this name, as root or not.
#[test]
fn a_systemd_in_a_container_is_the_process_of_its_engine() {
    let id = "4f2a".repeat(16);
    for (uid, group, expected) in [
        (
            0,
            format!("/kubepods/pod0c2ab1c5-7a3e-4f0e-9d3b-1f2e3d4c5b6a/{id}"),
            "dockerd 20",
        ),
        (1000, format!("/docker/{id}/init.scope"), "dockerd 20"),
        (
            0,
            format!("/user.slice/user-1000.slice/user@1000.service/docker-{id}.scope"),
            "dockerd nobody",
        ),
        (0, "/system.slice/proxy.service".to_owned(), "dockerd nobody"),
    ] {
        let host = RecordedHost::new();
        systemd(&host).socket(9).cgroup(&format!("/docker/{id}/init.scope"));
        let inner = host.process(20, 1, "systemd").exe("/sbin/systemd").cgroup(&group);
        let inner = inner.file("status", format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n"));
        inner.socket(10);
        let path = "/run/user/1000/docker.sock";
        let (engines, gaps) = look(
            &host,
            &[listening(9, HOST, "/run/docker.sock"), listening(10, HOST, path)],
        );
        let mut expected = vec![
            "dockerd nobody: /run/docker.sock(activated)".to_owned(),
            format!("{expected}: {path}(activated)"),
        ];
        expected.sort();
        let mut engines = engines;
        engines.sort();
        assert_eq!((engines, gaps), (expected, vec![]), "{uid} {group}");
    }
}

#[test]
fn an_engine_with_hidden_descriptors_is_never_left_out_silently() {
    let host = RecordedHost::new();
    systemd(&host);
    let hidden = |process: crate::sources::recorded::RecordedProcess<'_>| {
        std::fs::remove_dir(process.path("fd")).expect("it is empty");
        process.link("fd", "fd"); // ELOOP: an error that means neither absence nor the end of the process
    };
    hidden(host.process(20, 1, "dockerd").exe("/usr/bin/dockerd"));
    hidden(host.process(21, 1, "dockerd").exe("/usr/bin/dockerd").netns(5));
    let asked = ["dockerd", "-H", "unix:///srv/a.sock", "--host=tcp://0.0.0.0:2376"];
    hidden(host.process(24, 1, "dockerd").exe("/usr/bin/dockerd").arguments(&asked));
    hidden(host.process(22, 1, "podman").exe("/usr/bin/podman")); // nothing suggests that it listens
    hidden(host.process(23, 1, "worker"));
    let sockets = [
        listening(10, HOST, "/run/docker.sock"),
        listening(11, 5, "/run/user/1000/docker.sock"),
        listening(12, HOST, "/run/docker/metrics.sock"),
        listening(13, 6, "/run/user/7/docker.sock"),
        listening(14, HOST, "/srv/a.sock"),
    ];
    let (engines, gaps) = look(&host, &sockets);
    assert_eq!(
        engines,
        [
            "dockerd 20: /run/docker.sock",
            "dockerd 21: /run/user/1000/docker.sock",
            "dockerd 24: /srv/a.sock",
            "dockerd nobody: /run/user/7/docker.sock",
        ]
    );
    assert_eq!(
        gaps.iter()
            .map(|g| (g.hides, g.count, g.asked.as_str()))
            .collect::<Vec<_>>(),
        [
            (Hides::Engine, 4, "/proc/20/fd of dockerd"),
            (Hides::Detail, 1, "/proc/20/fd of dockerd")
        ]
    );
}

#[test]
fn a_listener_without_a_holder_is_an_engine_with_a_gap() {
    let host = RecordedHost::new();
    systemd(&host);
    let (engines, gaps) = look(&host, &[listening(10, HOST, "/run/docker.sock")]);
    assert_eq!(engines, ["dockerd nobody: /run/docker.sock"]);
    assert_eq!(
        gaps.iter().map(|g| (g.reason, g.hides)).collect::<Vec<_>>(),
        [(Reason::NotFound, Hides::Detail)]
    );
}

#[test]
fn a_users_program_named_systemd_or_dockerd_is_the_users_own() {
    let of_user = "Uid:\t1000\t1000\t1000\t1000\n";
    let host = RecordedHost::new();
    systemd(&host).socket(10);
    host.process(20, 1, "systemd")
        .exe("/tmp/systemd")
        .file("status", of_user)
        .socket(11)
        .socket(12);
    host.process(30, 1, "dockerd")
        .exe("/tmp/dockerd")
        .arguments(&["dockerd", "--exec-root=/tmp"])
        .file("status", of_user)
        .socket(13);
    let sockets = [
        listening(10, HOST, "/run/docker.sock"),
        listening(11, HOST, "/tmp/docker.sock"),
        listening(12, HOST, "/run/user/1000/docker.sock"),
        listening(13, HOST, "/tmp/metrics.sock"),
    ];
    let (engines, gaps) = look(&host, &sockets);
    assert_eq!(
        engines,
        [
            "dockerd 30: /tmp/metrics.sock",
            "dockerd nobody: /run/docker.sock(activated)",
            "dockerd user 1000: /run/user/1000/docker.sock(activated)",
            "other 20: /tmp/docker.sock",
        ]
    );
    assert_eq!(gaps, []);
}

#[test]
fn only_an_exec_root_configured_by_root_hides_a_listener() {
    let host = RecordedHost::new();
    systemd(&host);
    host.process(20, 1, "dockerd")
        .exe("/usr/bin/dockerd")
        .arguments(&["dockerd", "--exec-root=/srv/exec"])
        .in_host_root()
        .socket(10)
        .socket(11)
        .socket(12);
    let sockets = [
        listening(10, HOST, "/run/jenkins/plugins/docker.sock"),
        listening(11, HOST, "/srv/exec/metrics.sock"),
        listening(12, HOST, "/srv/metrics.sock"),
    ];
    assert_eq!(
        look(&host, &sockets).0,
        ["dockerd 20: /run/jenkins/plugins/docker.sock /srv/metrics.sock"]
    );
}
