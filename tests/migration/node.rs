//! The node, and its migration from dockershim to containerd like an operator does it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::docker::Docker;
use castoff_tests::lab::dockershim::Dockershim;
use castoff_tests::lab::image::Image;
use castoff_tests::lab::kubernetes::{Cluster, Node};
use castoff_tests::lab::release::{AGENTS, NAME as CASTOFF};
use castoff_tests::lab::suites::{self, Kind, Suite};
use castoff_tests::wait;

/// The Node's name, before and after.
pub(crate) const NODE: &str = "node-1";

/// The timeout of the agent until its pod runs on the new runtime: the kubelet retries a missing image after some tens
/// of seconds.
const AGENT: Duration = Duration::from_secs(180);

/// The running parts. Dropping it ends all.
#[derive(Debug)]
pub(crate) struct Machine {
    new: Option<Node>,
    old: Option<Dockershim>,
    docker: Option<Docker>,
}

impl Machine {
    /// Starts a node with a kubelet 1.23 with dockershim, which has this image.
    pub(crate) fn join(cluster: &Cluster, image: &Image) -> Result<Self> {
        let old = cluster.join_dockershim(NODE, suites::programs(Suite::Bookworm, Kind::Docker)?)?;
        old.docker().import(&image.archive)?;
        Ok(Self {
            new: None,
            old: Some(old),
            docker: None,
        })
    }

    /// Returns Docker's socket, as long as there is a Docker.
    pub(crate) fn socket(&self) -> Result<PathBuf> {
        let docker = self.docker.as_ref().or(self.old.as_ref().map(Dockershim::docker));
        Ok(docker.context("there is no Docker any more")?.socket().to_owned())
    }

    /// Drains the workloads and stops the kubelet. Docker continues, and so does the agent in it.
    pub(crate) fn stop_kubelet(&self, cluster: &Cluster) -> Result<()> {
        cluster.kubectl(["drain", NODE, "--ignore-daemonsets", "--force", "--timeout=120s"])?;
        self.old.as_ref().context("no dockershim")?.stop_kubelet()
    }

    /// Removes what the kubelet has left in Docker. Returns the agent's log there.
    pub(crate) fn clear_docker(&mut self) -> Result<String> {
        let old = self.old.take().context("no dockershim")?;
        let agent = "label=io.kubernetes.container.name=castoff";
        let agent = old.docker().ask(["ps", "--quiet", "--filter", agent])?;
        ensure!(agent.lines().count() == 1, "agents in Docker: {agent:?}");
        let log = old.docker().read_log(&agent)?;
        let all = old.docker().ask(["ps", "--all", "--quiet"])?;
        old.docker().ask(["rm", "--force"].into_iter().chain(all.lines()))?;
        self.docker = Some(old.into_docker());
        Ok(log)
    }

    /// Starts containerd and a kubelet of the cluster's version as the same Node, and waits until the agent runs there.
    pub(crate) fn start_containerd(&mut self, cluster: &Cluster, image: &Image) -> Result<()> {
        let node = self.new.insert(cluster.join(NODE)?);
        node.import(&image.archive)?;
        cluster.kubectl(["uncordon", NODE])?;
        wait::until("the agent on containerd", AGENT, || {
            let pods = cluster.get(["pods", "-n", CASTOFF, "-l", AGENTS])?;
            let status = &pods["items"][0]["status"]["containerStatuses"][0];
            let id = status["containerID"].as_str().unwrap_or_default();
            ensure!(id.starts_with("containerd://") && status["ready"] == true, "{status}");
            Ok(())
        })
    }

    /// Stops Docker for good.
    pub(crate) fn remove_docker(&mut self) -> Result<()> {
        drop(self.docker.take().context("there is no Docker any more")?);
        Ok(())
    }
}
