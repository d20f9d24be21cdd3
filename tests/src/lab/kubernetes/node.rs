//! A node: containerd, and a kubelet of the cluster's version.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::json;

use crate::lab::containerd::{Containerd, Network, Options};
use crate::lab::daemon::Daemon;
use crate::lab::keeper::Task;
use crate::lab::kubelet;
use crate::lab::rooms::Room;
use crate::lab::stage::Stage;

/// A node's place in a cluster, with any runtime.
#[derive(Debug, Clone)]
pub struct Seat {
    /// The stage that it runs on.
    pub(crate) stage: Arc<Stage>,
    /// The Node's name.
    pub(crate) name: String,
    /// Its own address on the stage.
    pub(crate) address: String,
    /// The address range of its pods.
    pub(crate) pods: String,
    /// The kubeconfig of its kubelet.
    pub(crate) kubeconfig: PathBuf,
}

/// Returns the program under the name `kubelet`: castoff recognises a node by a process with that name.
fn called_kubelet(program: &Path) -> Result<PathBuf> {
    let name = program.with_file_name("kubelet");
    let fresh = program.with_file_name(format!("kubelet.{}", std::process::id()));
    // With a symbolic link the kernel would show the name of its target.
    fs::hard_link(program, &fresh).context("give Kubernetes the kubelet's name")?;
    fs::rename(&fresh, &name).context("give Kubernetes the kubelet's name")?;
    // If both are the same file already, rename(2) keeps both names.
    let _ = fs::remove_file(&fresh);
    Ok(name)
}

/// A running node. Dropping it ends its kubelet, its pods and its containerd; its Node object stays.
#[derive(Debug)]
pub struct Node {
    // Before containerd, of which it is a client.
    kubelet: Daemon,
    containerd: Containerd,
    name: String,
}

impl Node {
    pub(super) fn start(seat: &Seat, program: &Path) -> Result<Self> {
        let containerd = Containerd::start_with(&Options {
            stage: Some(Arc::clone(&seat.stage)),
            network: Network::Routed(seat.pods.clone()),
            ..Options::debian()?
        })?;
        let room = Room::make("kubelet")?;
        let cgroup = kubelet::cgroup(&room)?;
        let mut command = Command::new(called_kubelet(program)?);
        command.arg("kubelet");
        command.arg(format!("--container-runtime-endpoint={}", containerd.endpoint()));
        // From 1.35 on a kubelet would refuse a machine with cgroup v1.
        kubelet::configure(
            &mut command,
            &room,
            &cgroup,
            Some(seat),
            json!({ "failCgroupV1": false }),
        )?;
        let kubelet = Daemon::start_on(Some(&seat.stage), "kubelet", &room, &command, &[Task::Cgroup(cgroup)])?;
        Ok(Self {
            kubelet,
            containerd,
            name: seat.name.clone(),
        })
    }

    /// Returns the Node's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its runtime.
    pub fn containerd(&self) -> &Containerd {
        &self.containerd
    }

    /// Returns its kubelet: process ID on the stage, log, room.
    pub fn kubelet(&self) -> &Daemon {
        &self.kubelet
    }

    /// Imports a docker-archive; pods use it with `imagePullPolicy: Never`.
    pub fn import(&self, archive: &Path) -> Result<()> {
        self.containerd.import(archive)
    }
}
