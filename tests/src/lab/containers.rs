//! Containers of a pod, with the labels that a kubelet gives them.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use super::cri::{Cri, proto};
use super::images;
use super::pods::Pod;
use crate::wait;

/// The timeout of a client in a container until it prints `ready`.
const READY: Duration = Duration::from_secs(30);
/// The client program in the lab's image.
const CLIENT: &str = "/client";

/// A container to start in a pod.
#[derive(Debug, Clone)]
pub struct Container {
    name: String,
    image: String,
    command: Vec<String>,
    arguments: Vec<String>,
    mounts: Vec<proto::Mount>,
    privileged: bool,
    rights: Option<Rights>,
}

/// The rights of a container with its own `securityContext`.
#[derive(Debug, Clone)]
pub struct Rights {
    /// The user that it runs as.
    pub user: u32,
    /// The capabilities that it keeps, in the notation of Kubernetes: `SYS_PTRACE`. All others are dropped.
    pub capabilities: Vec<String>,
}

impl Container {
    /// Creates one with any command of the lab's image.
    pub fn new(name: impl Into<String>, command: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            name: name.into(),
            image: images::LAB.to_owned(),
            command: command.into_iter().map(Into::into).collect(),
            arguments: Vec::new(),
            mounts: Vec::new(),
            privileged: false,
            rights: None,
        }
    }

    /// Creates one of this image, which the runtime has; the command is the arguments of its entry point.
    pub fn of(
        image: impl Into<String>,
        name: impl Into<String>,
        arguments: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        let mut container = Self::new(name, Vec::<String>::new());
        container.image = image.into();
        container.arguments = arguments.into_iter().map(Into::into).collect();
        container
    }

    /// Creates one with the client program in one of its modes (see `tests/lab/client.rs`), like `["hold",
    /// "/var/run/docker.sock"]`.
    pub fn client(name: impl Into<String>, mode: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut container = Self::new(name, [CLIENT]);
        container.command.extend(mode.into_iter().map(Into::into));
        container
    }

    /// Creates one that mounts and never connects: it sleeps.
    pub fn sleeper(name: impl Into<String>) -> Self {
        Self::client(name, ["pause"])
    }

    /// Adds a hostPath mount.
    #[must_use]
    pub fn mount(self, host: impl AsRef<Path>, container: impl AsRef<Path>) -> Self {
        self.mount_as(host.as_ref(), container.as_ref(), false)
    }

    /// Adds a read-only hostPath mount.
    #[must_use]
    pub fn mount_read_only(self, host: impl AsRef<Path>, container: impl AsRef<Path>) -> Self {
        self.mount_as(host.as_ref(), container.as_ref(), true)
    }

    /// Makes it privileged.
    #[must_use]
    pub fn privileged(mut self) -> Self {
        self.privileged = true;
        self
    }

    /// Restricts it to these rights: no new privileges, a read-only root, the runtime's default seccomp profile.
    #[must_use]
    pub fn rights(mut self, rights: Rights) -> Self {
        self.rights = Some(rights);
        self
    }

    fn mount_as(mut self, host: &Path, container: &Path, readonly: bool) -> Self {
        self.mounts.push(proto::Mount {
            container_path: container.display().to_string(),
            host_path: host.display().to_string(),
            readonly,
        });
        self
    }

    /// Creates and starts it in a sandbox. If it runs the client, waits until that prints `ready`.
    pub(crate) fn start(self, cri: &Cri, pod: &Pod, sandbox: &str, logs: &Path) -> Result<RunningContainer> {
        let is_client = self.command.first().is_some_and(|program| program == CLIENT);
        let log = logs.join(log_path(&self.name));
        // CRI-O does not create the directory; a kubelet does so first.
        let folder = logs.join(&self.name);
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let id = cri.start_container(proto::CreateContainerRequest {
            pod_sandbox_id: sandbox.to_owned(),
            config: Some(self.config(pod)),
            sandbox_config: Some(pod.config(logs)),
        })?;
        let running = RunningContainer {
            cri: cri.clone(),
            id,
            log,
        };
        if is_client {
            running.wait_for_line("ready ")?;
        }
        Ok(running)
    }

    fn config(self, pod: &Pod) -> proto::ContainerConfig {
        let mut labels = pod.kubelet_labels();
        labels.insert("io.kubernetes.container.name".to_owned(), self.name.clone());
        proto::ContainerConfig {
            log_path: log_path(&self.name),
            metadata: Some(proto::ContainerMetadata {
                name: self.name,
                attempt: 0,
            }),
            image: Some(proto::ImageSpec { image: self.image }),
            command: self.command,
            args: self.arguments,
            envs: Vec::new(),
            mounts: self.mounts,
            labels,
            annotations: HashMap::from([("io.kubernetes.container.restartCount".to_owned(), "0".to_owned())]),
            linux: Some(proto::LinuxContainerConfig {
                security_context: Some(proto::LinuxContainerSecurityContext {
                    privileged: self.privileged,
                    namespace_options: Some(pod.namespaces()),
                    ..self.rights.map(Rights::context).unwrap_or_default()
                }),
            }),
        }
    }
}

/// Paths that the kubelet masks and makes read-only by default (`pkg/securitycontext` of Kubernetes).
const MASKED: &[&str] = &[
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
const READ_ONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

impl Rights {
    /// Returns the kubelet's translation of `capabilities: {drop: [ALL], add: […]}`, `allowPrivilegeEscalation: false`,
    /// `readOnlyRootFilesystem: true`, `seccompProfile: {type: RuntimeDefault}`.
    fn context(self) -> proto::LinuxContainerSecurityContext {
        let texts = |all: &[&str]| all.iter().map(|&text| text.to_owned()).collect();
        proto::LinuxContainerSecurityContext {
            capabilities: Some(proto::Capability {
                add_capabilities: self.capabilities,
                drop_capabilities: texts(&["ALL"]),
            }),
            run_as_user: Some(proto::Int64Value {
                value: self.user.into(),
            }),
            readonly_rootfs: true,
            no_new_privs: true,
            masked_paths: texts(MASKED),
            readonly_paths: texts(READ_ONLY),
            seccomp: Some(proto::SecurityProfile::default()),
            ..Default::default()
        }
    }
}

/// A container of a running pod; it ends with the pod.
#[derive(Debug)]
pub struct RunningContainer {
    cri: Cri,
    id: String,
    log: PathBuf,
}

impl RunningContainer {
    /// Returns the container's ID.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns its output so far, in CRI's log format.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Returns the process ID of its first process, on the host.
    pub fn pid(&self) -> Result<u32> {
        let status = self.cri.container_status(&self.id)?;
        let info = status
            .info
            .get("info")
            .context("the runtime gives no verbose information")?;
        let info: serde_json::Value = serde_json::from_str(info).context("read verbose information")?;
        let pid = info
            .get("pid")
            .and_then(serde_json::Value::as_u64)
            .filter(|pid| *pid > 0);
        Ok(u32::try_from(pid.context("the container does not run")?)?)
    }

    /// Waits until it has ended, and returns its exit code.
    pub fn wait(&self) -> Result<i32> {
        wait::until("the container's end", READY, || {
            let status = self.status()?;
            let ended = status.state() == proto::ContainerState::ContainerExited;
            ensure!(ended, "it still runs: {}", self.log());
            Ok(status.exit_code)
        })
    }

    /// Stops it; the pod continues.
    pub fn stop(&self) -> Result<()> {
        self.cri.stop_container(&self.id)
    }

    /// Waits until it has written a line that contains `part`.
    pub fn wait_for_line(&self, part: &str) -> Result<()> {
        wait::until_or_hopeless(&format!("{part:?} from the container"), READY, || {
            // Read before the log, so that the log is complete if the container has ended.
            let status = self.status()?;
            let log = self.log();
            if log.contains(part) {
                return Ok(Ok(()));
            }
            let missing = anyhow!(
                "no {part:?} ({}, exit code {}): {log}",
                status.state().as_str_name(),
                status.exit_code
            );
            match status.state() {
                proto::ContainerState::ContainerExited => Ok(Err(missing)),
                _ => Err(missing),
            }
        })
    }

    fn status(&self) -> Result<proto::ContainerStatus> {
        Ok(self.cri.container_status(&self.id)?.status.unwrap_or_default())
    }
}

/// Returns the kubelet's path: the container's name, and a file for each attempt.
fn log_path(container: &str) -> String {
    format!("{container}/0.log")
}
