//! Pods of build systems and of schedulers of jobs, whose controllers make a pod for each job under a name of its own.
//!
//! The workload is the part that the next job has too. As with Kubernetes' own controllers, a label and the pod's name must
//! agree, and nothing is taken from a label that the name does not show.

use super::{BASE_MAX, Marks, RANDOM, Workload, WorkloadKind, is_number, is_random, workload};
use crate::model::workload::generated;

/// The characters of Jenkins' random suffixes.
const JENKINS_RANDOM: &[u8] = b"bcdfghjklmnpqrstvwxz0123456789";

/// Random characters behind the name of a pod of GitLab's and of Drone's runner.
const GITLAB_RANDOM: usize = 8;
const DRONE_RANDOM: usize = 20;

/// The hexadecimal digits in the middle of a name that Tekton had to cut, and the longest name that it leaves whole.
const TEKTON_HASH: usize = 32;
const TEKTON_MAX: usize = 63;

/// The characters of a ULID, and their number, as Woodpecker writes it (Crockford's alphabet in lower case).
const ULID: usize = 26;
const ULID_LETTERS: &[u8] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The random characters of Airflow, and the longest name that it makes.
const AIRFLOW_RANDOM: usize = 8;
const AIRFLOW_MAX: usize = 63;

/// Rules for pods of controllers that use no Job. Buildkite's pods belong to a Job, and the rule for jobs calls [`buildkite`].
pub(super) const RULES: [fn(&Marks<'_>) -> Option<Workload>; 13] = [
    gitlab,
    jenkins,
    tekton,
    argo,
    drone,
    runner_deployment,
    runner_set,
    runners_job,
    build_config,
    prow,
    woodpecker,
    airflow,
    spark,
];

/// Matches `runner-<token>-project-<id>-concurrent-<n>-<random>`, all but the random part in a label. A job uses any free `<n>`.
fn gitlab(pod: &Marks<'_>) -> Option<Workload> {
    let (new, old) = (pod.label("job.runner.gitlab.com/pod"), pod.label("pod"));
    let label = new.or(old).filter(|_| new.is_none() || old.is_none() || new == old)?;
    let (runner, slot) = label.rsplit_once("-concurrent-")?;
    let (_, project) = runner.strip_prefix("runner-")?.rsplit_once("-project-")?;
    let random = pod.name.strip_prefix(label)?;
    let alphanumeric = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let made = match random.strip_prefix('-') {
        Some(random) => random.len() == GITLAB_RANDOM && alphanumeric(random),
        None => is_random(random),
    };
    (made && is_number(slot) && is_number(project)).then(|| workload(WorkloadKind::GitLab, runner, true))?
}

/// Matches `<label>-<random>`, and for a pipeline `<label>-<random>-<random>` with the label `<job>_<build>-<random>`.
fn jenkins(pod: &Marks<'_>) -> Option<Workload> {
    let label = pod.label("jenkins/label")?;
    let spelled = label.to_ascii_lowercase().replace('_', "-");
    let mut random = pod.name.strip_prefix(&spelled)?.strip_prefix('-')?.split('-');
    let made = |text: &str| text.len() == RANDOM && text.bytes().all(|b| JENKINS_RANDOM.contains(&b));
    if !(random.next().is_some_and(made) && random.next().is_none_or(made) && random.next().is_none()) {
        return None;
    }
    let of_build = |label: &str| {
        let (job, build) = label.rsplit_once('_')?;
        let (number, random) = build.split_once('-')?;
        (is_number(number) && made(random)).then_some(job.len())
    };
    workload(
        WorkloadKind::Jenkins,
        &spelled[..of_build(label).unwrap_or(label.len())],
        true,
    )
}

/// Matches `<task run>-pod`, with the run in a label; for a pipeline the run is `<pipeline run>-<task>`.
fn tekton(pod: &Marks<'_>) -> Option<Workload> {
    let run = pod.label("tekton.dev/taskRun")?;
    let of_run = |name: &str, suffix: &str| {
        let stem = name.strip_suffix(suffix)?;
        let cut = || {
            let (kept, hash) = stem.split_at_checked(stem.len().checked_sub(TEKTON_HASH)?)?;
            let full = name.len() == TEKTON_MAX && generated::is_hex_id(hash, TEKTON_HASH);
            full.then(|| run.starts_with(kept))
        };
        (stem == run || cut() == Some(true)).then_some(())
    };
    // Up to 0.2x with a random suffix of its own, and with a number since tasks are retried.
    let name = pod
        .base()
        .and_then(|base| base.strip_suffix('-'))
        .filter(|base| base.ends_with("-pod"));
    let retried = pod
        .name
        .rsplit_once("-retry")
        .filter(|(_, n)| is_number(n))
        .map(|(name, _)| name);
    of_run(name.or(retried).unwrap_or(pod.name), "-pod")?;
    match pod.label("tekton.dev/pipelineRun") {
        None => workload(WorkloadKind::TaskRun, base_of(run), true),
        Some(pipeline_run) => {
            let of_pipeline = run.strip_prefix(pipeline_run).is_some_and(|rest| rest.starts_with('-'));
            of_pipeline.then(|| workload(WorkloadKind::PipelineRun, base_of(pipeline_run), true))?
        }
    }
}

/// Matches `<workflow>`, `<workflow>-<number>` or `<workflow>-<template>-<number>`, with the workflow in a label.
fn argo(pod: &Marks<'_>) -> Option<Workload> {
    let workflow = pod
        .label("workflows.argoproj.io/workflow")
        .filter(|name| !name.is_empty())?;
    let rest = pod.name.strip_prefix(workflow)?;
    let of_step = || {
        let (before, number) = rest.rsplit_once('-')?;
        (is_number(number) && (before.is_empty() || before.starts_with('-'))).then_some(())
    };
    (rest.is_empty() || of_step().is_some()).then(|| workload(WorkloadKind::Workflow, base_of(workflow), true))?
}

/// Matches `drone-<random>`, with the whole name in a label. Only labels name the repository, hence it is not reported.
fn drone(pod: &Marks<'_>) -> Option<Workload> {
    if pod.label("io.drone") != Some("true") || pod.label("io.drone.name") != Some(pod.name) {
        return None;
    }
    let random = pod.name.strip_prefix("drone-")?;
    let made = random.len() == DRONE_RANDOM && random.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    made.then(|| workload(WorkloadKind::Drone, "drone", true))?
}

/// Matches `<name>-<random>-<random>`, with the name in a label.
fn runner_deployment(pod: &Marks<'_>) -> Option<Workload> {
    let name = pod.label("runner-deployment-name")?;
    let set = pod.base()?.strip_suffix('-')?.strip_prefix(name)?.strip_prefix('-')?;
    is_random(set).then(|| workload(WorkloadKind::RunnerDeployment, name, true))?
}

/// Matches `<name>-<random>-<ordinal>`: a `RunnerSet` makes a stateful set for each of its runners.
fn runner_set(pod: &Marks<'_>) -> Option<Workload> {
    let name = pod.label(RUNNER_SET)?;
    let (set, ordinal) = pod.name.rsplit_once('-')?;
    let random = set.strip_prefix(name)?;
    let random = random.strip_prefix('-').unwrap_or(random);
    let made = is_number(ordinal) && is_random(random);
    made.then(|| workload(WorkloadKind::RunnerSet, name, true))?
}

pub(super) const RUNNER_SET: &str = "runnerset-name";

/// Matches `<runner>-workflow` or `<runner>-step-<random>`: a job's container, made by a runner whose name is in a label and has
/// the form `<runner set>-<random>-runner-<random>`.
fn runners_job(pod: &Marks<'_>) -> Option<Workload> {
    let runner = pod.label("runner-pod").filter(|name| name.len() < BASE_MAX)?;
    let rest = pod.name.strip_prefix(runner)?;
    if rest != "-workflow" && !rest.strip_prefix("-step-").is_some_and(is_random) {
        return None;
    }
    let (set, random) = runner.rsplit_once("-runner-")?;
    let (name, of_set) = set.rsplit_once('-')?;
    (is_random(random) && is_random(of_set)).then(|| workload(WorkloadKind::AutoscalingRunnerSet, name, true))?
}

/// Matches `buildkite-<id>`, a Job's name, with the id in a label.
pub(super) fn buildkite(pod: &Marks<'_>, job: &str) -> Option<Workload> {
    let id = pod.label("buildkite.com/job-uuid")?;
    let (agent, job_id) = job.split_once('-')?;
    let made = agent == "buildkite" && job_id == id && generated::fold(id, "").is_some_and(|rest| rest.is_empty());
    made.then(|| workload(WorkloadKind::Buildkite, agent, true))?
}

/// Matches `<name>-<number>-build`, with the name in a label (openshift/api, `build/v1/consts.go`).
fn build_config(pod: &Marks<'_>) -> Option<Workload> {
    let (new, old) = (pod.label("openshift.io/build-config.name"), pod.label("buildconfig"));
    let name = new.or(old).filter(|_| new.is_none() || old.is_none() || new == old)?;
    let build = pod.name.strip_suffix("-build")?;
    let number = build.strip_prefix(name)?.strip_prefix('-')?;
    let agrees = pod.label("openshift.io/build.name").is_none_or(|label| label == build);
    (agrees && is_number(number)).then(|| workload(WorkloadKind::BuildConfig, name, true))?
}

/// Matches a UUID, with the whole name in a label (Prow, `pod-utils/decorate/podspec.go`). Only labels name the job, hence
/// it is not reported.
fn prow(pod: &Marks<'_>) -> Option<Workload> {
    let is_job = pod.label("created-by-prow") == Some("true") && pod.label("prow.k8s.io/job").is_some();
    let made = is_job && pod.label("prow.k8s.io/id") == Some(pod.name) && generated::is_uuid(pod.name);
    made.then(|| workload(WorkloadKind::Prow, "prow", true))?
}

/// Matches `wp-<ULID>` with a step in a label, and `wp-svc-<ULID>-<service>` with the whole name in one (Woodpecker,
/// `backend/kubernetes/pod.go` and `service.go`). No name shows the repository or the step.
fn woodpecker(pod: &Marks<'_>) -> Option<Workload> {
    pod.label("step").filter(|step| !step.is_empty())?;
    let id = match pod.name.strip_prefix("wp-svc-") {
        Some(rest) if pod.label("service") == Some(pod.name) => rest.split_once('-')?.0,
        Some(_) => return None,
        None => pod.name.strip_prefix("wp-")?,
    };
    let made = id.len() == ULID && id.bytes().all(|b| ULID_LETTERS.contains(&b));
    made.then(|| workload(WorkloadKind::Woodpecker, "woodpecker", true))?
}

/// Matches `<dag>-<task>-<random>`, with both in labels (Airflow, `kubernetes_helper_functions.py`). A pod of the
/// `KubernetesPodOperator` has a name that does not show its DAG, and is its own workload.
fn airflow(pod: &Marks<'_>) -> Option<Workload> {
    let whole = slug(&format!("{}-{}", pod.label("dag_id")?, pod.label("task_id")?));
    let (name, random) = pod.name.rsplit_once('-')?;
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let cut = pod.name.len() == AIRFLOW_MAX && whole.starts_with(name);
    let made = random.len() == AIRFLOW_RANDOM && random.bytes().all(alphanumeric);
    (made && (name == whole || cut)).then(|| workload(WorkloadKind::Airflow, name, name == whole))?
}

/// Returns the text as Airflow spells it in a name (python-slugify): each run of other characters is one hyphen.
fn slug(text: &str) -> String {
    let words = text
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

/// Matches `<name>-<id>-exec-<n>` and `<name>-<id>-driver`, with `<n>` in a label and the name too since Spark 3.3
/// (`BasicExecutorFeatureStep.scala`). Spark's operator leaves out the id.
fn spark(pod: &Marks<'_>) -> Option<Workload> {
    let run = match pod.label("spark-role")? {
        "driver" => pod.name.strip_suffix("-driver")?,
        "executor" => {
            let number = pod.label("spark-exec-id").filter(|number| is_number(number))?;
            pod.name.strip_suffix(number)?.strip_suffix("-exec-")?
        }
        _ => return None,
    };
    let label = pod.label("spark-app-name");
    if label == Some(run) {
        return workload(WorkloadKind::Spark, run, true);
    }
    let (name, id) = run.rsplit_once('-')?;
    let made = generated::fold(id, "").is_some_and(|rest| rest.is_empty()) && label.is_none_or(|label| label == name);
    made.then(|| workload(WorkloadKind::Spark, name, true))?
}

/// Returns the name of a run without its unique part: a random suffix, a point in time, an id.
fn base_of(run: &str) -> &str {
    match run.rsplit_once('-') {
        Some((base, last)) if is_random(last) => base,
        _ => {
            let folded = generated::fold(run, "").unwrap_or_default();
            let base = run.strip_prefix(&folded).is_some_and(|rest| rest.starts_with('-'));
            if base { &run[..folded.len()] } else { run }
        }
    }
}

#[cfg(test)]
mod tests;
