use super::super::flags::ENDPOINT;
use super::super::tests::{dockershim, endpoints, gaps, look};
use super::*;
use crate::model::reading::Sighting;
use crate::sources::recorded::RecordedHost;

#[test]
fn k3s_uses_its_own_runtime_unless_it_is_told_otherwise() {
    let own = [(K3S_CONTAINERD, "k3s"), (K3S_CRI_DOCKERD, "k3s")];
    let config = "/etc/rancher/k3s/config.yaml";
    let over = "/etc/rancher/k3s/config.yaml.d/1.yaml";
    for (arguments, files, expected) in [
        // k3s overwrites its arguments: one string is left of them.
        (vec!["/usr/local/bin/k3s server"], vec![], own.to_vec()),
        (vec!["k3s", "agent", "--docker"], vec![], own[1..].to_vec()),
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
        (vec!["k3s server"], vec![(config, "docker: true")], own[1..].to_vec()),
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
fn what_is_not_this_nodes_kubelet_is_left_out() {
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
    host.process(15, 1, "kubelet").exe("/usr/bin/kubelet").arguments(&[]);
    assert_eq!(look(&host), Sighting::absent());
    host.process(16, 1, "hyperkube").exe("/hyperkube").arguments(&[
        "/hyperkube",
        "kubelet",
        "--container-runtime=docker",
    ]);
    assert_eq!(dockershim(&look(&host)), Some(true));
}

#[test]
fn two_kubelets_that_differ_leave_a_doubt() {
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
