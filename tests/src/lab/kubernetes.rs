//! A real Kubernetes: a control plane on a [`Stage`], and nodes that join it.
//!
//! The stage's network is separate from the machine's: [`Cluster::command`] runs a program on the stage. The images of
//! pods are those that were imported into their node. Only the cluster is visible on the stage, so that other programs
//! of the machine appear in no pod.
//!
//! ```no_run
//! use castoff_tests::lab::kubernetes::Cluster;
//! # fn main() -> anyhow::Result<()> {
//! let cluster = Cluster::start()?;
//! let node = cluster.join("node-1")?;
//! println!("{}", cluster.kubectl(["get", "nodes", "-o", "wide"])?);
//! # drop(node);
//! # Ok(())
//! # }
//! ```

mod control_plane;
mod identities;
mod node;
mod tools;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use self::control_plane::ControlPlane;
use self::identities::SERVER;
use super::daemon::Daemon;
use super::docker::{Docker, Options};
use super::dockershim::Dockershim;
use super::helm::{Helm, Tools};
use super::modules::{self, Module};
use super::packages::{self, Programs};
use super::rooms::Room;
use super::stage::Stage;

pub use self::identities::NODES;
pub use self::node::{Node, Seat};
use crate::wait;

/// The timeout of a node until it is ready: some seconds, and many times as long on a busy machine.
const READY: Duration = Duration::from_secs(180);

/// A cluster whose API server answers. Nodes are separate guards, which must be dropped before it.
#[derive(Debug)]
pub struct Cluster {
    plane: ControlPlane,
    stage: Arc<Stage>,
    program: PathBuf,
}

impl Cluster {
    /// Starts a control plane of the newest Kubernetes. The first call builds it, which takes minutes.
    pub fn start() -> Result<Self> {
        Self::start_of(Module::Kubernetes)
    }

    /// Starts a control plane of an older Kubernetes, which [`Cluster::join_dockershim`] needs. The first call builds it, which
    /// takes minutes.
    pub fn start_older() -> Result<Self> {
        Self::start_of(Module::OlderKubernetes)
    }

    fn start_of(module: Module) -> Result<Self> {
        let program = modules::build(module)?.join("kubernetes");
        let server = format!("{SERVER}/24");
        let nodes: Vec<String> = (0..NODES.len()).map(|index| format!("{}/24", address(index))).collect();
        let addresses: Vec<&str> = [&server].into_iter().chain(&nodes).map(String::as_str).collect();
        let stage = Stage::start(&addresses)?;
        let plane = ControlPlane::start(&stage, &program)?;
        let this = Self { plane, stage, program };
        // Without it no pod is admitted.
        wait::until("the default service account", READY, || {
            this.kubectl(["get", "serviceaccount", "default"])
        })?;
        Ok(this)
    }

    /// Starts a node with containerd and a kubelet of the cluster's version, and waits until it is ready. The first is
    /// `node-1`.
    ///
    /// # Errors
    /// The name is not one of [`NODES`], or it does not become ready, with the state of all.
    pub fn join(&self, name: &str) -> Result<Node> {
        let node = Node::start(&self.seat(name)?, &self.program)?;
        let kubelet = node.kubelet();
        kubelet.wait_so_long(READY, || self.is_ready(name, "containerd://"))?;
        Ok(node)
    }

    /// Starts a node with Docker 20.10 and a kubelet 1.23 with dockershim, and waits until it is ready.
    ///
    /// # Errors
    /// Those of [`Cluster::join`].
    pub fn join_dockershim(&self, name: &str, programs: Programs) -> Result<Dockershim> {
        let node = Dockershim::join(programs, &self.seat(name)?)?;
        let kubelet = node.kubelet();
        kubelet.wait_so_long(READY, || self.is_ready(name, "docker://"))?;
        Ok(node)
    }

    /// Starts the dockerd of this machine's Debian release, separate from the nodes' runtimes. Its socket has the same
    /// path in pods.
    pub fn start_docker(&self) -> Result<Docker> {
        let mut options = Options::debian()?;
        options.stage = Some(Arc::clone(&self.stage));
        Docker::start_with(&options)
    }

    /// Returns a `kubectl` command as the administrator.
    pub fn kubectl_command(&self) -> Command {
        self.plane.kubectl()
    }

    /// Runs `kubectl …` as the administrator and returns the output.
    pub fn kubectl(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<String> {
        packages::output(self.plane.kubectl().args(arguments))
    }

    /// Returns the output of `kubectl get … -o json`.
    pub fn get(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Value> {
        let mut kubectl = self.plane.kubectl();
        let answer = packages::output(kubectl.args(["get", "-o", "json"]).args(arguments))?;
        serde_json::from_str(&answer).context("read what kubectl says")
    }

    /// Applies a manifest; several objects are a `List`.
    pub fn apply(&self, manifest: &Value) -> Result<()> {
        let file = tempfile::NamedTempFile::new().context("make a file for a manifest")?;
        std::fs::write(file.path(), manifest.to_string()).context("write a manifest")?;
        let mut kubectl = self.plane.kubectl();
        packages::run(kubectl.args(["apply", "--filename"]).arg(file.path()))
    }

    /// Runs `helm …` as the administrator and returns the output.
    pub fn helm(&self, helm: Helm, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<String> {
        let alone = Tools::fetched()?.helm(helm);
        let mut command = self.stage.command(alone.get_program());
        for (variable, value) in alone.get_envs() {
            command.env(variable, value.unwrap_or_default());
        }
        packages::output(command.env("KUBECONFIG", self.kubeconfig()).args(arguments))
    }

    /// Starts a program that runs until the guard is dropped; its log has its output.
    pub fn start_program(&self, name: &'static str, command: &Command) -> Result<Daemon> {
        Daemon::start_on(Some(&self.stage), name, &Room::make(name)?, command, &[])
    }

    /// Does the same with `kubectl …` as the administrator.
    pub fn start_kubectl(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Daemon> {
        let mut kubectl = Command::new(&self.program);
        kubectl
            .arg("kubectl")
            .args(arguments)
            .env("KUBECONFIG", self.kubeconfig());
        self.start_program("kubectl", &kubectl)
    }

    /// Returns a command for a program on the stage, with the administrator's kubeconfig in `KUBECONFIG`.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.stage.command(program);
        command.env("KUBECONFIG", self.kubeconfig());
        command
    }

    /// Returns the administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.plane.kubeconfig()
    }

    /// Returns the stage on which all of it runs.
    pub fn stage(&self) -> &Arc<Stage> {
        &self.stage
    }

    /// Kills the API server; its clients are not notified.
    pub fn kill_api_server(&mut self) -> Result<()> {
        self.plane.kill_api_server()
    }

    /// Starts it again, with its data, and waits until it is ready.
    pub fn start_api_server(&mut self) -> Result<()> {
        self.plane.start_api_server()
    }

    /// Returns the requests of one user so far, from the audit log: `verb`, `requestURI`, `stageTimestamp`, …
    pub fn requests_of(&self, user: &str) -> Result<Vec<Value>> {
        let mut events = self.plane.read_audit()?;
        events.retain(|event| event["user"]["username"] == user && event["stage"] != "ResponseStarted");
        Ok(events)
    }

    /// Returns the state of everything, for error messages: nodes, pods, events, the logs of these pods, the daemons'
    /// logs.
    pub fn dump(&self, namespace: &str, selector: &str) -> String {
        let questions: [&[&str]; 5] = [
            &["get", "nodes", "-o", "wide", "--show-labels"],
            &["get", "pods", "--all-namespaces", "-o", "wide"],
            &["get", "events", "--all-namespaces", "--sort-by=.lastTimestamp"],
            &["describe", "pods", "-n", namespace, "-l", selector],
            &[
                "logs",
                "-n",
                namespace,
                "-l",
                selector,
                "--all-containers",
                "--tail=50",
                "--prefix",
            ],
        ];
        let answers = questions.map(|question| {
            let said = self.kubectl(question).unwrap_or_else(|error| format!("{error:#}"));
            format!("--- kubectl {}\n{said}\n", question.join(" "))
        });
        answers.concat() + &self.plane.logs()
    }

    fn seat(&self, name: &str) -> Result<Seat> {
        let index = NODES.iter().position(|known| *known == name);
        let index = index.with_context(|| format!("no node may be called {name:?}; there are {NODES:?}"))?;
        Ok(Seat {
            stage: Arc::clone(&self.stage),
            name: name.to_owned(),
            address: address(index),
            pods: format!("10.244.{}.0/24", index + 1),
            kubeconfig: self.plane.kubeconfig_of(&identities::node_user(name))?,
        })
    }

    /// Fails unless its kubelet reports that it is ready, with a runtime of this kind.
    fn is_ready(&self, name: &str, runtime: &str) -> Result<()> {
        let node = self.get(["node", name])?;
        let version = &node["status"]["nodeInfo"]["containerRuntimeVersion"];
        let conditions = node["status"]["conditions"].as_array().into_iter().flatten();
        let ready = conditions
            .filter(|condition| condition["type"] == "Ready")
            .any(|condition| condition["status"] == "True");
        let right = version.as_str().is_some_and(|version| version.starts_with(runtime));
        ensure!(ready && right, "{name}: {}, {version}", node["status"]["conditions"]);
        Ok(())
    }
}

/// Returns the address of the node with this index in [`NODES`].
fn address(index: usize) -> String {
    format!("10.214.0.{}", 11 + index)
}
