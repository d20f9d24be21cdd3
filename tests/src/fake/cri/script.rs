//! The answers of a fake runtime.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use castoff_cri::v1;
use tonic::Code;

/// A version of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Api {
    /// `runtime.v1`.
    V1,
    /// `runtime.v1alpha2`.
    V1alpha2,
}

/// A method of `RuntimeService` that castoff calls, or any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// `Version`.
    Version,
    /// `Status`.
    Status,
    /// `RuntimeConfig`.
    RuntimeConfig,
    /// `ListMetricDescriptors`.
    ListMetricDescriptors,
    /// `ListPodSandbox`.
    ListPodSandbox,
    /// `ListContainers`.
    ListContainers,
    /// `ContainerStatus`.
    ContainerStatus,
    /// A method that castoff must not call.
    Other,
}

/// The fault of one method.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It never answers.
    Hang,
    /// It answers late.
    Late(Duration),
    /// It answers with an error.
    Error(Code, &'static str),
    /// It answers with an empty message, like another service.
    Empty,
}

/// The answers of a fake runtime. The default is a containerd 1.7 with nothing running.
#[derive(Clone, Debug)]
pub struct Script {
    /// The versions of the interface that it serves.
    pub apis: BTreeSet<Api>,
    /// `runtime_name`.
    pub name: String,
    /// `runtime_version`.
    pub version: String,
    /// The conditions of `Status`.
    pub conditions: Vec<v1::RuntimeCondition>,
    /// The driver of `RuntimeConfig`; none for a runtime without that call.
    pub cgroup_driver: Option<v1::CgroupDriver>,
    /// True for a runtime with `ListMetricDescriptors`.
    pub pod_metrics: bool,
    /// The sandboxes.
    pub pods: Vec<v1::PodSandbox>,
    /// The containers in any state. A filter for the state is applied.
    pub containers: Vec<v1::Container>,
    /// The mounts of each container by its ID. `ContainerStatus` of a missing ID is answered with `NotFound`.
    pub mounts: BTreeMap<String, Vec<v1::Mount>>,
    /// The faults.
    pub faults: BTreeMap<Method, Fault>,
    /// New connections are closed after this many bytes to the client.
    pub close_after: Option<usize>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            apis: BTreeSet::from([Api::V1, Api::V1alpha2]),
            name: "containerd".to_owned(),
            version: "1.7.34".to_owned(),
            conditions: vec![condition("RuntimeReady", true, ""), condition("NetworkReady", true, "")],
            cgroup_driver: None,
            pod_metrics: false,
            pods: Vec::new(),
            containers: Vec::new(),
            mounts: BTreeMap::new(),
            faults: BTreeMap::new(),
            close_after: None,
        }
    }
}

impl Script {
    /// Creates a runtime of a name and version that serves `apis`.
    pub fn of(name: &str, version: &str, apis: impl IntoIterator<Item = Api>) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            apis: apis.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Adds `RuntimeConfig`.
    #[must_use]
    pub fn cgroup_driver(mut self, driver: v1::CgroupDriver) -> Self {
        self.cgroup_driver = Some(driver);
        self
    }

    /// Adds a condition.
    #[must_use]
    pub fn condition(mut self, kind: &str, status: bool, message: &str) -> Self {
        self.conditions.push(condition(kind, status, message));
        self
    }

    /// Adds a fault.
    #[must_use]
    pub fn fault(mut self, method: Method, fault: Fault) -> Self {
        self.faults.insert(method, fault);
        self
    }

    /// Adds a ready pod with the sandbox `sandbox` and the UID `uid`.
    #[must_use]
    pub fn pod(mut self, sandbox: &str, namespace: &str, name: &str, uid: &str) -> Self {
        self.pods.push(v1::PodSandbox {
            id: sandbox.into(),
            metadata: Some(v1::PodSandboxMetadata {
                name: name.into(),
                uid: uid.into(),
                namespace: namespace.into(),
            }),
            state: v1::PodSandboxState::SandboxReady as i32,
            ..v1::PodSandbox::default()
        });
        self
    }

    /// Adds a label to the last pod.
    #[must_use]
    pub fn label(mut self, key: &[u8], value: &[u8]) -> Self {
        let entry = v1::pod_sandbox::LabelsEntry {
            key: key.to_owned(),
            value: value.to_owned(),
        };
        self.last_pod().labels.push(entry);
        self
    }

    /// Adds an annotation to the last pod.
    #[must_use]
    pub fn annotation(mut self, key: &[u8], value: &[u8]) -> Self {
        let entry = v1::pod_sandbox::AnnotationsEntry {
            key: key.to_owned(),
            value: value.to_owned(),
        };
        self.last_pod().annotations.push(entry);
        self
    }

    /// Sets the creation time of the last pod, in seconds since 1970.
    #[must_use]
    pub fn made(mut self, seconds: i64) -> Self {
        self.last_pod().created_at = seconds * 1_000_000_000;
        self
    }

    fn last_pod(&mut self) -> &mut v1::PodSandbox {
        self.pods.last_mut().expect("a pod was named before")
    }

    /// Sets the state of the last container, and how many of its name were before it.
    #[must_use]
    pub fn state(mut self, state: v1::ContainerState, attempt: u32) -> Self {
        let container = self.containers.last_mut().expect("a container was named before");
        container.state = state as i32;
        if let Some(metadata) = &mut container.metadata {
            metadata.attempt = attempt;
        }
        self
    }

    /// Adds a running container of a pod with the mounts `(path on the host, path in the container)`.
    #[must_use]
    pub fn container(mut self, sandbox: &str, id: &str, name: &str, mounts: &[(&str, &str)]) -> Self {
        self.containers.push(v1::Container {
            id: id.into(),
            pod_sandbox_id: sandbox.into(),
            metadata: Some(v1::ContainerMetadata {
                name: name.into(),
                attempt: 0,
            }),
            image: Some(v1::ImageSpec {
                image: format!("sha256:{id}").into(),
                user_specified_image: format!("registry.test/{name}:1").into(),
            }),
            state: v1::ContainerState::ContainerRunning as i32,
            created_at: 0,
        });
        let mounts = mounts.iter().map(|(host, container)| v1::Mount {
            container_path: (*container).into(),
            host_path: (*host).into(),
            readonly: false,
        });
        self.mounts.insert(id.to_owned(), mounts.collect());
        self
    }
}

/// Returns a condition with the reason of a real runtime: containerd's (1.6.29, 1.7.14 and later) if it has warnings,
/// and none otherwise.
fn condition(kind: &str, status: bool, message: &str) -> v1::RuntimeCondition {
    let warns = kind == "ContainerdHasNoDeprecationWarnings" && !status;
    let reason = if warns { "ContainerdHasDeprecationWarnings" } else { "" };
    v1::RuntimeCondition {
        r#type: kind.into(),
        status,
        reason: reason.into(),
        message: message.into(),
    }
}
