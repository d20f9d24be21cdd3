//! Pods over CRI, with the labels and the cgroup that a kubelet gives them.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::containers::{Container, RunningContainer};
use super::cri::{Cri, proto};
use super::daemon::{Daemon, log_tail};
use super::keeper::Task;

/// A pod to run.
#[derive(Debug, Clone)]
pub struct Pod {
    namespace: String,
    name: String,
    uid: String,
    host_network: bool,
    host_pid: bool,
    privileged: bool,
    labels: HashMap<String, String>,
    annotations: HashMap<String, String>,
    cgroup_parent: Option<String>,
}

impl Pod {
    /// Creates a pod of `QoS` class `BestEffort` in its own network namespace.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            uid: fresh_uid(),
            host_network: false,
            host_pid: false,
            privileged: false,
            labels: HashMap::new(),
            annotations: HashMap::new(),
            cgroup_parent: None,
        }
    }

    /// Puts it in the host's network namespace.
    #[must_use]
    pub fn host_network(mut self) -> Self {
        self.host_network = true;
        self
    }

    /// Puts it in the host's PID namespace.
    #[must_use]
    pub fn host_pid(mut self) -> Self {
        self.host_pid = true;
        self
    }

    /// Allows privileged containers.
    #[must_use]
    pub fn privileged(mut self) -> Self {
        self.privileged = true;
        self
    }

    /// Adds a label of the pod's own.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Adds an annotation.
    #[must_use]
    pub fn annotation(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.annotations.insert(key.into(), value.into());
        self
    }

    /// Sets the UID. A static pod's is a hash of its configuration.
    #[must_use]
    pub fn uid(mut self, uid: impl Into<String>) -> Self {
        self.uid = uid.into();
        self
    }

    /// Sets its cgroup, instead of `/kubepods/besteffort/pod<uid>`. The last segment must belong to this pod alone: it
    /// is removed with it.
    #[must_use]
    pub fn cgroup_parent(mut self, path: impl Into<String>) -> Self {
        self.cgroup_parent = Some(path.into());
        self
    }

    /// Returns the cgroup that a kubelet with cgroup driver cgroupfs gives it.
    fn cgroup(&self) -> String {
        self.cgroup_parent
            .clone()
            .unwrap_or_else(|| format!("/kubepods/besteffort/pod{}", self.uid))
    }

    /// Returns what a kubelet would remove after it.
    pub(crate) fn tasks(&self) -> Vec<Task> {
        let cgroup = PathBuf::from(self.cgroup());
        let mut tasks: Vec<Task> = cgroup
            .ancestors()
            .skip(1)
            .filter(|shared| shared.parent().is_some())
            .map(|shared| Task::SharedCgroup(shared.to_path_buf()))
            .collect();
        // They are done in reverse order: the pod's own first, then its parents from the leaf.
        tasks.reverse();
        tasks.push(Task::Cgroup(cgroup));
        tasks
    }

    /// Returns the labels that the kubelet puts on a sandbox and on its containers (kubelet/pkg/types/labels.go).
    pub(crate) fn kubelet_labels(&self) -> HashMap<String, String> {
        [("name", &self.name), ("namespace", &self.namespace), ("uid", &self.uid)]
            .into_iter()
            .map(|(key, value)| (format!("io.kubernetes.pod.{key}"), value.clone()))
            .collect()
    }

    pub(crate) fn namespaces(&self) -> proto::NamespaceOption {
        let mode = |host| {
            if host {
                proto::NamespaceMode::Node
            } else {
                proto::NamespaceMode::Pod
            }
        };
        let pid = if self.host_pid {
            proto::NamespaceMode::Node
        } else {
            proto::NamespaceMode::Container
        };
        proto::NamespaceOption {
            network: mode(self.host_network).into(),
            pid: pid.into(),
            ipc: mode(false).into(),
        }
    }

    pub(crate) fn config(&self, logs: &Path) -> proto::PodSandboxConfig {
        let mut labels = self.kubelet_labels();
        labels.extend(self.labels.clone());
        proto::PodSandboxConfig {
            metadata: Some(proto::PodSandboxMetadata {
                name: self.name.clone(),
                uid: self.uid.clone(),
                namespace: self.namespace.clone(),
                attempt: 0,
            }),
            hostname: if self.host_network {
                String::new()
            } else {
                self.name.clone()
            },
            log_directory: logs.display().to_string(),
            labels,
            annotations: self.annotations.clone(),
            linux: Some(proto::LinuxPodSandboxConfig {
                cgroup_parent: self.cgroup(),
                security_context: Some(proto::LinuxSandboxSecurityContext {
                    namespace_options: Some(self.namespaces()),
                    privileged: self.privileged,
                }),
            }),
        }
    }
}

/// A running pod. Dropping it stops and removes it, like `kubectl delete pod`.
#[derive(Debug)]
pub struct RunningPod {
    cri: Cri,
    pod: Pod,
    sandbox: String,
    logs: PathBuf,
    /// The runtime's log, for error messages.
    runtime_log: PathBuf,
}

impl RunningPod {
    /// Runs the pod on the runtime of this daemon, and keeps its logs in the daemon's room.
    pub(crate) fn run(cri: Cri, pod: Pod, runtime: &Daemon) -> Result<Self> {
        for task in pod.tasks() {
            runtime.keeper().later(&task)?;
        }
        let logs = runtime
            .room()
            .join("pods")
            .join(format!("{}_{}_{}", pod.namespace, pod.name, pod.uid));
        // A runtime does not create it; a kubelet does so first.
        fs::create_dir_all(&logs).with_context(|| format!("make {}", logs.display()))?;
        let sandbox = cri.run_pod_sandbox(pod.config(&logs));
        let sandbox = sandbox.with_context(|| format!("the runtime's log ends:\n{}", runtime.log_tail()))?;
        Ok(Self {
            runtime_log: runtime.log(),
            cri,
            pod,
            sandbox,
            logs,
        })
    }

    /// Returns the sandbox's ID.
    pub fn id(&self) -> &str {
        &self.sandbox
    }

    /// Returns the pod's UID.
    pub fn uid(&self) -> &str {
        &self.pod.uid
    }

    /// Returns its cgroup, below which its containers have theirs.
    pub fn cgroup(&self) -> String {
        self.pod.cgroup()
    }

    /// Starts a container. If it runs the client, waits until that prints `ready`.
    pub fn start(&self, container: Container) -> Result<RunningContainer> {
        let started = container.start(&self.cri, &self.pod, &self.sandbox, &self.logs);
        started.with_context(|| format!("the runtime's log ends:\n{}", log_tail(&self.runtime_log)))
    }
}

impl Drop for RunningPod {
    fn drop(&mut self) {
        // If the runtime is gone already, its keeper removes the pod.
        if let Err(error) = self.cri.remove_pod_sandbox(&self.sandbox) {
            eprintln!(
                "pod {}/{} was not removed: {error:#}",
                self.pod.namespace, self.pod.name
            );
        }
    }
}

fn fresh_uid() -> String {
    // The kernel's generator. Without /proc nothing else of the lab works either.
    let uid = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    uid.trim().to_owned()
}
