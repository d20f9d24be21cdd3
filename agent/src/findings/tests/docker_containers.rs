//! Containers that an engine runs outside Kubernetes, and the advice to remove an engine.

use super::*;
use crate::model::container::SupervisedContainer;
use crate::model::engine::EngineKind;

fn shadow(report: &Report) -> &str {
    let of = |f: &&Finding| f.code == Code::ShadowContainers;
    &report.findings.iter().find(of).expect("found").message
}

#[test]
fn docker_that_runs_containers_is_in_use_and_never_left_over() {
    let mut node = with_engine();
    known(&mut node.supervised).push(supervised(7, Some("web")));
    let report = judge(&node);
    assert_eq!(report.verdict, Verdict::InUse);
    assert_eq!(report.verdict_reason, "Docker runs 1 container outside Kubernetes");
    assert_eq!(codes(&report), [Code::ShadowContainers]);
    // They survive a daemon that was stopped (live-restore).
    known(&mut node.engines).clear();
    assert_eq!(judge(&node).verdict, Verdict::InUse);
}

#[test]
fn podmans_containers_are_shown_and_are_not_a_use_of_docker() {
    let mut node = with_engine();
    let podmans = SupervisedContainer {
        engine: EngineKind::Podman,
        ..supervised(7, Some("web"))
    };
    known(&mut node.supervised).push(podmans);
    let report = judge(&node);
    assert_eq!(report.verdict, Verdict::Idle);
    assert_eq!(shadow(&report), "podman runs 1 container outside Kubernetes: web");
    assert!(
        codes(&report).contains(&Code::EngineLeftOver),
        "Docker itself runs nothing"
    );
}

#[test]
fn containers_of_an_engine_inside_a_pod_belong_to_the_pod() {
    let mut node = clear_node();
    known(&mut node.supervised).push(SupervisedContainer {
        inside: Some(id(1)),
        ..supervised(7, Some("job"))
    });
    assert_eq!(judge(&node).verdict, Verdict::Clear);
    // A container that the runtime does not list is not known to belong to a pod.
    known(&mut node.supervised)[0].inside = Some(id(9));
    assert_eq!(judge(&node).verdict, Verdict::InUse);
}

#[test]
fn containers_that_may_be_dockers_allow_no_better_verdict() {
    let mut node = with_engine();
    known(&mut node.supervised).push(supervised(7, None));
    node.runtime.containers = Sighting::unknown(gap(Hides::Detail));
    let report = judge(&node);
    assert_eq!(report.verdict, Verdict::Unknown);
    let of = |f: &&Finding| f.code == Code::EngineLeftOver;
    let advice = &report.findings.iter().find(of).expect("found").advice;
    assert!(advice.starts_with("Do not remove it yet"), "{advice}");
}

#[test]
fn a_finding_lists_a_few_names_and_counts_the_others() {
    let mut node = clear_node();
    *known(&mut node.supervised) = (10..20).map(|n| supervised(n, None)).collect();
    let report = judge(&node);
    let message = shadow(&report);
    assert!(
        message.contains("10 containers") && message.ends_with("and 5 more"),
        "{message}"
    );
}

#[test]
fn podman_that_serves_the_docker_api_is_not_called_docker() {
    let mut node = clear_node();
    known(&mut node.engines).push(EngineSighting {
        kind: EngineKind::Podman,
        ..dockerd()
    });
    let report = judge(&node);
    assert_eq!(codes(&report), [Code::EngineLeftOver]);
    let found = &report.findings[0];
    assert_eq!(found.subject, "podman");
    assert!(!found.message.contains("Docker is"), "{}", found.message);
    assert!(found.advice.contains("podman.socket") && !found.advice.contains("/var/lib/docker"));
}
