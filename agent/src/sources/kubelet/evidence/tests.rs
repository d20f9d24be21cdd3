use super::*;
use crate::sources::recorded::RecordedHost;

const ID: &str = "4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a";
const POD: &str = "kubepods.slice/kubepods-pod0c2ab1c5_7a3e_4f0e_9d3b_1f2e3d4c5b6a.slice";

fn answer(host: &RecordedHost) -> Option<String> {
    let mut reader = host.reader();
    let table = reader.read_table();
    let table = table.reading.known().expect("processes are recorded");
    find_evidence(&host.paths(), &reader, table).map(|gap| {
        assert_eq!(gap.hides, Hides::Runtime);
        gap.answer
    })
}

fn host() -> RecordedHost {
    let host = RecordedHost::new();
    host.process(1, 0, "systemd").exe("/usr/lib/systemd/systemd");
    host
}

#[test]
fn supervisors_of_pods_show_a_node() {
    for (program, arguments, uid, shows) in [
        (
            "/usr/bin/containerd-shim-runc-v2",
            ["-namespace", "k8s.io", "-id", ID],
            0,
            true,
        ),
        (
            "/usr/bin/containerd-shim-runc-v2",
            ["-namespace", "moby", "-id", ID],
            0,
            false,
        ),
        (
            "/usr/bin/containerd-shim-runc-v2",
            ["-namespace", "k8s.io", "-id", ID],
            1000,
            false,
        ),
        (
            "/usr/bin/conmon",
            ["-c", ID, "--exit-dir", "/var/run/crio/exits"],
            0,
            true,
        ),
        (
            "/usr/bin/conmon",
            ["-c", ID, "--exit-dir", "/run/libpod/exits"],
            0,
            false,
        ),
    ] {
        let host = host();
        let all = [&[program], &arguments[..]].concat();
        let name = program.rsplit('/').next().expect("it has a name");
        host.process(40, 1, name)
            .exe(program)
            .arguments(&all)
            .file("status", format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n"));
        let expected =
            shows.then(|| format!("process 40 ({name}) supervises containers of pods, and no runtime was found"));
        assert_eq!(answer(&host), expected, "{program} {arguments:?} {uid}");
    }
}

#[test]
fn a_program_that_starts_a_kubelet_shows_a_node() {
    let user = "Uid:\t1000\t1000\t1000\t1000\n";
    for (program, arguments, shows) in [
        ("/usr/local/bin/rke2", &["/usr/local/bin/rke2 server"][..], true),
        (
            "/opt/rke2/bin/rke2",
            &["rke2", "--debug", "agent", "--server", "x"],
            true,
        ),
        ("/usr/local/bin/rke2", &["rke2", "kubectl", "logs", "server"], false),
        ("/usr/local/bin/k0s", &["k0s", "worker", "--token-file", "x"], true),
        (
            "/usr/local/bin/k0s",
            &["k0s", "--data-dir", "/srv/k0s", "controller", "--single=true"],
            true,
        ),
        ("/usr/local/bin/k0s", &["k0s", "controller", "--enable-worker"], true),
        ("/usr/local/bin/k0s", &["k0s", "controller"], false),
        ("/usr/local/bin/k0s", &["k0s", "ctr", "worker"], false),
        (
            "/usr/bin/cri-dockerd",
            &["cri-dockerd", "--container-runtime-endpoint", "fd://"],
            true,
        ),
        ("/usr/bin/sleep", &["rke2", "server"], false),
    ] {
        let name = program.rsplit('/').next().expect("it has a name");
        let host = host();
        host.process(40, 1, name).exe(program).arguments(arguments);
        let expected = shows.then(|| format!("process 40 ({name}) works for a kubelet, and no runtime was found"));
        assert_eq!(answer(&host), expected, "{arguments:?}");
        host.process(40, 1, name).file("status", user);
        assert_eq!(answer(&host), None, "of a user: {arguments:?}");
    }
}

#[test]
fn pods_of_the_node_itself_show_a_node() {
    let nested = format!(
        "/docker/{}/kubelet.slice/{POD}/cri-containerd-{ID}.scope",
        ID.replace("4f", "5e")
    );
    for (cgroup, shows) in [
        (format!("/{POD}/cri-containerd-{ID}.scope"), true),
        (format!("/{POD}"), true),
        (nested, false),
        (format!("/user.slice/user-1000.slice/user@1000.service/{POD}"), false),
        (format!("/docker/{ID}"), false),
        ("/system.slice/x.service".to_owned(), false),
    ] {
        let host = host();
        host.process(40, 1, "pause").exe("/pause").cgroup(&cgroup);
        assert_eq!(answer(&host).is_some(), shows, "{cgroup}");
    }
}

#[test]
fn the_credentials_of_a_kubelet_show_a_node() {
    for path in CREDENTIALS {
        let host = host();
        assert_eq!(answer(&host), None);
        host.file(path, "apiVersion: v1\n");
        let expected = format!("the kubelet's credentials are at {path}, and no runtime was found");
        assert_eq!(answer(&host), Some(expected));
    }
}

#[test]
fn the_directories_of_pods_show_a_node() {
    let host = host();
    assert_eq!(answer(&host), None);
    std::fs::create_dir_all(host.paths().root.join("var/lib/kubelet/pods")).expect("a fresh directory");
    assert_eq!(answer(&host), None, "a kubelet without pods leaves nothing to see");
    host.file("/var/lib/kubelet/pods/0c2ab1c5/etc-hosts", "");
    assert_eq!(
        answer(&host).as_deref(),
        Some("/var/lib/kubelet/pods has pods, and no runtime was found")
    );
}
