//! A cluster with one node that has castoff's image, and the chart's release in it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::image::Image;
use castoff_tests::lab::images;
use castoff_tests::lab::kubernetes::{Cluster, Node};
use castoff_tests::lab::packages::{self, Programs};
use castoff_tests::lab::release::{AGENTS, NAME, Release};
use castoff_tests::wait;
use serde_json::{Value, json};

/// The node.
pub(crate) const NODE: &str = "node-1";
/// The timeout of anything that takes some looks and a rollout.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// A short period, because a test waits for the looks.
pub(crate) const OFTEN: &str = "period=2s";

pub(crate) struct Site {
    pub(crate) image: Image,
    pub(crate) node: Node,
    // After the node.
    pub(crate) cluster: Cluster,
}

/// Runs a test on a fresh cluster whose node has the image. An error has the state of everything.
pub(crate) fn on_a_cluster(test: impl FnOnce(&mut Site) -> Result<()>) -> Result<()> {
    on_a_cluster_without_the_image(|site| {
        site.node.import(&site.image.archive)?;
        test(site)
    })
}

/// Runs a test on a fresh cluster whose node does not have the image yet.
pub(crate) fn on_a_cluster_without_the_image(test: impl FnOnce(&mut Site) -> Result<()>) -> Result<()> {
    let image = Image::of_this_tree()?;
    let cluster = Cluster::start()?;
    let node = cluster.join(NODE)?;
    let mut site = Site { image, node, cluster };
    test(&mut site).map_err(|error| error.context(site.cluster.dump(NAME, AGENTS)))
}

impl Site {
    /// Returns the chart's release.
    pub(crate) fn release(&self) -> Release<'_> {
        Release::of(&self.cluster, &self.image)
    }

    /// Returns a page of the agent at this address, without the API server.
    pub(crate) fn page_at(&self, address: &str, path: &str) -> Result<String> {
        let busybox = Programs::debian()?.path("busybox")?;
        let mut wget = self.cluster.command(busybox);
        packages::output(wget.args(["wget", "-q", "-O", "-", &format!("http://{address}:9559/{path}")]))
    }

    /// Waits until the node's label has this verdict.
    pub(crate) fn wait_for_verdict(&self, verdict: &str) -> Result<()> {
        wait::until("the verdict in the node's label", PATIENCE, || {
            let labels = self.release().labels(NODE)?;
            let said = labels.get("docker-dependency");
            ensure!(
                said.and_then(Value::as_str) == Some(verdict),
                "{said:?} in place of {verdict}"
            );
            Ok(())
        })
    }

    /// Waits until the agent reports the builder as a client; `read` returns its report. The verdict is not enough: the
    /// lab's own `docker` is a client as well, and may be seen first. The annotation may still have the count of that
    /// time: castoff writes an annotation alone once an hour.
    pub(crate) fn wait_for_builder(&self, read: impl Fn() -> Result<Value>) -> Result<()> {
        self.wait_for_verdict("in-use")?;
        wait::until("the builder in the report", PATIENCE, || {
            let report = read()?;
            let clients = report["clients"]["value"].as_array().map_or(&[][..], Vec::as_slice);
            ensure!(
                clients.iter().any(|client| client["identity"]["namespace"] == "builds"),
                "no builder in {clients:?}"
            );
            Ok(())
        })?;
        let annotations = self.release().annotations(NODE)?;
        let summary = annotations.get("summary").and_then(Value::as_str).unwrap_or_default();
        let summary: Value = serde_json::from_str(summary).context("the annotation")?;
        ensure!(
            summary["verdict"] == "in-use" && summary["clients"].as_u64() >= Some(1),
            "the annotation {summary}"
        );
        Ok(())
    }

    /// Runs a pod that connects to this Docker socket once, for a moment, and ends.
    pub(crate) fn run_step(&self, socket: &Path) -> Result<()> {
        let inside = "/var/run/docker.sock";
        self.cluster.apply(&json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "namespace": "builds", "name": "step" },
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": false,
                "containers": [{
                    "name": "ask",
                    "image": images::LAB,
                    "imagePullPolicy": "Never",
                    "command": ["/client", "burst", inside, "1"],
                    "volumeMounts": [{ "name": "docker", "mountPath": inside }],
                }],
                "volumes": [{ "name": "docker", "hostPath": { "path": socket, "type": "Socket" } }],
            },
        }))
    }

    /// Deploys a build agent that holds a connection to this Docker socket, and waits until it does.
    pub(crate) fn deploy_builder(&self, socket: &Path) -> Result<()> {
        let inside = "/var/run/docker.sock";
        let labels = json!({ "app": "builder" });
        let pod = json!({
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "build",
                "image": images::LAB,
                "imagePullPolicy": "Never",
                "command": ["/client", "hold", inside],
                "volumeMounts": [{ "name": "docker", "mountPath": inside }],
            }],
            "volumes": [{ "name": "docker", "hostPath": { "path": socket, "type": "Socket" } }],
        });
        let deployment = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": { "namespace": "builds", "name": "builder" },
            "spec": {
                "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels }, "spec": pod },
            },
        });
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "builds" } });
        self.cluster
            .apply(&json!({ "apiVersion": "v1", "kind": "List", "items": [namespace, deployment] }))?;
        self.cluster
            .kubectl([
                "rollout",
                "status",
                "-n",
                "builds",
                "deployment/builder",
                "--timeout=90s",
            ])
            .map(drop)
    }
}
