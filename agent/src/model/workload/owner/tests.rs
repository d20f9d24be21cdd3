//! Pods as their controllers make them, and forged pods that look like another workload's.

use super::*;

/// 2026-11-24T12:00:00Z, 29925360 minutes.
const NOON: u64 = 1_795_521_600;

type Pairs = &'static [(&'static str, &'static str)];

fn workload(name: &str, labels: Pairs) -> String {
    workload_at(name, labels, &[("kubernetes.io/config.source", "api")], NOON + 2)
}

fn workload_at(name: &str, labels: Pairs, annotations: Pairs, created: u64) -> String {
    let workload = of(&Marks {
        name,
        labels,
        annotations,
        created: Some(Timestamp::from_unix(created)),
        node: Some("Worker-3.example"),
    });
    workload.map_or_else(|| "-".to_owned(), |w| w.to_string())
}

const HASH: (&str, &str) = ("pod-template-hash", "7d9c5b6f4");

#[test]
fn each_controllers_pods_are_known_by_its_marks() {
    let cases: &[(&str, Pairs, &str)] = &[
        (
            "builder-7d9c5b6f4-x2v8q",
            &[HASH, ("app", "builder")],
            "Deployment builder",
        ),
        ("a-7d9c5b6f4-x2v8q", &[HASH], "Deployment a"),
        // Up to 1.8 a hash was a number.
        ("web-1771418926-7o2ns", &[("pod-template-hash", "1771418926")], "-"),
        (
            "web-1771418926-7z2ns",
            &[("pod-template-hash", "1771418926")],
            "Deployment web",
        ),
        (
            "canary-687d76d795-x2v8q",
            &[("rollouts-pod-template-hash", "687d76d795")],
            "Rollout canary",
        ),
        (
            "db-0",
            &[
                ("controller-revision-hash", "db-7d9c5b6f4"),
                ("statefulset.kubernetes.io/pod-name", "db-0"),
                ("apps.kubernetes.io/pod-index", "0"),
            ],
            "StatefulSet db",
        ),
        // An ordinal of five digits looks random.
        (
            "db-24567",
            &[
                ("controller-revision-hash", "7d9c5b6f4"),
                ("statefulset.kubernetes.io/pod-name", "db-24567"),
            ],
            "StatefulSet db",
        ),
        (
            "log-shipper-x7k2p",
            &[
                ("controller-revision-hash", "7d9c5b6f4"),
                ("pod-template-generation", "3"),
            ],
            "DaemonSet log-shipper",
        ),
        (
            "load-x7k2p",
            &[("batch.kubernetes.io/job-name", "load"), ("job-name", "load")],
            "Job load",
        ),
        ("load-x7k2p", &[("job-name", "load")], "Job load"),
        ("load-17-x7k2p", &[("job-name", "load")], "Job load"),
        (
            "backup-29925360-x7k2p",
            &[("job-name", "backup-29925360")],
            "CronJob backup",
        ),
        (
            "backup-1795521600-x7k2p",
            &[("job-name", "backup-1795521600")],
            "CronJob backup",
        ),
        (
            "azdo-scaledjob-4kzt9-x2v8q",
            &[
                ("job-name", "azdo-scaledjob-4kzt9"),
                ("scaledjob.keda.sh/name", "azdo-scaledjob"),
            ],
            "ScaledJob azdo-scaledjob",
        ),
        (
            "shop-3-x7k2p",
            &[("deploymentconfig", "shop"), ("deployment", "shop-3")],
            "DeploymentConfig shop",
        ),
        (
            "shop-12-z5b4c",
            &[("deploymentconfig", "shop")],
            "DeploymentConfig shop",
        ),
        (
            "sample-j5ht6",
            &[
                ("apps.kruise.io/cloneset-instance-id", "j5ht6"),
                ("controller-revision-hash", "d4d4fb5bd"),
            ],
            "CloneSet sample",
        ),
        (
            "arc-linux-x7k2p-runner-z5b4c",
            &[("actions.github.com/scale-set-name", "arc-linux")],
            "AutoscalingRunnerSet arc-linux",
        ),
    ];
    for (name, labels, expected) in cases {
        assert_eq!(workload(name, labels), *expected, "{name} {labels:?}");
    }
}

#[test]
fn a_pod_without_consistent_marks_is_its_own_workload() {
    let cases: &[(&str, Pairs)] = &[
        ("debug", &[]),
        // A pod of a bare replica set, and one of a GitLab runner: no label matches.
        ("web-x2v8q", &[("app", "web")]),
        ("runner-abc-project-7-concurrent-0-x2v8q", &[("pod", "runner")]),
        // The label does not belong to it, or the name does not.
        ("builder-x2v8q", &[HASH]),
        ("builder-7d9c5b6f5-x2v8q", &[HASH]),
        ("builder-7d9c5b6f4-aaaaa", &[HASH]),
        ("builder-7d9c5b6f4-", &[HASH]),
        ("-7d9c5b6f4-x2v8q", &[HASH]),
        ("7d9c5b6f4-x2v8q", &[HASH]),
        ("x2v8q", &[HASH]),
        ("", &[HASH]),
        ("日本-7d9c5b6f4-x2v8q", &[HASH]),
        ("Builder-7d9c5b6f4-x2v8q", &[HASH]),
        ("builder\u{1b}[31m-7d9c5b6f4-x2v8q", &[HASH]),
        ("builder-7d9c5b6f4-日x", &[HASH]),
        ("builder--x2v8q", &[("pod-template-hash", "")]),
        ("builder-日-x2v8q", &[("pod-template-hash", "日")]),
        ("builder-7d9c-b6f4-x2v8q", &[("pod-template-hash", "7d9c-b6f4")]),
        ("db-0", &[("statefulset.kubernetes.io/pod-name", "db-1")]),
        ("db-00", &[("statefulset.kubernetes.io/pod-name", "db-00")]),
        ("db-", &[("statefulset.kubernetes.io/pod-name", "db-")]),
        ("db", &[("statefulset.kubernetes.io/pod-name", "db")]),
        (
            "db-0",
            &[
                ("statefulset.kubernetes.io/pod-name", "db-0"),
                ("apps.kubernetes.io/pod-index", "1"),
            ],
        ),
        // A revision with a name before it is not one of a daemon set.
        ("sample-j5ht6", &[("controller-revision-hash", "sample-d4d4fb5bd")]),
        ("shipper", &[("controller-revision-hash", "7d9c5b6f4")]),
        ("load-x7k2p", &[("job-name", "other")]),
        (
            "load-x7k2p",
            &[("batch.kubernetes.io/job-name", "load"), ("job-name", "other")],
        ),
        ("load-1x-x7k2p", &[("job-name", "load")]),
        ("sample-j5ht6", &[("apps.kruise.io/cloneset-instance-id", "j5ht7")]),
        (
            "arc-x7k2p-runner-z5b4c",
            &[("actions.github.com/scale-set-name", "arc-linux")],
        ),
        ("arc-runner-z5b4c", &[("actions.github.com/scale-set-name", "arc")]),
        ("evil-3-x7k2p", &[("deploymentconfig", "shop")]),
        ("shop-x7k2p", &[("deploymentconfig", "shop")]),
        ("shop-web-x7k2p", &[("deploymentconfig", "shop")]),
        ("shop-3-deploy", &[("deploymentconfig", "shop")]),
        (
            "shop-3-x7k2p",
            &[("deploymentconfig", "shop"), ("deployment", "shop-4")],
        ),
        // Two consistent marks: one of them is forged.
        ("load-7d9c5b6f4-x7k2p", &[HASH, ("job-name", "load-7d9c5b6f4")]),
        (
            "builder-7d9c5b6f4-x2v8q",
            &[HASH, ("rollouts-pod-template-hash", "7d9c5b6f4")],
        ),
    ];
    for (name, labels) in cases {
        assert_eq!(workload(name, labels), "-", "{name:?} {labels:?}");
    }
}

#[test]
fn a_name_that_was_cut_is_uncertain_or_none() {
    let made = |base: &str| format!("{base:.58}x2v8q");
    let long = |length: usize| "d".repeat(length);
    let hashed = |length| workload(&made(&format!("{}-7d9c5b6f4-", long(length))), &[HASH]);
    assert_eq!(hashed(47), format!("Deployment {}", long(47)), "it just fits");
    assert_eq!(
        hashed(48),
        format!("Deployment {}", long(48)),
        "only the last hyphen is lost"
    );
    assert_eq!(hashed(49), format!("perhaps Deployment {}", long(49)));
    assert_eq!(hashed(52), format!("perhaps Deployment {}", long(52)));
    for length in [53, 57, 58, 63, 200] {
        assert_eq!(hashed(length), "-", "{length}");
    }
    let revision: Pairs = &[("controller-revision-hash", "7d9c5b6f4")];
    let daemon = |name: &str| workload(&made(&format!("{name}-")), revision);
    assert_eq!(daemon(&long(56)), format!("DaemonSet {}", long(56)));
    assert_eq!(daemon(&long(57)), format!("perhaps DaemonSet {}", long(57)));
    assert_eq!(
        daemon(&format!("{}-more", long(57))),
        format!("perhaps DaemonSet {}", long(57)),
        "which is why it is only perhaps"
    );
    assert_eq!(daemon(&long(58)), "-");
}

#[test]
fn a_jobs_whole_name_comes_from_its_label() {
    const LONG: &str = "hhhhhooooohhhhhooooohhhhhooooohhhhhooooohhhhhooooohhhhhooooohhh";
    let labels: Pairs = &[("job-name", LONG)];
    for base in [
        LONG[..58].to_owned(),
        format!("{}-1-", &LONG[..55]),
        format!("{}-12-", &LONG[..54]),
    ] {
        assert_eq!(
            workload(&format!("{base}x2v8q"), labels),
            format!("Job {LONG}"),
            "{base}"
        );
    }
    assert_eq!(workload("hhhhh-x2v8q", labels), "-", "it was not cut");
    assert_eq!(workload("hhhhh-1-x2v8q", labels), "-", "it was not cut");
}

#[test]
fn a_jobs_name_shows_the_scaled_job_that_its_label_claims() {
    for (name, job, label) in [
        ("load-x7k2p", "load", "other"),
        ("load-x7k2p", "load", "load"),
        ("load-evil-x7k2p", "load-evil", "load"),
        ("loads-4kzt9-x7k2p", "loads-4kzt9", "load"),
        ("load-4kzt9-x7k2p", "load-4kzt9", ""),
    ] {
        let labels: Pairs = Box::leak(Box::new([("job-name", job), ("scaledjob.keda.sh/name", label)]));
        assert_eq!(workload(name, labels), format!("Job {job}"), "{name} {label}");
    }
}

#[test]
fn a_number_is_a_cron_jobs_only_if_the_pod_was_made_soon_after() {
    let at = |job: &'static str, created: u64| {
        let labels: Pairs = Box::leak(Box::new([("job-name", job)]));
        workload_at(&format!("{job}-x2v8q"), labels, &[], created)
    };
    let own = |job: &str| format!("Job {job}");
    let scheduled = "backup-29925360";
    assert_eq!(at(scheduled, NOON), "CronJob backup");
    assert_eq!(at(scheduled, NOON - 200), "CronJob backup", "clocks differ");
    assert_eq!(at(scheduled, NOON + 3_600), "CronJob backup");
    assert_eq!(at(scheduled, NOON + 3_601), own(scheduled));
    assert_eq!(at(scheduled, NOON - 301), own(scheduled));
    assert_eq!(at("load-20261124", NOON), own("load-20261124"), "a date");
    assert_eq!(at("load-1795521601", NOON), own("load-1795521601"), "no whole minute");
    assert_eq!(at("load-9999999999", NOON), own("load-9999999999"));
    assert_eq!(at("29925360", NOON), own("29925360"));
    let without_time = of(&Marks {
        name: "backup-29925360-x2v8q",
        labels: &[("job-name", scheduled)],
        annotations: &[],
        created: None,
        node: None,
    });
    assert_eq!(without_time.map(|w| w.to_string()), Some(own(scheduled)));
}

#[test]
fn a_static_pod_is_the_kubelets_whatever_its_labels() {
    let file: Pairs = &[
        ("kubernetes.io/config.source", "file"),
        ("kubernetes.io/config.hash", "abc"),
    ];
    let at = |name, labels| workload_at(name, labels, file, NOON);
    assert_eq!(at("kube-proxy-worker-3.example", &[]), "StaticPod kube-proxy");
    assert_eq!(
        at("builder-7d9c5b6f4-x2v8q", &[HASH]),
        "perhaps StaticPod builder-7d9c5b6f4-x2v8q"
    );
    assert_eq!(at("-worker-3.example", &[]), "-");
    assert_eq!(at("kube-proxy-other", &[]), "perhaps StaticPod kube-proxy-other");
    let http: Pairs = &[("kubernetes.io/config.source", "http")];
    assert_eq!(workload_at("web-worker-3.example", &[], http, NOON), "StaticPod web");
    // The mirror belongs to the API, and no runtime runs it.
    let mirror: Pairs = &[
        ("kubernetes.io/config.mirror", "abc"),
        ("kubernetes.io/config.source", "api"),
    ];
    assert_eq!(workload_at("kube-proxy-worker-3.example", &[], mirror, NOON), "-");
}
