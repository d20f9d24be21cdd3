//! The place of a process: its control groups joined with the containers that the runtime and the engines list.

use std::collections::HashMap;

use crate::model::client::OF_USER;
use crate::model::container::{Container, Pod, PodContainer, SupervisedContainer};
use crate::model::engine::EngineKind;
use crate::model::exposure::UnnamedContainer;
use crate::model::identity::ContainerId;
use crate::model::process::Process;
use crate::model::snapshot::Snapshot;
use crate::model::workload::{CgroupContainer, Manager, Membership, container_name};

/// The place of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ProcessPlace {
    /// A pod that the runtime knows.
    Pod(PodContainer),
    /// A container that the runtime does not know.
    EngineContainer {
        engine: Option<EngineKind>,
        name: String,
        image: Option<String>,
    },
    /// In no container.
    Host,
}

/// A pod that the runtime lists, or a container.
struct Listed<'a> {
    place: ProcessPlace,
    /// The uid of its pod, where that is listed.
    pod_uid: Option<&'a str>,
}

/// The containers and pods in which a place is looked up.
pub(super) struct Places<'a> {
    containers: HashMap<&'a ContainerId, Listed<'a>>,
    pods: HashMap<&'a str, ProcessPlace>,
    supervised: HashMap<&'a ContainerId, &'a SupervisedContainer>,
    /// The containers that the runtime lists without their pods.
    without_pod: HashMap<&'a ContainerId, &'a Container>,
    /// True if a list of the runtime is missing. A container that is not listed now may be listed in the next look,
    /// under its own name.
    is_list_missing: bool,
}

impl<'a> Places<'a> {
    pub(super) fn new(snapshot: &'a Snapshot) -> Self {
        let mut places = Self {
            containers: HashMap::new(),
            pods: HashMap::new(),
            supervised: HashMap::new(),
            without_pod: HashMap::new(),
            is_list_missing: snapshot.runtime.pods.reading.known().is_none()
                || snapshot.runtime.containers.reading.known().is_none(),
        };
        let listed_pods = snapshot.runtime.pods.reading.items().iter();
        let mut by_sandbox = HashMap::new();
        for pod in listed_pods {
            // A pod with two sandboxes is listed twice under one uid, with equal entries.
            places.pods.insert(&pod.uid, ProcessPlace::Pod(pod.place(None)));
            places.list(&pod.sandbox, pod, None);
            by_sandbox.insert(&pod.sandbox, pod);
        }
        let runtime = &snapshot.runtime;
        for container in runtime.containers.reading.items().iter().chain(&runtime.waiting) {
            if let Some(pod) = by_sandbox.get(&container.sandbox) {
                places.list(&container.id, pod, Some(&container.name));
                continue;
            }
            // The list of pods failed, or this pod was removed meanwhile.
            let place = ProcessPlace::EngineContainer {
                engine: None,
                name: format!("{} ({})", container.name, container.id.short()),
                image: None,
            };
            places.containers.insert(&container.id, Listed { place, pod_uid: None });
            places.without_pod.insert(&container.id, container);
        }
        for ended in &snapshot.runtime.ended {
            if let Some(pod) = by_sandbox.get(&ended.sandbox) {
                places.list(&ended.id, pod, Some(&ended.name));
            }
        }
        // Any pod may start a program with the arguments of a supervisor and the ID of another container.
        let is_claim = |s: &&SupervisedContainer| s.inside.is_some() && !s.has_child;
        let supervised = snapshot.supervised.reading.items().iter();
        for supervised in supervised.filter(|s| !is_claim(s)) {
            places.supervised.insert(&supervised.id, supervised);
        }
        places
    }

    fn list(&mut self, id: &'a ContainerId, pod: &'a Pod, container: Option<&str>) {
        let place = ProcessPlace::Pod(pod.place(container));
        let pod_uid = Some(pod.uid.as_str());
        self.containers.insert(id, Listed { place, pod_uid });
    }

    /// The place of a container that the runtime lists; none for any other.
    pub(super) fn of_container(&self, id: &ContainerId) -> Option<&ProcessPlace> {
        self.containers.get(id).map(|listed| &listed.place)
    }

    /// The place of a process: its pod, else the outermost container (a nested engine's container belongs to the one that
    /// carries the engine), else the host.
    pub(super) fn of(&self, process: &Process) -> ProcessPlace {
        self.of_membership(&process.membership)
    }

    /// The place of a process with these control groups.
    pub(super) fn of_membership(&self, membership: &Membership) -> ProcessPlace {
        if let Some(place) = self.in_pod(membership) {
            return place.clone();
        }
        match membership.containers.first() {
            Some(outermost) => self.unlisted(outermost, membership.pod_uid.as_deref()),
            None => ProcessPlace::Host,
        }
    }

    /// Returns the pod around a process, and its container; or a container whose pod is not listed. The outermost container that
    /// the runtime knows determines the pod: a process in a container may name a control group of its own after another pod's. (A
    /// node inside a container has the outer engine's container first, which this runtime does not know.) Within that pod the
    /// innermost container counts.
    fn in_pod(&self, membership: &Membership) -> Option<&ProcessPlace> {
        let mut listed = membership.trusted().filter_map(|c| self.listed(&c.id));
        let of_path = membership.pod_uid.as_deref();
        let outermost = listed
            .next()
            .filter(|listed| of_path.is_none_or(|uid| listed.pod_uid.is_none_or(|of_list| of_list == uid)));
        let Some(outermost) = outermost else {
            return self.pods.get(of_path?);
        };
        let is_alike = |listed: &&Listed<'_>| listed.pod_uid.is_some() && listed.pod_uid == outermost.pod_uid;
        let innermost = listed.rfind(is_alike);
        Some(&innermost.unwrap_or(outermost).place)
    }

    /// True if a process is in a container of a pod, as far as its control group shows, and the runtime lists none around it.
    pub(super) fn lack(&self, process: &Process) -> bool {
        let membership = &process.membership;
        let of_cri = |c: &CgroupContainer| matches!(c.manager, Manager::CriContainerd | Manager::Crio);
        let of_pod = membership.pod_uid.is_some() || membership.trusted().any(of_cri);
        of_pod
            && !membership
                .trusted()
                .any(|c| self.listed(&c.id).is_some_and(|listed| listed.pod_uid.is_some()))
    }

    /// Returns a container that the runtime lists, or the one around its supervisor: a nested engine may have mounted
    /// the control groups again, and then the path of its container does not pass through the outer one.
    fn listed(&self, id: &ContainerId) -> Option<&Listed<'a>> {
        let outer = || self.containers.get(self.supervised.get(id)?.inside.as_ref()?);
        self.containers.get(id).or_else(outer)
    }

    /// Returns the facts by which a later look may find the name of the container at this place; none if it has one
    /// already, or is in no container.
    pub(super) fn unnamed(&self, membership: &Membership, place: &ProcessPlace) -> Option<UnnamedContainer> {
        let has_name = match place {
            ProcessPlace::Pod(place) => place.container.is_some(),
            ProcessPlace::EngineContainer { engine, .. } => engine.is_some() && membership.pod_uid.is_none(),
            ProcessPlace::Host => true,
        };
        let listed = || membership.trusted().find_map(|c| self.without_pod.get(&c.id));
        (!has_name).then(|| UnnamedContainer {
            containers: membership.trusted().map(|c| c.id.clone()).collect(),
            pod_uid: membership.pod_uid.clone(),
            in_sandbox: listed().map(|container| (container.sandbox.clone(), container.name.clone())),
        })
    }

    /// Returns the place in a pod of a container that an earlier look did not name.
    pub(super) fn of_unnamed(&self, unnamed: &UnnamedContainer) -> Option<PodContainer> {
        let containers = unnamed.containers.iter().map(|id| CgroupContainer {
            id: id.clone(),
            manager: Manager::Unnamed,
            user: None,
        });
        let membership = Membership {
            containers: containers.collect(),
            pod_uid: unnamed.pod_uid.clone(),
            unit: None,
        };
        let by_sandbox = || {
            let (sandbox, name) = unnamed.in_sandbox.as_ref()?;
            match self.of_container(sandbox)? {
                ProcessPlace::Pod(pod) => Some(PodContainer {
                    container: Some(name.clone()),
                    ..pod.clone()
                }),
                _ => None,
            }
        };
        match self.in_pod(&membership) {
            Some(ProcessPlace::Pod(place)) if place.container.is_some() => Some(place.clone()),
            Some(ProcessPlace::Pod(place)) => by_sandbox().or_else(|| Some(place.clone())),
            _ => by_sandbox(),
        }
    }

    /// True if the runtime's lists are complete: a container that is neither in them nor running stays without a name.
    pub(super) const fn are_complete(&self) -> bool {
        !self.is_list_missing
    }

    /// Returns the place in a container that the runtime does not list. A container that only its user claims does not
    /// count, unless that user's process supervises it.
    fn unlisted(&self, container: &CgroupContainer, pod_uid: Option<&str>) -> ProcessPlace {
        let supervised = self.supervised.get(&container.id).filter(|s| s.user == container.user);
        if container.user.is_some() && supervised.is_none() {
            return ProcessPlace::Host;
        }
        let engine = supervised.map(|s| s.engine).or(match container.manager {
            Manager::Docker => Some(EngineKind::Dockerd),
            Manager::Podman => Some(EngineKind::Podman),
            Manager::CriContainerd | Manager::Crio | Manager::Nerdctl | Manager::Unnamed => None,
        });
        let (name, image) =
            match supervised.and_then(|s| container_name::lasting(s.name.as_deref(), s.image.as_deref())) {
                Some(named) => named,
                None if engine.is_none() && self.is_list_missing => (container.id.short().to_owned(), None),
                None => (container_name::NOT_KNOWN.to_owned(), None),
            };
        let is_named = supervised.is_some_and(|s| s.name.is_some());
        let name = match (container.user, pod_uid) {
            (Some(user), _) => format!("{name}{OF_USER}{user}"),
            (None, Some(uid)) if !is_named && self.is_list_missing => format!("{name} of pod {uid}"),
            (None, Some(_)) if !is_named => format!("{name} of a pod"),
            (None, _) => name,
        };
        ProcessPlace::EngineContainer { engine, name, image }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::container::EndedContainer;
    use crate::model::sample::{clear_node, contained, id};

    /// The kernel reported its connect, and the process ended before the look.
    #[test]
    fn a_container_that_has_ended_is_named_with_its_pod() {
        let mut node = clear_node();
        node.runtime.ended = vec![EndedContainer {
            id: id(8),
            sandbox: id(2),
            name: "step".into(),
        }];
        let process = contained(1, Manager::CriContainerd, &[id(8)]);
        let place = Places::new(&node).of(&process);
        let ProcessPlace::Pod(pod) = place else {
            panic!("{place:?}")
        };
        assert_eq!(
            (pod.pod.as_str(), pod.container.as_deref()),
            ("builder-0", Some("step"))
        );
    }
}
