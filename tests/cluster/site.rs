//! A cluster with one node that castoff's image is on, and the chart's release in it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::helm::Helm;
use castoff_tests::lab::image::Image;
use castoff_tests::lab::images;
use castoff_tests::lab::kubernetes::{Cluster, Node};
use castoff_tests::lab::packages::{self, Programs};
use serde_json::{Map, Value, json};

/// The release's namespace, and the name of it and of its `DaemonSet`.
pub(crate) const CASTOFF: &str = "castoff";
/// The node.
pub(crate) const NODE: &str = "node-1";
/// How long anything may take that takes some looks and a rollout.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/castoff");
const PREFIX: &str = "castoff.dev/";
const AGENTS: &str = "app.kubernetes.io/component=agent";

pub(crate) struct Site {
    image: Image,
    pub(crate) node: Node,
    // After the node.
    pub(crate) cluster: Cluster,
}

/// Runs a test on a fresh cluster; where it fails, with the state of everything.
pub(crate) fn on_a_cluster(test: impl FnOnce(&mut Site) -> Result<()>) -> Result<()> {
    let image = Image::of_this_tree()?;
    let cluster = Cluster::start()?;
    let node = cluster.join(NODE)?;
    node.import(&image.archive)?;
    let mut site = Site { image, node, cluster };
    test(&mut site).map_err(|error| error.context(site.cluster.dump(CASTOFF, AGENTS)))
}

impl Site {
    /// `helm install`, with these values besides, until its pods are ready.
    pub(crate) fn install(&self, helm: Helm, values: &[&str]) -> Result<()> {
        self.helm(helm, &["install", "--create-namespace"], values)
    }

    /// `helm upgrade`, with these values besides, until its pods are ready.
    pub(crate) fn upgrade(&self, helm: Helm, values: &[&str]) -> Result<()> {
        self.helm(helm, &["upgrade"], values)
    }

    fn helm(&self, helm: Helm, verb: &[&str], values: &[&str]) -> Result<()> {
        let (name, tag) = self.image.tag.rsplit_once(':').context("an image's tag")?;
        let (registry, repository) = name.split_once('/').context("an image's registry")?;
        let image =
            format!("image.registry={registry},image.repository={repository},image.tag={tag},image.pullPolicy=Never");
        let mut words = verb.to_vec();
        words.extend([CASTOFF, CHART, "--namespace", CASTOFF, "--wait", "--timeout", "120s"]);
        words.extend(["--set", &image, "--set", "period=2s"]);
        for value in values {
            words.extend(["--set", value]);
        }
        self.cluster.helm(helm, words).map(drop)
    }

    /// `helm uninstall`, until its hooks have ended.
    pub(crate) fn uninstall(&self, helm: Helm) -> Result<()> {
        let words = [
            "uninstall",
            CASTOFF,
            "--namespace",
            CASTOFF,
            "--wait",
            "--timeout",
            "120s",
        ];
        self.cluster.helm(helm, words).map(drop)
    }

    /// The pod of the agent, as the API server has it.
    pub(crate) fn agent(&self) -> Result<Value> {
        let pods = self.cluster.get(["pods", "-n", CASTOFF, "-l", AGENTS])?;
        let mut running = pods["items"].as_array().cloned().unwrap_or_default();
        running.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        ensure!(running.len() == 1, "pods of the agent: {}", running.len());
        Ok(running.remove(0))
    }

    /// A page of the agent, through the API server.
    pub(crate) fn page(&self, path: &str) -> Result<String> {
        let pod = self.agent()?;
        let name = pod["metadata"]["name"].as_str().context("a pod's name")?;
        let uri = format!("/api/v1/namespaces/{CASTOFF}/pods/{name}:9559/proxy/{path}");
        self.cluster.kubectl(["get", "--raw", &uri])
    }

    /// A page of the agent at this address, without the API server.
    pub(crate) fn page_at(&self, address: &str, path: &str) -> Result<String> {
        let busybox = Programs::debian()?.path("busybox")?;
        let mut wget = self.cluster.command(busybox);
        packages::output(wget.args(["wget", "-q", "-O", "-", &format!("http://{address}:9559/{path}")]))
    }

    /// castoff's labels of a Node, without their prefix.
    pub(crate) fn labels(&self, node: &str) -> Result<Map<String, Value>> {
        self.keys(node, "labels")
    }

    /// castoff's annotations of a Node, without their prefix.
    pub(crate) fn annotations(&self, node: &str) -> Result<Map<String, Value>> {
        self.keys(node, "annotations")
    }

    fn keys(&self, node: &str, which: &str) -> Result<Map<String, Value>> {
        let node = self.cluster.get(["node", node])?;
        let all = node["metadata"][which].as_object().into_iter().flatten();
        let own = all.filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?.to_owned(), value.clone())));
        Ok(own.collect())
    }

    /// Waits until the node's label says this verdict.
    pub(crate) fn wait_for_verdict(&self, verdict: &str) -> Result<()> {
        self.cluster.until("the verdict in the node's label", PATIENCE, || {
            let labels = self.labels(NODE)?;
            let said = labels.get("docker-dependency");
            ensure!(
                said.and_then(Value::as_str) == Some(verdict),
                "{said:?} in place of {verdict}"
            );
            Ok(())
        })
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
