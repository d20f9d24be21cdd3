use super::super::{ListenerMemory, find_engines};
use super::*;
use crate::sources::recorded::{RecordedHost, RecordedProcess};

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa0a";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb1b";
const C: &str = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc2c";

fn systemd(host: &RecordedHost) -> RecordedProcess<'_> {
    host.process(1, 0, "systemd").exe("/usr/lib/systemd/systemd")
}

fn supervised(host: &RecordedHost) -> (Vec<SupervisedContainer>, Vec<Gap>) {
    let table = host.reader().read_table();
    let table = table.reading.known().expect("processes are recorded");
    let found = find_supervised(
        &host.reader(),
        table,
        &BTreeSet::new(),
        &mut SupervisorMemory::default(),
    );
    let sighting = read_records(&host.reader(), table, found);
    (sighting.reading.known().cloned().unwrap_or_default(), sighting.gaps)
}

#[test]
fn containers_in_the_namespace_of_a_dockerd_are_dockers() {
    let host = RecordedHost::new();
    systemd(&host);
    for (pid, namespace, id) in [(20, "ci", A), (21, "k8s.io", B), (22, "other", C)] {
        host.process(pid, 1, "x")
            .exe("/usr/bin/containerd-shim-runc-v2")
            .arguments(&["containerd-shim-runc-v2", "-namespace", namespace, "-id", id])
            .cgroup("/system.slice/x.service");
    }
    let (mut reader, mut memory) = (host.reader(), SupervisorMemory::default());
    let table = reader.read_table();
    let table = table.reading.known().expect("processes are recorded");
    let mut look = |namespaces: &[&str]| {
        let namespaces = namespaces.iter().map(|&name| name.to_owned()).collect();
        let found = find_supervised(&reader, table, &namespaces, &mut memory);
        let containers = found.reading.items().iter();
        containers.map(|c| (c.id.0.clone(), c.engine)).collect::<Vec<_>>()
    };
    assert_eq!(look(&[]), []);
    // A dockerd was started since.
    assert_eq!(look(&["ci", "k8s.io"]), [(A.to_owned(), EngineKind::Dockerd)]);
}

#[test]
fn a_container_of_docker_without_a_known_supervisor_is_shown_by_its_group() {
    let pod = "kubepods-pod0c2ab1c5_7a3e_4f0e_9d3b_1f2e3d4c5b6a.slice";
    for (group, init, runs_docker, shows) in [
        (format!("/docker/{A}"), "/init.scope", true, true),
        (format!("/system.slice/docker-{A}.scope"), "/init.scope", true, true),
        (format!("/docker/{A}"), "/init.scope", false, false),
        (
            format!("/kubepods.slice/{pod}/docker-{A}.scope"),
            "/init.scope",
            true,
            false,
        ),
        (
            format!("/user.slice/user-1000.slice/docker-{A}.scope"),
            "/init.scope",
            true,
            false,
        ),
        (format!("/system.slice/crio-{A}.scope"), "/init.scope", true, false),
        (format!("/docker/{B}/docker/{A}"), &format!("/docker/{B}"), true, false),
    ] {
        let host = RecordedHost::new();
        systemd(&host).cgroup(init);
        host.process(20, 1, "sleep").exe("/bin/sleep").cgroup(&group);
        if runs_docker {
            host.process(30, 1, "dockerd")
                .exe("/usr/bin/dockerd")
                .cgroup("/system.slice/docker.service");
        }
        let table = host.reader().read_table();
        let table = table.reading.known().expect("processes are recorded");
        let engines = find_engines(&host.reader(), table, &[], &mut ListenerMemory::default());
        let membership = host
            .reader()
            .read_membership(table.entries[1].key)
            .expect("it is there");
        let members = [(Pid(20), &membership)].into_iter();
        let mut supervised = Sighting::absent();
        add_grouped(&host.reader(), engines.reading.items(), members, &mut supervised);
        let found: Vec<&str> = supervised.reading.items().iter().map(|c| c.id.0.as_str()).collect();
        assert_eq!(found, if shows { vec![A] } else { vec![] }, "{group}");
    }
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
    shim(22, B, &pod); // a nested engine's shim: the host's dockerd may have a forged record of its container
    shim(23, C, &format!("/docker/{C}")); // a shim that was moved into the cgroup of its container
    // /var/lib/docker is an absolute link on the host.
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
    let table: [(&[&str], File<'_>, &str); 5] = [
        (&["dockerd"], None, "/var/lib/docker"),
        (&["dockerd", "--data-root=/srv/d"], None, "/srv/d"),
        (&["dockerd", "-g", "/srv/d"], None, "/srv/d"),
        (&["dockerd"], Some(("/etc/docker/daemon.json", r#"{"data-root":"/srv/e","debug":true}"#)), "/srv/e"),
        (&["dockerd", "--config-file", "/c.json"], Some(("/c.json", r#"{"graph":"/srv/f"}"#)), "/srv/f"),
    ];
    for (arguments, file, data_root) in table {
        let host = RecordedHost::new();
        host.process(10, 1, "dockerd")
            .exe("/usr/bin/dockerd")
            .arguments(arguments)
            .in_host_root();
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
fn an_ordinary_user_cannot_name_the_nodes_containers_or_make_castoff_read_a_file() {
    let of_user = "Uid:\t1000\t1000\t1000\t1000\n";
    let record = r#"{"Name":"/secret","Config":{"Image":"secret"}}"#;
    let host = RecordedHost::new();
    // The user's processes have lower pids. They claim one of root's containers, and one that no other process claims.
    let his = ["containerd-shim", "-namespace", "moby", "-id"];
    for (pid, id) in [(20, A), (21, B)] {
        let shim = host.process(pid, 1, "containerd-shim").exe("/tmp/containerd-shim");
        shim.arguments(&[&his[..], &[id]].concat()).file("status", of_user);
    }
    let dockerd = host.process(22, 1, "dockerd").exe("/tmp/dockerd").in_host_root();
    dockerd
        .arguments(&["dockerd", "--data-root=/tmp/his"])
        .file("status", of_user);
    for id in [A, B] {
        host.file(&format!("/tmp/his/containers/{id}/config.v2.json"), record);
    }
    let (containers, _) = supervised(&host);
    let said = |containers: &[SupervisedContainer]| {
        let each = containers
            .iter()
            .map(|c| (c.supervisor.0, c.user, c.name.clone(), c.image.clone()));
        each.collect::<Vec<_>>()
    };
    assert_eq!(
        said(&containers),
        [(20, Some(1000), None, None), (21, Some(1000), None, None)]
    );

    host.process(30, 1, "containerd-shim")
        .exe("/usr/bin/containerd-shim")
        .arguments(&[&his[..], &[A]].concat());
    let (containers, _) = supervised(&host);
    assert_eq!(
        said(&containers),
        [(30, None, None, None), (21, Some(1000), None, None)]
    );
}

#[test]
fn a_supervisor_in_a_container_needs_a_child_in_the_container_that_it_names() {
    let pod = format!("/kubepods/pod0c2ab1c5-7a3e-4f0e-9d3b-1f2e3d4c5b6a/{C}");
    let of_user = "/user.slice/user-1000.slice/user@1000.service";
    let in_pod = |user, has_child| (Some(C.to_owned()), user, has_child);
    let claimed = format!("{of_user}/docker-{A}.scope");
    // The cgroup of the supervisor, of its child, and the user of another supervisor, which is in no container.
    let table = [
        (pod.clone(), Some(format!("/docker/{A}")), None, in_pod(None, true)),
        (
            pod.clone(),
            Some(format!("{pod}/docker/{A}")),
            None,
            in_pod(None, false),
        ),
        (pod.clone(), Some(claimed), None, in_pod(None, false)),
        (pod.clone(), Some(format!("/docker/{B}")), None, in_pod(None, false)),
        (pod.clone(), None, None, in_pod(None, false)),
        (
            pod.clone(),
            Some(format!("/docker/{A}")),
            Some(1000),
            in_pod(None, true),
        ),
        (pod.clone(), None, Some(1000), (None, Some(1000), false)),
        (pod, Some(format!("/docker/{A}")), Some(0), (None, None, false)),
        (
            format!("{of_user}/cri-containerd-{C}.scope"),
            None,
            None,
            (None, None, false),
        ),
    ];
    for (group, child, beside, expected) in table {
        let host = RecordedHost::new();
        systemd(&host);
        let shim = |pid| {
            let shim = host.process(pid, 1, "containerd-shim").exe("/bin/containerd-shim");
            shim.arguments(&["containerd-shim", "-namespace", "moby", "-id", A])
        };
        shim(20).cgroup(&group);
        if let Some(child) = &child {
            host.process(21, 20, "sleep").exe("/bin/sleep").cgroup(child);
        }
        if let Some(user) = beside {
            shim(30).file("status", format!("Uid:\t{user}\t{user}\t{user}\t{user}\n"));
        }
        let (containers, _) = supervised(&host);
        let found = containers
            .into_iter()
            .map(|c| (c.inside.map(|id| id.0), c.user, c.has_child));
        assert_eq!(found.collect::<Vec<_>>(), [expected], "{group} {child:?} {beside:?}");
    }
}

#[test]
fn an_invalid_record_is_a_gap_of_detail_and_is_not_quoted() {
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
