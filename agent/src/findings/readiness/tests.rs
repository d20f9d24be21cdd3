//! Tables that start from a node that is ready, and change or hide one thing.

use std::collections::BTreeMap;

use super::super::tests::judge as report_of;
use super::answer::Answer;
use super::*;
use crate::model::kubelet::{EndpointCandidate, EndpointOrigin, SubordinateIds};
use crate::model::reading::{Hides, Reason};
use crate::model::request::LowestApi;
use crate::model::runtime::{CgroupDriver, CriApi, Deprecation};
use crate::model::sample::clear_node;

fn gap() -> Gap {
    Gap::new(Reason::PermissionDenied, Hides::Detail, "a file", "EACCES")
}

/// containerd 2.3 on cgroup v2, everything seen, no Docker.
fn ready() -> Grounds {
    Grounds::of(&report_of(&clear_node()))
}

fn with_runtime(change: impl FnOnce(&mut Runtime)) -> Grounds {
    let mut grounds = ready();
    match &mut grounds.runtime {
        Reading::Known(runtime) => change(runtime),
        other => panic!("{other:?}"),
    }
    grounds
}

fn with_kubelet(change: impl FnOnce(&mut Kubelet)) -> Grounds {
    let mut grounds = ready();
    match &mut grounds.kubelet {
        Reading::Known(kubelet) => change(kubelet),
        other => panic!("{other:?}"),
    }
    grounds
}

/// The answer, and the codes of the obstacles that decide it.
fn judge(grounds: &Grounds, target: &str) -> (Answer, Vec<Code>) {
    let judged = grounds.judge(target.parse().expect(target));
    let first = judged.obstacles.first().map(|obstacle| obstacle.effect);
    let deciding = judged.obstacles.iter().filter(|o| Some(o.effect) == first);
    (judged.answer, deciding.map(|obstacle| obstacle.code).collect())
}

#[test]
fn a_node_that_is_fully_seen_is_ready_for_current_releases() {
    for target in [
        "kubelet=1.35",
        "kubelet=1.37",
        "kubelet=1.38",
        "containerd=2.3",
        "containerd=2.4",
        "docker=29",
        "docker=removed",
    ] {
        assert_eq!(judge(&ready(), target).0, Answer::Ready, "{target}");
    }
}

#[test]
fn the_interface_to_the_runtime() {
    let without_config = || with_runtime(|runtime| runtime.cgroup_driver = Reading::Absent);
    let old = || {
        with_runtime(|runtime| {
            runtime.api = CriApi::V1alpha2;
            runtime.cgroup_driver = Reading::Absent;
        })
    };
    let unseen = || with_runtime(|runtime| runtime.cgroup_driver = Reading::Unknown(gap()));
    let ceiling = vec![Code::KubeletCeiling];
    for (grounds, target, answer, codes) in [
        (without_config(), "kubelet=1.37", Answer::Ready, vec![]),
        (without_config(), "kubelet=1.38", Answer::NotReady, ceiling.clone()),
        (old(), "kubelet=1.25", Answer::Ready, vec![Code::KubeletEndOfLife]),
        (old(), "kubelet=1.26", Answer::NotReady, vec![Code::CriV1alpha2Only]),
        (unseen(), "kubelet=1.38", Answer::CannotTell, ceiling.clone()),
        (
            with_kubelet(|kubelet| kubelet.dockershim = Some(true)),
            "kubelet=1.24",
            Answer::NotReady,
            vec![Code::RuntimeIsDocker],
        ),
    ] {
        assert_eq!(judge(&grounds, target), (answer, codes), "{target}");
    }
}

#[test]
fn an_announcement_is_not_a_fact() {
    let grounds = with_runtime(|runtime| runtime.cgroup_driver = Reading::Absent);
    let announced = grounds.judge(Target::Kubelet(Version(1, 38)));
    let [first, ..] = announced.obstacles.as_slice() else {
        panic!("{announced:?}");
    };
    assert_eq!(first.rule_source.certainty, Certainty::Announced);
    assert_eq!(first.rule_source.source, "https://kep.k8s.io/4033");
    assert!(first.message.starts_with("Kubernetes announces that 1.38"), "{first:?}");
}

#[test]
fn cgroup_v1_depends_on_the_kubelets_setting() {
    let v1 = |setting: Reading<bool>| {
        let mut grounds = with_kubelet(|kubelet| kubelet.fail_cgroup_v1 = setting);
        grounds.cgroups = Reading::Known(CgroupVersion::V1);
        grounds
    };
    let hidden = || Grounds {
        cgroups: Reading::Unknown(gap()),
        ..ready()
    };
    let without_kubelet = || Grounds {
        kubelet: Reading::Absent,
        ..v1(Reading::Absent)
    };
    for (grounds, answer) in [
        (v1(Reading::Absent), Answer::NotReady),
        (v1(Reading::Known(true)), Answer::NotReady),
        (v1(Reading::Known(false)), Answer::Ready),
        (v1(Reading::Unknown(gap())), Answer::CannotTell),
        (hidden(), Answer::CannotTell),
        (without_kubelet(), Answer::CannotTell),
    ] {
        let node = format!("{:?} {:?}", grounds.cgroups, grounds.kubelet);
        assert_eq!(
            judge(&grounds, "kubelet=1.35"),
            (answer, vec![Code::CgroupV1]),
            "{node}"
        );
        assert_eq!(judge(&grounds, "kubelet=1.34").0, Answer::Ready, "{node}");
    }
}

#[test]
fn the_ids_of_pods_in_user_namespaces() {
    let ids = |getsubids: Reading<String>, overlong: Reading<Vec<String>>| SubordinateIds { getsubids, overlong };
    let there = || Reading::Known("/usr/bin/getsubids".to_owned());
    let long = || Reading::Known(vec!["/etc/subuid: kubelet:65536:4294967295".to_owned()]);
    let none = || Reading::Known(Vec::new());
    let (missing, range) = (vec![Code::GetsubidsMissing], vec![Code::SubidRange]);
    let ready = || (Answer::Ready, vec![]);
    for (set, on_1_32, on_1_37, on_1_38) in [
        (Reading::Known(ids(there(), none())), ready(), ready(), ready()),
        (
            Reading::Known(ids(there(), long())),
            ready(),
            ready(),
            (Answer::NotReady, range.clone()),
        ),
        (
            Reading::Known(ids(Reading::Absent, none())),
            ready(),
            (Answer::NotReady, missing.clone()),
            ready(),
        ),
        (
            Reading::Known(ids(Reading::Unknown(gap()), Reading::Unknown(gap()))),
            ready(),
            (Answer::CannotTell, missing.clone()),
            (Answer::CannotTell, range.clone()),
        ),
        (
            Reading::Unknown(gap()),
            ready(),
            (Answer::CannotTell, missing),
            (Answer::CannotTell, range),
        ),
        (Reading::Absent, ready(), ready(), ready()),
    ] {
        let seen = format!("{set:?}");
        let grounds = with_kubelet(|kubelet| kubelet.subordinate_ids = set);
        let of_ids = |target| {
            let (answer, mut codes) = judge(&grounds, target);
            codes.retain(|code| matches!(code, Code::SubidRange | Code::GetsubidsMissing));
            (answer, codes)
        };
        assert_eq!(of_ids("kubelet=1.32"), on_1_32, "{seen}");
        assert_eq!(of_ids("kubelet=1.37"), on_1_37, "{seen}");
        assert_eq!(of_ids("kubelet=1.38"), on_1_38, "{seen}");
    }
}

#[test]
fn a_runtime_without_metrics_of_pods_is_a_note() {
    for (pod_metrics, codes) in [
        (Reading::Known(false), vec![Code::CriMetrics]),
        (Reading::Known(true), vec![]),
        (Reading::Unknown(gap()), vec![]),
        (Reading::Absent, vec![]),
    ] {
        let grounds = with_runtime(|runtime| runtime.pod_metrics = pod_metrics);
        assert_eq!(judge(&grounds, "kubelet=1.37"), (Answer::Ready, codes));
    }
}

#[test]
fn a_release_that_the_table_does_not_have_is_not_claimed() {
    let unknown = (Answer::CannotTell, vec![Code::UnknownRelease]);
    assert_eq!(judge(&ready(), "kubelet=1.39"), unknown);
    assert_eq!(judge(&ready(), "docker=30"), unknown);
    let known = with_runtime(|runtime| runtime.cgroup_driver = Reading::Absent);
    assert_eq!(
        judge(&known, "kubelet=1.39"),
        (Answer::NotReady, vec![Code::KubeletCeiling]),
        "what is known still stands in the way"
    );
    let pre = ready().judge(Target::Kubelet(Version(1, 38)));
    assert_eq!(pre.obstacles.len(), 1, "{pre:?}");
    assert!(pre.obstacles[0].message.contains("not released yet"), "{pre:?}");
}

#[test]
fn a_downgrade_of_the_kubelet_needs_cri_v1alpha2() {
    let (answer, codes) = judge(&ready(), "kubelet=0.1");
    assert_eq!(answer, Answer::NotReady, "containerd 2 has no CRI v1alpha2");
    assert_eq!(codes, [Code::KubeletCeiling]);
    let older = with_runtime(|runtime| runtime.version = "1.7.34".to_owned());
    let unknown = (Answer::CannotTell, vec![Code::UnknownRelease]);
    assert_eq!(judge(&older, "kubelet=0.1"), unknown);
    let path = (Answer::CannotTell, vec![Code::RuntimeUpgradePath]);
    assert_eq!(judge(&ready(), "containerd=1.7"), path);
}

#[test]
fn upgrades_of_containerd() {
    let at = |version: &str| with_runtime(|runtime| runtime.version = version.to_owned());
    let blocked = (Answer::NotReady, vec![Code::RuntimeUpgradePath]);
    let open = (Answer::CannotTell, vec![Code::RuntimeUpgradePath]);
    assert_eq!(judge(&at("1.7.34"), "containerd=2.3").0, Answer::Ready);
    assert_eq!(judge(&at("1.7.34"), "containerd=2.4"), blocked);
    assert_eq!(judge(&at("2.0.6"), "containerd=2.2"), blocked);
    assert_eq!(judge(&at("weekly"), "containerd=2.4"), open);
    let steps = at("1.6.20~ds1").judge(Target::Containerd(Version(2, 4)));
    assert!(steps.obstacles[0].message.ends_with("go by 1.7, then 2.3"), "{steps:?}");
    for (runtime, target) in [("cri-o", "containerd=2.4"), ("containerd", "cri-o=1.37")] {
        let other = with_runtime(|r| r.name = runtime.to_owned());
        assert_eq!(judge(&other, target), open, "{target}");
    }
    let crio = with_runtime(|r| (r.name, r.version) = ("cri-o".to_owned(), "1.36.1".to_owned()));
    assert_eq!(judge(&crio, "cri-o=1.37").0, Answer::Ready);
    for runtime in [Reading::Absent, Reading::Unknown(gap())] {
        let grounds = Grounds { runtime, ..ready() };
        assert_eq!(judge(&grounds, "containerd=2.4"), open);
        assert_eq!(judge(&grounds, "kubelet=1.38").0, Answer::CannotTell);
    }
}

#[test]
fn a_missing_shim_does_not_survive_the_upgrade() {
    let shim = OrphanedShim {
        path: "/opt/bin/containerd-shim-runc-v2".to_owned(),
        bundles: 3,
    };
    let code = vec![Code::ShimOrphan];
    for (orphaned_shims, answer, codes) in [
        (Reading::Known(vec![shim]), Answer::NotReady, code.clone()),
        (Reading::Unknown(gap()), Answer::CannotTell, code),
        (Reading::Known(vec![]), Answer::Ready, vec![]),
        (Reading::Absent, Answer::Ready, vec![]),
    ] {
        let grounds = Grounds {
            orphaned_shims,
            ..ready()
        };
        assert_eq!(judge(&grounds, "containerd=2.4"), (answer, codes));
        assert_eq!(judge(&grounds, "kubelet=1.37").0, Answer::Ready);
    }
}

#[test]
fn deprecated_uses_are_judged_by_castoffs_own_dates() {
    let with = |id: &str, says: &str| {
        let used = Deprecation {
            id: format!("io.containerd.deprecation/{id}"),
            message: says.to_owned(),
        };
        with_runtime(|runtime| {
            runtime.version = "1.7.34".to_owned();
            runtime.deprecations = Reading::Known(vec![used]);
        })
    };
    let code = vec![Code::RuntimeDeprecation];
    let alpha = with("cri-api-v1alpha2", "removed in 2.0");
    assert_eq!(judge(&alpha, "containerd=2.0"), (Answer::NotReady, code.clone()));
    assert_eq!(judge(&alpha, "containerd=1.7").0, Answer::Ready);
    // The text names an outdated release.
    let mirrors = with("cri-registry-mirrors", "will be removed in containerd v2.1");
    assert_eq!(judge(&mirrors, "containerd=2.3").0, Answer::Ready);
    let new = with("something-new", "will be removed");
    assert_eq!(judge(&new, "containerd=2.3"), (Answer::CannotTell, code.clone()));
    for hide in [
        (|runtime: &mut Runtime| runtime.deprecations = Reading::Absent) as fn(&mut Runtime),
        |runtime| runtime.deprecations = Reading::Unknown(gap()),
        |runtime| runtime.silenced_deprecations = vec!["a".to_owned()],
    ] {
        let mut grounds = with("cri-registry-mirrors", "later");
        if let Reading::Known(runtime) = &mut grounds.runtime {
            hide(runtime);
        }
        assert_eq!(judge(&grounds, "containerd=2.3"), (Answer::CannotTell, code.clone()));
    }
}

#[test]
fn a_node_without_docker() {
    let with = |verdict| Grounds { verdict, ..ready() };
    for (verdict, answer, code) in [
        (Verdict::Runtime, Answer::NotReady, Code::RuntimeIsDocker),
        (Verdict::InUse, Answer::NotReady, Code::SocketClient),
        (Verdict::Exposed, Answer::NotReady, Code::SocketExposure),
        (Verdict::Unknown, Answer::CannotTell, Code::BlindSpot),
    ] {
        assert_eq!(
            judge(&with(verdict), "docker=removed"),
            (answer, vec![code]),
            "{verdict}"
        );
    }
    let mut shared = with(Verdict::Idle);
    assert_eq!(judge(&shared, "docker=removed").0, Answer::Ready);
    shared.shared_containerd = Reading::Known("it is Docker's".to_owned());
    assert_eq!(
        judge(&shared, "docker=removed"),
        (Answer::Ready, vec![Code::SharedContainerd])
    );
    shared.shared_containerd = Reading::Unknown(gap());
    let unseen = (Answer::CannotTell, vec![Code::SharedContainerd]);
    assert_eq!(judge(&shared, "docker=removed"), unseen);
}

/// A node with clients of Docker whose requests the kernel reports.
fn with_users(versions: &[Option<u8>]) -> Grounds {
    let users = versions.iter().map(|version| ApiUser {
        identity: ClientIdentity::Unnamed,
        engine: EngineKind::Dockerd,
        scope: Scope::Host,
        api: Api::Docker,
        requests: Requests {
            operations: BTreeMap::from([(Operation::System, 1)]),
            lowest_api: version.map(|minor| LowestApi {
                minor,
                last_seen: Timestamp::from_unix(1),
            }),
        },
    });
    let requests = RequestEvents {
        method: Some(ConnectMethod::Fentry),
        lost: 0,
    };
    Grounds {
        verdict: Verdict::InUse,
        clients: Reading::Known(users.collect()),
        connect_events: Reading::Known(Events { requests }),
        ..ready()
    }
}

/// The lowest version that a client was seen to request decides; a version that was not seen may be any.
#[test]
fn docker_29_refuses_old_versions_of_its_api() {
    let code = vec![Code::OldDockerApi];
    for (versions, answer, codes) in [
        (&[Some(39)][..], Answer::NotReady, code.clone()),
        (&[Some(50), Some(24), None], Answer::NotReady, code.clone()),
        (&[Some(40)], Answer::Ready, code.clone()),
        (&[Some(44), Some(51)], Answer::Ready, vec![]),
        (&[Some(44), None], Answer::CannotTell, code.clone()),
        (&[], Answer::Ready, vec![]),
    ] {
        let grounds = with_users(versions);
        assert_eq!(judge(&grounds, "docker=29"), (answer, codes), "{versions:?}");
        assert_eq!(judge(&grounds, "docker=28").0, Answer::Ready, "{versions:?}");
    }
    let with = |change: fn(&mut ApiUser), version| {
        let mut grounds = with_users(&[version]);
        if let Reading::Known(users) = &mut grounds.clients {
            change(&mut users[0]);
        }
        judge(&grounds, "docker=29").0
    };
    assert_eq!(with(|user| user.engine = EngineKind::Podman, Some(24)), Answer::Ready);
    let asks = |user: &mut ApiUser| user.requests.operations = BTreeMap::from([(Operation::Read, 1)]);
    assert_eq!(with(asks, None), Answer::Ready, "no version is none that is refused");
}

#[test]
fn a_client_that_is_not_seen_may_use_an_old_version() {
    type Change = fn(&mut Grounds);
    let unseen = (Answer::CannotTell, vec![Code::OldDockerApi]);
    let hidden: [(&str, Change); 6] = [
        ("no events", |grounds| grounds.connect_events = Reading::Absent),
        ("unknown events", |grounds| {
            grounds.connect_events = Reading::Unknown(gap());
        }),
        ("no method", |grounds| {
            change_requests(grounds, |events| events.method = None);
        }),
        ("lost requests", |grounds| {
            change_requests(grounds, |events| events.lost = 1);
        }),
        ("unknown clients", |grounds| grounds.clients = Reading::Unknown(gap())),
        ("a gap", |grounds| {
            let gaps = vec![Gap::new(Reason::PermissionDenied, Hides::Client, "a file", "EACCES")];
            grounds.sources.push(SourceGaps { gaps });
        }),
    ];
    for (what, hide) in hidden {
        for verdict in [Verdict::Runtime, Verdict::InUse] {
            let mut grounds = Grounds {
                verdict,
                ..with_users(&[Some(44)])
            };
            hide(&mut grounds);
            assert_eq!(judge(&grounds, "docker=29"), unseen, "{what}, {verdict}");
        }
    }
    let unknown = Grounds {
        verdict: Verdict::Unknown,
        ..with_users(&[])
    };
    assert_eq!(judge(&unknown, "docker=29"), unseen);
    assert_eq!(judge(&unknown, "docker=28"), unseen);
}

fn change_requests(grounds: &mut Grounds, change: fn(&mut RequestEvents)) {
    if let Reading::Known(events) = &mut grounds.connect_events {
        change(&mut events.requests);
    }
}

#[test]
fn a_socket_without_cri_is_named() {
    let refused = RefusedEndpoint {
        candidate: EndpointCandidate {
            path: "/run/containerd/containerd.sock".to_owned(),
            origin: EndpointOrigin::Configured,
        },
        refusal: Gap::new(Reason::Unimplemented, Hides::Runtime, "Version", "unknown service"),
    };
    let grounds = Grounds {
        runtime: Reading::Absent,
        refused_endpoints: vec![refused],
        ..ready()
    };
    assert_eq!(
        judge(&grounds, "kubelet=1.37"),
        (Answer::NotReady, vec![Code::CriPluginOff])
    );
}

/// Another castoff judges by the report alone.
#[test]
fn a_report_contains_everything_that_decides() {
    let report = report_of(&clear_node());
    let text = serde_json::to_string(&report).expect("it is JSON");
    let read: Grounds = serde_json::from_str(&text).expect("it holds the grounds");
    let own = Grounds::of(&report);
    assert_eq!(read.judge(Target::DockerRemoved), own.judge(Target::DockerRemoved));
    assert_eq!((&read.clients, &read.sources), (&own.clients, &own.sources));
    assert_eq!(read.runtime, own.runtime);
    let driver = own.runtime.known().map(|runtime| &runtime.cgroup_driver);
    assert_eq!(driver, Some(&Reading::Known(CgroupDriver::Systemd)));
}
