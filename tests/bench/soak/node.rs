//! The node of a soak: a kubelet by name, a real containerd, an engine, and the honest client.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use castoff_tests::lab::clients::{self, Client};
use castoff_tests::lab::containerd::Containerd;
use castoff_tests::lab::engine::Engine;
use castoff_tests::lab::places::Place;

/// The unit of the client that holds a connection for as long as the engine runs.
pub(crate) const HONEST: &str = "castoff-soak-honest.service";

/// The directory of the engine's socket, which containers mount: the socket's file is a new one after each start.
const FOLDER: &str = "/run/soak";

/// A running node without its engine.
pub(crate) struct Node {
    pub(crate) runtime: Containerd,
    /// Its name shows that this procfs is a node's.
    _kubelet: Client,
}

impl Node {
    /// Starts it on the stage of this process.
    pub(crate) fn start() -> Result<Self> {
        Ok(Self {
            runtime: Containerd::start()?,
            _kubelet: clients::start_as("kubelet", Place::host(), &["pause"])?,
        })
    }
}

/// The engine of a node, with the honest client, which ends first.
pub(crate) struct Used {
    /// The path of the engine's socket.
    pub(crate) socket: PathBuf,
    _honest: Client,
    engine: Option<Engine>,
}

impl Used {
    /// Starts both.
    pub(crate) fn start() -> Result<Self> {
        fs::create_dir_all(FOLDER)?;
        let socket = Path::new(FOLDER).join("docker.sock");
        let engine = start_engine(&socket)?;
        Ok(Self {
            _honest: clients::keep(&socket, Place::unit(HONEST)?)?,
            socket,
            engine: Some(engine),
        })
    }

    /// Ends the engine and starts it again.
    pub(crate) fn restart(&mut self) -> Result<()> {
        drop(self.engine.take());
        self.engine = Some(start_engine(&self.socket)?);
        Ok(())
    }
}

fn start_engine(socket: &Path) -> Result<Engine> {
    let engine = Engine::start(socket)?;
    engine.open_to_all()?;
    Ok(engine)
}
