//! Pods as build systems make them, two jobs of each, and pods that are forged to look like another workload's.

use super::super::of;
use super::*;

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn workload(name: &str, labels: Pairs<'_>) -> String {
    let workload = of(&Marks {
        name,
        labels,
        annotations: &[("kubernetes.io/config.source", "api")],
        created: None,
        node: None,
    });
    workload.map_or_else(|| "-".to_owned(), |w| w.to_string())
}

fn gitlab_pod(label: &str) -> [(&str, &str); 2] {
    [("pod", label), ("job.runner.gitlab.com/pod", label)]
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn the_next_job_has_the_same_workload() {
    let slots = [
        "runner-t1_x-project-23-concurrent-0",
        "runner-t1-project-23-concurrent-0",
        "runner-t1-project-23-concurrent-4",
    ];
    let gitlab = |label, random: &str| workload(&format!("{label}{random}"), &gitlab_pod(label));
    assert_eq!(gitlab(slots[0], "-w4n7xb0p"), "-", "no name of an object");
    for slot in &slots[1..] {
        assert_eq!(gitlab(slot, "-w4n7xb0p"), "GitLab runner-t1-project-23");
        assert_eq!(gitlab(slot, "x7k2p"), "GitLab runner-t1-project-23", "of before 15");
    }
    assert_eq!(
        workload(&format!("{}-w4n7xb0p", slots[1]), &[("pod", slots[1])]),
        "GitLab runner-t1-project-23"
    );
    let cases: &[(&str, Pairs<'_>, &str)] = &[
        (
            "shop-build-main-42-x7k2p-9fz4d-h8vqs",
            &[("jenkins/label", "shop_build_main_42-x7k2p")],
            "Jenkins shop-build-main",
        ),
        (
            "shop-build-main-43-01h9j-txdgn-cdwb5",
            &[("jenkins/label", "Shop_Build_main_43-01h9j")],
            "Jenkins shop-build-main",
        ),
        ("maven-s5n4l-ck83s", &[("jenkins/label", "maven")], "Jenkins maven"),
        ("maven-s5n4l", &[("jenkins/label", "maven")], "Jenkins maven"),
        (
            "build-image-run-8k4xz-pod",
            &[
                ("tekton.dev/taskRun", "build-image-run-8k4xz"),
                ("tekton.dev/task", "other"),
            ],
            "TaskRun build-image-run",
        ),
        (
            "build-image-run-8k4xz-pod-retry2",
            &[("tekton.dev/taskRun", "build-image-run-8k4xz")],
            "TaskRun build-image-run",
        ),
        (
            "build-image-run-8k4xz-pod-lm56m",
            &[("tekton.dev/taskRun", "build-image-run-8k4xz")],
            "TaskRun build-image-run",
        ),
        ("by-hand-pod", &[("tekton.dev/taskRun", "by-hand")], "TaskRun by-hand"),
        (
            "app-run-1621391324676-build-pod",
            &[
                ("tekton.dev/taskRun", "app-run-1621391324676-build"),
                ("tekton.dev/pipelineRun", "app-run-1621391324676"),
            ],
            "PipelineRun app-run",
        ),
        (
            "a-quite-long-pipelin0c2ab1c57a3e4f0e9d3b1f2e3d4c5b6a-pod",
            &[(
                "tekton.dev/taskRun",
                "a-quite-long-pipelinerun-x7k2p-build-and-push-the-image-of-shop",
            )],
            "-",
        ),
        (
            "a-quite-long-pipelinerun-x70c2ab1c57a3e4f0e9d3b1f2e3d4c5b6a-pod",
            &[
                (
                    "tekton.dev/taskRun",
                    "a-quite-long-pipelinerun-x7k2p-build-and-push-the-image-of-shop",
                ),
                ("tekton.dev/pipelineRun", "a-quite-long-pipelinerun-x7k2p"),
            ],
            "PipelineRun a-quite-long-pipelinerun",
        ),
        (
            "ci-4kzt9-docker-build-1234567890",
            &[("workflows.argoproj.io/workflow", "ci-4kzt9")],
            "Workflow ci",
        ),
        (
            "ci-4kzt9-1234567890",
            &[("workflows.argoproj.io/workflow", "ci-4kzt9")],
            "Workflow ci",
        ),
        (
            "nightly-1712345640",
            &[("workflows.argoproj.io/workflow", "nightly-1712345640")],
            "Workflow nightly",
        ),
        (
            "drone-k2brz8fqxvnj0ujvgcp7",
            &[
                ("io.drone", "true"),
                ("io.drone.name", "drone-k2brz8fqxvnj0ujvgcp7"),
                ("io.drone.repo.name", "shop"),
            ],
            "Drone drone",
        ),
        (
            "buildkite-0c2ab1c5-7a3e-4f0e-9d3b-1f2e3d4c5b6a-x7k2p",
            &[
                ("buildkite.com/job-uuid", "0c2ab1c5-7a3e-4f0e-9d3b-1f2e3d4c5b6a"),
                ("job-name", "buildkite-0c2ab1c5-7a3e-4f0e-9d3b-1f2e3d4c5b6a"),
            ],
            "Buildkite buildkite",
        ),
        (
            "arc-set-x7k2p-runner-9fz4d",
            &[("actions.github.com/scale-set-name", "arc-set")],
            "AutoscalingRunnerSet arc-set",
        ),
        (
            "arc-set-x7k2p-runner-9fz4d-workflow",
            &[("runner-pod", "arc-set-x7k2p-runner-9fz4d")],
            "AutoscalingRunnerSet arc-set",
        ),
        (
            "arc-set-x7k2p-runner-9fz4d-step-b9z4k",
            &[("runner-pod", "arc-set-x7k2p-runner-9fz4d")],
            "AutoscalingRunnerSet arc-set",
        ),
        (
            "linux-fk92d-g4j94",
            &[
                ("runner-deployment-name", "linux"),
                ("runner-template-hash", "6d8c9b5f4c"),
            ],
            "RunnerDeployment linux",
        ),
        (
            "linux-fk92d-0",
            &[
                ("runnerset-name", "linux"),
                ("statefulset.kubernetes.io/pod-name", "linux-fk92d-0"),
            ],
            "RunnerSet linux",
        ),
        (
            "shop-17-build",
            &[
                ("openshift.io/build-config.name", "shop"),
                ("buildconfig", "shop"),
                ("openshift.io/build.name", "shop-17"),
            ],
            "BuildConfig shop",
        ),
        ("shop-18-build", &[("buildconfig", "shop")], "BuildConfig shop"),
        (
            "0c2ab1c5-7a3e-4f0e-9d3b-1f2e3d4c5b6a",
            &[
                ("created-by-prow", "true"),
                ("prow.k8s.io/id", "0c2ab1c5-7a3e-4f0e-9d3b-1f2e3d4c5b6a"),
                ("prow.k8s.io/job", "pull-shop-e2e"),
            ],
            "Prow prow",
        ),
        (
            "wp-01he8bebctabr3kgk0qj36d2me",
            &[("step", "build")],
            "Woodpecker woodpecker",
        ),
        (
            "wp-svc-01he8bebctabr3kgk0qj36d2me-database",
            &[
                ("step", "database"),
                ("service", "wp-svc-01he8bebctabr3kgk0qj36d2me-database"),
            ],
            "Woodpecker woodpecker",
        ),
        (
            "etl-orders-build-image-4kzt9a1e",
            &[
                ("dag_id", "ETL_orders"),
                ("task_id", "build.image"),
                ("try_number", "1"),
            ],
            "Airflow etl-orders-build-image",
        ),
        (
            "a-directed-graph-with-a-long-name-and-a-task-with-anot-4kzt9a1e",
            &[
                ("dag_id", "a_directed_graph_with_a_long_name"),
                ("task_id", "and_a_task_with_another"),
            ],
            "perhaps Airflow a-directed-graph-with-a-long-name-and-a-task-with-anot",
        ),
        (
            "spark-pi-a5ae6a7b5c8d1d2d-exec-3",
            &[
                ("spark-role", "executor"),
                ("spark-exec-id", "3"),
                ("spark-app-name", "spark-pi"),
            ],
            "Spark spark-pi",
        ),
        (
            "spark-pi-1591709246823-exec-1",
            &[("spark-role", "executor"), ("spark-exec-id", "1")],
            "Spark spark-pi",
        ),
        (
            "spark-pi-exec-1",
            &[
                ("spark-role", "executor"),
                ("spark-exec-id", "1"),
                ("spark-app-name", "spark-pi"),
            ],
            "Spark spark-pi",
        ),
        (
            "spark-pi-a5ae6a7b5c8d1d2d-driver",
            &[("spark-role", "driver")],
            "Spark spark-pi",
        ),
    ];
    for (name, labels, expected) in cases {
        assert_eq!(workload(name, labels), *expected, "{name}");
    }
}

/// The creator of a pod chooses its labels. A label alone gives it no workload, and neither do two that contradict each other.
#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn a_label_alone_gives_a_pod_no_workload() {
    let slot = "runner-t1-project-23-concurrent-0";
    let cases: &[(&str, Pairs<'_>)] = &[
        ("evil", &gitlab_pod(slot)),
        ("runner-t1-project-23-concurrent-0", &gitlab_pod(slot)),
        ("runner-t1-project-23-concurrent-0-w4n7xb0", &gitlab_pod(slot)),
        ("runner-t1-project-23-concurrent-0-W4N7XB0P", &gitlab_pod(slot)),
        (
            "runner-t1-project-23-concurrent-0-w4n7xb0p",
            &[("pod", slot), ("job.runner.gitlab.com/pod", "other")],
        ),
        ("web-x7k2pw4n", &gitlab_pod("web")),
        ("evil-x7k2p", &[("jenkins/label", "maven")]),
        ("maven", &[("jenkins/label", "maven")]),
        ("maven-", &[("jenkins/label", "maven")]),
        ("maven-x7k2p-9fz4d-h8vqs-b9z4k", &[("jenkins/label", "maven")]),
        ("maven-aeiou", &[("jenkins/label", "maven")]),
        ("evil-pod", &[("tekton.dev/taskRun", "build-image-run-8k4xz")]),
        (
            "build-image-run-8k4xz",
            &[("tekton.dev/taskRun", "build-image-run-8k4xz")],
        ),
        (
            "a-pod",
            &[("tekton.dev/taskRun", "a"), ("tekton.dev/pipelineRun", "release-x7k2p")],
        ),
        ("evil-1234567890", &[("workflows.argoproj.io/workflow", "ci-4kzt9")]),
        (
            "ci-4kzt9x-1234567890",
            &[("workflows.argoproj.io/workflow", "ci-4kzt9")],
        ),
        ("ci-4kzt9-shell", &[("workflows.argoproj.io/workflow", "ci-4kzt9")]),
        ("-1", &[("workflows.argoproj.io/workflow", "")]),
        ("evil", &[("io.drone", "true"), ("io.drone.name", "evil")]),
        (
            "drone-k2brz8fqxvnj0ujvgcp7",
            &[("io.drone", "true"), ("io.drone.name", "drone-x")],
        ),
        ("evil-workflow", &[("runner-pod", "evil")]),
        ("evil-workflow", &[("runner-pod", "arc-set-x7k2p-runner-9fz4d")]),
        ("evil-fk92d-g4j94", &[("runner-deployment-name", "linux")]),
        ("linux-evil-g4j94", &[("runner-deployment-name", "linux")]),
        (
            "evil-0",
            &[
                ("runnerset-name", "linux"),
                ("statefulset.kubernetes.io/pod-name", "evil-0"),
            ],
        ),
        ("evil-17-build", &[("buildconfig", "shop")]),
        ("shop-web-build", &[("buildconfig", "shop")]),
        (
            "shop-17-build",
            &[("buildconfig", "shop"), ("openshift.io/build.name", "shop-18")],
        ),
        (
            "shop-17-build",
            &[("buildconfig", "shop"), ("openshift.io/build-config.name", "other")],
        ),
        (
            "evil",
            &[
                ("created-by-prow", "true"),
                ("prow.k8s.io/id", "evil"),
                ("prow.k8s.io/job", "release"),
            ],
        ),
        (
            "0c2ab1c5-7a3e-4f0e-9d3b-1f2e3d4c5b6a",
            &[("created-by-prow", "true"), ("prow.k8s.io/job", "release")],
        ),
        ("wp-01he8bebctabr3kgk0qj36d2me", &[]),
        ("wp-blog", &[("step", "build")]),
        ("wp-svc-01he8bebctabr3kgk0qj36d2me-database", &[("step", "database")]),
        ("evil-4kzt9a1e", &[("dag_id", "etl"), ("task_id", "load")]),
        ("etl-load-evil", &[("dag_id", "etl"), ("task_id", "load")]),
        ("load-4kzt9a1e", &[("dag_id", "etl"), ("task_id", "load")]),
        ("-4kzt9a1e", &[("dag_id", "_"), ("task_id", "_")]),
        (
            "evil-a5ae6a7b5c8d1d2d-exec-3",
            &[
                ("spark-role", "executor"),
                ("spark-exec-id", "3"),
                ("spark-app-name", "spark-pi"),
            ],
        ),
        (
            "spark-pi-a5ae6a7b5c8d1d2d-exec-3",
            &[("spark-role", "executor"), ("spark-exec-id", "4")],
        ),
        ("spark-pi-exec-1", &[("spark-role", "executor"), ("spark-exec-id", "1")]),
        ("spark-pi-driver", &[("spark-role", "driver")]),
        // The marks of two controllers, each consistent: one of them is forged.
        (
            "linux-fk92d-g4j94",
            &[("runner-deployment-name", "linux"), ("jenkins/label", "linux")],
        ),
    ];
    for (name, labels) in cases {
        assert_eq!(workload(name, labels), "-", "{name} {labels:?}");
    }
    let other = "1d3bc2d6-8b4f-4a1f-8e4c-2a3f4e5d6c7b";
    let framed = workload("load-x7k2p", &[("job-name", "load"), ("buildkite.com/job-uuid", other)]);
    assert_eq!(framed, "Job load", "the job's own name stands");
}
