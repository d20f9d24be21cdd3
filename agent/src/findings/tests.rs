//! Tables that start from a node that is fully seen and clear, and change or hide one thing.

mod agents;
mod docker_containers;
mod engine_scope;
mod files;
mod last_connect;
mod relays;
mod requests;
mod runtime_socket;
mod taking_docker_away;
mod waiting;

use std::time::Duration;

use super::*;
use crate::model::engine::{Containerd, EngineSighting};
use crate::model::host::{CgroupVersion, LeftOver, LeftOverKind, OrphanedShim};
use crate::model::reading::{Hides, Reason, Sighting};
use crate::model::runtime::{CriApi, Deprecation};
use crate::model::sample::*;
use crate::model::time::Timestamp;
use report::{Code, Severity, Verdict};

const DAY: u64 = 86_400;

type Change = fn(&mut Snapshot);

fn settings() -> Settings {
    Settings {
        node: Some("n1".into()),
        window: Duration::from_secs(7 * DAY),
        ready_for: Vec::new(),
    }
}

pub(crate) fn judge(node: &Snapshot) -> Report {
    judge_with(node, &mut History::default(), &[])
}

fn judge_with(node: &Snapshot, history: &mut History, gaps: &[(Source, Gap)]) -> Report {
    let sources = gaps.iter().map(|(source, gap)| SourceStatus {
        source: *source,
        up: true,
        duration_micros: 1,
        gaps: vec![gap.clone()],
    });
    let joined = join::join(node);
    if let Some(open) = joined.clients.known() {
        history.record(node.taken, &[open.as_slice(), joined.runtime_clients.items()].concat());
    }
    if let Some(mounted) = joined.all_mounted() {
        history.record_exposures(node.taken, &mounted);
    }
    evaluate(node, joined, history, sources.collect(), &settings())
}

fn codes(report: &Report) -> Vec<Code> {
    report.findings.iter().map(|f| f.code).collect()
}

fn with_engine() -> Snapshot {
    let mut node = clear_node();
    known(&mut node.engines).push(dockerd());
    node
}

fn left_over(kind: LeftOverKind) -> Snapshot {
    let mut node = clear_node();
    let left = LeftOver {
        kind,
        path: "/somewhere".into(),
    };
    known(&mut node.host).left_overs = Reading::Known(vec![left]);
    node
}

#[test]
fn a_node_that_is_fully_seen_and_has_no_docker_is_clear() {
    let report = judge(&clear_node());
    assert_eq!((report.verdict, codes(&report)), (Verdict::Clear, vec![]));
}

#[test]
fn a_missing_shim_is_a_finding_and_changes_no_verdict() {
    let mut node = clear_node();
    let shim = OrphanedShim {
        path: "/opt/bin/containerd-shim-runc-v2".into(),
        bundles: 1,
    };
    known(&mut node.host).orphaned_shims = Reading::Known(vec![shim]);
    let report = judge(&node);
    assert_eq!(
        (report.verdict, codes(&report)),
        (Verdict::Clear, vec![Code::ShimOrphan])
    );
    assert!(
        report.findings[0].message.contains("1 container or sandbox"),
        "{report:?}"
    );
}

#[test]
fn the_worst_verdict_that_holds_is_given() {
    let mut exposed = with_engine();
    known(&mut exposed.reaches).push(reach());
    let mut in_use = exposed.clone();
    known(&mut in_use.connections)
        .connections
        .push(connection(5, vec![process(1, "/usr/bin/curl")]));
    let mut runtime = in_use.clone();
    known(&mut runtime.runtime.runtime).name = "docker".into();
    let mut dockershim = clear_node();
    known(&mut dockershim.kubelet).dockershim = Some(true);
    dockershim.runtime.runtime = Sighting::unknown(gap(Hides::Runtime));
    let mut activated = clear_node();
    known(&mut activated.engines).push(EngineSighting {
        process: None,
        ..dockerd()
    });
    for (what, node, verdict) in vec![
        ("runtime", runtime, Verdict::Runtime),
        ("dockershim, whatever the runtime answers", dockershim, Verdict::Runtime),
        ("in use", in_use, Verdict::InUse),
        ("exposed", exposed, Verdict::Exposed),
        ("idle", with_engine(), Verdict::Idle),
        ("systemd would start it", activated, Verdict::Idle),
        ("installed", left_over(LeftOverKind::Binary), Verdict::Idle),
        ("enabled", left_over(LeftOverKind::EnabledUnit), Verdict::Idle),
        ("only data is left", left_over(LeftOverKind::Data), Verdict::Clear),
        (
            "only configuration is left",
            left_over(LeftOverKind::Configuration),
            Verdict::Clear,
        ),
    ] {
        let report = judge(&node);
        assert_eq!(report.verdict, verdict, "{what}: {}", report.verdict_reason);
        assert!(!report.verdict_reason.is_empty());
    }
}

#[test]
fn a_node_without_kubernetes_is_judged_too() {
    let mut node = with_engine();
    node.runtime.runtime = Sighting::absent();
    node.runtime.pods = Sighting::absent();
    node.runtime.containers = Sighting::absent();
    node.kubelet = Sighting::absent();
    known(&mut node.supervised).push(supervised(7, Some("web")));
    let report = judge(&node);
    assert_eq!(report.verdict, Verdict::InUse);
    assert!(codes(&report).contains(&Code::ShadowContainers));
}

#[test]
fn no_better_verdict_where_a_needed_fact_is_missing() {
    for &hides in Hides::ALL {
        let report = judge_with(
            &with_engine(),
            &mut History::default(),
            &[(Source::Holders, gap(hides))],
        );
        let expected = match hides {
            Hides::Runtime | Hides::Engine | Hides::Client | Hides::Exposure | Hides::ShadowContainer => {
                Verdict::Unknown
            }
            Hides::Identity | Hides::Detail => Verdict::Idle,
        };
        assert_eq!(report.verdict, expected, "{hides}");
        assert!(codes(&report).contains(&Code::BlindSpot), "{hides}");
    }
}

#[test]
fn an_unknown_reading_is_never_taken_for_none() {
    let hide: [(&str, Change); 8] = [
        ("runtime", |n| {
            n.runtime.runtime = Sighting::unknown(gap(Hides::Runtime));
        }),
        ("kubelet", |n| n.kubelet = Sighting::unknown(gap(Hides::Runtime))),
        ("engines", |n| n.engines = Sighting::unknown(gap(Hides::Engine))),
        ("connections", |n| n.connections = Sighting::unknown(gap(Hides::Client))),
        ("connections not looked for", |n| n.connections = Sighting::absent()),
        ("reaches", |n| n.reaches = Sighting::unknown(gap(Hides::Exposure))),
        ("supervised", |n| {
            n.supervised = Sighting::unknown(gap(Hides::ShadowContainer));
        }),
        ("host", |n| n.host = Sighting::unknown(gap(Hides::Engine))),
    ];
    for (what, hide) in hide {
        let mut node = clear_node();
        hide(&mut node);
        let report = judge(&node);
        assert_eq!(report.verdict, Verdict::Unknown, "{what}");
        assert!(!report.verdict_reason.is_empty(), "{what}");
    }
}

#[test]
fn a_seen_use_counts_whatever_is_hidden() {
    let mut node = with_engine();
    known(&mut node.connections).connections.push(connection(5, Vec::new()));
    let gaps: Vec<_> = Hides::ALL.iter().map(|h| (Source::Holders, gap(*h))).collect();
    assert_eq!(
        judge_with(&node, &mut History::default(), &gaps).verdict,
        Verdict::InUse
    );
}

#[test]
fn a_remembered_use_counts_while_nothing_can_be_seen() {
    let mut node = with_engine();
    let mut history = History::default();
    known(&mut node.connections)
        .connections
        .push(connection(5, vec![process(1, "/usr/bin/curl")]));
    judge_with(&node, &mut history, &[]);
    node.connections = Sighting::unknown(gap(Hides::Client));
    let report = judge_with(&node, &mut history, &[]);
    assert_eq!(report.verdict, Verdict::InUse);
    assert!(report.clients.known().is_none(), "who is connected now is not known");
    assert!(codes(&report).contains(&Code::SocketClient));
    assert!(!codes(&report).contains(&Code::EngineLeftOver));
}

#[test]
fn a_use_counts_for_the_window() {
    for (days, verdict) in [(0, Verdict::InUse), (6, Verdict::InUse), (8, Verdict::Idle)] {
        let mut node = with_engine();
        let mut history = History::default();
        known(&mut node.connections)
            .connections
            .push(connection(5, vec![process(1, "/usr/bin/curl")]));
        node.taken = Timestamp::from_unix(NOW.as_unix() - days * DAY);
        judge_with(&node, &mut history, &[]);
        known(&mut node.connections).connections.clear();
        node.taken = NOW;
        let report = judge_with(&node, &mut history, &[]);
        assert_eq!(report.verdict, verdict, "{days} days ago");
        let clients = report.clients.known().expect("known");
        assert_eq!(clients.len(), usize::from(verdict == Verdict::InUse));
        assert_eq!(codes(&report).contains(&Code::EngineLeftOver), verdict == Verdict::Idle);
    }
}

#[test]
fn the_runtimes_own_past_does_not_count_once_it_has_changed() {
    for (program, is_runtime, verdict) in [
        ("/usr/local/bin/k3s", true, Verdict::Idle),
        ("/usr/bin/cri-dockerd", true, Verdict::Idle),
        ("/usr/bin/cri-dockerd", false, Verdict::InUse), // anything may have that name
        ("/usr/bin/kubelet", false, Verdict::InUse),
    ] {
        let mut node = with_engine();
        let mut history = History::default();
        let holder = process(1, program);
        let key = holder.key;
        known(&mut node.connections)
            .connections
            .push(connection(5, vec![holder]));
        judge_with(&node, &mut history, &[]);
        if is_runtime {
            let open = join::join(&node).clients;
            history.mark_runtime(open.known().expect("seen"), &[key].into());
        }
        assert_eq!(
            judge_with(&node, &mut history, &[]).verdict,
            Verdict::InUse,
            "an open one counts"
        );
        known(&mut node.connections).connections.clear();
        assert_eq!(judge_with(&node, &mut history, &[]).verdict, verdict, "{program}");
    }
}

#[test]
fn the_ceiling_of_the_kubelet() {
    let ceiling = |change: Change| {
        let mut node = clear_node();
        change(&mut node);
        judge(&node).kubelet_ceiling
    };
    let minor = |m| Reading::Known(KubeletCeiling::Minor(m));
    assert_eq!(ceiling(|_| ()), Reading::Known(KubeletCeiling::None));
    assert_eq!(
        ceiling(|n| known(&mut n.runtime.runtime).cgroup_driver = Reading::Absent),
        minor(37)
    );
    assert_eq!(
        ceiling(|n| known(&mut n.runtime.runtime).api = CriApi::V1alpha2),
        minor(25)
    );
    assert_eq!(ceiling(|n| known(&mut n.kubelet).dockershim = Some(true)), minor(23));
    assert_eq!(ceiling(|n| n.runtime.runtime = Sighting::absent()), Reading::Absent);
    let silent = |n: &mut Snapshot| {
        known(&mut n.runtime.runtime).cgroup_driver = Reading::Unknown(Gap::new(
            Reason::DeadlineExceeded,
            Hides::Detail,
            "RuntimeConfig",
            "no answer",
        ));
    };
    assert!(ceiling(silent).gap().is_some());
}

#[test]
fn deprecations_of_the_runtime_become_findings() {
    let mut node = clear_node();
    let runtime = known(&mut node.runtime.runtime);
    (runtime.api, runtime.version) = (CriApi::V1alpha2, "1.5.18".into());
    runtime.deprecations = Reading::Known(vec![Deprecation {
        id: "io.containerd.deprecation/cri-api-v1alpha2".into(),
        message: "CRI API v1alpha2 is deprecated".into(),
    }]);
    known(&mut node.host).cgroups = Reading::Known(CgroupVersion::V1);
    let report = judge(&node);
    let expected = [
        Code::CriV1alpha2Only,
        Code::KubeletCeiling,
        Code::RuntimeEndOfLife,
        Code::RuntimeDeprecation,
        Code::CgroupV1,
    ];
    assert_eq!(codes(&report), expected);
    assert_eq!(report.findings[3].subject, "cri-api-v1alpha2");
    assert_eq!(report.verdict, Verdict::Clear, "an old runtime is no Docker");
}

#[test]
fn findings_are_sorted_by_severity_and_have_advice() {
    let mut node = with_engine();
    known(&mut node.connections)
        .connections
        .push(connection(5, vec![process(1, "/usr/bin/curl")]));
    known(&mut node.runtime.runtime).name = "docker".into();
    let report = judge(&node);
    let severities: Vec<Severity> = report.findings.iter().map(|f| f.severity).collect();
    assert!(severities.is_sorted(), "{severities:?}");
    assert!(report.findings.iter().all(|f| !f.advice.is_empty()));
    assert_eq!(report.findings[0].code, Code::RuntimeIsDocker);
}
