//! Files like those of real nodes, written according to the documentation of each program, and invalid files.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::model::identity::{Pid, ProcessKey};
use crate::model::workload::Membership;
use crate::sources::recorded::RecordedHost;

mod bad_input;
mod crio_files;

/// containerd 1.7 with registries in a directory, a runtime for GPUs and limits in a base specification.
const VERSION_2: &str = r#"
version = 2
root = "/data/containerd"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:3.9"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "nvidia"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia]
      runtime_type = "io.containerd.runc.v2"
      base_runtime_spec = "/etc/containerd/base.json"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia.options]
        BinaryName = "/usr/bin/nvidia-container-runtime"
        SystemdCgroup = true
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "/etc/containerd/certs.d"
"#;

/// The same for containerd 2.
fn version_3() -> String {
    VERSION_2
        .replace("version = 2", "version = 3")
        .replace(
            "plugins.\"io.containerd.grpc.v1.cri\".registry",
            "plugins.'io.containerd.cri.v1.images'.registry",
        )
        .replace("io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime")
}

const BASE: &str = r#"{"ociVersion":"1.0.2","process":{"rlimits":[
    {"type":"RLIMIT_NOFILE","soft":1024,"hard":4096},{"type":"RLIMIT_CORE","soft":0,"hard":18446744073709551615}]}}"#;

/// A host with containerd (600) and dockerd (800), which both run in the host's root.
struct Node {
    host: RecordedHost,
    version: &'static str,
    program: RuntimeProgram,
}

impl Node {
    fn new(version: &'static str) -> Self {
        let host = RecordedHost::new();
        host.process(600, 1, "containerd")
            .exe("/usr/bin/containerd")
            .in_host_root()
            .file("environ", "PATH=/bin\0");
        host.process(800, 1, "dockerd")
            .exe("/usr/bin/dockerd")
            .in_host_root()
            .file("environ", "PATH=/bin\0");
        Self {
            host,
            version,
            program: RuntimeProgram::Containerd,
        }
    }

    fn file(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        self.host.file(path, content);
        self
    }

    /// Sets the arguments of containerd, or of CRI-O.
    fn arguments(&self, arguments: &[&str]) -> &Self {
        self.host
            .process(600, 1, "containerd")
            .in_host_root()
            .arguments(arguments)
            .file("environ", "PATH=/bin\0");
        self
    }

    fn process(pid: u32, name: &str) -> Process {
        Process {
            key: ProcessKey {
                pid: Pid(pid),
                start: u64::from(pid) * 10,
            },
            name: name.to_owned(),
            executable: Some(format!("/usr/bin/{name}")),
            uid: Some(0),
            netns: None,
            membership: Membership::default(),
        }
    }

    fn asked(&self) -> SettingsAsked {
        SettingsAsked {
            daemons: vec![Self::process(800, "dockerd")],
            runtime: RuntimeAsked::Serves {
                program: self.program,
                version: self.version.to_owned(),
                endpoint: "/run/containerd/containerd.sock".to_owned(),
                process: Some(Box::new(Self::process(600, "containerd"))),
            },
        }
    }

    fn read(&self) -> Sighting<DaemonSettings> {
        self.read_as(&self.asked())
    }

    fn read_as(&self, asked: &SettingsAsked) -> Sighting<DaemonSettings> {
        read_settings(&self.host.paths(), &self.host.reader(), asked)
    }

    /// Returns the runtime's settings, of which everything must be known.
    fn runtime(&self) -> RuntimeSettings {
        let seen = self.read();
        assert_eq!(seen.gaps, []);
        seen.reading.known().expect("they are readable").runtime.clone()
    }

    fn config(&self) -> RuntimeConfig {
        self.runtime().config.known().expect("it has a file").clone()
    }

    /// Returns the URLs of a registry, with a mark for those without a check.
    fn endpoints(&self, registry: &str) -> Vec<String> {
        let runtime = self.runtime();
        let registries = runtime.registries.known().expect("they are readable");
        let shown = |endpoint: &Endpoint| format!("{}{}", endpoint.url, if endpoint.unverified { " !" } else { "" });
        registries[registry].iter().map(shown).collect()
    }
}

fn insecure(registries: &[&str]) -> String {
    format!("{{\"insecure-registries\": {registries:?}}}")
}

#[test]
fn versions_2_and_3_of_one_configuration_say_the_same() {
    for (version, file) in [
        ("1.7.24", VERSION_2.to_owned()),
        ("2.3.4", version_3()),
        ("2.3.4", VERSION_2.to_owned()),
    ] {
        let node = Node::new(version);
        node.file("/etc/containerd/config.toml", &file)
            .file("/etc/containerd/base.json", BASE);
        node.file(
            "/etc/containerd/certs.d/docker.io/hosts.toml",
            "[host.\"https://mirror.test\"]\n",
        );
        let config = node.config();
        assert_eq!(config.root.as_deref(), Some("/data/containerd"));
        assert_eq!(config.default_runtime.as_deref(), Some("nvidia"));
        let runtimes: Vec<_> = config
            .runtimes
            .iter()
            .map(|(name, own)| (name.as_str(), own.as_str()))
            .collect();
        assert_eq!(
            runtimes,
            [
                ("nvidia", "/usr/bin/nvidia-container-runtime"),
                ("runc", "io.containerd.runc.v2")
            ]
        );
        assert_eq!(
            config.cgroup_driver.as_deref(),
            Some("systemd"),
            "that of the default runtime counts"
        );
        let limits: Vec<String> = config.ulimits.iter().map(ToString::to_string).collect();
        assert_eq!(limits, ["nofile=1024:4096", "core=0:-1"]);
        assert_eq!(
            node.endpoints("docker.io"),
            ["https://mirror.test", "https://registry-1.docker.io"]
        );
        assert_eq!(
            node.runtime().place,
            RegistryPlace::Directory("/etc/containerd/certs.d".to_owned())
        );
    }
}

/// Version 4 moves the settings of containerd's server, and those of images and containers stay (containerd 2.3).
#[test]
fn version_4_is_read_as_version_3() {
    let node = Node::new("2.3.4");
    let server = "[plugins.'io.containerd.server.v1.grpc']\naddress = '/run/containerd/containerd.sock'\n";
    let file = format!("{}\n{server}", version_3().replace("version = 3", "version = 4"));
    node.file("/etc/containerd/config.toml", file)
        .file("/etc/containerd/base.json", BASE);
    assert_eq!(node.config().default_runtime.as_deref(), Some("nvidia"));
    assert_eq!(
        node.runtime().plugins,
        ["io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"]
    );
}

#[test]
fn version_1_has_the_short_name_of_the_plugin() {
    let node = Node::new("1.6.39");
    let file = "[plugins.cri]\nsystemd_cgroup = true\n[plugins.cri.registry.mirrors.\"docker.io\"]\n\
                endpoint = [\"https://mirror.test\"]\n";
    node.file("/etc/containerd/config.toml", file);
    assert_eq!(node.config().cgroup_driver.as_deref(), Some("systemd"));
    assert_eq!(
        node.endpoints("docker.io"),
        ["https://mirror.test", "https://registry-1.docker.io"]
    );
    assert_eq!(
        (node.runtime().place, node.runtime().plugins),
        (RegistryPlace::Tables, ["cri", "cri"])
    );
}

/// containerd migrates a file according to its version, so the old name in a file of version 3 is ignored.
#[test]
fn the_old_plugin_in_a_file_of_version_3_sets_nothing() {
    let node = Node::new("2.3.4");
    node.file(
        "/etc/containerd/config.toml",
        VERSION_2.replace("version = 2", "version = 3"),
    );
    assert_eq!(node.config().default_runtime, None);
    let unset = node.runtime().place;
    assert_eq!(
        unset,
        RegistryPlace::Directory("/etc/containerd/certs.d".to_owned()),
        "the default of 2.2 and newer"
    );
}

#[test]
fn without_a_file_the_runtime_has_its_defaults() {
    let node = Node::new("1.7.24");
    let runtime = node.file("/etc/docker/daemon.json", "{}").runtime();
    assert_eq!((runtime.config, runtime.place), (Reading::Absent, RegistryPlace::Unset));
    assert_eq!(runtime.files, [""; 0]);
    assert_eq!(node.endpoints("docker.io"), ["https://registry-1.docker.io"]);
}

/// Up to 1.7 a drop-in replaces the section of a plugin; since 2.0 it is merged, and `false` overrides nothing.
#[test]
fn imports_are_merged_in_the_way_of_the_running_version() {
    let base = "version = 2\nimports = [\"/etc/containerd/conf.d/*.toml\", \"more.toml\"]\n";
    let drop_in = |runtime: &str, systemd: bool| {
        format!(
            "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.{runtime}.options]\n\
             SystemdCgroup = {systemd}\nBinaryName = \"/usr/bin/{runtime}\"\n"
        )
    };
    for (version, expected, driver) in [
        ("1.7.24", ["runc"].as_slice(), "cgroupfs"),
        ("2.0.0", &["gpu", "runc"], "systemd"),
    ] {
        let node = Node::new(version);
        node.file("/etc/containerd/config.toml", base);
        node.file("/etc/containerd/conf.d/10-gpu.toml", drop_in("gpu", true));
        node.file("/etc/containerd/conf.d/20-runc.toml", drop_in("runc", true));
        node.file("/etc/containerd/conf.d/not.conf", "not TOML");
        node.file("/etc/containerd/more.toml", drop_in("runc", false));
        let config = node.config();
        assert_eq!(
            config.runtimes.keys().map(String::as_str).collect::<Vec<_>>(),
            expected,
            "{version}"
        );
        assert_eq!(config.cgroup_driver.as_deref(), Some(driver), "{version}");
        let files = node.runtime().files;
        let names: Vec<&str> = files.iter().filter_map(|file| file.rsplit('/').next()).collect();
        assert_eq!(names, ["config.toml", "10-gpu.toml", "20-runc.toml", "more.toml"]);
    }
}

#[test]
fn imports_that_lead_in_a_circle_are_read_once() {
    let node = Node::new("2.3.4");
    node.file("/etc/containerd/config.toml", "version = 3\nimports = [\"a.toml\"]\n");
    node.file(
        "/etc/containerd/a.toml",
        "version = 3\nroot = \"/a\"\nimports = [\"./config.toml\", \"a.toml\"]\n",
    );
    assert_eq!(node.config().root.as_deref(), Some("/a"));
}

#[test]
fn a_registry_is_found_by_the_names_that_containerd_tries() {
    let node = Node::new("2.3.4");
    let registries = [
        "port.test:5000",
        "colon.test:5000",
        "plain.test",
        "other.test",
        "certs.test",
        "localhost:5000",
    ];
    node.file("/etc/docker/daemon.json", insecure(&registries));
    let hosts = |name: &str, content: &str| {
        node.file(&format!("/etc/containerd/certs.d/{name}"), content);
    };
    hosts("port.test_5000_/hosts.toml", "[host.\"http://port.test:5000\"]\n");
    hosts(
        "colon.test:5000/hosts.toml",
        "server = \"https://colon.test:5000\"\nskip_verify = true\n",
    );
    hosts("plain.test/hosts.toml", "skip_verify = true\n");
    hosts("_default/hosts.toml", "[host.\"proxy.test\"]\nskip_verify = true\n");
    hosts("certs.test/ca.crt", "");
    for (registry, expected) in [
        (
            "port.test:5000",
            ["http://port.test:5000 !", "https://port.test:5000"].as_slice(),
        ),
        ("colon.test:5000", &["https://colon.test:5000 !"]),
        ("plain.test", &["https://plain.test !"]),
        ("other.test", &["https://proxy.test !", "https://other.test"]),
        ("certs.test", &["https://certs.test"]),
        ("docker.io", &["https://proxy.test !", "https://registry-1.docker.io"]),
    ] {
        assert_eq!(node.endpoints(registry), expected, "{registry}");
    }
    fs::remove_dir_all(node.host.paths().root.join("etc/containerd/certs.d/_default")).expect("it is there");
    assert_eq!(node.endpoints("localhost:5000"), ["https://localhost:5000 !"]);
}

#[test]
fn the_deprecated_tables_of_registries_are_read_without_their_passwords() {
    let node = Node::new("1.7.24");
    node.file(
        "/etc/docker/daemon.json",
        insecure(&["a.test", "b.test:5000", "c.test"]),
    );
    let cri = "plugins.\"io.containerd.grpc.v1.cri\".registry";
    let file = format!(
        "version = 2\n[{cri}.mirrors.\"docker.io\"]\nendpoint = [\"https://u:hunter2@mirror.test\"]\n\
         [{cri}.mirrors.\"b.test:5000\"]\nendpoint = [\"http://b.test:5000\"]\n\
         [{cri}.configs.\"a.test\".tls]\ninsecure_skip_verify = true\n\
         [{cri}.configs.\"a.test\".auth]\nusername = \"u\"\npassword = \"hunter2\"\n"
    );
    node.file("/etc/containerd/config.toml", file);
    assert_eq!(
        node.endpoints("docker.io"),
        ["https://mirror.test", "https://registry-1.docker.io"]
    );
    assert_eq!(node.endpoints("a.test"), ["https://a.test !"]);
    assert_eq!(
        node.endpoints("b.test:5000"),
        ["http://b.test:5000 !", "https://b.test:5000"]
    );
    assert_eq!(node.endpoints("c.test"), ["https://c.test"]);
    assert!(!format!("{:?}", node.read()).contains("hunter2"));
}

#[test]
fn the_arguments_of_the_process_name_the_file() {
    for arguments in [
        ["/opt/containerd", "--config=/data/a b/c.toml", "--log-level", "info"],
        ["/opt/containerd", "-c", "/data/a b/c.toml", "--state=/run"],
    ] {
        let node = Node::new("2.3.4");
        node.file("/data/a b/c.toml", "version = 3\nroot = \"/named\"\n");
        node.file("/etc/containerd/config.toml", "version = 3\nroot = \"/default\"\n")
            .arguments(&arguments);
        let runtime = node.runtime();
        assert_eq!(runtime.main_file, "/data/a b/c.toml");
        assert_eq!(node.config().root.as_deref(), Some("/named"));
    }
}

#[test]
fn the_file_that_k3s_writes_is_changed_through_its_own() {
    for (data, own) in [
        ("/var/lib/rancher/k3s", "/etc/rancher/k3s/registries.yaml"),
        ("/var/lib/rancher/rke2", "/etc/rancher/rke2/registries.yaml"),
    ] {
        let node = Node::new("2.1.5-k3s1");
        let file = format!("{data}/agent/etc/containerd/config.toml");
        let hosts = format!("{data}/agent/etc/containerd/certs.d");
        let content =
            format!("version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = \"{hosts}\"\n");
        node.file(&file, content).file(
            &format!("{hosts}/docker.io/hosts.toml"),
            "[host.\"https://mirror.test\"]\n",
        );
        node.arguments(&["containerd", "-c", &file]);
        assert_eq!(node.runtime().place, RegistryPlace::Distribution(own.to_owned()));
        assert_eq!(node.endpoints("docker.io")[0], "https://mirror.test");
    }
}

/// An ordinary user can make a process that names any file, so its arguments and its environment do not count.
#[test]
fn the_process_of_an_ordinary_user_names_no_file() {
    let node = Node::new("2.3.4");
    node.file("/etc/containerd/config.toml", "version = 3\nroot = \"/default\"\n");
    node.file("/home/u/c.toml", "version = 3\nroot = \"/forged\"\n")
        .arguments(&["containerd", "-c", "/home/u/c.toml"]);
    let mut asked = node.asked();
    let RuntimeAsked::Serves { process, endpoint, .. } = &mut asked.runtime else {
        panic!("it serves")
    };
    process.as_mut().expect("it has one").uid = Some(1000);
    assert_eq!(endpoint, "/run/containerd/containerd.sock");
    let seen = node.read_as(&asked);
    let runtime = &seen.reading.known().expect("the default file is readable").runtime;
    assert_eq!(
        runtime.config.known().expect("it is there").root.as_deref(),
        Some("/default")
    );
    assert!(runtime.proxies.gap().is_some());
    assert_eq!(seen.gaps.len(), 1, "{:?}", seen.gaps);
    let RuntimeAsked::Serves { endpoint, .. } = &mut asked.runtime else {
        panic!("it serves")
    };
    *endpoint = "/run/k3s/containerd/containerd.sock".to_owned();
    let seen = node.read_as(&asked);
    let runtime = &seen.reading.known().expect("Docker's settings are readable").runtime;
    assert!(runtime.config.gap().is_some(), "its file is not known: {runtime:?}");
    assert!(runtime.registries.gap().is_some());
}

#[test]
fn the_proxies_of_both_are_read_in_both_spellings() {
    let node = Node::new("2.3.4");
    let environment = |pid, name: &str, content: &str| {
        node.host
            .process(pid, 1, name)
            .exe(&format!("/usr/bin/{name}"))
            .in_host_root()
            .file("environ", content);
    };
    environment(
        600,
        "containerd",
        "https_proxy=http://p.test\0HTTP_PROXY=\0TOKEN=hunter2\0NO_PROXY=a\0no_proxy=b\0",
    );
    environment(
        800,
        "dockerd",
        "HTTP_PROXY=http://env.test\0HTTPS_PROXY=http://p.test\0TOKEN=hunter2\0",
    );
    node.file(
        "/etc/docker/daemon.json",
        r#"{"proxies": {"http-proxy": "http://file.test"}}"#,
    );
    let seen = node.read();
    let settings = seen.reading.known().expect("they are readable");
    let shown = |proxies: &Proxies| {
        proxies
            .iter()
            .map(|(name, value)| (*name, value.0.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        shown(settings.runtime.proxies.known().expect("they are readable")),
        [
            ("HTTPS_PROXY", "http://p.test".to_owned()),
            ("NO_PROXY", "a".to_owned())
        ]
    );
    assert_eq!(
        shown(&settings.docker.proxies),
        [
            ("HTTPS_PROXY", "http://p.test".to_owned()),
            ("HTTP_PROXY", "http://file.test".to_owned())
        ]
    );
    assert!(!format!("{seen:?}").contains("p.test") && !format!("{seen:?}").contains("hunter2"));
}

#[test]
fn for_a_docker_that_serves_the_kubelet_the_next_runtime_is_read() {
    let node = Node::new("1.7.24");
    let asked = SettingsAsked {
        runtime: RuntimeAsked::Planned,
        ..node.asked()
    };
    let read = || {
        let seen = node.read_as(&asked);
        assert_eq!(seen.gaps, []);
        seen.reading.known().expect("they are readable").runtime.clone()
    };
    node.file("/etc/crio/crio.conf", "[crio]\nroot = \"/crio\"\n");
    let crio = read();
    assert_eq!((crio.program, crio.serves_kubelet), (RuntimeProgram::CriO, false));
    assert_eq!(crio.proxies, Reading::Absent, "no process of it runs");
    // As Docker's package installs it.
    node.file("/etc/containerd/config.toml", "disabled_plugins = [\"cri\"]\n");
    assert_eq!(read().program, RuntimeProgram::Containerd);
}

#[test]
fn without_a_dockerd_its_file_counts_and_without_both_there_is_nothing() {
    let node = Node::new("1.7.24");
    let asked = SettingsAsked {
        daemons: Vec::new(),
        ..node.asked()
    };
    assert_eq!(node.read_as(&asked), Sighting::absent());
    node.file("/etc/docker/daemon.json", r#"{"registry-mirrors": ["https://m.test"]}"#);
    let seen = node.read_as(&asked);
    let docker = &seen.reading.known().expect("it is readable").docker;
    assert_eq!(
        (docker.mirrors.as_slice(), docker.from.as_slice()),
        (
            ["https://m.test".to_owned()].as_slice(),
            ["/etc/docker/daemon.json".to_owned()].as_slice()
        )
    );
}

#[test]
fn a_second_dockerd_is_a_gap() {
    let node = Node::new("1.7.24");
    let mut asked = node.asked();
    asked.daemons.push(Node::process(801, "dockerd"));
    let gaps = node.read_as(&asked).gaps;
    assert!(
        matches!(gaps.as_slice(), [gap] if gap.answer.contains("1 more dockerd")),
        "{gaps:?}"
    );
}

#[test]
fn versions_are_read_as_runtimes_spell_them() {
    for (text, expected) in [
        ("1.7.24", Some((1, 7))),
        ("v2.1.5-k3s1", Some((2, 1))),
        ("2.3.0~ds1", Some((2, 3))),
        ("1.3.7+unknown", Some((1, 3))),
        ("", None),
        ("main", None),
    ] {
        assert_eq!(parse_version(text), expected, "{text}");
    }
}
