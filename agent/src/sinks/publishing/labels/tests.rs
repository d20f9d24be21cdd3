//! Labels of a report, and the values that a single failed look must not change.

use super::settled::Settled;
use super::*;
use crate::findings::report::Verdict;
use crate::model::engine::Scope;
use crate::model::reading::{Gap, Reason};
use crate::model::time::Timestamp;
use crate::sinks::sample;

fn prefix() -> Prefix {
    Prefix::parse("castoff.dev/").expect("the default is a prefix")
}

fn value(report: &Report, name: Name) -> String {
    values(report).remove(name.code()).expect("every label has a value")
}

#[test]
fn every_label_is_always_there() {
    let sample = [
        (Name::DockerDependency, "in-use"),
        (Name::ContainerRuntime, "containerd"),
        (Name::ContainerRuntimeVersion, "1.6.20_ds1"),
        (Name::CriApi, "v1"),
        (Name::DockerEngine, "dockerd_other_podman"),
        (Name::KubeletCeiling, "1.35"),
        (Name::DockerFreeDays, "0"),
    ];
    let clear = [
        (Name::DockerDependency, "clear"),
        (Name::ContainerRuntime, "containerd"),
        (Name::ContainerRuntimeVersion, "1.6.20_ds1"),
        (Name::CriApi, "v1"),
        (Name::DockerEngine, "none"),
        (Name::KubeletCeiling, "unlimited"),
        (Name::DockerFreeDays, "14"),
    ];
    for (report, expected) in [(sample::report(), sample), (sample::clear(), clear)] {
        assert_eq!(
            values(&report),
            expected
                .map(|(name, value)| (name.code().to_owned(), value.to_owned()))
                .into()
        );
    }
    assert!(values(&sample::blind()).values().all(|value| value == UNKNOWN));
}

/// Only those of the given targets, with names and values that the API server accepts.
#[test]
fn each_target_has_a_label() {
    let report = sample::asked();
    let ready: Vec<(String, String)> = values(&report)
        .into_iter()
        .filter(|(name, _)| name.starts_with(READY_FOR))
        .collect();
    let expected = [
        ("ready-for-containerd-1.7", "unknown"),
        ("ready-for-docker-removed", "ready"),
        ("ready-for-kubelet-1.38", "not-ready"),
    ];
    assert_eq!(ready, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    for (name, value) in ready {
        assert!(name.len() <= 63 && legal(&name).as_ref() == Some(&name), "{name}");
        assert_eq!(legal(&value), Some(value));
    }
}

/// A target that could not be judged once keeps its answer, and loses it the second time.
#[test]
fn an_answer_outlasts_one_look_without_an_answer() {
    let mut settled = Settled::new(prefix(), 0.0);
    let (seen, mut unseen) = (sample::asked(), sample::asked());
    for ready in &mut unseen.readiness {
        ready.answer = Answer::CannotTell;
    }
    let mut label = |report: &Report| {
        let wanted = settled.take_in(report)?;
        wanted.labels.get("castoff.dev/ready-for-kubelet-1.38").cloned()
    };
    label(&seen); // containerd=1.7 is unknown, which counts from the second report on
    assert_eq!(label(&seen).as_deref(), Some("not-ready"));
    assert_eq!(label(&unseen).as_deref(), Some("not-ready"));
    assert_eq!(label(&unseen).as_deref(), Some("unknown"));
}

#[test]
fn a_hidden_engine_is_never_called_none() {
    let mut report = sample::clear();
    report.sources[0]
        .gaps
        .push(Gap::new(Reason::PermissionDenied, Hides::Engine, "netns 7", "EPERM"));
    assert_eq!(value(&report, Name::DockerEngine), UNKNOWN);
    report.engines = sample::report().engines;
    assert_eq!(
        value(&report, Name::DockerEngine),
        "dockerd_other_podman",
        "what was seen stands"
    );
    report.runtime = Reading::Absent;
    report.kubelet_ceiling = Reading::Absent;
    assert_eq!(value(&report, Name::ContainerRuntime), "none");
    assert_eq!(value(&report, Name::KubeletCeiling), "no-runtime");
}

#[test]
fn any_name_of_a_runtime_makes_legal_labels() {
    for (name, label) in [
        ("cri-o", "cri-o"),
        ("Ünïcode/π", "n_code"),
        ("\u{1b}[2J", "2J"),
        ("", UNKNOWN),
    ] {
        let mut report = sample::report();
        let Reading::Known(runtime) = &mut report.runtime else {
            panic!("the sample has a runtime")
        };
        runtime.name = name.to_owned();
        assert_eq!(value(&report, Name::ContainerRuntime), label, "{name:?}");
    }
}

fn verdicts(looks: &[Report]) -> Vec<Option<String>> {
    let mut settled = Settled::new(prefix(), 0.0);
    looks
        .iter()
        .map(|report| {
            let wanted = settled.take_in(report)?;
            assert_eq!(
                wanted.summary.verdict, wanted.labels["castoff.dev/docker-dependency"],
                "both say the same"
            );
            Some(wanted.summary.verdict)
        })
        .collect()
}

#[test]
fn one_failed_look_is_ignored_and_two_are_published() {
    let (seen, blind) = (sample::clear, sample::blind);
    let some = |text: &str| Some(text.to_owned());
    let cases = [
        (
            vec![seen(), blind(), seen()],
            vec![some("clear"), some("clear"), some("clear")],
        ),
        (
            vec![seen(), blind(), blind()],
            vec![some("clear"), some("clear"), some("unknown")],
        ),
        (vec![blind(), seen()], vec![None, some("clear")]),
        (vec![blind(), blind()], vec![None, some("unknown")]),
        (vec![seen(), sample::report()], vec![some("clear"), some("in-use")]),
        (vec![sample::report(), seen()], vec![some("in-use"), some("clear")]),
        (
            vec![seen(), blind(), seen(), blind(), seen()],
            vec![
                some("clear"),
                some("clear"),
                some("clear"),
                some("clear"),
                some("clear"),
            ],
        ),
    ];
    for (looks, expected) in cases {
        assert_eq!(verdicts(&looks), expected);
    }
}

#[test]
fn the_time_is_that_of_the_last_change_of_a_label() {
    let mut settled = Settled::new(prefix(), 0.0);
    let mut look = |seconds: u64, verdict: Verdict, shadows: bool| {
        let mut report = sample::report();
        report.time = sample::ago(1000 - seconds);
        report.verdict = verdict;
        if !shadows {
            report.shadow_containers = Reading::Known(Vec::new());
        }
        let summary = settled.take_in(&report).expect("settled").summary;
        (summary.since == report.time, summary)
    };
    let (new, first) = look(0, Verdict::InUse, true);
    assert!(new, "the first has its own time");
    let (new, second) = look(15, Verdict::InUse, true);
    assert!(!new);
    assert_eq!(first, second, "a look that says the same makes the same annotation");
    let (new, third) = look(30, Verdict::InUse, false);
    assert!(!new);
    assert!(!third.says_the_same_as(&second), "a count is news");
    assert_eq!(third.since, first.since, "but no change of a label");
    let (new, _) = look(45, Verdict::Exposed, false);
    assert!(new);
}

#[test]
fn labels_are_valid_for_some_hours_after_any_look() {
    let mut settled = Settled::new(prefix(), 0.0);
    let mut until = |hours: u64, mut report: Report| {
        report.time = Timestamp::from_unix(sample::NOW + hours * 3600);
        let labels = settled.take_in(&report).expect("settled").labels;
        let until: u64 = labels["castoff.dev/valid-until"].parse().expect("an integer");
        (until - sample::NOW) / 3600
    };
    assert_eq!(until(0, sample::clear()), 6);
    assert_eq!(until(1, sample::clear()), 6, "a look that says the same writes nothing");
    assert_eq!(until(4, sample::clear()), 10, "renewed in time");
    assert_eq!(until(5, sample::report()), 11, "and with each change of a label");
    assert_eq!(until(6, sample::blind()), 11);
    assert_eq!(until(7, sample::blind()), 13, "unknown is a change too");
}

#[test]
fn the_annotation_is_one_safe_line() {
    let mut report = sample::report();
    report.verdict_reason = format!("line\nbreak \u{1b}[31m {}", "x".repeat(5000));
    let summary = Summary::of(&report, report.time);
    let text = summary.to_string();
    assert!(text.len() < 600, "{} bytes", text.len());
    assert!(text.chars().all(|c| !c.is_control()));
    assert_eq!(Summary::parse(&text), Some(summary));
    let blind = Summary::of(&sample::blind(), report.time).to_string();
    assert!(!blind.contains("clients"), "an unknown count is left out: {blind}");
}

#[test]
fn an_engine_inside_a_pod_counts_for_no_label() {
    let pod = Scope::Pod(sample::place("dind-runner-5c9f", Some("dind")));
    let mut report = sample::report();
    let Reading::Known(engines) = &mut report.engines else {
        panic!("known")
    };
    let Reading::Known(clients) = &mut report.clients else {
        panic!("known")
    };
    let Reading::Known(exposures) = &mut report.exposures else {
        panic!("known")
    };
    let scopes = engines.iter_mut().map(|engine| &mut engine.scope);
    let scopes = scopes.chain(clients.iter_mut().map(|client| &mut client.key.scope));
    for scope in scopes.chain(exposures.iter_mut().map(|exposure| &mut exposure.scope)) {
        *scope = pod.clone();
    }
    for source in &mut report.sources {
        source.gaps.clear();
    }
    assert_eq!(value(&report, Name::DockerEngine), "none");
    let summary = Summary::of(&report, report.time);
    assert_eq!((summary.clients, summary.exposed_containers), (Some(0), Some(0)));
}
