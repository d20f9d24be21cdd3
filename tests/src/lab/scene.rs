//! A node on which Docker is used: a pod that holds a connection, a pod that only could, a container of Docker, a unit.

use std::path::Path;

use anyhow::{Context, Result};

use super::clients::{self, Client};
use super::containerd::Containerd;
use super::containers::Container;
use super::docker::{Docker, DockerContainer};
use super::places::Place;
use super::pods::{Pod, RunningPod};

/// The path of the socket in containers.
pub const SOCKET: &str = "/var/run/docker.sock";

/// The names of the clients.
#[derive(Debug)]
pub struct Cast<'n> {
    /// The pod whose container `build` holds a connection.
    pub builder: Pod,
    /// The pod whose container `ship` mounts the socket's directory and uses nothing.
    pub shipper: Pod,
    /// The name of Docker's container, which holds a connection.
    pub container: &'n str,
    /// The unit that holds a connection.
    pub unit: &'n str,
}

/// All of the clients, until it is dropped.
#[derive(Debug)]
pub struct Scene<'d> {
    /// The two pods, as in [`pods`].
    pub pods: [RunningPod; 2],
    /// Docker's container.
    pub container: DockerContainer<'d>,
    /// The unit's process.
    pub unit: Client,
}

impl<'d> Scene<'d> {
    /// Starts all clients.
    pub fn set(docker: &'d Docker, runtime: &Containerd, cast: Cast<'_>) -> Result<Self> {
        Ok(Self {
            pods: pods(docker.socket(), runtime, cast.builder, cast.shipper)?,
            container: docker.run_client(cast.container, docker.socket(), ["hold", SOCKET])?,
            unit: clients::hold(docker.socket(), Place::unit(cast.unit)?)?,
        })
    }
}

/// Starts the pod that uses the socket, and the one that only could.
pub fn pods(socket: &Path, runtime: &Containerd, builder: Pod, shipper: Pod) -> Result<[RunningPod; 2]> {
    let above = socket.parent().context("a socket is in a folder")?;
    let builder = runtime.run(builder)?;
    builder.start(Container::client("build", ["hold", SOCKET]).mount(socket, SOCKET))?;
    let shipper = runtime.run(shipper)?;
    shipper.start(Container::sleeper("ship").mount_read_only(above, "/host/run"))?;
    Ok([builder, shipper])
}
