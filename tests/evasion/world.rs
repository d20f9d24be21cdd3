//! The parts that all cases share: a dockerd that listens on a socket for each of them, a runtime for pods, and two
//! agents that run concurrently, one with its kernel programs and one without.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use castoff_tests::lab::clients::{self, Client};
use castoff_tests::lab::containerd::Containerd;
use castoff_tests::lab::containers::Container;
use castoff_tests::lab::docker::{Docker, Options};
use castoff_tests::lab::places::Place;
use castoff_tests::lab::pods::{Pod, RunningPod};
use castoff_tests::report::Agent;
use serde_json::{Value, json};

use crate::case::Case;

/// The shared parts of a run.
pub(crate) struct World {
    pub(crate) docker: Docker,
    pub(crate) runtime: Containerd,
    /// The TCP port of dockerd.
    pub(crate) tcp: SocketAddr,
    /// The listeners of the cases that use another one than the case's socket.
    listeners: RefCell<BTreeMap<&'static str, Value>>,
    /// The clients that a case may have beside those that it expects.
    others: RefCell<BTreeMap<&'static str, Vec<String>>>,
    // After the daemons, which write to it.
    folder: tempfile::TempDir,
}

impl World {
    /// Starts the daemons.
    pub(crate) fn start(cases: &[Case]) -> Result<Self> {
        let folder = tempfile::tempdir().context("make the folder of the sockets")?;
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        let mut options = Options::debian()?;
        for case in cases {
            fs::create_dir(folder.path().join(case.name))?;
            let socket = socket_in(folder.path(), case);
            options.also_listen.push(format!("unix://{}", socket.display()));
        }
        let tcp = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        options.also_listen.push(format!("tcp://{tcp}"));
        Ok(Self {
            docker: Docker::start_with(&options)?,
            runtime: Containerd::start()?,
            tcp,
            listeners: RefCell::default(),
            others: RefCell::default(),
            folder,
        })
    }

    /// Returns the case's own socket of dockerd, the only file in its directory.
    pub(crate) fn socket(&self, case: &Case) -> PathBuf {
        socket_in(self.folder.path(), case)
    }

    /// Sets the listener that the case is about, as in the report, instead of its socket.
    pub(crate) fn is_about(&self, case: &Case, listener: Value) {
        self.listeners.borrow_mut().insert(case.name, listener);
    }

    /// Adds clients that the report may have beside those that the case expects.
    pub(crate) fn may_have(&self, case: &Case, clients: Vec<String>) {
        self.others.borrow_mut().insert(case.name, clients);
    }

    /// Returns those clients.
    pub(crate) fn others(&self, case: &Case) -> Vec<String> {
        self.others.borrow().get(case.name).cloned().unwrap_or_default()
    }

    /// Returns the listener that the case is about, as in the report.
    pub(crate) fn listener(&self, case: &Case) -> Value {
        if let Some(listener) = self.listeners.borrow().get(case.name) {
            return listener.clone();
        }
        // The socket itself, where a link leads to it.
        let socket = self.socket(case);
        json!({ "path": socket.canonicalize().unwrap_or(socket) })
    }

    /// Returns a path that is the case's own and next to its directory.
    pub(crate) fn beside(&self, case: &Case, name: &str) -> PathBuf {
        self.folder.path().join(format!("{}.{name}", case.name))
    }

    /// Starts an agent with these arguments.
    pub(crate) fn watch(&self, arguments: &[&str]) -> Result<Agent> {
        let endpoint = self.runtime.endpoint();
        let common = ["--runtime-endpoint", &endpoint, "--period", "1s"];
        Agent::start(common.into_iter().chain(arguments.iter().copied()))
    }

    /// Runs the client program in the case's unit; `mode` lacks the path of the socket, which comes last.
    pub(crate) fn client(&self, case: &Case, mode: &[&str]) -> Result<Client> {
        client_to(case, mode, &self.socket(case))
    }

    /// Runs a pod with a container `use` that has this mount and holds a connection to the path.
    pub(crate) fn pod(&self, case: &Case, from: &Path, to: &str, path: &str) -> Result<RunningPod> {
        self.run(
            Pod::new("evasion", case.name),
            Container::client("use", ["hold", path]).mount(from, to),
        )
    }

    /// Runs any pod with any container.
    pub(crate) fn run(&self, pod: Pod, container: Container) -> Result<RunningPod> {
        let pod = self.runtime.run(pod)?;
        pod.start(container)?;
        Ok(pod)
    }
}

fn socket_in(folder: &Path, case: &Case) -> PathBuf {
    folder.join(case.name).join("docker.sock")
}

/// Runs the client program in the case's unit, with any path.
pub(crate) fn client_to(case: &Case, mode: &[&str], path: &Path) -> Result<Client> {
    let path = path.to_string_lossy();
    clients::start(Place::unit(&case.unit())?, &[mode, &[&path]].concat())
}
