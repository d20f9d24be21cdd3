//! castoff as a release of its chart in a cluster, with its results.
//!
//! All requests are made like a user makes them: Nodes through the API server, the agents' pages with a token, the fleet with
//! `castoff cluster`.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};

use super::helm::Helm;
use super::image::Image;
use super::kubernetes::Cluster;
use super::packages::{self, Programs};

/// The release, its namespace and its `DaemonSet`.
pub const NAME: &str = "castoff";
/// The account that may read agents.
pub const READER: &str = "castoff-reader";
/// The label selector of the agents' pods.
pub const AGENTS: &str = "app.kubernetes.io/component=agent";

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/castoff");
const PREFIX: &str = "castoff.dev/";

/// Requests a token of an account for this audience; none: for the API server.
pub fn token(cluster: &Cluster, namespace: &str, account: &str, audience: Option<&str>) -> Result<String> {
    let mut words = vec!["create", "token", account, "-n", namespace];
    words.extend(audience.map_or([].as_slice(), |_| &["--audience"]));
    words.extend(audience);
    cluster.kubectl(words)
}

/// A release of an image that the cluster's nodes have.
#[derive(Debug, Clone, Copy)]
pub struct Release<'a> {
    cluster: &'a Cluster,
    image: &'a Image,
}

impl<'a> Release<'a> {
    /// Returns the release in this cluster, which may not be installed yet.
    pub fn of(cluster: &'a Cluster, image: &'a Image) -> Self {
        Self { cluster, image }
    }

    /// `helm install` with these values, until the agents are ready.
    pub fn install(&self, helm: Helm, values: &[&str]) -> Result<()> {
        self.helm(helm, &["install", "--create-namespace"], values)
    }

    /// `helm upgrade` with these values, until the agents are ready.
    pub fn upgrade(&self, helm: Helm, values: &[&str]) -> Result<()> {
        self.helm(helm, &["upgrade"], values)
    }

    fn helm(&self, helm: Helm, verb: &[&str], values: &[&str]) -> Result<()> {
        let (name, tag) = self.image.tag.rsplit_once(':').context("an image's tag")?;
        let (registry, repository) = name.split_once('/').context("an image's registry")?;
        let of_image =
            format!("image.registry={registry},image.repository={repository},image.tag={tag},image.pullPolicy=Never");
        let mut words = verb.to_vec();
        words.extend([NAME, CHART, "--namespace", NAME]);
        words.extend(["--wait", "--timeout", "180s", "--set", &of_image]);
        for value in values {
            words.extend(["--set", value]);
        }
        self.cluster.helm(helm, words).map(drop)
    }

    /// `helm uninstall`, until its hooks have ended.
    pub fn uninstall(&self, helm: Helm) -> Result<()> {
        let words = ["uninstall", NAME, "--namespace", NAME, "--wait", "--timeout", "180s"];
        self.cluster.helm(helm, words).map(drop)
    }

    /// Returns the single agent's pod, from the API server.
    pub fn agent(&self) -> Result<Value> {
        let pods = self.cluster.get(["pods", "-n", NAME, "-l", AGENTS])?;
        let mut pods = pods["items"].as_array().cloned().unwrap_or_default();
        pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        ensure!(pods.len() == 1, "pods of the agent: {}", pods.len());
        Ok(pods.remove(0))
    }

    /// Returns a page of the single agent, with a token of the account that may read it: `metrics`, `api/v1/report`.
    pub fn page(&self, path: &str) -> Result<String> {
        let token = token(self.cluster, NAME, READER, Some("castoff"))?;
        self.page_with(path, &format!("X-Castoff-Token: {token}"))
    }

    /// Returns a page of the single agent for a request with this header.
    pub fn page_with(&self, path: &str, header: &str) -> Result<String> {
        let pod = self.agent()?;
        let address = pod["status"]["podIP"].as_str().context("a pod's address")?;
        let mut wget = self.cluster.command(Programs::debian()?.path("busybox")?);
        wget.args(["wget", "-q", "-O", "-", "--header", header]);
        packages::output(wget.arg(format!("http://{address}:9559/{path}")))
    }

    /// Returns the current report of the single agent.
    pub fn report(&self) -> Result<Value> {
        serde_json::from_str(&self.page("api/v1/report")?).context("read a report")
    }

    /// Returns castoff's labels of a Node, without their prefix.
    pub fn labels(&self, node: &str) -> Result<Map<String, Value>> {
        self.keys(node, "labels")
    }

    /// Returns castoff's annotations of a Node, without their prefix.
    pub fn annotations(&self, node: &str) -> Result<Map<String, Value>> {
        self.keys(node, "annotations")
    }

    fn keys(&self, node: &str, which: &str) -> Result<Map<String, Value>> {
        let node = self.cluster.get(["node", node])?;
        let all = node["metadata"][which].as_object().into_iter().flatten();
        Ok(all
            .filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?.to_owned(), value.clone())))
            .collect())
    }

    /// Returns the result of `castoff cluster` for all nodes.
    pub fn fleet(&self) -> Result<Value> {
        let mut castoff = self.cluster.command(self.image.program());
        let output = castoff
            .args(["cluster", "-o", "json"])
            .output()
            .context("castoff cluster")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        serde_json::from_slice(&output.stdout).with_context(|| format!("castoff cluster says {errors}"))
    }

    /// Returns a `castoff cluster` command, to be run on the stage.
    pub fn fleet_command(&self) -> Command {
        let mut castoff = Command::new(self.image.program());
        castoff.arg("cluster").env("KUBECONFIG", self.cluster.kubeconfig());
        castoff
    }
}
