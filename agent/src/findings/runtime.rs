//! Findings of the runtime about the node's next upgrades.

use super::Facts;
use super::catalogue::finding;
use super::readiness::answer::Certainty;
use super::releases::{self, Cut, Support, support};
use super::report::{Code, Finding, KubeletCeiling, Severity};
use crate::model::host::{CgroupVersion, OrphanedShim};
use crate::model::kubelet::Kubelet;
use crate::model::reading::{Reading, Reason};
use crate::model::runtime::{CriApi, RefusedEndpoint, Runtime};
use crate::model::snapshot::Snapshot;
use crate::model::time::Timestamp;

/// The `runtime_name` of dockershim and cri-dockerd.
const DOCKER: &str = "docker";

/// Returns the reason why Docker is the kubelet's own runtime, if it is.
pub(crate) fn docker_is_the_runtime(snapshot: &Snapshot) -> Option<String> {
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
        .map(|_| "the kubelet is configured to use its dockershim".to_owned())
}

/// The newest kubelet that the runtime can serve.
pub(super) fn ceiling(snapshot: &Snapshot) -> Reading<KubeletCeiling> {
    cut_of(snapshot).map(|cut| cut.map_or(KubeletCeiling::None, |cut| KubeletCeiling::Minor(cut.last_minor())))
}

/// The first version of Kubernetes whose kubelet does not start on the runtime.
pub(super) fn cut(kubelet: &Reading<Kubelet>, runtime: &Reading<Runtime>) -> Reading<Option<Cut>> {
    let cuts = &releases::table().cuts;
    if kubelet.known().is_some_and(|k| k.dockershim == Some(true)) {
        return Reading::Known(Some(cuts.without_dockershim));
    }
    runtime
        .as_ref()
        .and_then(|runtime| match (runtime.api, &runtime.cgroup_driver) {
            (CriApi::V1alpha2, _) => Reading::Known(Some(cuts.without_v1alpha2)),
            (CriApi::V1, Reading::Known(_)) => Reading::Known(None),
            (CriApi::V1, Reading::Absent) => Reading::Known(Some(cuts.with_runtime_config)),
            (CriApi::V1, Reading::Unknown(gap)) => Reading::Unknown(gap.clone()),
        })
}

fn cut_of(snapshot: &Snapshot) -> Reading<Option<Cut>> {
    cut(&snapshot.kubelet.reading, &snapshot.runtime.runtime.reading)
}

/// The findings of this family.
pub(super) fn find(facts: &Facts<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(why) = docker_is_the_runtime(facts.snapshot) {
        found.push(finding(Code::RuntimeIsDocker, Severity::Critical, "kubelet", why));
    }
    let runtime = facts.snapshot.runtime.runtime.reading.known();
    if let Some(runtime) = runtime {
        found.extend(of_runtime(facts, runtime));
    } else {
        found.extend(facts.snapshot.runtime.refused.iter().filter_map(cri_plugin_off));
    }
    if let Reading::Known(Some(cut)) = cut_of(facts.snapshot) {
        let subject = runtime.map_or_else(|| "dockershim".to_owned(), named);
        found.push(finding(
            Code::KubeletCeiling,
            Severity::Warning,
            subject,
            reaches_no_further(&cut),
        ));
    }
    found.extend(cgroup_v1(facts.snapshot));
    let orphaned = orphaned_shims(facts.snapshot);
    found.extend(
        orphaned
            .items()
            .iter()
            .map(|shim| finding(Code::ShimOrphan, Severity::Warning, &shim.path, is_gone(shim))),
    );
    found
}

pub(super) fn reaches_no_further(cut: &Cut) -> String {
    let Cut {
        first_minor,
        certainty,
        date,
        name,
        source: _,
    } = cut;
    let last = cut.last_minor();
    match certainty {
        Certainty::Enforced | Certainty::Stated => format!(
            "a kubelet of Kubernetes 1.{first_minor} or newer does not start on this runtime (since {date}, {name}); \
             newest supported kubelet: 1.{last}"
        ),
        Certainty::Announced => format!(
            "Kubernetes announces that 1.{first_minor} will not start on this runtime ({name}, as read on {date}; the \
             version has moved before); newest supported kubelet: 1.{last}"
        ),
    }
}

/// The finding for a socket that answers but serves neither version of CRI. If a runtime answers on another socket,
/// this one is Docker's own.
pub(super) fn cri_plugin_off(refused: &RefusedEndpoint) -> Option<Finding> {
    if refused.refusal.reason != Reason::Unimplemented {
        return None;
    }
    let path = &refused.candidate.path;
    let message = "answers, but serves neither CRI v1 nor v1alpha2: its CRI plugin is disabled or failed to load";
    Some(finding(Code::CriPluginOff, Severity::Warning, path, message))
}

/// The kubelet's setting: `Known(None)` where the default holds; absent where there is no kubelet.
pub(super) fn fail_cgroup_v1(kubelet: &Reading<Kubelet>) -> Reading<Option<bool>> {
    kubelet.as_ref().and_then(|kubelet| match &kubelet.fail_cgroup_v1 {
        Reading::Absent => Reading::Known(None),
        set => set.clone().map(Some),
    })
}

/// The finding for cgroup v1, only with a kubelet: nothing else refuses cgroup v1.
fn cgroup_v1(snapshot: &Snapshot) -> Option<Finding> {
    let host = snapshot.host.reading.known()?;
    if host.cgroups != Reading::Known(CgroupVersion::V1) {
        return None;
    }
    let Cut { first_minor, name, .. } = releases::table().cuts.without_cgroup_v1;
    let (severity, message) = match fail_cgroup_v1(&snapshot.kubelet.reading) {
        Reading::Absent => return None,
        Reading::Known(Some(false)) => (
            Severity::Info,
            "the kubelet runs on cgroup v1 because failCgroupV1 is false; Kubernetes has not set an end date for this setting yet"
                .to_owned(),
        ),
        Reading::Known(set) => {
            let why = if set == Some(true) { "is true" } else { "is not set to false" };
            (
                Severity::Warning,
                format!(
                    "failCgroupV1 {why}: a kubelet of Kubernetes 1.{first_minor} or newer does not start on cgroup v1 \
                     ({name})"
                ),
            )
        }
        Reading::Unknown(gap) => (
            Severity::Warning,
            format!(
                "castoff cannot tell whether a kubelet of Kubernetes 1.{first_minor} or newer starts on cgroup v1: \
                 failCgroupV1 could not be read ({gap})"
            ),
        ),
    };
    Some(finding(Code::CgroupV1, severity, "node", message))
}

/// The shims of the kubelet's containers that are no longer on the disk.
pub(super) fn orphaned_shims(snapshot: &Snapshot) -> Reading<Vec<OrphanedShim>> {
    let host = snapshot.host.reading.as_ref();
    host.and_then(|host| host.orphaned_shims.clone())
}

/// Says that a shim is gone.
pub(super) fn is_gone(shim: &OrphanedShim) -> String {
    let lost = match shim.bundles {
        1 => "1 container or sandbox uses it and is".to_owned(),
        bundles => format!("{bundles} containers and sandboxes use it and are"),
    };
    format!("is no longer there; {lost} lost when containerd restarts")
}

fn of_runtime(facts: &Facts<'_>, runtime: &Runtime) -> Vec<Finding> {
    let mut found = Vec::new();
    if runtime.api == CriApi::V1alpha2 {
        let message = "the runtime does not support CRI v1: a kubelet of Kubernetes 1.26 or newer does not start on it";
        found.push(finding(
            Code::CriV1alpha2Only,
            Severity::Critical,
            named(runtime),
            message,
        ));
    }
    found.extend(end_of_life(runtime, facts.snapshot.taken));
    for deprecation in runtime.deprecations.items() {
        let message = format!("the runtime reports: {}", deprecation.message);
        let subject = deprecation
            .id
            .strip_prefix("io.containerd.deprecation/")
            .unwrap_or(&deprecation.id);
        found.push(finding(Code::RuntimeDeprecation, Severity::Warning, subject, message));
    }
    found
}

fn end_of_life(runtime: &Runtime, now: Timestamp) -> Option<Finding> {
    let (severity, message) = match support(&runtime.name, &runtime.version, now)? {
        Support::Goes(_) => return None,
        Support::EndedOn(end) => (
            Severity::Warning,
            format!("its project ended support of this release line on {}", date(end)),
        ),
        Support::VendorOnly(end, whom, until) => (
            Severity::Warning,
            format!(
                "its project ended support of this release line on {}; only backports for {whom} continue, until {}",
                date(end),
                date(until)
            ),
        ),
        Support::Ended => (
            Severity::Warning,
            "its project has ended support of this release line".to_owned(),
        ),
        Support::Newer => (
            Severity::Info,
            "this release line is newer than castoff's table, so its end of support is not known".to_owned(),
        ),
    };
    let message = format!("{message} (table of {})", releases::table().as_of);
    Some(finding(Code::RuntimeEndOfLife, severity, named(runtime), message))
}

pub(super) fn named(runtime: &Runtime) -> String {
    format!("{} {}", runtime.name, runtime.version)
}

pub(super) fn date(time: Timestamp) -> String {
    time.to_string().chars().take(10).collect()
}
