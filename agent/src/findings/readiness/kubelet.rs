//! Obstacles to a version of the kubelet on this node.

use super::answer::{Certainty, Effect, Obstacle, RuleSource};
use super::{Grounds, hidden, of_catalogue};
use crate::findings::releases::{self, Cut, Version};
use crate::findings::report::Code;
use crate::findings::runtime::{cri_plugin_off, cut, fail_cgroup_v1, named, reaches_no_further};
use crate::model::host::CgroupVersion;
use crate::model::reading::Reading;
use crate::model::runtime::CriApi;

/// The first minor of Kubernetes whose kubelet speaks CRI v1.
const SPEAKS_V1: Version = Version(1, 23);

pub(super) fn add(grounds: &Grounds, version: Version, found: &mut Vec<Obstacle>) {
    found.extend(interface(grounds, version));
    found.extend(cgroups(grounds, version));
    found.extend(metrics(grounds));
    add_subordinate_ids(grounds, version, found);
}

fn source_of(cut: &Cut) -> RuleSource {
    RuleSource {
        certainty: cut.certainty,
        date: cut.date,
        source: cut.source,
    }
}

/// The interface between the kubelet and the runtime.
fn interface(grounds: &Grounds, version: Version) -> Option<Obstacle> {
    let cut = match cut(&grounds.kubelet, &grounds.runtime) {
        Reading::Known(Some(cut)) => cut,
        Reading::Known(None) => return downgrade(grounds, version),
        Reading::Absent => return Some(no_runtime(grounds)),
        Reading::Unknown(gap) => {
            let rule_source = source_of(&releases::table().cuts.with_runtime_config);
            return Some(hidden(
                Code::KubeletCeiling,
                rule_source,
                "the newest kubelet that the runtime supports",
                &gap,
            ));
        }
    };
    if version < Version(1, cut.first_minor) {
        return downgrade(grounds, version);
    }
    let is_old = grounds
        .runtime
        .known()
        .is_some_and(|runtime| runtime.api == CriApi::V1alpha2);
    let code = match cut.name {
        name if name == releases::table().cuts.without_dockershim.name => Code::RuntimeIsDocker,
        _ if is_old => Code::CriV1alpha2Only,
        _ => Code::KubeletCeiling,
    };
    Some(Obstacle::new(
        Effect::Blocks,
        code,
        source_of(&cut),
        reaches_no_further(&cut),
    ))
}

/// Obstacles to a downgrade: kubelets before 1.23 speak CRI v1alpha2 only, which newer runtimes do not.
fn downgrade(grounds: &Grounds, version: Version) -> Option<Obstacle> {
    let runtime = grounds.runtime.known()?;
    if version >= SPEAKS_V1 || runtime.api == CriApi::V1alpha2 {
        return None;
    }
    let line = releases::line(&runtime.name, &runtime.version)?;
    let first_without = match runtime.name.as_str() {
        "containerd" => Version(2, 0),
        "cri-o" => Version(1, 26),
        _ => return None,
    };
    let code = Code::KubeletCeiling;
    let message = format!(
        "a kubelet before Kubernetes {SPEAKS_V1} supports only CRI v1alpha2, which {} removed in {first_without}",
        runtime.name
    );
    (line >= first_without).then(|| Obstacle::new(Effect::Blocks, code, of_catalogue(code), message))
}

/// The metrics of pods, which a kubelet will take from the runtime in a release that has no date yet.
fn metrics(grounds: &Grounds) -> Option<Obstacle> {
    let runtime = grounds.runtime.known()?;
    if runtime.pod_metrics != Reading::Known(false) {
        return None;
    }
    let rule_source = RuleSource {
        certainty: Certainty::Announced,
        ..of_catalogue(Code::CriMetrics)
    };
    let message = format!(
        "{} does not serve the metrics of pods; Kubernetes announces that a later kubelet reads them there, without a date",
        named(runtime)
    );
    Some(Obstacle::new(Effect::Note, Code::CriMetrics, rule_source, message))
}

fn no_runtime(grounds: &Grounds) -> Obstacle {
    if let Some(off) = grounds.refused_endpoints.iter().find_map(cri_plugin_off) {
        let message = format!("{} {}", off.subject, off.message);
        return Obstacle::new(Effect::Blocks, off.code, of_catalogue(off.code), message);
    }
    let rule_source = source_of(&releases::table().cuts.with_runtime_config);
    let message = "no runtime was found that a kubelet could use";
    Obstacle::new(Effect::MayBlock, Code::KubeletCeiling, rule_source, message)
}

fn cgroups(grounds: &Grounds, version: Version) -> Option<Obstacle> {
    let cut = releases::table().cuts.without_cgroup_v1;
    let first = Version(1, cut.first_minor);
    let obstacle = |effect, message: String| Some(Obstacle::new(effect, Code::CgroupV1, source_of(&cut), message));
    if version < first {
        return None;
    }
    match &grounds.cgroups {
        Reading::Known(CgroupVersion::V2) => return None,
        Reading::Known(CgroupVersion::V1) => {}
        Reading::Absent => return obstacle(Effect::MayBlock, "no control groups are mounted".to_owned()),
        Reading::Unknown(gap) => {
            return Some(hidden(
                Code::CgroupV1,
                source_of(&cut),
                "the control group version",
                gap,
            ));
        }
    }
    let refuses = format!("a kubelet of Kubernetes {first} or newer does not start on cgroup v1");
    match fail_cgroup_v1(&grounds.kubelet) {
        Reading::Known(Some(false)) => obstacle(
            Effect::Note,
            "the node runs cgroup v1 because failCgroupV1 is false; Kubernetes has not set an end date for this setting yet".to_owned(),
        ),
        Reading::Known(Some(true)) => obstacle(Effect::Blocks, format!("{refuses}, and failCgroupV1 is true")),
        Reading::Known(None) => obstacle(
            Effect::Blocks,
            format!("{refuses}, and failCgroupV1 is not set to false"),
        ),
        Reading::Absent => obstacle(
            Effect::MayBlock,
            format!("{refuses} unless failCgroupV1 is set to false; this node has no kubelet with that setting"),
        ),
        Reading::Unknown(gap) => obstacle(
            Effect::MayBlock,
            format!("{refuses} unless failCgroupV1 is set to false, which could not be read ({gap})"),
        ),
    }
}

/// The ids of pods in user namespaces, which a kubelet reads when it starts.
fn add_subordinate_ids(grounds: &Grounds, version: Version, found: &mut Vec<Obstacle>) {
    let cuts = &releases::table().cuts;
    let (asks, refuses) = (cuts.with_getsubids, cuts.without_last_id);
    let is_from = |cut: Cut| version >= Version(1, cut.first_minor);
    let (code, cut) = match (is_from(asks), is_from(refuses)) {
        (_, true) => (Code::SubidRange, refuses),
        (true, false) => (Code::GetsubidsMissing, asks),
        (false, false) => return,
    };
    let obstacle = |effect, message| Obstacle::new(effect, code, source_of(&cut), message);
    let unseen = |gap| hidden(code, source_of(&cut), "the ids of the user kubelet", gap);
    let ids = match grounds
        .kubelet
        .as_ref()
        .and_then(|kubelet| kubelet.subordinate_ids.clone())
    {
        Reading::Known(ids) => ids,
        Reading::Absent => return,
        Reading::Unknown(gap) => return found.push(unseen(&gap)),
    };
    if code == Code::GetsubidsMissing {
        found.extend(match &ids.getsubids {
            Reading::Known(_) => None,
            Reading::Absent => Some(obstacle(
                Effect::Blocks,
                format!(
                    "the host has a user kubelet and no getsubids, without which a kubelet of Kubernetes 1.{} to 1.{} does not start",
                    asks.first_minor,
                    refuses.last_minor()
                ),
            )),
            Reading::Unknown(gap) => Some(unseen(gap)),
        });
        return;
    }
    match &ids.overlong {
        Reading::Known(lines) if !lines.is_empty() => found.push(obstacle(
            Effect::Blocks,
            format!(
                "{} ends at 4294967295 or past it; Kubernetes announces a kubelet of 1.{} that does not start with it",
                lines.join(", "),
                refuses.first_minor
            ),
        )),
        Reading::Known(_) | Reading::Absent => {}
        Reading::Unknown(gap) => found.push(unseen(gap)),
    }
}
