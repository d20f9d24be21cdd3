//! What the runtime itself says about the node's next upgrades.

use super::catalogue::finding;
use super::releases::{self, Support, support};
use super::report::{Code, Finding, KubeletCeiling, Severity};
use super::{Facts, flatten};
use crate::model::host::CgroupVersion;
use crate::model::reading::Reading;
use crate::model::runtime::{CriApi, Runtime};
use crate::model::snapshot::Snapshot;

/// `runtime_name` that dockershim and cri-dockerd give.
const DOCKER: &str = "docker";

/// Why Docker is the kubelet's own runtime, where it is.
pub(super) fn docker_is_the_runtime(snapshot: &Snapshot) -> Option<String> {
    let kubelet = snapshot.kubelet.reading.known();
    if let Some(runtime) = snapshot.runtime.runtime.reading.known()
        && runtime.name == DOCKER
    {
        let shim = if kubelet.is_some_and(|k| k.dockershim == Some(true)) {
            "dockershim"
        } else {
            "cri-dockerd"
        };
        let path = &runtime.canonical_path;
        return Some(format!(
            "the kubelet's runtime is Docker {} through {shim} at {path}",
            runtime.version
        ));
    }
    kubelet
        .filter(|k| k.dockershim == Some(true))
        .map(|_| "the kubelet was told to use its dockershim".to_owned())
}

/// The newest kubelet that the runtime can serve.
pub(super) fn ceiling(snapshot: &Snapshot) -> Reading<KubeletCeiling> {
    let dockershim = snapshot
        .kubelet
        .reading
        .known()
        .is_some_and(|k| k.dockershim == Some(true));
    if dockershim {
        return Reading::Known(KubeletCeiling::Minor(releases::LAST_MINOR_WITH_DOCKERSHIM));
    }
    flatten(&snapshot.runtime.runtime.reading, |runtime| {
        match (runtime.api, &runtime.cgroup_driver) {
            (CriApi::V1alpha2, _) => Reading::Known(KubeletCeiling::Minor(releases::LAST_MINOR_WITH_V1ALPHA2)),
            (CriApi::V1, Reading::Known(_)) => Reading::Known(KubeletCeiling::None),
            (CriApi::V1, Reading::Absent) => {
                Reading::Known(KubeletCeiling::Minor(releases::LAST_MINOR_WITHOUT_RUNTIME_CONFIG))
            }
            (CriApi::V1, Reading::Unknown(gap)) => Reading::Unknown(gap.clone()),
        }
    })
}

/// The findings of this family.
pub(super) fn find(facts: &Facts<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(why) = docker_is_the_runtime(facts.snapshot) {
        found.push(finding(Code::RuntimeIsDocker, Severity::Critical, "kubelet", why));
    }
    if let Some(runtime) = facts.snapshot.runtime.runtime.reading.known() {
        found.extend(of_runtime(facts, runtime));
    }
    if let Reading::Known(KubeletCeiling::Minor(minor)) = facts.ceiling {
        let subject = facts
            .snapshot
            .runtime
            .runtime
            .reading
            .known()
            .map_or_else(|| "dockershim".to_owned(), named);
        let message = format!("the newest kubelet that starts on this runtime is Kubernetes 1.{minor}");
        found.push(finding(Code::KubeletCeiling, Severity::Warning, subject, message));
    }
    let host = facts.snapshot.host.reading.known();
    if host.is_some_and(|h| h.cgroups == Reading::Known(CgroupVersion::V1)) {
        let message = format!(
            "the node runs cgroup v1, on which a kubelet from Kubernetes 1.{} on does not start by default",
            releases::FIRST_MINOR_THAT_REFUSES_CGROUP_V1
        );
        found.push(finding(Code::CgroupV1, Severity::Warning, "node", message));
    }
    found
}

fn of_runtime(facts: &Facts<'_>, runtime: &Runtime) -> Vec<Finding> {
    let mut found = Vec::new();
    if runtime.api == CriApi::V1alpha2 {
        let message = "the runtime does not know CRI v1: a kubelet from Kubernetes 1.26 on does not start on it";
        found.push(finding(
            Code::CriV1alpha2Only,
            Severity::Critical,
            named(runtime),
            message,
        ));
    }
    let over = match support(&runtime.name, &runtime.version, facts.snapshot.taken) {
        Some(Support::EndedOn(day)) => Some(format!("its release line went out of support before {}", date(day))),
        Some(Support::Ended) => Some("its release line is out of support".to_owned()),
        Some(Support::EndsOn(_)) | None => None,
    };
    if let Some(over) = over {
        let message = format!("{over} (as known on {})", releases::AS_OF);
        found.push(finding(
            Code::RuntimeEndOfLife,
            Severity::Warning,
            named(runtime),
            message,
        ));
    }
    for deprecation in runtime.deprecations.known().into_iter().flatten() {
        let message = format!("the runtime reports: {}", deprecation.message);
        let subject = deprecation
            .id
            .strip_prefix("io.containerd.deprecation/")
            .unwrap_or(&deprecation.id);
        found.push(finding(Code::RuntimeDeprecation, Severity::Warning, subject, message));
    }
    found
}

fn named(runtime: &Runtime) -> String {
    format!("{} {}", runtime.name, runtime.version)
}

fn date(time: crate::model::time::Timestamp) -> String {
    time.to_string().chars().take(10).collect()
}
