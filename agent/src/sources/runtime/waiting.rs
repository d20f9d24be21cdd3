//! The containers that do not run and that the kubelet may start again: those of a ready sandbox that are created or have
//! ended, as between two starts of a container that fails.
//!
//! CRI does not tell which of them will run again: it knows neither init containers nor the pod's restart policy. So all
//! count. A container that has completed keeps its mount in the pod's specification, and runs again with the pod's next
//! sandbox.

use std::collections::HashMap;

use castoff_cri::v1;

use crate::model::container::Pod;
use crate::model::reading::{Gap, Hides, Reason, Sighting};

/// The containers of an answer that count.
#[derive(Debug, Default)]
pub(super) struct Separated {
    /// Those that run.
    pub(super) running: Vec<v1::Container>,
    /// The newest of each name in a ready sandbox, if it does not run.
    pub(super) waiting: Vec<v1::Container>,
    /// The gap for those whose sandbox is not known.
    pub(super) gap: Option<Gap>,
}

/// True if the container runs.
pub(super) fn runs(container: &v1::Container) -> bool {
    container.state == v1::ContainerState::ContainerRunning as i32
}

/// Separates the containers by whether they run, and leaves out those that will not run again.
pub(super) fn separate(all: Vec<v1::Container>, pods: &Sighting<Vec<Pod>>) -> Separated {
    let listed = pods.reading.items().iter();
    let is_ready: HashMap<&[u8], bool> = listed.map(|pod| (pod.sandbox.0.as_bytes(), pod.ready)).collect();
    let is_whole = pods.all_gaps().next().is_none();
    let (mut separated, mut doubtful) = (Separated::default(), 0);
    let is_newest = are_newest(&all);
    for (container, is_newest) in all.into_iter().zip(is_newest) {
        if runs(&container) {
            separated.running.push(container);
        } else if is_newest {
            match is_ready.get(container.pod_sandbox_id.as_slice()) {
                Some(true) => separated.waiting.push(container),
                None if !is_whole => doubtful += 1,
                Some(false) | None => {}
            }
        }
    }
    separated.gap = (doubtful > 0).then(|| {
        let answer = "their pods are not known, so a pod may start them again";
        let mut gap = Gap::new(
            Reason::DependsOnAnother,
            Hides::Exposure,
            "the mounts of containers that do not run",
            answer,
        );
        gap.count = doubtful;
        gap
    });
    separated
}

/// A name of a container in a sandbox. A container without a name has its own.
#[derive(PartialEq, Eq, Hash)]
struct NameInPod<'a> {
    sandbox: &'a [u8],
    name: Result<&'a [u8], &'a [u8]>,
}

impl<'a> NameInPod<'a> {
    fn of(container: &'a v1::Container) -> Self {
        let name = container.metadata.as_ref().map(|metadata| metadata.name.as_slice());
        Self {
            sandbox: &container.pod_sandbox_id,
            name: name.filter(|name| !name.is_empty()).ok_or(&container.id),
        }
    }
}

/// Returns for each container whether it is the newest of its name. Of two that a runtime does not tell apart, one that
/// runs is the newer.
fn are_newest(all: &[v1::Container]) -> Vec<bool> {
    let age = |container: &v1::Container| {
        let attempt = container.metadata.as_ref().map_or(0, |metadata| metadata.attempt);
        (attempt, container.created_at, runs(container))
    };
    let mut newest = HashMap::new();
    for container in all {
        let of_name = newest.entry(NameInPod::of(container)).or_insert_with(|| age(container));
        *of_name = age(container).max(*of_name);
    }
    let is_newest = |container| newest.get(&NameInPod::of(container)) == Some(&age(container));
    all.iter().map(is_newest).collect()
}

#[cfg(test)]
mod tests {
    use v1::ContainerState as S;

    use super::*;
    use crate::model::container::Container;
    use crate::model::identity::ContainerId;
    use crate::model::reading::Reading;
    use crate::sources::runtime::convert;

    fn pod(sandbox: &str, ready: bool) -> Pod {
        Pod {
            sandbox: ContainerId(sandbox.to_owned()),
            namespace: "ci".to_owned(),
            name: format!("pod-{sandbox}"),
            uid: sandbox.to_owned(),
            workload: None,
            ready,
        }
    }

    fn container(sandbox: &str, name: &str, attempt: u32, state: S) -> v1::Container {
        v1::Container {
            id: format!("{sandbox}-{name}-{attempt}").into(),
            pod_sandbox_id: sandbox.into(),
            metadata: Some(v1::ContainerMetadata {
                name: name.into(),
                attempt,
            }),
            state: state.into(),
            ..v1::Container::default()
        }
    }

    fn ids(list: &[Container]) -> Vec<&str> {
        list.iter().map(|c| c.id.0.as_str()).collect()
    }

    #[test]
    fn a_container_that_may_be_started_again_waits() {
        let pods = Sighting::full(vec![pod("r", true), pod("n", false)]);
        let (running, created, exited) = (S::ContainerRunning, S::ContainerCreated, S::ContainerExited);
        for (what, all, expected) in [
            ("it failed", vec![container("r", "a", 7, exited)], vec!["r-a-7"]),
            ("it is just made", vec![container("r", "a", 0, created)], vec!["r-a-0"]),
            (
                "its state is not known",
                vec![container("r", "a", 0, S::ContainerUnknown)],
                vec!["r-a-0"],
            ),
            (
                "only the newest attempt",
                vec![
                    container("r", "a", 6, exited),
                    container("r", "a", 7, exited),
                    container("r", "a", 5, exited),
                ],
                vec!["r-a-7"],
            ),
            (
                "the next attempt runs",
                vec![container("r", "a", 1, running), container("r", "a", 0, exited)],
                vec![],
            ),
            (
                "another container of the pod runs",
                vec![container("r", "a", 1, running), container("r", "b", 0, exited)],
                vec!["r-b-0"],
            ),
            ("its sandbox has ended", vec![container("n", "a", 7, exited)], vec![]),
            ("its sandbox is gone", vec![container("gone", "a", 7, exited)], vec![]),
        ] {
            let answer = v1::ListContainersResponse { containers: all };
            let (seen, waiting) = convert::containers(answer, &pods);
            assert_eq!(ids(&waiting), expected, "{what}");
            assert_eq!(seen.gaps, [], "{what}");
            assert!(
                !ids(seen.reading.items()).iter().any(|id| expected.contains(id)),
                "{what}"
            );
        }
    }

    #[test]
    fn attempts_that_a_runtime_does_not_count_are_told_apart_by_their_time() {
        let pods = Sighting::full(vec![pod("r", true)]);
        let with = |id: &str, created_at, state| v1::Container {
            id: id.into(),
            created_at,
            ..container("r", "a", 0, state)
        };
        let waiting = |containers| ids_of(convert::containers(v1::ListContainersResponse { containers }, &pods).1);
        let old = with("old", 1, S::ContainerExited);
        assert_eq!(waiting(vec![old.clone(), with("new", 2, S::ContainerExited)]), ["new"]);
        assert_eq!(waiting(vec![old, with("new", 1, S::ContainerRunning)]), [""; 0]);
        let mut nameless = with("x", 1, S::ContainerExited);
        nameless.metadata = None;
        let other = v1::Container {
            id: b"y".to_vec(),
            ..nameless.clone()
        };
        assert_eq!(waiting(vec![nameless, other]), ["x", "y"]);
    }

    fn ids_of(list: Vec<Container>) -> Vec<String> {
        list.into_iter().map(|c| c.id.0).collect()
    }

    #[test]
    fn a_container_of_an_unknown_pod_is_a_gap() {
        let all = || v1::ListContainersResponse {
            containers: vec![
                container("r", "a", 7, S::ContainerExited),
                container("s", "a", 0, S::ContainerExited),
                container("s", "a", 1, S::ContainerRunning),
            ],
        };
        let failed = Gap::new(Reason::DeadlineExceeded, Hides::Identity, "ListPodSandbox", "no answer");
        let partial = Sighting::partial(vec![pod("s", true)], vec![failed.clone()]);
        for pods in [Sighting::unknown(failed), partial] {
            let (seen, waiting) = convert::containers(all(), &pods);
            assert_eq!(ids(&waiting), [""; 0], "it may be of a pod that has ended");
            assert_eq!(ids(seen.reading.items()), ["s-a-1"]);
            let gaps: Vec<_> = seen.gaps.iter().map(|g| (g.reason, g.hides, g.count)).collect();
            assert_eq!(gaps, [(Reason::DependsOnAnother, Hides::Exposure, 1)]);
        }
        let (seen, _) = convert::containers(all(), &Sighting::full(Vec::new()));
        assert_eq!((seen.gaps, seen.reading == Reading::Absent), (vec![], false));
    }
}
