//! Converts the answers of a runtime to castoff's types.
//!
//! An answer is not trusted. Text is decoded lossily, stripped of control characters and truncated. An entry that
//! cannot be identified is left out and counted, and lists end at [`LISTED_MAX`]. A path that is not exact is not kept
//! at all.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use castoff_cri::v1;
use serde::Deserialize;

use super::waiting;
use crate::model::container::{Container, EndedContainer, Mount, Pod};
use crate::model::identity::ContainerId;
use crate::model::reading::{Gap, Hides, Reading, Reason, Sighting};
use crate::model::runtime::{CgroupDriver, Condition, Deprecation};
use crate::model::time::Timestamp;
use crate::model::workload::owner::{self, Marks, Workload};

/// The most pods or containers that are kept of one answer: the kubelet's default is 110 pods per node.
pub(crate) const LISTED_MAX: usize = 32_768;

/// The most bytes of a text that is shown. A pod's name has at most 253, and an image's reference about 512.
const TEXT_MAX: usize = 512;

/// The most mounts of one container, and conditions or deprecations of one runtime, that are kept.
const PARTS_MAX: usize = 4096;

/// The kernel's limit of a path (`PATH_MAX`, include/uapi/linux/limits.h): a longer one cannot have been mounted.
const PATH_MAX: usize = 4096;

/// The condition in which containerd lists the deprecated features in use (containerd 1.7.12 and later; its message is
/// a JSON object of ID to text).
const NO_DEPRECATIONS: &str = "ContainerdHasNoDeprecationWarnings";

/// Returns a runtime's text for display: decoded lossily, without control characters, of a bounded length.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(TEXT_MAX)];
    let text = String::from_utf8_lossy(cut);
    let text = if cut.len() < bytes.len() {
        // The limit may have split a character.
        text.trim_end_matches(char::REPLACEMENT_CHARACTER)
    } else {
        &text
    };
    text.chars()
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect()
}

/// Returns an ID exactly as the runtime gave it; none if it cannot be an ID.
fn id(bytes: Vec<u8>) -> Option<ContainerId> {
    let plain = !bytes.is_empty() && bytes.len() <= TEXT_MAX && bytes.iter().all(u8::is_ascii_graphic);
    String::from_utf8(bytes).ok().filter(|_| plain).map(ContainerId)
}

/// Returns the conditions of `Status`, in order.
pub(crate) fn conditions(answer: &v1::StatusResponse) -> Reading<Vec<Condition>> {
    let Some(status) = &answer.status else {
        return unknown(Reason::ProtocolError, "Status", "an answer without a status");
    };
    let kept = status.conditions.iter().take(PARTS_MAX).map(|c| Condition {
        kind: printable(&c.r#type),
        status: c.status,
        reason: printable(&c.reason),
        message: printable(&c.message),
    });
    Reading::Known(kept.collect())
}

/// Returns the deprecations that the runtime reports; absent if it has no such condition.
pub(crate) fn deprecations(answer: &v1::StatusResponse) -> Reading<Vec<Deprecation>> {
    let Some(status) = &answer.status else {
        return unknown(Reason::ProtocolError, "Status", "an answer without a status");
    };
    let Some(condition) = status
        .conditions
        .iter()
        .find(|c| c.r#type == NO_DEPRECATIONS.as_bytes())
    else {
        return Reading::Absent;
    };
    if condition.status {
        return Reading::Known(Vec::new());
    }
    match serde_json::from_slice::<BTreeMap<String, String>>(&condition.message) {
        Ok(texts) => Reading::Known(
            texts
                .iter()
                .take(PARTS_MAX)
                .map(|(id, text)| Deprecation {
                    id: printable(id.as_bytes()),
                    message: printable(text.as_bytes()),
                })
                .collect(),
        ),
        Err(error) => unknown(
            Reason::Malformed,
            format_args!("Status: the message of {NO_DEPRECATIONS}"),
            error,
        ),
    }
}

/// The part of containerd's configuration in its verbose answer that castoff reads.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerdConfig {
    ignore_deprecation_warnings: Option<Vec<String>>,
}

/// Reads `Status`: its conditions, the deprecated uses, and the IDs of those that are left out.
pub(crate) fn status(
    answer: Result<v1::StatusResponse, Gap>,
) -> (Reading<Vec<Condition>>, Reading<Vec<Deprecation>>, Vec<String>) {
    match answer {
        Ok(answer) => (
            conditions(&answer),
            deprecations(&answer),
            silenced_deprecations(&answer),
        ),
        Err(gap) => (Reading::Unknown(gap.clone()), Reading::Unknown(gap), Vec::new()),
    }
}

/// Returns the IDs of the deprecated uses that containerd's own setting leaves out of its conditions.
pub(crate) fn silenced_deprecations(answer: &v1::StatusResponse) -> Vec<String> {
    let config = answer.info.iter().find(|entry| entry.key == b"config");
    let config: Option<ContainerdConfig> = config.and_then(|entry| serde_json::from_slice(&entry.value).ok());
    let ids = config.and_then(|config| config.ignore_deprecation_warnings);
    let ids = ids.into_iter().flatten().take(PARTS_MAX);
    ids.map(|id| printable(id.as_bytes())).collect()
}

/// Returns the gap for this setting.
pub(crate) fn gap_of_silenced(ids: &[String]) -> Option<Gap> {
    if ids.is_empty() {
        return None;
    }
    let ids = ids.join(", ");
    let answer = format!("ignore_deprecation_warnings in containerd's configuration hides {ids}");
    Some(Gap::new(
        Reason::DependsOnAnother,
        Hides::Detail,
        "deprecated uses",
        answer,
    ))
}

/// Returns the cgroup driver of `RuntimeConfig`.
pub(crate) fn cgroup_driver(answer: v1::RuntimeConfigResponse) -> Reading<CgroupDriver> {
    match answer
        .linux
        .as_ref()
        .map(|l| v1::CgroupDriver::try_from(l.cgroup_driver))
    {
        Some(Ok(v1::CgroupDriver::Systemd)) => Reading::Known(CgroupDriver::Systemd),
        Some(Ok(v1::CgroupDriver::Cgroupfs)) => Reading::Known(CgroupDriver::Cgroupfs),
        Some(Err(error)) => unknown(Reason::ProtocolError, "RuntimeConfig", error),
        None => unknown(
            Reason::ProtocolError,
            "RuntimeConfig",
            "an answer without a section for Linux",
        ),
    }
}

/// Returns the pods of `ListPodSandbox`. A pod without an ID or a name cannot be identified and is left out. `node` is
/// the node's name, which is the suffix of the names of static pods.
pub(crate) fn pods(answer: v1::ListPodSandboxResponse, node: Option<&str>) -> Sighting<Vec<Pod>> {
    listed("ListPodSandbox", Hides::Identity, answer.items, |mut pod| {
        let metadata = pod.metadata.take()?;
        let (name, namespace) = (printable(&metadata.name), printable(&metadata.namespace));
        Some(Pod {
            workload: workload(&pod, &name, node),
            sandbox: id(pod.id).filter(|_| !name.is_empty() && !namespace.is_empty())?,
            namespace,
            name,
            uid: printable(&metadata.uid),
            ready: pod.state == v1::PodSandboxState::SandboxReady as i32,
        })
    })
}

/// Keeps of labels and annotations only the workload that follows from them: an annotation may contain anything.
fn workload(pod: &v1::PodSandbox, name: &str, node: Option<&str>) -> Option<Workload> {
    let text = |key, value| Some((str::from_utf8(key).ok()?, str::from_utf8(value).ok()?));
    let labels: Vec<_> = pod.labels.iter().filter_map(|l| text(&l.key, &l.value)).collect();
    let annotations: Vec<_> = pod.annotations.iter().filter_map(|a| text(&a.key, &a.value)).collect();
    let seconds = u64::try_from(pod.created_at / 1_000_000_000).ok();
    owner::of(&Marks {
        name,
        labels: &labels,
        annotations: &annotations,
        created: seconds.filter(|s| *s > 0).map(Timestamp::from_unix),
        node,
    })
}

/// Returns the containers of an answer that do not run and are `wanted`.
pub(crate) fn ended(answer: &v1::ListContainersResponse, wanted: &BTreeSet<ContainerId>) -> Vec<EndedContainer> {
    let ended = answer.containers.iter().filter(|c| !waiting::runs(c));
    let ended = ended.filter_map(|container| {
        let id = str::from_utf8(&container.id).ok()?;
        let id = wanted.get(&ContainerId(id.to_owned()))?.clone();
        Some(EndedContainer {
            name: name_of(container.metadata.as_ref(), &id),
            sandbox: ContainerId(printable(&container.pod_sandbox_id)),
            id,
        })
    });
    ended.collect()
}

/// Returns a container's name. One that the kubelet did not create may have none.
fn name_of(metadata: Option<&v1::ContainerMetadata>, id: &ContainerId) -> String {
    let name = metadata.map(|metadata| printable(&metadata.name)).unwrap_or_default();
    if name.is_empty() { id.short().to_owned() } else { name }
}

/// Returns the running containers of `ListContainers`, and those that wait for a start in one of `pods`, both without
/// their mounts. One without an ID is left out.
pub(crate) fn containers(
    answer: v1::ListContainersResponse,
    pods: &Sighting<Vec<Pod>>,
) -> (Sighting<Vec<Container>>, Vec<Container>) {
    let separated = waiting::separate(answer.containers, pods);
    let running = separated.running.into_iter().map(|container| (container, true));
    let all = running.chain(separated.waiting.into_iter().map(|container| (container, false)));
    let mut known = HashSet::new();
    let mut seen = listed("ListContainers", Hides::Exposure, all.collect(), |(container, runs)| {
        let id = id(container.id)?;
        let image = container.image.unwrap_or_default();
        let image = if image.user_specified_image.is_empty() {
            image.image
        } else {
            image.user_specified_image
        };
        let listed = known.insert(id.clone()).then(|| Container {
            name: name_of(container.metadata.as_ref(), &id),
            id,
            sandbox: ContainerId(printable(&container.pod_sandbox_id)),
            image: printable(&image),
            mounts: unknown_mounts(Reason::DependsOnAnother, "not asked yet"),
        });
        Some((listed?, runs))
    });
    seen.gaps.extend(separated.gap);
    let mut waiting = Vec::new();
    let running = seen.reading.map(|all| {
        let (running, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, runs)| *runs);
        waiting.extend(others.into_iter().map(|(container, _)| container));
        running.into_iter().map(|(container, _)| container).collect()
    });
    let gaps = seen.gaps;
    (Sighting { reading: running, gaps }, waiting)
}

/// Returns the host paths of a container's mounts. One bad path makes them all unknown: a path in another form would be
/// searched, not found, and counted as harmless.
pub(crate) fn mounts(answer: v1::ContainerStatusResponse) -> Reading<Vec<Mount>> {
    let Some(status) = answer.status else {
        return unknown_mounts(Reason::ProtocolError, "an answer without a status");
    };
    if status.mounts.len() > PARTS_MAX {
        return unknown_mounts(Reason::LimitReached, "more mounts than castoff keeps");
    }
    let mut kept = Vec::with_capacity(status.mounts.len());
    // A mount without a host path is of an image.
    for mount in status.mounts.into_iter().filter(|m| !m.host_path.is_empty()) {
        if mount.host_path.len() > PATH_MAX {
            return unknown_mounts(Reason::Malformed, "a path longer than the kernel allows");
        }
        let Ok(host_path) = String::from_utf8(mount.host_path) else {
            return unknown_mounts(Reason::Malformed, "a path that is not UTF-8");
        };
        let container_path = printable(&mount.container_path);
        kept.push(Mount {
            host_path,
            container_path,
            readonly: mount.readonly,
        });
    }
    Reading::Known(kept)
}

/// Returns the unknown mounts of the container that has this reading.
pub(crate) fn unknown_mounts(reason: Reason, answer: &str) -> Reading<Vec<Mount>> {
    Reading::Unknown(Gap::new(reason, Hides::Exposure, "ContainerStatus", answer))
}

fn listed<T, U>(method: &str, hides: Hides, all: Vec<T>, keep: impl FnMut(T) -> Option<U>) -> Sighting<Vec<U>> {
    let total = all.len();
    let considered = total.min(LISTED_MAX);
    let kept: Vec<U> = all.into_iter().take(LISTED_MAX).filter_map(keep).collect();
    let mut gaps = Vec::new();
    if kept.len() < considered {
        let answer = "entries without an id, without a name, or listed twice";
        let mut gap = Gap::new(Reason::ProtocolError, hides, method, answer);
        gap.count = u32::try_from(considered - kept.len()).unwrap_or(u32::MAX);
        gaps.push(gap);
    }
    if total > LISTED_MAX {
        let answer = format!("{total} entries, of which castoff keeps {LISTED_MAX}");
        gaps.push(Gap::new(Reason::LimitReached, hides, method, answer));
    }
    Sighting::partial(kept, gaps)
}

fn unknown<T>(reason: Reason, asked: impl std::fmt::Display, answer: impl std::fmt::Display) -> Reading<T> {
    let answer = printable(answer.to_string().as_bytes());
    Reading::Unknown(Gap::new(reason, Hides::Detail, asked, answer))
}

#[cfg(test)]
mod tests;
