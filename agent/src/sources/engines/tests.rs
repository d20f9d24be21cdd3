use std::fmt::Write;

use super::*;
use crate::model::container::SupervisedContainer;
use crate::model::identity::{Device, FileIdentity, NetNs};
use crate::model::socket::SocketName;
use crate::sources::recorded::RecordedHost;

const HOST: u64 = 4_026_531_840;
const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa0a";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb1b";
const C: &str = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc2c";

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
    }
}

fn look(host: &RecordedHost, listening: &[ListeningSocket]) -> (Vec<String>, Vec<Gap>) {
    let table = host.reader().read_table();
    let table = table.reading.known().expect("processes are recorded");
    let sighting = find_engines(&host.reader(), table, listening);
    let engines = sighting.reading.known().cloned().unwrap_or_default();
    (engines.iter().map(said).collect(), sighting.gaps)
}

/// `dockerd 10: /run/docker.sock(activated)`.
fn said(engine: &EngineSighting) -> String {
    let pid = engine
        .process
        .as_ref()
        .map_or("nobody".to_owned(), |p| p.key.pid.to_string());
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
fn nothing_of_docker_is_absent() {
    let host = RecordedHost::new();
    systemd(&host).socket(7);
    host.process(20, 1, "containerd").exe("/usr/bin/containerd").socket(11);
    host.process(21, 1, "crio").exe("/usr/bin/crio").socket(12);
    host.process(22, 1, "cri-dockerd")
        .exe("/usr/bin/cri-dockerd")
        .socket(13);
    host.process(23, 1, "podman").exe("/usr/bin/podman"); // `podman run` in front
    let sockets = [
        listening(7, HOST, "/run/systemd/private"),
        listening(11, HOST, "/run/containerd/containerd.sock"),
        listening(12, HOST, "/run/crio/crio.sock"),
        listening(13, HOST, "/run/cri-dockerd.sock"),
    ];
    let table = host.reader().read_table();
    let table = table.reading.known().expect("processes are recorded");
    assert_eq!(find_engines(&host.reader(), table, &sockets), Sighting::absent());
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
fn what_a_child_inherited_is_reported_once() {
    let host = RecordedHost::new();
    systemd(&host);
    // Pids wrapped around: the children have lower ones.
    host.process(900, 1, "dockerd").exe("/usr/bin/dockerd").socket(10);
    host.process(20, 900, "docker-untar").exe("/usr/bin/dockerd");
    host.process(21, 900, "dockerd").exe("/usr/bin/dockerd").socket(10);
    host.process(22, 21, "dockerd").exe("/usr/bin/dockerd").socket(10);
    host.process(23, 900, "containerd")
        .exe("/usr/bin/containerd")
        .socket(10);
    host.process(950, 1, "dockerd").exe("/usr/bin/dockerd").socket(10); // was handed the listener
    // A second engine that happens to be started by the first is one of its own.
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
fn a_named_listener_of_an_unknown_program_is_an_engine_of_another_kind() {
    let host = RecordedHost::new();
    systemd(&host).socket(12);
    // A proxy with its worker; one that systemd started; one in a pod that got its listener from elsewhere.
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
fn systemd_alone_stands_for_an_engine_that_nobody_started() {
    let host = RecordedHost::new();
    host.process(1, 0, "init").exe("/sbin/some-init").socket(10).socket(11); // whatever pid 1 is
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

#[test]
fn an_engine_whose_descriptors_are_hidden_is_never_silently_none() {
    let host = RecordedHost::new();
    systemd(&host);
    let hidden = |process: crate::sources::recorded::RecordedProcess<'_>| {
        std::fs::remove_dir(process.path("fd")).expect("it is empty");
        process.link("fd", "fd"); // ELOOP: an error that is neither absence nor the process's end
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
fn a_listener_that_nobody_holds_is_an_engine_with_a_gap() {
    let host = RecordedHost::new();
    systemd(&host);
    let (engines, gaps) = look(&host, &[listening(10, HOST, "/run/docker.sock")]);
    assert_eq!(engines, ["dockerd nobody: /run/docker.sock"]);
    assert_eq!(
        gaps.iter().map(|g| (g.reason, g.hides)).collect::<Vec<_>>(),
        [(Reason::NotFound, Hides::Detail)]
    );
}

fn supervised(host: &RecordedHost) -> (Vec<SupervisedContainer>, Vec<Gap>) {
    let table = host.reader().read_table();
    let sighting = find_supervised(&host.reader(), table.reading.known().expect("processes are recorded"));
    (sighting.reading.known().cloned().unwrap_or_default(), sighting.gaps)
}

#[test]
fn supervisors_name_their_containers() {
    type Supervises = Option<(EngineKind, Option<&'static str>)>;

    let loader = "/opt/lib64/ld-linux-x86-64.so.2";
    let (shim, shim_v2) = ("/usr/bin/containerd-shim", "/usr/bin/containerd-shim-runc-v2");
    let workdir = format!("/var/lib/docker/containerd/daemon/io.containerd.runtime.v1.linux/moby/{A}");
    let conmon = "/usr/bin/conmon";
    #[rustfmt::skip]
    let table: [(&str, &[&str], Supervises); 14] = [
        (shim_v2, &[shim_v2, "-namespace", "moby", "-id", A, "-address", "/run/containerd/containerd.sock"], Some((EngineKind::Dockerd, None))),
        (shim_v2, &[shim_v2, "--namespace=moby", "--id", A], Some((EngineKind::Dockerd, None))),
        (loader, &[loader, "--library-path", "/opt", shim_v2, "-namespace", "moby", "-id", A], Some((EngineKind::Dockerd, None))),
        (shim, &[shim, "-namespace", "moby", "-workdir", &workdir, "-address", "x"], Some((EngineKind::Dockerd, None))),
        ("/usr/bin/docker-containerd-shim", &["docker-containerd-shim", A, "/run/docker/libcontainerd/x", "docker-runc"], Some((EngineKind::Dockerd, None))),
        (shim_v2, &[shim_v2, "-namespace", "k8s.io", "-id", A], None),
        (shim_v2, &[shim_v2, "-namespace", "plugins.moby", "-id", A], None),
        (shim_v2, &[shim_v2, "-namespace", "moby", "-id", "../../etc/passwd"], None),
        (shim_v2, &[shim_v2, "-namespace"], None),
        (conmon, &["conmon", "--api-version", "1", "-c", A, "-u", A, "-n", "web", "--exit-dir", "/run/libpod/exits", "--exit-command", "/usr/bin/podman", "--exit-command-arg", "--root"], Some((EngineKind::Podman, Some("web")))),
        (conmon, &["/usr/bin/conmon", "-c", A, "--exit-dir", "/var/run/crio/exits", "-n", "k8s_a_b_c_d_0", "--socket-dir-path", "/var/run/crio"], None),
        (conmon, &["conmon", "-c", A, "-n", "web", "--exit-dir", "/run/crio/exits", "--exit-command", "/usr/bin/podman"], Some((EngineKind::Podman, Some("web")))),
        (conmon, &["/usr/bin/conmon"], None),
        ("/usr/bin/cat", &["cat", "-namespace", "moby", "-id", A], None),
    ];
    for (executable, arguments, expected) in table {
        let host = RecordedHost::new();
        systemd(&host);
        host.process(20, 1, "x")
            .exe(executable)
            .arguments(arguments)
            .cgroup("/system.slice/x.service");
        let (containers, _) = supervised(&host);
        let found: Vec<_> = containers
            .iter()
            .map(|c| (c.id.0.as_str(), c.engine, c.name.as_deref()))
            .collect();
        let wanted: Vec<_> = expected.iter().map(|(engine, name)| (A, *engine, *name)).collect();
        assert_eq!(found, wanted, "{arguments:?}");
    }
}

#[test]
fn names_come_from_the_dockerd_beside_the_supervisor() {
    let host = RecordedHost::new();
    systemd(&host);
    let shim = |pid, id: &str, cgroup: &str| {
        host.process(pid, 1, "containerd-shim")
            .exe("/usr/bin/containerd-shim-runc-v2")
            .arguments(&["containerd-shim-runc-v2", "-namespace", "moby", "-id", id])
            .cgroup(cgroup);
    };
    let pod = format!("/kubepods/pod0c2ab1c5-7a3e-4f0e-9d3b-1f2e3d4c5b6a/{C}");
    host.process(10, 1, "dockerd")
        .exe("/usr/bin/dockerd")
        .cgroup("/system.slice/docker.service")
        .in_host_root();
    shim(20, A, "/system.slice/containerd.service");
    shim(21, A, "/system.slice/containerd.service"); // its short-lived helper
    shim(22, B, &pod); // a nested engine's: the host's dockerd may hold a forged record of it
    shim(23, C, &format!("/docker/{C}")); // moved into the group of what it supervises
    // /var/lib/docker is a link, absolute in the host's own eyes.
    let record = r#"{"Name":"/web","Config":{"Image":"nginx:1","Env":["TOKEN=secret"]},"State":{}}"#;
    host.file(&format!("/data/docker/containers/{A}/config.v2.json"), record);
    host.file(
        &format!("/data/docker/containers/{B}/config.v2.json"),
        record.replace("web", "forged"),
    );
    std::fs::create_dir_all(host.paths().root.join("var/lib")).expect("fresh");
    std::os::unix::fs::symlink("/data/docker", host.paths().root.join("var/lib/docker")).expect("fresh");

    let (containers, gaps) = supervised(&host);
    let found: Vec<_> = containers
        .iter()
        .map(|c| {
            (
                c.id.0.as_str(),
                c.supervisor.0,
                c.inside.as_ref().map(|i| i.0.as_str()),
                c.name.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [(A, 20, None, Some("web")), (B, 22, Some(C), None), (C, 23, None, None)]
    );
    assert_eq!(containers[0].image.as_deref(), Some("nginx:1"));
    assert_eq!(
        gaps.iter().map(|g| (g.reason, g.hides)).collect::<Vec<_>>(),
        [(Reason::NotFound, Hides::Detail)]
    );
}

#[test]
fn the_data_root_is_the_daemons_own() {
    type File<'a> = Option<(&'a str, &'a str)>;

    let record = r#"{"Name":"/web","Config":{"Image":"nginx:1"}}"#;
    #[rustfmt::skip]
    let table: [(&[&str], File<'_>, &str, u32); 6] = [
        (&["dockerd"], None, "/var/lib/docker", 0),
        (&["dockerd", "--data-root=/srv/d"], None, "/srv/d", 0),
        (&["dockerd", "-g", "/srv/d"], None, "/srv/d", 0),
        (&["dockerd"], Some(("/etc/docker/daemon.json", r#"{"data-root":"/srv/e","debug":true}"#)), "/srv/e", 0),
        (&["dockerd", "--config-file", "/c.json"], Some(("/c.json", r#"{"graph":"/srv/f"}"#)), "/srv/f", 0),
        (&["dockerd"], Some(("/etc/passwd", "root:x:0:0::/root:/bin/sh\nci:x:1000:1000::/home/ci:/bin/sh\n")), "/home/ci/.local/share/docker", 1000),
    ];
    for (arguments, file, data_root, uid) in table {
        let host = RecordedHost::new();
        let dockerd = host
            .process(10, 1, "dockerd")
            .exe("/usr/bin/dockerd")
            .arguments(arguments)
            .in_host_root();
        dockerd.file("status", format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n"));
        host.process(20, 1, "containerd-shim")
            .exe("/usr/bin/containerd-shim")
            .arguments(&["containerd-shim", "-namespace", "moby", "-id", A]);
        if let Some((path, content)) = file {
            host.file(path, content);
        }
        host.file(&format!("{data_root}/containers/{A}/config.v2.json"), record);
        let (containers, gaps) = supervised(&host);
        assert_eq!(containers[0].name.as_deref(), Some("web"), "{arguments:?} {gaps:?}");
    }
}

#[test]
fn a_record_that_cannot_be_understood_is_a_detail_and_is_not_quoted() {
    for (content, reason) in [
        (
            b"{\"Name\":\"/web\",\"Config\":{\"Env\":[\"TOKEN=secret".to_vec(),
            Reason::Malformed,
        ),
        (b"\"secret\"".to_vec(), Reason::Malformed),
        (b"\xff".to_vec(), Reason::Malformed),
        (vec![b' '; (1 << 20) + 1], Reason::TooLarge),
    ] {
        let host = RecordedHost::new();
        host.process(10, 1, "dockerd").exe("/usr/bin/dockerd").in_host_root();
        host.process(20, 1, "containerd-shim")
            .exe("/usr/bin/containerd-shim")
            .arguments(&["containerd-shim", "-namespace", "moby", "-id", A]);
        host.file(&format!("/var/lib/docker/containers/{A}/config.v2.json"), content);
        let (containers, gaps) = supervised(&host);
        assert_eq!(containers[0].name, None);
        assert_eq!(
            gaps.iter().map(|g| (g.reason, g.hides)).collect::<Vec<_>>(),
            [(reason, Hides::Detail)]
        );
        assert!(!gaps[0].to_string().contains("secret"), "{}", gaps[0]);
    }
}
