//! Arguments and configurations of dockerd.

use super::*;

fn settings(command: &[&str], file: &str) -> DockerSettings {
    let command: Vec<String> = command.iter().map(|argument| (*argument).to_owned()).collect();
    let keys = parse(file.as_bytes(), "/etc/docker/daemon.json").expect("it is a configuration");
    resolve(keys, &command, Vec::new()).expect("they are settings")
}

/// The example of Docker's documentation of dockerd, in the parts that concern a runtime.
const FILE: &str = r#"{
    "bip": "10.1.0.1/16", "debug": true, "hosts": [], "dns": ["10.0.0.1"],
    "registry-mirrors": ["https://u:hunter2@mirror.test/"],
    "insecure-registries": ["http://plain.test:5000/", "10.0.0.0/8"],
    "log-driver": "splunk",
    "log-opts": {"splunk-token": "hunter2", "max-size": "10m", "max-file": 5},
    "default-runtime": "nvidia",
    "runtimes": {
        "nvidia": {"path": "nvidia-container-runtime", "runtimeArgs": []},
        "runsc": {"runtimeType": "io.containerd.runsc.v1"},
        "gpu": {"runtimeType": "io.containerd.runc.v2", "options": {"BinaryName": "/opt/gpu"}}
    },
    "exec-opts": ["native.umask=normal", "native.cgroupdriver=systemd"],
    "default-ulimits": {"nofile": {"Name": "nofile", "Hard": 64000, "Soft": 1024}},
    "proxies": {"http-proxy": "http://u:hunter2@proxy.test", "no-proxy": ""},
    "live-restore": true,
    "data-root": "/data/docker"
}"#;

#[test]
fn a_file_is_read_without_its_secrets() {
    let read = settings(&["dockerd"], FILE);
    assert_eq!(read.mirrors, ["https://mirror.test/"]);
    assert_eq!(read.insecure, ["plain.test:5000", "10.0.0.0/8"]);
    assert_eq!(read.log_driver.as_deref(), Some("splunk"));
    let options: Vec<_> = read
        .log_options
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_deref()))
        .collect();
    assert_eq!(
        options,
        [
            ("max-file", Some("5")),
            ("max-size", Some("10m")),
            ("splunk-token", None)
        ]
    );
    assert_eq!(read.default_runtime.as_deref(), Some("nvidia"));
    let runtimes: Vec<_> = read
        .runtimes
        .iter()
        .map(|(name, program)| (name.as_str(), program.as_str()))
        .collect();
    assert_eq!(
        runtimes,
        [
            ("gpu", "/opt/gpu"),
            ("nvidia", "nvidia-container-runtime"),
            ("runsc", "io.containerd.runsc.v1")
        ]
    );
    assert_eq!(read.cgroup_driver.as_deref(), Some("systemd"));
    assert_eq!(
        read.ulimits.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["nofile=1024:64000"]
    );
    assert_eq!(read.proxies.keys().copied().collect::<Vec<_>>(), ["HTTP_PROXY"]);
    assert!(read.live_restore);
    assert_eq!(read.data_root.as_deref(), Some("/data/docker"));
    assert_eq!(read.other, ["bip", "dns"], "those that concern containers");
    assert!(!format!("{read:?}").contains("hunter2"));
}

#[test]
fn arguments_come_before_the_file() {
    let read = settings(
        &[
            "dockerd",
            "--registry-mirror=https://a.test",
            "--registry-mirror",
            "https://b.test",
            "--insecure-registry=c.test",
            "--log-driver=journald",
            "--log-opt",
            "max-size=20m",
            "--default-runtime=runc",
            "--add-runtime=kata=/usr/bin/kata",
            "--exec-opt",
            "native.cgroupdriver=cgroupfs",
            "--default-ulimit=nofile=1:2",
            "--default-ulimit=core=0",
            "--live-restore=false",
            "-g",
            "/graph",
            "--https-proxy=http://p.test",
        ],
        FILE,
    );
    assert_eq!(
        (read.mirrors.join(" "), read.insecure.join(" ")),
        ("https://a.test https://b.test".into(), "c.test".into())
    );
    assert_eq!(read.log_driver.as_deref(), Some("journald"));
    assert_eq!(read.log_options["max-size"].as_deref(), Some("20m"));
    assert_eq!(read.default_runtime.as_deref(), Some("runc"));
    assert_eq!(
        read.runtimes.keys().collect::<Vec<_>>(),
        ["gpu", "kata", "nvidia", "runsc"]
    );
    assert_eq!(read.cgroup_driver.as_deref(), Some("cgroupfs"));
    assert_eq!(
        read.ulimits.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["nofile=1:2", "core=0:0"]
    );
    assert_eq!((read.live_restore, read.data_root.as_deref()), (false, Some("/graph")));
    assert_eq!(
        read.proxies.keys().copied().collect::<Vec<_>>(),
        ["HTTPS_PROXY", "HTTP_PROXY"]
    );
}

#[test]
fn an_empty_file_and_no_settings_are_the_same() {
    assert_eq!(settings(&["dockerd"], ""), settings(&["dockerd"], "{}"));
    assert_eq!(settings(&["dockerd"], "{}"), DockerSettings::default());
}

#[test]
fn an_error_names_the_line_and_quotes_nothing() {
    for (file, part) in [
        ("{\n\"log-driver\": hunter2}", "line 2: it is not JSON"),
        (
            "{\n\n\"log-driver\": [\"hunter2\"]}",
            "line 3: a setting has a type that dockerd does not accept",
        ),
        ("[\"hunter2\"]", "a type that dockerd does not accept"),
    ] {
        let gap = parse(file.as_bytes(), "/etc/docker/daemon.json").expect_err("it is none");
        assert!(gap.answer.contains(part) && !gap.answer.contains("hunter2"), "{gap}");
        assert_eq!(gap.reason, Reason::Malformed);
    }
    let wrong = ["dockerd", "--default-ulimit=hunter2"].map(String::from);
    let gap = resolve(Keys::default(), &wrong, Vec::new()).expect_err("it is no limit");
    assert!(!gap.to_string().contains("hunter2"), "{gap}");
}
