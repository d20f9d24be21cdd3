//! The runtime source against a real server on a real socket that violates the protocol.

mod bad;
mod choice;
mod lists;

use std::collections::BTreeSet;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use castoff::model::identity::{FileIdentity, SocketInode};
use castoff::model::kubelet::{EndpointCandidate, EndpointOrigin, Kubelet};
use castoff::model::reading::{Reading, Reason, Sighting};
use castoff::model::runtime::{CgroupDriver, CriApi, Deprecation, RuntimeSighting};
use castoff::model::socket::{ListeningFile, ListeningFiles};
use castoff::sources::HostPaths;
use castoff::sources::runtime::RuntimeSource;
use castoff_cri::v1;
use castoff_tests::fake::cri::{Api, FakeCri, Method, Script};

/// The deadline of one call in these tests: far longer than an answer takes, even on a busy machine.
const DEADLINE: Duration = Duration::from_secs(1);

const CONTAINERD: &str = "run/containerd/containerd.sock";

/// A host's root in a temporary directory.
struct Host {
    root: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        for dir in ["run/containerd", "run/crio", "run/k3s/containerd", "var"] {
            std::fs::create_dir_all(root.path().join(dir)).expect("a directory");
        }
        std::os::unix::fs::symlink("/run", root.path().join("var/run")).expect("a link");
        Self { root }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn serve(&self, path: &str, script: Script) -> FakeCri {
        FakeCri::start(self.at(path), script).expect("a fake runtime")
    }

    fn source(&self, configured: Option<&str>) -> Source {
        self.source_within(configured, DEADLINE)
    }

    fn source_within(&self, configured: Option<&str>, deadline: Duration) -> Source {
        let host = HostPaths {
            proc: PathBuf::from("/proc"),
            root: self.root.path().to_owned(),
        };
        let root = host.root.clone();
        let source = RuntimeSource::new(
            configured.map(str::to_owned),
            host,
            Some("worker-3".to_owned()),
            deadline,
        );
        Source { source, root }
    }
}

/// The runtime source of one host.
struct Source {
    source: RuntimeSource,
    root: PathBuf,
}

impl Source {
    async fn query(&mut self, kubelet: &Sighting<Kubelet>) -> RuntimeSighting {
        let listening = ListeningFiles {
            files: listening(&self.root),
            whole: true,
        };
        self.source.query(kubelet, &Arc::new(listening), &BTreeSet::new()).await
    }
}

/// Returns the sockets below `root` as listeners that are no engine's.
fn listening(root: &Path) -> Vec<ListeningFile> {
    let entries = std::fs::read_dir(root)
        .expect("a directory")
        .map(|e| e.expect("an entry"));
    let found = entries.flat_map(|entry| {
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() {
            return listening(&entry.path());
        }
        let file = entry.metadata().expect("it is there");
        let socket = ListeningFile {
            file: FileIdentity::from_stat(file.dev(), file.ino()),
            socket: SocketInode(1),
            name: entry.file_name().to_string_lossy().into_owned(),
            engine: None,
        };
        if kind.is_socket() { vec![socket] } else { Vec::new() }
    });
    found.collect()
}

/// Returns an unknown kubelet.
fn no_kubelet() -> Sighting<Kubelet> {
    Sighting::absent()
}

/// Returns a kubelet with one endpoint in its flag.
fn kubelet_with(path: &str) -> Sighting<Kubelet> {
    let origin = EndpointOrigin::KubeletFlag {
        flag: "--container-runtime-endpoint".to_owned(),
    };
    Sighting::full(Kubelet {
        program: Some("kubelet".to_owned()),
        dockershim: None,
        endpoints: vec![EndpointCandidate {
            path: path.to_owned(),
            origin,
        }],
        fail_cgroup_v1: Reading::Absent,
        subordinate_ids: Reading::Absent,
        process: None,
    })
}

/// Asks once, and fails if the deadline passes.
async fn ask(source: &mut Source, kubelet: &Sighting<Kubelet>) -> RuntimeSighting {
    let started = Instant::now();
    let seen = source.query(kubelet).await;
    let limit = DEADLINE * RuntimeSource::DEADLINES_IN_ALL + DEADLINE;
    assert!(started.elapsed() < limit, "it took {:?}", started.elapsed());
    seen
}

fn reason_of<T>(reading: &Reading<T>) -> Option<Reason> {
    reading.gap().map(|gap| gap.reason)
}

#[tokio::test]
async fn a_modern_runtime_is_only_asked_in_v1() {
    let host = Host::new();
    let script = Script::of("containerd", "2.3.4", [Api::V1])
        .cgroup_driver(v1::CgroupDriver::Systemd)
        .condition("ContainerdHasNoDeprecationWarnings", true, "")
        .pod("sandbox", "ci", "builder-0", "7d2a")
        .container("sandbox", "c0ffee", "build", &[("/var/run", "/host/run")]);
    let fake = host.serve(CONTAINERD, script);
    let seen = ask(&mut host.source(None), &no_kubelet()).await;
    let runtime = seen.runtime.reading.known().expect("it answers");
    assert_eq!(
        (runtime.name.as_str(), runtime.version.as_str(), runtime.api),
        ("containerd", "2.3.4", CriApi::V1)
    );
    assert_eq!(runtime.canonical_path, "/run/containerd/containerd.sock");
    assert_eq!(runtime.cgroup_driver, Reading::Known(CgroupDriver::Systemd));
    assert_eq!(runtime.deprecations, Reading::Known(vec![]));
    assert_eq!(runtime.conditions.known().map(Vec::len), Some(3));
    assert_eq!((seen.runtime.gaps.len(), seen.refused.len()), (0, 0), "{seen:?}");
    let pods = seen.pods.reading.known().expect("pods");
    assert_eq!(
        (pods[0].namespace.as_str(), pods[0].name.as_str(), pods[0].ready),
        ("ci", "builder-0", true)
    );
    let containers = seen.containers.reading.known().expect("containers");
    assert_eq!(containers[0].image, "registry.test/build:1");
    assert_eq!(containers[0].mounts.known().expect("mounts")[0].host_path, "/var/run");
    assert_eq!(fake.calls_in(Api::V1alpha2), 0);
    assert_eq!(fake.calls(Api::V1, Method::Other), 0);
}

#[tokio::test]
async fn v1alpha2_is_never_used_if_v1_answers() {
    let host = Host::new();
    let fake = host.serve(CONTAINERD, Script::default());
    let mut source = host.source(None);
    for _ in 0..3 {
        assert!(ask(&mut source, &no_kubelet()).await.runtime.reading.known().is_some());
    }
    assert_eq!(
        (fake.calls(Api::V1, Method::Version), fake.calls_in(Api::V1alpha2)),
        (3, 0)
    );
}

#[tokio::test]
async fn an_old_runtime_is_asked_in_v1alpha2() {
    let host = Host::new();
    let script = Script::of("docker", "20.10.24", [Api::V1alpha2])
        .pod("sandbox", "default", "web", "7d2a")
        .container("sandbox", "c0ffee", "web", &[("/run/docker.sock", "/run/docker.sock")]);
    let fake = host.serve("run/dockershim.sock", script);
    let seen = ask(&mut host.source(None), &no_kubelet()).await;
    let runtime = seen.runtime.reading.known().expect("it answers");
    assert_eq!((runtime.name.as_str(), runtime.api), ("docker", CriApi::V1alpha2));
    assert_eq!(runtime.cgroup_driver, Reading::Absent, "v1alpha2 has no RuntimeConfig");
    assert_eq!(
        seen.containers.reading.known().expect("containers")[0]
            .mounts
            .known()
            .map(Vec::len),
        Some(1)
    );
    assert_eq!(
        runtime.pod_metrics,
        Reading::Absent,
        "v1alpha2 has no ListMetricDescriptors"
    );
    assert_eq!(fake.calls(Api::V1alpha2, Method::RuntimeConfig), 0);
    assert_eq!(fake.calls_in(Api::V1), 1, "Version, to learn that it is not there");
}

#[tokio::test]
async fn the_runtimes_metrics_of_pods_are_detected() {
    let host = Host::new();
    let fake = host.serve(CONTAINERD, Script::default());
    for serves in [false, true] {
        fake.edit(|script| script.pod_metrics = serves);
        let seen = ask(&mut host.source(None), &no_kubelet()).await;
        let runtime = seen.runtime.reading.known().expect("it answers");
        assert_eq!(runtime.pod_metrics, Reading::Known(serves));
    }
}

#[tokio::test]
async fn a_missing_runtime_config_is_a_known_fact() {
    let host = Host::new();
    let _fake = host.serve(CONTAINERD, Script::default());
    let seen = ask(&mut host.source(None), &no_kubelet()).await;
    assert_eq!(
        seen.runtime.reading.known().expect("it answers").cgroup_driver,
        Reading::Absent
    );
    assert_eq!(seen.runtime.gaps, []);
}

#[tokio::test]
async fn deprecations_have_the_runtimes_own_text() {
    let host = Host::new();
    let said = r#"{"io.containerd.deprecation/cri-api-v1alpha2":"CRI API v1alpha2 is deprecated"}"#;
    let fake = host.serve(
        CONTAINERD,
        Script::default().condition("ContainerdHasNoDeprecationWarnings", false, said),
    );
    let mut source = host.source(None);
    let seen = ask(&mut source, &no_kubelet()).await;
    let expected = Deprecation {
        id: "io.containerd.deprecation/cri-api-v1alpha2".to_owned(),
        message: "CRI API v1alpha2 is deprecated".to_owned(),
    };
    assert_eq!(
        seen.runtime.reading.known().expect("it answers").deprecations,
        Reading::Known(vec![expected])
    );
    fake.edit(|script| {
        script.conditions.pop();
    });
    let seen = ask(&mut source, &no_kubelet()).await;
    assert_eq!(
        seen.runtime.reading.known().expect("it answers").deprecations,
        Reading::Absent
    );
    fake.edit(|script| {
        *script = script
            .clone()
            .condition("ContainerdHasNoDeprecationWarnings", false, "{broken");
    });
    let seen = ask(&mut source, &no_kubelet()).await;
    let deprecations = &seen.runtime.reading.known().expect("it answers").deprecations;
    assert_eq!(reason_of(deprecations), Some(Reason::Malformed));
}
