//! The workload of a pod, by its sandbox's data over CRI: labels, annotations and the pod's name. Needs no request to the API
//! server.
//!
//! Controllers leave two marks on a pod: a label, and the form of its name. A rule requires both to agree; if no rule
//! matches, or two do, the pod is its own workload. The creator of a pod chooses its labels and its name, so a pod may
//! claim a workload of its own namespace: its own name is always shown with it, and no verdict depends on this.
//!
//! Relies on the form of generated names: `generateName` cut to 58 and five random characters (k8s.io/apiserver, `storage/names`;
//! k8s.io/apimachinery, `rand.SafeEncodeString`), and each controller's own form as its rule says.

mod ci;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::name::is_name;
use crate::model::reading::codes;
use crate::model::time::Timestamp;

codes! {
    /// The kind of a workload, by the name of its kind in Kubernetes.
    WorkloadKind {
        /// A Deployment, through one of its replica sets.
        Deployment = "Deployment",
        /// A stateful set; OpenKruise's has the same name.
        StatefulSet = "StatefulSet",
        /// A daemon set; OpenKruise's has the same name.
        DaemonSet = "DaemonSet",
        /// A job without a cron job that is seen behind it.
        Job = "Job",
        /// A cron job, through one of its jobs.
        CronJob = "CronJob",
        /// A scaled job of KEDA's, through one of its jobs.
        ScaledJob = "ScaledJob",
        /// `OpenShift`, through one of its replication controllers.
        DeploymentConfig = "DeploymentConfig",
        /// A pod that the kubelet runs from a file or a URL; its name is without the node's.
        StaticPod = "StaticPod",
        /// Argo Rollouts.
        Rollout = "Rollout",
        /// OpenKruise.
        CloneSet = "CloneSet",
        /// GitHub's Actions Runner Controller.
        AutoscalingRunnerSet = "AutoscalingRunnerSet",
        /// The community's Actions Runner Controller.
        RunnerDeployment = "RunnerDeployment",
        /// The community's Actions Runner Controller, with volumes.
        RunnerSet = "RunnerSet",
        /// A GitLab runner's jobs of one project.
        GitLab = "GitLab",
        /// A Jenkins job, or a pod template.
        Jenkins = "Jenkins",
        /// Tekton: the runs of one task, by their common name.
        TaskRun = "TaskRun",
        /// Tekton: the runs of one pipeline, by their common name.
        PipelineRun = "PipelineRun",
        /// Argo: the runs of one workflow, by their common name.
        Workflow = "Workflow",
        /// A Drone runner's jobs.
        Drone = "Drone",
        /// A Buildkite agent's jobs.
        Buildkite = "Buildkite",
        /// `OpenShift`'s builds of one configuration.
        BuildConfig = "BuildConfig",
        /// Prow's jobs.
        Prow = "Prow",
        /// A Woodpecker agent's steps and services.
        Woodpecker = "Woodpecker",
        /// Airflow: the runs of one task of a DAG.
        Airflow = "Airflow",
        /// Spark: the drivers and executors of one application.
        Spark = "Spark",
    }
}

/// The workload that made a pod and will make its successor.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its name; its namespace is the pod's.
    pub name: String,
    /// True if the pod's marks allow no other workload. Where they do, as in a name that was cut, each pod stays a client of its
    /// own.
    pub certain: bool,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let perhaps = if self.certain { "" } else { "perhaps " };
        write!(f, "{perhaps}{} {}", self.kind, self.name)
    }
}

/// The labels and annotations of a sandbox that show its pod's workload.
#[derive(Clone, Copy, Debug)]
pub struct Marks<'a> {
    /// The pod's name.
    pub name: &'a str,
    /// Its labels.
    pub labels: &'a [(&'a str, &'a str)],
    /// Its annotations.
    pub annotations: &'a [(&'a str, &'a str)],
    /// The time at which the sandbox was made, where it is known.
    pub created: Option<Timestamp>,
    /// The node's name, where it is known.
    pub node: Option<&'a str>,
}

/// The characters of a `generateName` that are kept.
const BASE_MAX: usize = 58;

/// The random characters after it.
const RANDOM: usize = 5;

/// The letters of random names and hashes.
const SAFE: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// The maximum of a template hash's characters: a `u32` in decimal digits, each encoded as one.
const HASH_MAX: usize = 10;

/// The characters of a hash that must be left in a name that was cut within it. Five of 27 characters are no coincidence.
const HASH_LEFT: usize = 5;

/// The delay after its minute with which a cron job's pod may be made and still prove the cron job: a controller that was away
/// catches up, and a failed pod is retried.
const LATE_SECONDS: u64 = 3600;

/// The maximum difference between the clocks of the node and of the control plane.
const SKEW_SECONDS: u64 = 300;

/// Returns the workload of a pod; none if it has no marks, or marks that do not agree.
pub fn of(pod: &Marks<'_>) -> Option<Workload> {
    // The kubelet writes the source itself, over any value of the pod.
    if matches!(pod.annotation("kubernetes.io/config.source"), Some("file" | "http")) {
        return static_pod(pod);
    }
    let rules: [fn(&Marks<'_>) -> Option<Workload>; 6] =
        [stateful_set, daemon_set, job, clone_set, runner_set, deployment_config];
    let hashed = [
        ("pod-template-hash", WorkloadKind::Deployment),
        ("rollouts-pod-template-hash", WorkloadKind::Rollout),
    ];
    let mut found = hashed
        .into_iter()
        .filter_map(|(label, kind)| hashed_template(pod, label, kind))
        .chain(rules.into_iter().chain(ci::RULES).filter_map(|rule| rule(pod)));
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

impl<'a> Marks<'a> {
    fn label(&self, key: &str) -> Option<&'a str> {
        self.labels.iter().find(|(k, _)| *k == key).map(|(_, value)| *value)
    }

    fn annotation(&self, key: &str) -> Option<&'a str> {
        self.annotations
            .iter()
            .find(|(k, _)| *k == key)
            .map(|(_, value)| *value)
    }

    /// Returns the `generateName` that the pod's name was made from, perhaps cut at [`BASE_MAX`].
    fn base(&self) -> Option<&'a str> {
        let (base, random) = self.name.split_at_checked(self.name.len().checked_sub(RANDOM)?)?;
        let made = (1..=BASE_MAX).contains(&base.len()) && random.bytes().all(|b| SAFE.contains(&b));
        made.then_some(base)
    }
}

fn workload(kind: WorkloadKind, name: &str, certain: bool) -> Option<Workload> {
    is_name(name).then(|| Workload {
        kind,
        name: name.to_owned(),
        certain,
    })
}

fn is_hash(text: &str) -> bool {
    (1..=HASH_MAX).contains(&text.len()) && text.bytes().all(|b| SAFE.contains(&b) || b.is_ascii_digit())
}

/// True for the random part that the API server puts behind a `generateName`.
fn is_random(text: &str) -> bool {
    text.len() == RANDOM && text.bytes().all(|b| SAFE.contains(&b))
}

fn is_number(text: &str) -> bool {
    let digits = (1..=10).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    digits && (text == "0" || !text.starts_with('0'))
}

/// Matches `<name>-<hash>-<random>`, with the hash of the template also in a label.
fn hashed_template(pod: &Marks<'_>, label: &str, kind: WorkloadKind) -> Option<Workload> {
    let hash = pod.label(label).filter(|hash| is_hash(hash))?;
    let base = pod.base()?;
    let before = |base: &str, part: &str| Some(base.strip_suffix(part)?.strip_suffix('-')?.to_owned());
    if let Some(name) = base.strip_suffix('-').and_then(|base| before(base, hash)) {
        return workload(kind, &name, true);
    }
    // The base was cut: the rest of the hash shows how much of the base is the name.
    let left = (HASH_LEFT..=hash.len()).rev().filter(|_| base.len() == BASE_MAX);
    let (name, length) = left
        .map(|n| (before(base, &hash[..n]), n))
        .find(|(name, _)| name.is_some())?;
    workload(kind, &name?, length == hash.len())
}

/// Matches `<name>-<ordinal>`, also in a label.
fn stateful_set(pod: &Marks<'_>) -> Option<Workload> {
    if pod.label("statefulset.kubernetes.io/pod-name") != Some(pod.name) || pod.label(ci::RUNNER_SET).is_some() {
        return None;
    }
    let (name, ordinal) = pod.name.rsplit_once('-').filter(|(_, ordinal)| is_number(ordinal))?;
    let index = pod.label("apps.kubernetes.io/pod-index");
    if index.is_some_and(|index| index != ordinal) {
        return None;
    }
    workload(WorkloadKind::StatefulSet, name, true)
}

/// Matches `<name>-<random>` and a revision that is a bare hash: other controllers put a name before theirs, or have a label of
/// their own.
fn daemon_set(pod: &Marks<'_>) -> Option<Workload> {
    let others = ["statefulset.kubernetes.io/pod-name", CLONE_SET];
    if others.iter().any(|label| pod.label(label).is_some()) {
        return None;
    }
    pod.label("controller-revision-hash").filter(|hash| is_hash(hash))?;
    let base = pod.base()?;
    // A base of the maximum length was perhaps cut just behind a hyphen of its own.
    workload(WorkloadKind::DaemonSet, base.strip_suffix('-')?, base.len() < BASE_MAX)
}

/// Matches `<name>-<random>` or `<name>-<index>-<random>`, with the job's name in a label.
fn job(pod: &Marks<'_>) -> Option<Workload> {
    let (new, old) = (pod.label("batch.kubernetes.io/job-name"), pod.label("job-name"));
    let job = new.or(old).filter(|_| new.is_none() || old.is_none() || new == old)?;
    let base = pod.base()?;
    let rest = base.strip_suffix('-').unwrap_or(base);
    let cut = base.len() == BASE_MAX;
    let plain = rest == job || (cut && job.starts_with(base));
    // In an indexed job the name is cut, never the index.
    let indexed = base.ends_with('-')
        && rest
            .rsplit_once('-')
            .is_some_and(|(name, index)| is_number(index) && (name == job || (cut && job.starts_with(name))));
    if !plain && !indexed {
        return None;
    }
    if let Some(buildkite) = ci::buildkite(pod, job) {
        return Some(buildkite);
    }
    if let Some(name) = scaled_job(pod, job) {
        return workload(WorkloadKind::ScaledJob, name, true);
    }
    match cron_job(job, pod.created) {
        Some(name) => workload(WorkloadKind::CronJob, name, true),
        None => workload(WorkloadKind::Job, job, true),
    }
}

/// Matches `<name>-<random>`, a job's name, with the name in a label (KEDA, `scaling/executor/scale_jobs.go`). A name that
/// was cut does not show all of it.
fn scaled_job<'a>(pod: &Marks<'a>, job: &str) -> Option<&'a str> {
    let name = pod.label("scaledjob.keda.sh/name")?;
    let random = job.strip_prefix(name)?.strip_prefix('-')?;
    is_random(random).then_some(name)
}

/// Matches `<name>-<minutes>`, or seconds up to Kubernetes 1.20: the time that the job was scheduled for. Such a number counts
/// only for a pod that was made soon after.
fn cron_job(job: &str, created: Option<Timestamp>) -> Option<&str> {
    let (name, time) = job.rsplit_once('-').filter(|(_, time)| is_number(time))?;
    let number: u64 = time.parse().ok()?;
    let scheduled = match time.len() {
        8 => number * 60,
        10 if number.is_multiple_of(60) => number,
        _ => return None,
    };
    let created = created?.as_unix();
    let soon = scheduled.saturating_sub(SKEW_SECONDS)..=scheduled + LATE_SECONDS;
    soon.contains(&created).then_some(name)
}

const CLONE_SET: &str = "apps.kruise.io/cloneset-instance-id";

/// Matches `<name>-<id>`, with the id in a label.
fn clone_set(pod: &Marks<'_>) -> Option<Workload> {
    let id = pod.label(CLONE_SET).filter(|id| !id.is_empty())?;
    let name = pod.name.strip_suffix(id)?.strip_suffix('-')?;
    workload(WorkloadKind::CloneSet, name, true)
}

/// Matches `<name>-<random>-runner-<random>`, with the name in a label.
fn runner_set(pod: &Marks<'_>) -> Option<Workload> {
    let name = pod.label("actions.github.com/scale-set-name")?;
    let of_set = pod
        .base()?
        .strip_suffix("-runner-")?
        .strip_prefix(name)?
        .strip_prefix('-')?;
    is_random(of_set).then(|| workload(WorkloadKind::AutoscalingRunnerSet, name, true))?
}

/// Matches `<name>-<revision>-<random>`, with the name in a label and `<name>-<revision>` in another (openshift/api,
/// `apps/v1/consts.go`).
fn deployment_config(pod: &Marks<'_>) -> Option<Workload> {
    let name = pod.label("deploymentconfig")?;
    let controller = pod.base()?.strip_suffix('-')?;
    let revision = controller.strip_prefix(name)?.strip_prefix('-')?;
    let agrees = pod.label("deployment").is_none_or(|label| label == controller);
    (agrees && is_number(revision)).then(|| workload(WorkloadKind::DeploymentConfig, name, true))?
}

/// Matches `<name>-<node>`: the same name as its mirror's in the API.
fn static_pod(pod: &Marks<'_>) -> Option<Workload> {
    let own = pod.node.and_then(|node| {
        let name = pod.name.strip_suffix(&node.to_lowercase())?;
        name.strip_suffix('-')
    });
    workload(WorkloadKind::StaticPod, own.unwrap_or(pod.name), own.is_some())
}

#[cfg(test)]
mod tests;
