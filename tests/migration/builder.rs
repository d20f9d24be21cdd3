//! The workload that has to be changed: a build agent that its owner rewrites step by step.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use castoff_tests::lab::images;
use castoff_tests::lab::kubernetes::Cluster;
use castoff_tests::wait;
use serde_json::{Value, json};

pub(crate) const NAMESPACE: &str = "builds";
pub(crate) const NAME: &str = "builder";
pub(crate) const CONTAINER: &str = "build";

const INSIDE: &str = "/var/run/docker.sock";
/// The timeout of a rollout.
const ROLLOUT: Duration = Duration::from_secs(120);

/// The build agent's use of Docker.
#[derive(Debug, Clone, Copy)]
pub(crate) enum DockerUse {
    /// It has the socket and a connection.
    Connected,
    /// It has the socket only.
    Mounted,
    /// It has nothing of Docker.
    Free,
}

/// Applies the Deployment.
pub(crate) fn deploy(cluster: &Cluster, socket: &Path, habit: DockerUse) -> Result<()> {
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
    let items = [namespace, deployment(socket, habit)];
    cluster.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": items }))
}

/// Waits until there is one pod with this use of Docker, and it is ready.
pub(crate) fn wait_for(cluster: &Cluster, habit: DockerUse) -> Result<()> {
    let word = if matches!(habit, DockerUse::Connected) {
        "ready "
    } else {
        ""
    };
    wait::until("the build agent as it should be", ROLLOUT, || {
        let pods = cluster.get(["pods", "-n", NAMESPACE])?;
        let [pod] = pods["items"].as_array().map_or(&[][..], Vec::as_slice) else {
            anyhow::bail!("pods of the build agent: {}", pods["items"]);
        };
        let (phase, labels) = (&pod["status"]["phase"], &pod["metadata"]["labels"]);
        ensure!(
            *phase == "Running" && labels["habit"] == label(habit),
            "{phase}, {labels}"
        );
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let said = cluster.kubectl(["logs", "-n", NAMESPACE, name])?;
        ensure!(said.contains(word), "the build agent says {said:?}");
        Ok(())
    })
}

fn label(habit: DockerUse) -> &'static str {
    match habit {
        DockerUse::Connected => "connected",
        DockerUse::Mounted => "mounted",
        DockerUse::Free => "free",
    }
}

fn deployment(socket: &Path, habit: DockerUse) -> Value {
    let command = match habit {
        DockerUse::Connected => json!(["/client", "hold", INSIDE]),
        DockerUse::Mounted | DockerUse::Free => json!(["/client", "pause"]),
    };
    let (mounts, volumes) = match habit {
        DockerUse::Connected | DockerUse::Mounted => (
            json!([{ "name": "docker", "mountPath": INSIDE }]),
            json!([{ "name": "docker", "hostPath": { "path": socket, "type": "Socket" } }]),
        ),
        DockerUse::Free => (json!([]), json!([])),
    };
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "namespace": NAMESPACE, "name": NAME },
        "spec": {
            "selector": { "matchLabels": { "app": NAME } },
            "template": {
                "metadata": { "labels": { "app": NAME, "habit": label(habit) } },
                "spec": {
                    "automountServiceAccountToken": false,
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{
                        "name": CONTAINER,
                        "image": images::LAB,
                        "imagePullPolicy": "Never",
                        "command": command,
                        "volumeMounts": mounts,
                    }],
                    "volumes": volumes,
                },
            },
        },
    })
}
