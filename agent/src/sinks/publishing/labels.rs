//! Converts a report to the labels and the annotation that its node should have. Pure: nothing is sent here.
//!
//! Every label is always set, so a missing label means that castoff does not run. A value is `unknown` if castoff could
//! not see it, and `none` if castoff looked and found nothing. One more label gives the time until which the others are
//! valid, because an agent that is gone cannot remove them.

pub mod prefix;
pub mod settled;
pub mod summary;
pub mod validity;
pub mod value;

use std::collections::{BTreeMap, BTreeSet};

use crate::findings::readiness::answer::{Answer, Readiness};
use crate::findings::report::{KubeletCeiling, Report};
use crate::model::disuse::DockerFree;
use crate::model::reading::{Hides, Reading, codes};
use crate::model::runtime::Runtime;
use prefix::Prefix;
use summary::Summary;
use value::legal;

codes! {
    /// The names of castoff's labels, without the prefix.
    Name {
        /// The verdict.
        DockerDependency = "docker-dependency",
        /// The runtime's own name.
        ContainerRuntime = "container-runtime",
        /// Its version.
        ContainerRuntimeVersion = "container-runtime-version",
        /// The CRI version that it serves.
        CriApi = "cri-api",
        /// Engines of the node that serve the Docker API, joined by `_` where there are several.
        DockerEngine = "docker-engine",
        /// The newest kubelet that the runtime can serve, as `1.37`.
        KubeletCeiling = "kubelet-ceiling",
        /// The longest span of days (7, 14 or 35) for which Docker is proven to be unused; 0 where none is.
        DockerFreeDays = "docker-free-days",
    }
}

/// The start of the name of a label with the answer for one target of `--for`: `ready-for-kubelet-1.38`.
pub const READY_FOR: &str = "ready-for-";

/// The name of the label with the time until which the others are valid, in Unix seconds: selectors compare integers only.
pub const VALID_UNTIL: &str = "valid-until";

/// The annotation's name, without the prefix.
pub const ANNOTATION: &str = "summary";

/// A value that could not be seen.
pub const UNKNOWN: &str = "unknown";

/// The value for an item that was looked for and is not there.
const NONE: &str = "none";

/// The ceiling where no release of Kubernetes drops the runtime.
const UNLIMITED: &str = "unlimited";

/// The ceiling where there is no runtime.
const NO_RUNTIME: &str = "no-runtime";

/// The labels and the annotation that a node should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Labels by their full key, each value legal.
    pub labels: BTreeMap<String, String>,
    /// The full key of the label with the time until which they are valid.
    pub valid_until: String,
    /// The annotation's full key.
    pub annotation: String,
    /// The annotation's content.
    pub summary: Summary,
}

/// The value of each label, by the label's name without the prefix.
pub fn values(report: &Report) -> BTreeMap<String, String> {
    let runtime = |of: fn(&Runtime) -> &str| word(&report.runtime, |runtime| legal(of(runtime)));
    let fixed = [
        (Name::DockerDependency, report.verdict.code().to_owned()),
        (Name::ContainerRuntime, runtime(|r| &r.name)),
        (Name::ContainerRuntimeVersion, runtime(|r| &r.version)),
        (Name::CriApi, runtime(|r| r.api.code())),
        (Name::DockerEngine, engines(report)),
        (Name::KubeletCeiling, ceiling(&report.kubelet_ceiling)),
        (Name::DockerFreeDays, free_days(&report.docker_free)),
    ];
    let fixed = fixed.map(|(name, value)| (name.code().to_owned(), value));
    fixed.into_iter().chain(report.readiness.iter().map(ready)).collect()
}

/// The label of one target. `unknown` counts from the second report on, as for other labels.
fn ready(ready: &Readiness) -> (String, String) {
    let name = format!("{READY_FOR}{}-{}", ready.target.product(), ready.target.version());
    let value = match ready.answer {
        Answer::CannotTell => UNKNOWN,
        Answer::NotReady | Answer::Ready => ready.answer.code(),
    };
    (name, value.to_owned())
}

/// Every key that castoff sets under `prefix` for any targets: labels, then the annotation. Labels that begin with [`READY_FOR`]
/// are castoff's too.
pub fn keys(prefix: &Prefix) -> (Vec<String>, String) {
    let names = Name::ALL.iter().map(|name| name.code()).chain([VALID_UNTIL]);
    (names.map(|name| prefix.key(name)).collect(), prefix.key(ANNOTATION))
}

fn word<T>(reading: &Reading<T>, of: impl Fn(&T) -> Option<String>) -> String {
    match reading {
        Reading::Known(value) => of(value).unwrap_or_else(|| UNKNOWN.to_owned()),
        Reading::Absent => NONE.to_owned(),
        Reading::Unknown(_) => UNKNOWN.to_owned(),
    }
}

/// Without a runtime there is no ceiling; `none` would read as "upgrade as you like".
fn ceiling(reading: &Reading<KubeletCeiling>) -> String {
    match reading {
        Reading::Known(KubeletCeiling::None) => UNLIMITED.to_owned(),
        Reading::Known(KubeletCeiling::Minor(minor)) => format!("1.{minor}"),
        Reading::Absent => NO_RUNTIME.to_owned(),
        Reading::Unknown(_) => UNKNOWN.to_owned(),
    }
}

/// A number always, so that a selector can compare it: while Docker is used there is no day without it.
fn free_days(reading: &Reading<DockerFree>) -> String {
    match reading {
        Reading::Known(free) => free.span().to_string(),
        Reading::Absent => "0".to_owned(),
        Reading::Unknown(_) => UNKNOWN.to_owned(),
    }
}

/// Engines that were seen count; `none` is used only where nothing hides an engine.
fn engines(report: &Report) -> String {
    let kinds: BTreeSet<&str> = report
        .engines
        .items()
        .iter()
        .filter(|e| e.scope.is_of_node())
        .map(|e| e.kind.code())
        .collect();
    if !kinds.is_empty() {
        return kinds.into_iter().collect::<Vec<_>>().join("_");
    }
    let hidden = report
        .sources
        .iter()
        .flat_map(|source| &source.gaps)
        .any(|gap| gap.hides == Hides::Engine);
    if hidden || report.engines.gap().is_some() {
        UNKNOWN
    } else {
        NONE
    }
    .to_owned()
}

#[cfg(test)]
mod tests;
