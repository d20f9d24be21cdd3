use std::time::{Duration, SystemTime};

use super::*;
use crate::sources::recorded::RecordedHost;
use crate::sources::runtime::endpoint::{K3S_CONTAINERD, K3S_CRI_DOCKERD};

const CONFIG: &str =
    "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nclusterDNS:\n- 10.96.0.10\n";

pub(super) fn look(host: &RecordedHost) -> Sighting<Kubelet> {
    let mut reader = host.reader();
    let table = reader.read_table();
    let nobody = ProcessTable::default();
    read_kubelet(&host.paths(), &reader, table.reading.known().unwrap_or(&nobody))
}

/// Returns `(path, setting)` of each endpoint.
pub(super) fn endpoints(seen: &Sighting<Kubelet>) -> Vec<(&str, &str)> {
    let kubelet = seen.reading.known().expect("a kubelet is here");
    let endpoints = kubelet.endpoints.iter().map(|endpoint| {
        let origin = match &endpoint.origin {
            EndpointOrigin::Configured => "castoff",
            EndpointOrigin::KubeletFlag { flag } => flag,
            EndpointOrigin::KubeletFile { path } => path,
            EndpointOrigin::WellKnown { of } => of,
        };
        (endpoint.path.as_str(), origin)
    });
    endpoints.collect()
}

pub(super) fn dockershim(seen: &Sighting<Kubelet>) -> Option<bool> {
    seen.reading.known().expect("a kubelet is here").dockershim
}

pub(super) fn gaps(seen: &Sighting<Kubelet>) -> Vec<(Reason, &str)> {
    let gaps = seen.all_gaps().map(|gap| {
        assert_eq!(gap.hides, Hides::Runtime);
        (gap.reason, gap.asked.as_str())
    });
    gaps.collect()
}

fn with_kubelet(host: &RecordedHost, arguments: &[&str]) {
    let all: Vec<&str> = std::iter::once("/usr/bin/kubelet")
        .chain(arguments.iter().copied())
        .collect();
    host.process(100, 1, "kubelet").exe("/usr/bin/kubelet").arguments(&all);
}

fn naming(endpoint: &str) -> String {
    format!("{CONFIG}containerRuntimeEndpoint: {endpoint} # where\n")
}

#[test]
fn without_a_process_and_a_file_there_is_no_kubelet() {
    let host = RecordedHost::new();
    host.process(1, 0, "systemd")
        .exe("/usr/lib/systemd/systemd")
        .arguments(&["/sbin/init"]);
    host.file("/etc/default/kubelet", "KUBELET_EXTRA_ARGS=\n");
    assert_eq!(look(&host), Sighting::absent());
}

#[test]
fn the_unit_of_a_kubelet_that_is_down_has_its_flags() {
    let wants = "/etc/systemd/system/multi-user.target.wants";
    let dockerd = "--container-runtime-endpoint=unix:///run/cri-dockerd.sock";
    let kubelet = format!("[Service]\nExecStart=/usr/bin/kubelet \\\n  {dockerd}\n");
    let silent = "[Service]\nExecStart=/usr/bin/kubelet $KUBELET_EXTRA_ARGS\n".to_owned();
    let drop_in = format!("[Service]\nEnvironment=\"KUBELET_EXTRA_ARGS={dockerd}\"\n");
    let k3s = "[Service]\nExecStart=/usr/local/bin/k3s \\\n    server \\\n        '--docker' \\\n".to_owned();
    let k3s_own = "[Service]\nExecStart=/usr/local/bin/k3s server\n".to_owned();
    for (unit, content, drop_in, expected) in [
        ("kubelet.service", &kubelet, None, vec!["/run/cri-dockerd.sock"]),
        ("node.service", &kubelet, None, vec!["/run/cri-dockerd.sock"]),
        (
            "kubelet.service",
            &silent,
            Some(&drop_in),
            vec!["/run/cri-dockerd.sock"],
        ),
        ("kubelet.service", &silent, None, vec![]),
        ("k3s.service", &k3s, None, vec![K3S_CRI_DOCKERD]),
        ("k3s.service", &k3s_own, None, vec![K3S_CONTAINERD, K3S_CRI_DOCKERD]),
    ] {
        let host = RecordedHost::new();
        let path = format!("/etc/systemd/system/{unit}");
        host.file(&path, content);
        if let Some(drop_in) = drop_in {
            host.file(&format!("{path}.d/20-cri.conf"), drop_in);
        }
        assert_eq!(look(&host), Sighting::absent(), "{unit} is not enabled");
        std::fs::create_dir_all(host.paths().root.join(wants.trim_start_matches('/'))).expect("a fresh directory");
        host.link_in_root(&format!("{wants}/{unit}"), &path);
        let seen = look(&host);
        let paths: Vec<&str> = endpoints(&seen).into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, expected, "{unit} {content}");
    }
}

#[test]
fn the_files_of_a_kubelet_with_a_root_of_its_own_are_below_that_root() {
    let host = RecordedHost::new();
    with_kubelet(&host, &["--config=/etc/k/config"]);
    host.file("/etc/k/config", naming("unix:///host.sock"));
    assert_eq!(endpoints(&look(&host)), [("/host.sock", "/etc/k/config")]);
    host.file("/srv/kubelet/etc/k/config", naming("unix:///own.sock"));
    let own = host.paths().root.join("srv/kubelet").display().to_string();
    host.process(100, 1, "kubelet")
        .exe("/usr/bin/kubelet")
        .arguments(&["/usr/bin/kubelet", "--config=/etc/k/config"])
        .link("root", &own);
    assert_eq!(endpoints(&look(&host)), [("/own.sock", "/etc/k/config")]);
}

#[test]
fn a_file_that_was_changed_after_the_kubelet_started_is_a_gap() {
    for (written, flag, expected) in [
        (Duration::from_secs(3_600), None, false),
        (Duration::from_secs(60), None, true),
        // The flag wins, whatever the file says.
        (
            Duration::from_secs(60),
            Some("--container-runtime-endpoint=/flag.sock"),
            false,
        ),
    ] {
        let host = RecordedHost::new();
        let arguments: Vec<&str> = flag.into_iter().chain(["--config=/etc/k/config"]).collect();
        with_kubelet(&host, &arguments);
        // The kubelet has started ten seconds after boot.
        std::fs::write(host.paths().proc.join("uptime"), "1810.00 1.00\n").expect("a file");
        let file = host.file("/etc/k/config", naming("unix:///x.sock"));
        let file = std::fs::File::options().write(true).open(file).expect("it is there");
        file.set_modified(SystemTime::now() - written).expect("it is ours");
        assert_eq!(!gaps(&look(&host)).is_empty(), expected, "{written:?} {flag:?}");
    }
}

#[test]
fn the_flag_wins_over_drop_ins_and_these_over_the_file() {
    let host = RecordedHost::new();
    let flag = [
        "--container-runtime-endpoint=unix:///flag.sock",
        "--config=/etc/k/config",
        "--config-dir",
        "/etc/k/d",
    ];
    with_kubelet(&host, &flag);
    host.file("/etc/k/config", naming("unix:///file.sock"));
    host.file("/etc/k/d/10-a.conf", naming("unix:///ten.sock"));
    host.file("/etc/k/d/20-b.conf", naming("\"unix:///twenty.sock\""));
    host.file("/etc/k/d/30-c.conf", CONFIG);
    host.file("/etc/k/d/99.yaml", naming("unix:///not-a-conf.sock"));
    let seen = look(&host);
    assert_eq!(
        endpoints(&seen),
        [
            ("/flag.sock", "--container-runtime-endpoint"),
            ("/twenty.sock", "/etc/k/d/20-b.conf"),
            ("/file.sock", "/etc/k/config"),
        ]
    );
    assert_eq!((gaps(&seen), dockershim(&seen)), (vec![], Some(false)));
    assert_eq!(seen.reading.known().and_then(|k| k.program.as_deref()), Some("kubelet"));
}

#[test]
fn drop_ins_are_read_below_their_directory_in_the_order_of_their_paths() {
    let host = RecordedHost::new();
    with_kubelet(&host, &["--config-dir=/d"]);
    for (path, endpoint) in [
        ("/d/00-defaults.conf", "/defaults"),
        ("/d/20-cli/z.conf", "/inner"),
        ("/d/20-cli/10/a.conf", "/innermost"),
        ("/d/10.conf", "/ten"),
        ("/elsewhere/99.conf", "/linked"),
        ("/d/99/no.yaml", "/no"),
    ] {
        host.file(path, naming(endpoint));
    }
    host.link_in_root("/d/99-link", "/elsewhere");
    let seen = look(&host);
    assert_eq!(endpoints(&seen), [("/inner", "/d/20-cli/z.conf")]);
    // A file that is a link is read, and a file is sorted by its name: after the directory of the same number.
    host.link_in_root("/d/20-cli.conf", "/elsewhere/99.conf");
    assert_eq!(endpoints(&look(&host)), [("/linked", "/d/20-cli.conf")]);
    assert_eq!(gaps(&look(&host)), []);
}

#[test]
fn an_empty_endpoint_in_a_drop_in_is_the_default_one() {
    let host = RecordedHost::new();
    with_kubelet(&host, &["--config=/etc/k/config", "--config-dir=/d"]);
    host.file("/etc/k/config", naming("unix:///run/cri-dockerd.sock"));
    host.file("/d/10.conf", naming("\"\""));
    let default = ("/run/containerd/containerd.sock", "/d/10.conf");
    assert_eq!(endpoints(&look(&host))[0], default);
    // In the file itself, which comes first, kubeadm writes it.
    host.file("/etc/k/config", naming("\"\""));
    std::fs::remove_file(host.paths().root.join("d/10.conf")).expect("it is there");
    assert_eq!(endpoints(&look(&host)), []);
}

#[test]
fn a_directory_of_drop_ins_that_is_a_link_is_not_followed_and_too_many_are_a_gap() {
    let host = RecordedHost::new();
    with_kubelet(&host, &["--config-dir=/link"]);
    host.link_in_root("/link", "/d");
    host.file("/d/1.conf", naming("/one"));
    assert_eq!(endpoints(&look(&host)), []);
    let host = RecordedHost::new();
    with_kubelet(&host, &["--config-dir=/d"]);
    for n in 0..257 {
        host.file(&format!("/d/{n}.conf"), naming("/one"));
    }
    assert_eq!(gaps(&look(&host)), [(Reason::LimitReached, "/d")]);
}

#[test]
fn only_the_first_document_of_a_file_counts() {
    let (one, other) = (naming("/one"), naming("/other"));
    for content in [
        format!("{one}---\n"),
        format!("---\n{one}---\n{other}"),
        format!("# by hand\n%YAML 1.2\n---\n{one}...\n"),
        format!("{one}--- # and more\n{other}---\n---\n"),
        format!("{one}---\n: not: yaml: [\n"),
    ] {
        let host = RecordedHost::new();
        with_kubelet(&host, &["--config=/c"]);
        host.file("/c", &content);
        assert_eq!(endpoints(&look(&host)), [("/one", "/c")], "{content}");
        assert_eq!(gaps(&look(&host)), [], "{content}");
    }
}

#[test]
fn configuration_is_read_as_yaml_and_as_json() {
    for (content, expected) in [
        (naming("unix:///run/a.sock"), Some("/run/a.sock")),
        (naming("'/run/a.sock'"), Some("/run/a.sock")),
        (naming("\"\""), None),
        (naming(""), None),
        (naming("npipe:////./pipe/x"), Some("npipe:////./pipe/x")),
        (
            format!("\u{feff}{}", naming("unix:///a")).replace('\n', "\r\n"),
            Some("/a"),
        ),
        (CONFIG.to_owned(), None),
        (
            r#"{"kind": "KubeletConfiguration", "containerRuntimeEndpoint": "unix:///run/a.sock"}"#.to_owned(),
            Some("/run/a.sock"),
        ),
        (
            "kind: X\nnested:\n  containerRuntimeEndpoint: unix:///a\n".to_owned(),
            None,
        ),
    ] {
        let host = RecordedHost::new();
        with_kubelet(&host, &["--config=/c"]);
        host.file("/c", &content);
        let seen = look(&host);
        let found: Vec<_> = endpoints(&seen).into_iter().map(|(path, _)| path).collect();
        assert_eq!(
            (found, gaps(&seen)),
            (expected.into_iter().collect(), vec![]),
            "{content}"
        );
    }
}

#[test]
fn an_invalid_file_hides_the_runtime_if_it_could_decide() {
    for (content, reason) in [
        (b"containerRuntimeEndpoint: [unclosed".to_vec(), Reason::Malformed),
        (b"containerRuntimeEndpoint:\n  a: map\n".to_vec(), Reason::Malformed),
        (b"just words".to_vec(), Reason::Malformed),
        (b"\xff\xfe\x00garbage".to_vec(), Reason::Malformed),
        (vec![0; 4096], Reason::Malformed),
        (vec![b'#'; 2 << 20], Reason::TooLarge),
        (
            b"a: &a [x]\nb: &b [*a,*a]\nc: &c [*b,*b]\ncontainerRuntimeEndpoint: *c\n".to_vec(),
            Reason::Malformed,
        ),
    ] {
        let host = RecordedHost::new();
        host.file("/c", &content);
        with_kubelet(&host, &["--config=/c"]);
        let seen = look(&host);
        let shown = String::from_utf8_lossy(&content[..content.len().min(60)]).into_owned();
        assert_eq!(
            (endpoints(&seen), gaps(&seen)),
            (vec![], vec![(reason, "/c")]),
            "{shown}"
        );
        with_kubelet(&host, &["--config=/c", "--container-runtime-endpoint=/a"]);
        let seen = look(&host);
        assert_eq!(
            (endpoints(&seen).len(), gaps(&seen)),
            (1, vec![]),
            "the flag decides whatever the file says"
        );
    }
}

#[test]
fn the_error_of_a_malformed_file_quotes_nothing() {
    let host = RecordedHost::new();
    host.file("/c", "token: s3cret\ncontainerRuntimeEndpoint: {s3cret: s3cret\n");
    with_kubelet(&host, &["--config=/c"]);
    let seen = look(&host);
    assert!(
        seen.gaps[0].answer.starts_with("not the YAML of a configuration"),
        "{}",
        seen.gaps[0]
    );
    assert!(!format!("{seen:?}").contains("s3cret"));
}

#[test]
fn a_named_file_that_does_not_exist_is_a_gap() {
    let host = RecordedHost::new();
    with_kubelet(&host, &["--config=/none"]);
    host.file("/var/lib/kubelet/config.yaml", naming("unix:///not-read.sock"));
    let seen = look(&host);
    assert_eq!(
        (endpoints(&seen), gaps(&seen)),
        (vec![], vec![(Reason::NotFound, "/none")])
    );
    std::fs::create_dir_all(host.paths().root.join("none")).expect("a directory in the file's place");
    assert_eq!(gaps(&look(&host)), [(Reason::Malformed, "/none")]);
}

#[test]
fn dockershim_is_reported_if_it_is_shown() {
    let shim = ("/var/run/dockershim.sock", "--container-runtime");
    for (arguments, expected, endpoint) in [
        (vec!["--container-runtime=docker"], Some(true), Some(shim)),
        (
            vec!["--container-runtime", "docker", "--container-runtime-endpoint=/x"],
            Some(true),
            Some(("/x", ENDPOINT)),
        ),
        (
            vec!["--network-plugin=cni"],
            Some(true),
            Some((shim.0, "--network-plugin")),
        ),
        (
            vec!["--docker-endpoint", "unix:///x"],
            Some(true),
            Some((shim.0, "--docker-endpoint")),
        ),
        (
            vec!["--network-plugin=cni", "--container-runtime=remote"],
            Some(false),
            None,
        ),
        (
            vec!["--container-runtime=remote", "--container-runtime-endpoint=/x"],
            Some(false),
            Some(("/x", ENDPOINT)),
        ),
        (vec!["--container-runtime-endpoint=/x"], None, Some(("/x", ENDPOINT))),
        (vec!["--v=2"], None, None),
    ] {
        let host = RecordedHost::new();
        with_kubelet(&host, &arguments);
        let seen = look(&host);
        assert_eq!(dockershim(&seen), expected, "{arguments:?}");
        assert_eq!(
            endpoints(&seen),
            endpoint.into_iter().collect::<Vec<_>>(),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_kubelet_that_listens_as_dockershim_is_dockershim() {
    let host = RecordedHost::new();
    let table = "Num RefCount Protocol Flags Type St Inode Path\n\
                 0: 2 0 00010000 0001 01 4711 /var/run/dockershim.sock\n\
                 1: 3 0 00000000 0001 03 4712 /var/run/dockershim.sock\n\
                 2: 2 0 00010000 0001 01 4713 /run/docker.sock\n";
    let kubelet = host
        .process(100, 1, "kubelet")
        .exe("/usr/bin/kubelet")
        .arguments(&["kubelet", "--v=2"]);
    std::fs::create_dir_all(kubelet.path("net")).expect("a directory");
    let kubelet = kubelet.file("net/unix", table);
    assert_eq!(
        dockershim(&look(&host)),
        None,
        "the listener is another's, as containerd's on Bottlerocket"
    );
    let kubelet = kubelet.socket(4712).socket(4713);
    assert_eq!(
        dockershim(&look(&host)),
        None,
        "a connection, and a listener of another name"
    );
    let _kubelet = kubelet.socket(4711);
    let seen = look(&host);
    assert_eq!(
        (dockershim(&seen), endpoints(&seen)[0].0),
        (Some(true), "/var/run/dockershim.sock")
    );
}

#[test]
fn without_a_process_the_files_of_installers_count() {
    for (files, expected, shim) in [
        (
            vec![("/var/lib/kubelet/config.yaml", naming("unix:///file.sock"))],
            vec![("/file.sock", "/var/lib/kubelet/config.yaml")],
            Some(false),
        ),
        (
            vec![
                ("/var/lib/kubelet/config.yaml", CONFIG.to_owned()),
                ("/var/lib/kubelet/instance-config.yaml", naming("unix:///instance.sock")),
            ],
            vec![("/instance.sock", "/var/lib/kubelet/instance-config.yaml")],
            Some(false),
        ),
        (
            vec![
                ("/var/lib/kubelet/config.yaml", naming("unix:///file.sock")),
                (
                    "/var/lib/kubelet/kubeadm-flags.env",
                    "A=\"--container-runtime-endpoint=unix:///env.sock\"".to_owned(),
                ),
            ],
            vec![
                ("/env.sock", "/var/lib/kubelet/kubeadm-flags.env"),
                ("/file.sock", "/var/lib/kubelet/config.yaml"),
            ],
            Some(false),
        ),
        (
            vec![(
                "/var/lib/kubelet/kubeadm-flags.env",
                "KUBELET_KUBEADM_ARGS=\"--network-plugin=cni --x=y\"\n".to_owned(),
            )],
            vec![("/var/run/dockershim.sock", "--network-plugin")],
            Some(true),
        ),
        (
            vec![
                (
                    "/etc/kubernetes/kubelet/config.json",
                    "{\"containerRuntimeEndpoint\":\"unix:///json.sock\"}".to_owned(),
                ),
                (
                    "/etc/kubernetes/kubelet/config.json.d/00-x.conf",
                    naming("unix:///over.sock"),
                ),
            ],
            vec![
                ("/over.sock", "/etc/kubernetes/kubelet/config.json.d/00-x.conf"),
                ("/json.sock", "/etc/kubernetes/kubelet/config.json"),
            ],
            Some(false),
        ),
        (
            vec![(
                embedded::MICROK8S_ARGUMENTS,
                "--container-runtime-endpoint=${SNAP_COMMON}/run/containerd.sock\n".to_owned(),
            )],
            vec![(
                "/var/snap/microk8s/common/run/containerd.sock",
                embedded::MICROK8S_ARGUMENTS,
            )],
            None,
        ),
        (
            vec![("/etc/rancher/k3s/config.yaml", "docker: true\ntoken: x\n".to_owned())],
            vec![(K3S_CRI_DOCKERD, "/etc/rancher/k3s/config.yaml")],
            None,
        ),
        (vec![("/var/lib/kubelet/config.yaml", CONFIG.to_owned())], vec![], None),
    ] {
        let host = RecordedHost::new();
        for (path, content) in &files {
            host.file(path, content);
        }
        let seen = look(&host);
        assert_eq!(
            (endpoints(&seen), dockershim(&seen), gaps(&seen)),
            (expected, shim, vec![]),
            "{files:?}"
        );
        assert_eq!(seen.reading.known().expect("files are here").program, None);
    }
}

#[test]
fn nothing_but_an_unreadable_file_is_unknown() {
    let host = RecordedHost::new();
    host.file("/var/lib/kubelet/config.yaml", "{");
    let seen = look(&host);
    assert_eq!(gaps(&seen), [(Reason::Malformed, "/var/lib/kubelet/config.yaml")]);
    assert!(seen.reading.gap().is_some());
    std::fs::remove_dir_all(host.paths().root).expect("it was made");
    assert_eq!(gaps(&look(&host)).len(), 1, "a root that cannot be opened is said once");
}

#[test]
fn hostile_arguments_name_no_endpoint() {
    let host = RecordedHost::new();
    let long = "x".repeat(1 << 20);
    with_kubelet(
        &host,
        &[
            "--container-runtime-endpoint",
            "--config",
            "",
            "--=",
            "-",
            "--config-dir=\u{1b}[2J",
            &long,
        ],
    );
    host.process(101, 1, "kubelet")
        .exe("/usr/bin/kubelet")
        .file("cmdline", b"kubelet\0--config=\xff\xfe\0");
    let seen = look(&host);
    assert_eq!(endpoints(&seen), []);
}

#[test]
fn fail_cgroup_v1_follows_the_winning_setting_and_is_unknown_if_that_is_unread() {
    let setting = |arguments: &[&str], files: &[(&str, &str)]| {
        let host = RecordedHost::new();
        with_kubelet(&host, arguments);
        for (path, content) in files {
            host.file(path, content);
        }
        let seen = look(&host);
        seen.reading.known().expect("a kubelet is here").fail_cgroup_v1.clone()
    };
    let (yes, no) = (
        "kind: KubeletConfiguration\nfailCgroupV1: true\n",
        "failCgroupV1: false\n",
    );
    let files = ["--config=/etc/k.yaml", "--config-dir=/etc/k.d"];
    assert_eq!(
        setting(&[], &[]),
        Reading::Absent,
        "no configuration leaves the default"
    );
    assert_eq!(setting(&files[..1], &[("/etc/k.yaml", CONFIG)]), Reading::Absent);
    assert_eq!(setting(&files[..1], &[("/etc/k.yaml", no)]), Reading::Known(false));
    let over = [("/etc/k.yaml", yes), ("/etc/k.d/9.conf", no)];
    assert_eq!(
        setting(&files, &over),
        Reading::Known(false),
        "a drop-in wins over the file"
    );
    let flag = ["--fail-cgroupv1=false", "--config=/etc/k.yaml"];
    assert_eq!(
        setting(&flag, &[("/etc/k.yaml", yes)]),
        Reading::Known(false),
        "a flag wins over both"
    );
    assert!(setting(&files[..1], &[]).gap().is_some(), "the named file is not there");
    let broken = [("/etc/k.yaml", no), ("/etc/k.d/9.conf", "[: {")];
    assert!(
        setting(&files, &broken).gap().is_some(),
        "the drop-in may say otherwise"
    );
}
