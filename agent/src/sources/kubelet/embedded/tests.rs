use super::super::flags::ENDPOINT;
use super::super::tests::{dockershim as dockershim_of, endpoints, gaps, look};
use super::*;
use crate::model::reading::Sighting;
use crate::sources::recorded::RecordedHost;

#[test]
fn k3s_uses_its_own_runtime_unless_configured_otherwise() {
    let own = [(K3S_CONTAINERD, "k3s"), (K3S_CRI_DOCKERD, "k3s")];
    let config = "/etc/rancher/k3s/config.yaml";
    let over = "/etc/rancher/k3s/config.yaml.d/1.yaml";
    for (arguments, files, expected) in [
        // k3s overwrites its arguments with one string.
        (vec!["/usr/local/bin/k3s server"], vec![], own.to_vec()),
        (
            vec!["k3s", "agent", "--docker"],
            vec![],
            vec![(K3S_CRI_DOCKERD, "--docker")],
        ),
        (
            vec!["k3s", "agent", "--container-runtime-endpoint=/x"],
            vec![],
            vec![("/x", ENDPOINT)],
        ),
        (
            vec!["k3s", "server", "--config=/c"],
            vec![("/c", "container-runtime-endpoint: /x")],
            vec![("/x", "/c")],
        ),
        (
            vec!["k3s server"],
            vec![(config, "docker: true")],
            vec![(K3S_CRI_DOCKERD, config)],
        ),
        (
            vec!["k3s server"],
            vec![(config, "container-runtime-endpoint: unix:///x")],
            vec![("/x", config)],
        ),
        (
            vec!["k3s server"],
            vec![(config, "docker: true"), (over, "docker: false")],
            own.to_vec(),
        ),
        (
            vec!["k3s server"],
            vec![(over, "container-runtime-endpoint: /x")],
            vec![("/x", over)],
        ),
    ] {
        let host = RecordedHost::new();
        host.process(100, 1, "k3s-server")
            .exe("/var/lib/rancher/k3s/data/4f2a/bin/k3s")
            .arguments(&arguments);
        for (path, content) in &files {
            host.file(path, content);
        }
        let seen = look(&host);
        assert_eq!(endpoints(&seen), expected, "{arguments:?} {files:?}");
    }
}

#[test]
fn a_server_of_k3s_without_an_agent_is_no_kubelet() {
    for (arguments, config) in [
        (&["k3s", "server", "--disable-agent"][..], ""),
        (&["k3s", "server"], "disable-agent: true\n"),
    ] {
        let host = RecordedHost::new();
        host.process(100, 1, "k3s-server")
            .exe("/usr/local/bin/k3s")
            .arguments(arguments);
        assert!(arguments.len() > 2 || look(&host).reading.known().is_some());
        if !config.is_empty() {
            host.file("/etc/rancher/k3s/config.yaml", config);
        }
        assert_eq!(look(&host), Sighting::absent(), "{arguments:?} {config}");
    }
}

#[test]
fn a_drop_in_of_an_earlier_start_of_k3s_with_docker_leaves_a_gap() {
    for (endpoint, leaves) in [("/run/k3s/containerd/containerd.sock", true), (K3S_CRI_DOCKERD, false)] {
        let host = RecordedHost::new();
        host.process(100, 1, "k3s-server")
            .exe("/usr/local/bin/k3s")
            .arguments(&["k3s", "server", "--docker"]);
        let drop_in = format!("containerRuntimeEndpoint: unix://{endpoint}\n");
        host.file(
            "/var/lib/rancher/k3s/agent/etc/kubelet.conf.d/00-k3s-defaults.conf",
            drop_in,
        );
        assert_eq!(!gaps(&look(&host)).is_empty(), leaves, "{endpoint}");
    }
}

#[test]
fn the_endpoint_of_k3s_with_docker_is_dockers() {
    let config = "/etc/rancher/k3s/config.yaml";
    let both = "docker: true\ncontainer-runtime-endpoint: unix:///var/run/docker.sock\n";
    for (arguments, files, expected) in [
        (vec!["k3s server"], vec![(config, both)], (K3S_CRI_DOCKERD, config)),
        (
            vec!["k3s server"],
            vec![(config, "docker: 'true'\ncontainer-runtime-endpoint: /run/docker.sock\n")],
            (K3S_CRI_DOCKERD, config),
        ),
        (
            vec![
                "k3s",
                "agent",
                "--docker",
                "--container-runtime-endpoint",
                "/run/docker.sock",
            ],
            vec![],
            (K3S_CRI_DOCKERD, "--docker"),
        ),
    ] {
        let host = RecordedHost::new();
        host.process(100, 1, "k3s-server")
            .exe("/usr/local/bin/k3s")
            .arguments(&arguments);
        for (path, content) in &files {
            host.file(path, content);
        }
        assert_eq!(endpoints(&look(&host)), [expected], "{arguments:?} {files:?}");
        assert_eq!(gaps(&look(&host)), []);
    }
    let host = RecordedHost::new();
    host.file(config, both);
    assert_eq!(
        endpoints(&look(&host)),
        [(K3S_CRI_DOCKERD, config)],
        "without its process"
    );
}

#[test]
fn k3s_flags_for_its_kubelet_win_over_its_drop_ins() {
    let config = "/etc/rancher/k3s/config.yaml";
    let drop_in = "/var/lib/rancher/k3s/agent/etc/kubelet.conf.d/00-k3s-defaults.conf";
    let moved = "/srv/k3s/agent/etc/kubelet.conf.d/00-k3s-defaults.conf";
    let of_crio = "containerRuntimeEndpoint: unix:///run/crio/crio.sock\n";
    let unpacked = "/srv/k3s/data/4f2a/bin/k3s";
    for (program, arguments, files, winner) in [
        ("k3s", vec!["k3s server"], vec![(drop_in, of_crio)], drop_in),
        (
            "k3s",
            vec!["k3s server"],
            vec![(drop_in, of_crio), (config, "container-runtime-endpoint: /x\n")],
            drop_in,
        ),
        (
            "k3s",
            vec!["k3s server"],
            vec![(config, "data-dir: /srv/k3s\n"), (moved, of_crio)],
            moved,
        ),
        (
            "k3s",
            vec!["k3s", "server", "-d", "/srv/k3s"],
            vec![(moved, of_crio)],
            moved,
        ),
        (
            "k3s",
            vec!["k3s", "--data-dir=/srv/k3s", "server"],
            vec![(moved, of_crio)],
            moved,
        ),
        (
            unpacked,
            vec!["/usr/local/bin/k3s server"],
            vec![(moved, of_crio)],
            moved,
        ),
        (
            "k3s",
            vec!["k3s server"],
            vec![
                (drop_in, "containerRuntimeEndpoint: /y\n"),
                (config, "kubelet-arg: container-runtime-endpoint=/run/crio/crio.sock\n"),
            ],
            ENDPOINT,
        ),
        (
            "k3s",
            vec![
                "k3s",
                "agent",
                "--kubelet-arg=container-runtime-endpoint=/run/crio/crio.sock",
            ],
            vec![(config, "kubelet-arg:\n- container-runtime-endpoint=/z\n- v=2\n")],
            ENDPOINT,
        ),
        (
            "k3s",
            vec!["k3s server"],
            vec![(
                config,
                "kubelet-arg: v=2\nkubelet-arg+: container-runtime-endpoint=/run/crio/crio.sock\n",
            )],
            ENDPOINT,
        ),
        (
            "k3s",
            vec!["k3s", "agent", "--kubelet-arg", "config=/c"],
            vec![("/c", of_crio)],
            "/c",
        ),
    ] {
        let host = RecordedHost::new();
        host.process(100, 1, "k3s-server").exe(program).arguments(&arguments);
        for (path, content) in &files {
            host.file(path, content);
        }
        let seen = look(&host);
        assert_eq!(
            endpoints(&seen)[0],
            ("/run/crio/crio.sock", winner),
            "{program} {arguments:?} {files:?}"
        );
        assert_eq!(gaps(&seen), []);
    }
}

#[test]
fn the_drop_ins_of_a_distribution_count_if_its_process_is_not_visible() {
    for (config, drop_in) in [
        ("", "/var/lib/rancher/k3s/agent/etc/kubelet.conf.d/00-k3s-defaults.conf"),
        (
            "",
            "/var/lib/rancher/rke2/agent/etc/kubelet.conf.d/20-cli-config-dir/a.conf",
        ),
        (
            "data-dir: /srv/r\n",
            "/srv/r/agent/etc/kubelet.conf.d/00-rke2-defaults.conf",
        ),
    ] {
        let host = RecordedHost::new();
        if !config.is_empty() {
            host.file("/etc/rancher/rke2/config.yaml", config);
        }
        host.file(drop_in, "containerRuntimeEndpoint: unix:///run/cri-dockerd.sock\n");
        let seen = look(&host);
        assert_eq!(endpoints(&seen), [("/run/cri-dockerd.sock", drop_in)]);
    }
}

#[test]
fn only_roots_kubelet_counts() {
    let dockershim = [
        "kubelet",
        "--network-plugin=cni",
        "--container-runtime-endpoint=/run/docker.sock",
    ];
    let user = "Uid:\t1000\t1000\t1000\t1000\n";
    let host = RecordedHost::new();
    let mallory = host.process(100, 1, "kubelet").exe("/home/mallory/kubelet");
    mallory.arguments(&dockershim).file("status", user);
    assert_eq!(
        look(&host),
        Sighting::absent(),
        "an ordinary user may call a program so"
    );

    let rootless = host.process(110, 1, "k3s-server").exe("/usr/local/bin/k3s");
    rootless
        .arguments(&["/usr/local/bin/k3s server"])
        .file("status", user)
        .file("uid_map", "0 1000 1\n1 100000 65536\n");
    let seen = look(&host);
    let gap = seen.reading.gap().expect("it cannot be followed");
    assert!(gap.answer.contains("rootless"), "{gap}");
    assert_eq!(gap.hides, Hides::Runtime);

    let own = host.process(120, 1, "kubelet").exe("/usr/bin/kubelet");
    own.arguments(&[
        "kubelet",
        "--container-runtime-endpoint=/run/containerd/containerd.sock",
    ]);
    let seen = look(&host);
    assert_eq!(endpoints(&seen), [("/run/containerd/containerd.sock", ENDPOINT)]);
    assert_eq!((gaps(&seen), dockershim_of(&seen)), (vec![], None));
    assert_eq!(seen.reading.known().and_then(|k| k.process).map(|p| p.pid.0), Some(120));
}

#[test]
fn only_the_subcommand_of_k3s_makes_it_a_node() {
    for (arguments, is_node) in [
        (vec!["/usr/local/bin/k3s server"], true),
        (vec!["k3s", "agent", "--token", "x"], true),
        (vec!["k3s", "--debug", "server"], true),
        (vec!["k3s", "--data-dir", "/srv", "server"], true),
        (vec!["k3s-agent", "--token", "x"], true),
        (vec!["k3s", "kubectl", "logs", "-f", "agent"], false),
        (vec!["k3s", "kubectl", "get", "pods", "-l", "app", "server"], false),
        (vec!["k3s", "etcd-snapshot", "save", "--name", "server"], false),
        (vec!["k3s", "--data-dir", "server", "kubectl"], false),
        (vec!["kubectl", "server"], false),
        (vec!["crictl", "agent"], false),
        (vec!["k3s"], false),
        (vec![], false),
    ] {
        let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        assert_eq!(Program::K3s.runs_kubelet(&arguments), is_node, "{arguments:?}");
    }
}

#[test]
fn microk8s_has_its_flags_in_a_file() {
    let host = RecordedHost::new();
    let arguments = [
        "/snap/microk8s/6/kubelite",
        "--kubelet-args-file=/var/snap/microk8s/6/args/kubelet",
    ];
    host.process(100, 1, "kubelite")
        .exe("/snap/microk8s/6/kubelite")
        .arguments(&arguments);
    assert_eq!(
        gaps(&look(&host)),
        [(Reason::NotFound, "/var/snap/microk8s/6/args/kubelet")]
    );
    let args = "--kubeconfig=${SNAP_DATA}/x\n--container-runtime-endpoint=${SNAP_COMMON}/run/containerd.sock\n";
    host.file(
        "/var/snap/microk8s/6/args/kubelet",
        format!("{args}--containerd-env=$SNAP_DATA/args/x\n"),
    );
    let expected = (
        "/var/snap/microk8s/common/run/containerd.sock",
        "/var/snap/microk8s/6/args/kubelet",
    );
    assert_eq!(endpoints(&look(&host)), [expected]);
}

#[test]
fn kubelets_of_other_nodes_are_left_out() {
    let pod = "/kubepods/besteffort/pod0a1b2c3d-0000-4000-8000-000000000001/";
    let arguments = ["kubelet", "--container-runtime-endpoint=/evil.sock"];
    let host = RecordedHost::new();
    let in_pod = format!("{pod}{}", "a".repeat(64));
    host.process(10, 1, "kubelet")
        .exe("/kubelet")
        .arguments(&arguments)
        .cgroup(&in_pod);
    host.process(11, 1, "kubelet")
        .exe("/kind/kubelet")
        .arguments(&arguments)
        .file("status", "NSpid:\t11\t3\n");
    host.process(12, 1, "kubelet")
        .exe("/usr/bin/python3")
        .arguments(&arguments);
    host.process(13, 1, "k3s")
        .exe("/usr/local/bin/k3s")
        .arguments(&["k3s", "kubectl", "get", "pods"]);
    host.process(14, 1, "hyperkube")
        .exe("/hyperkube")
        .arguments(&["/hyperkube", "kube-proxy"]);
    host.process(17, 1, "hyperkube")
        .exe("/hyperkube")
        .arguments(&["/hyperkube", "kubectl", "logs", "-f", "kubelet"]);
    host.process(15, 1, "kubelet").exe("/usr/bin/kubelet").arguments(&[]);
    assert_eq!(look(&host), Sighting::absent());
    host.process(16, 1, "hyperkube").exe("/hyperkube").arguments(&[
        "/hyperkube",
        "kubelet",
        "--container-runtime=docker",
    ]);
    assert_eq!(dockershim_of(&look(&host)), Some(true));
}

#[test]
fn two_kubelets_that_differ_leave_a_gap() {
    let host = RecordedHost::new();
    for (pid, endpoint) in [(100, "/one.sock"), (200, "/two.sock")] {
        let arguments = ["kubelet", "--container-runtime-endpoint", endpoint];
        host.process(pid, 1, "kubelet")
            .exe("/usr/bin/kubelet")
            .arguments(&arguments);
    }
    let seen = look(&host);
    assert_eq!(endpoints(&seen), [("/one.sock", ENDPOINT)]);
    assert_eq!(gaps(&seen), [(Reason::LimitReached, "the kubelet's process")]);
}
