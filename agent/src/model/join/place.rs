//! Where a process belongs: its control groups held against what the runtime and the engines know.

use std::collections::HashMap;

use crate::model::container::{PodContainer, SupervisedContainer};
use crate::model::engine::EngineKind;
use crate::model::identity::ContainerId;
use crate::model::process::Process;
use crate::model::snapshot::Snapshot;
use crate::model::workload::{CgroupContainer, Manager, Membership};

/// Where a process belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A pod that the runtime knows.
    Pod(PodContainer),
    /// A container that the runtime does not know.
    EngineContainer { engine: Option<EngineKind>, name: String },
    /// No container.
    Host,
}

/// Everything that places are looked up in.
pub(super) struct Places<'a> {
    containers: HashMap<&'a ContainerId, Place>,
    pods: HashMap<&'a str, Place>,
    supervised: HashMap<&'a ContainerId, &'a SupervisedContainer>,
}

impl<'a> Places<'a> {
    pub(super) fn new(snapshot: &'a Snapshot) -> Self {
        let mut places = Self {
            containers: HashMap::new(),
            pods: HashMap::new(),
            supervised: HashMap::new(),
        };
        let listed_pods = snapshot.runtime.pods.reading.known().into_iter().flatten();
        let mut by_sandbox = HashMap::new();
        for pod in listed_pods {
            let place = Place::Pod(pod.place(None));
            // A pod whose sandbox was made anew is listed twice under one uid, and both entries say the same.
            places.pods.insert(&pod.uid, place.clone());
            places.containers.insert(&pod.sandbox, place);
            by_sandbox.insert(&pod.sandbox, pod);
        }
        for container in snapshot.runtime.containers.reading.known().into_iter().flatten() {
            let place = match by_sandbox.get(&container.sandbox) {
                Some(pod) => Place::Pod(pod.place(Some(&container.name))),
                // The list of pods failed, or was taken before this pod was made.
                None => Place::EngineContainer {
                    engine: None,
                    name: format!("{} ({})", container.name, container.id.short()),
                },
            };
            places.containers.insert(&container.id, place);
        }
        for supervised in snapshot.supervised.reading.known().into_iter().flatten() {
            places.supervised.insert(&supervised.id, supervised);
        }
        places
    }

    /// The place of a container that the runtime lists; none for any other.
    pub(super) fn of_container(&self, id: &ContainerId) -> Option<&Place> {
        self.containers.get(id)
    }

    /// The place of a process: the innermost container that the runtime knows (a node inside a container has the
    /// outer engine's first), else its pod, else the outermost container (a nested engine's container belongs to
    /// the one that carries the engine), else the host.
    pub(super) fn of(&self, process: &Process) -> Place {
        self.of_membership(&process.membership)
    }

    /// The place of whatever is in these control groups.
    pub(super) fn of_membership(&self, membership: &Membership) -> Place {
        if let Some(place) = membership.containers.iter().rev().find_map(|c| self.listed(&c.id)) {
            return place.clone();
        }
        if let Some(place) = membership.pod_uid.as_deref().and_then(|uid| self.pods.get(uid)) {
            return place.clone();
        }
        match membership.containers.first() {
            Some(outermost) => self.unlisted(outermost, membership.pod_uid.as_deref()),
            None => Place::Host,
        }
    }

    /// Whether a process is in a container of a pod, as far as its control group tells, and the runtime lists none around it.
    pub(super) fn lack(&self, process: &Process) -> bool {
        let membership = &process.membership;
        let of_cri = |c: &CgroupContainer| matches!(c.manager, Manager::CriContainerd | Manager::Crio);
        let of_pod = membership.pod_uid.is_some() || membership.containers.iter().any(of_cri);
        of_pod
            && !membership
                .containers
                .iter()
                .any(|c| matches!(self.listed(&c.id), Some(Place::Pod(_))))
    }

    /// The place of a container that the runtime lists, or of the one around its supervisor: a nested engine may have
    /// mounted the control groups anew, and then the path of its container does not pass through the outer one.
    fn listed(&self, id: &ContainerId) -> Option<&Place> {
        let outer = || {
            self.supervised
                .get(id)?
                .inside
                .as_ref()
                .and_then(|outer| self.of_container(outer))
        };
        self.of_container(id).or_else(outer)
    }

    fn unlisted(&self, container: &CgroupContainer, pod_uid: Option<&str>) -> Place {
        let supervised = self.supervised.get(&container.id);
        let engine = supervised.map(|s| s.engine).or(match container.manager {
            Manager::Docker => Some(EngineKind::Dockerd),
            Manager::Podman => Some(EngineKind::Podman),
            Manager::CriContainerd | Manager::Crio | Manager::Nerdctl | Manager::Unnamed => None,
        });
        let name = match (supervised.and_then(|s| s.name.clone()), pod_uid) {
            (Some(name), _) => name,
            (None, Some(uid)) => format!("{} of pod {uid}", container.id.short()),
            (None, None) => container.id.short().to_owned(),
        };
        Place::EngineContainer { engine, name }
    }
}
