//! Pods and containers as the runtime lists them, and containers that an engine runs by itself.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::engine::{EngineKind, Scope};
use super::identity::{ContainerId, Pid};
use super::reading::Reading;
use super::workload::generated;
use super::workload::owner::{Workload, WorkloadKind};

/// A pod sandbox, from `ListPodSandbox`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// The sandbox's id, which is also the id of its pause container where it has one.
    pub sandbox: ContainerId,
    /// `metadata.namespace` of the pod.
    pub namespace: String,
    /// `metadata.name` of the pod.
    pub name: String,
    /// `metadata.uid` as the kubelet gave it to the runtime; a hash for a static pod.
    pub uid: String,
    /// The workload that made it, as far as its sandbox shows.
    pub workload: Option<Workload>,
    /// True if the sandbox is ready.
    pub ready: bool,
}

impl Pod {
    /// Returns the place of `container` in the pod, or the pod alone where the container is not known.
    pub fn place(&self, container: Option<&str>) -> PodContainer {
        PodContainer {
            namespace: self.namespace.clone(),
            pod: self.name.clone(),
            container: container.map(str::to_owned),
            workload: self.workload.clone(),
        }
    }
}

/// A container of a pod, or a pod whose container is not known. It names a client or an engine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodContainer {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The container's name. None if the runtime did not know the container, which was just created or removed.
    pub container: Option<String>,
    /// The workload of the pod, as far as its sandbox shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
}

impl PodContainer {
    /// True if both are the same container of one pod, or of two pods of one workload: a rollout or the next run of a
    /// cron job makes no new client.
    pub fn continues(&self, other: &Self) -> bool {
        let certain = |w: &Option<Workload>| w.as_ref().is_some_and(|w| w.certain);
        let of_one_workload = || certain(&self.workload) && self.workload == other.workload;
        self.namespace == other.namespace
            && ((self.container == other.container && (self.pod == other.pod || of_one_workload()))
                || (of_one_workload() && self.container_pattern() == other.container_pattern()))
    }

    /// True if this is a container with a name, of the same pod or workload as `other`, which has none.
    pub fn names(&self, other: &Self) -> bool {
        let unnamed = |place: &Self| Self {
            container: None,
            ..place.clone()
        };
        self.container.is_some() && other.container.is_none() && unnamed(self).continues(other)
    }

    /// The container's name without the part that its controller generated for this pod alone. Only Drone and Woodpecker
    /// generate one.
    fn container_pattern(&self) -> Option<String> {
        let name = self.container.as_deref()?;
        let names_containers = |w: &Workload| matches!(w.kind, WorkloadKind::Drone | WorkloadKind::Woodpecker);
        let is_made = self.workload.as_ref().is_some_and(names_containers);
        let folded = if is_made { generated::fold(name, "*") } else { None };
        Some(folded.unwrap_or_else(|| name.to_owned()))
    }
}

impl fmt::Display for PodContainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pod {}/{}", self.namespace, self.pod)?;
        match &self.container {
            Some(container) => write!(f, " ({container})"),
            None => Ok(()),
        }
    }
}

/// A container of a pod, from `ListContainers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its id.
    pub id: ContainerId,
    /// The sandbox it belongs to.
    pub sandbox: ContainerId,
    /// The container's name in the pod's spec.
    pub name: String,
    /// The image as the spec names it.
    pub image: String,
    /// Its mounts, from `ContainerStatus`; unknown where that call failed.
    pub mounts: Reading<Vec<Mount>>,
}

/// A container that has ended and that the runtime still lists: it names the client of a connect that the kernel reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedContainer {
    /// Its id.
    pub id: ContainerId,
    /// The sandbox it belongs to.
    pub sandbox: ContainerId,
    /// The container's name in the pod's spec.
    pub name: String,
}

/// One mount that the kubelet requested from the runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The path on the host as it was requested: not canonical, perhaps a link.
    pub host_path: String,
    /// The path in the container.
    pub container_path: String,
    /// True if it is mounted read-only. A socket can still be used.
    pub readonly: bool,
}

/// A container that runs under an engine's own supervisor (`containerd-shim … -namespace moby`, `conmon`), whether or
/// not Kubernetes knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupervisedContainer {
    /// Its id.
    pub id: ContainerId,
    /// The engine that runs the container.
    pub engine: EngineKind,
    /// The supervisor's process.
    pub supervisor: Pid,
    /// The container that the supervisor is in: a nested engine's containers are supervised inside the pod of that engine.
    pub inside: Option<ContainerId>,
    /// True if the container belongs to `inside` although its control group is not below the control group of `inside`.
    /// The proof is a child of the supervisor in that group: a program that only claims the id has no child there.
    pub has_child: bool,
    /// The ordinary user who runs the supervisor; none for root. Everything that the supervisor says is that user's claim.
    pub user: Option<u32>,
    /// The name that the engine gave it, from a file of the engine.
    pub name: Option<String>,
    /// The image that the engine started it from, from a file of the engine.
    pub image: Option<String>,
    /// The mounts that were requested from the engine, from a file of the engine.
    pub mounts: Vec<Mount>,
}

/// A container that Docker or Podman runs on this node and that Kubernetes does not know. Those of an engine inside a pod
/// are the pod's, and are left out. A container that an ordinary user supervises is his claim, and has his scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShadowContainer {
    /// Its id.
    pub id: ContainerId,
    /// The engine that runs the container.
    pub engine: EngineKind,
    /// The host, user, pod or container that the engine serves, by the user that the container's supervisor runs as.
    pub scope: Scope,
    /// The name that the engine gave it, where that is known.
    pub name: Option<String>,
    /// The image, where that is known.
    pub image: Option<String>,
}

impl ShadowContainer {
    /// True if its use depends on Docker. Podman's containers need no Docker.
    pub fn uses_docker(&self) -> bool {
        self.engine == EngineKind::Dockerd && self.scope.is_of_node()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn continues(kind: WorkloadKind, containers: [&str; 2]) -> bool {
        let [earlier, later] = containers.map(|container| PodContainer {
            namespace: "ci".to_owned(),
            pod: container.to_owned(),
            container: Some(container.to_owned()),
            workload: Some(Workload {
                kind,
                name: "ci".to_owned(),
                certain: true,
            }),
        });
        later.continues(&earlier)
    }

    #[test]
    fn a_container_that_its_workloads_controller_names_continues_the_last_one() {
        let steps = ["wp-01he8bebctabr3kgk0qj36d2me", "wp-01he8bf3kq7x5d9w2v4mt6pz8c"];
        assert!(continues(WorkloadKind::Woodpecker, steps));
        assert!(!continues(WorkloadKind::Job, steps), "a person named these");
        let services = [
            "wp-svc-01he8bebctabr3kgk0qj36d2me-database",
            "wp-svc-01he8bf3kq7x5d9w2v4mt6pz8c-cache",
        ];
        assert!(!continues(WorkloadKind::Woodpecker, services), "another service");
        let jobs = ["drone-k2brz8fqxvnj0ujvgcp7", "drone-w4n7xb0pq1k2brz8fqxv"];
        assert!(continues(WorkloadKind::Drone, jobs));
    }
}
