//! A small node on the stage: a kubelet by name, a fake runtime in a process of its own, and an engine with a client.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use castoff_tests::fake::cri::{FakeCri, Script};
use castoff_tests::lab::clients::{self, Client};
use castoff_tests::lab::engine::Engine;
use castoff_tests::lab::places::Place;
use castoff_tests::lab::process::signal;
use rustix::process::Signal;

/// The argument with which this program is the runtime; its socket follows.
pub(crate) const SERVE: &str = "--serve-runtime";
/// The usual place of containerd's socket.
pub(crate) const ENDPOINT: &str = "/run/containerd/containerd.sock";
/// The usual place of an engine's socket.
pub(crate) const ENGINE: &str = "/run/docker.sock";

/// A process that proves that this procfs is a node's, by its name.
pub(crate) fn start_kubelet() -> Result<Client> {
    clients::start_as("kubelet", Place::host(), &["pause"])
}

/// Serves a runtime with one pod at `socket` until standard input ends.
pub(crate) fn serve(socket: &Path) -> Result<()> {
    let script = Script::default()
        .pod("sandbox", "apps", "web-0", "7d2a")
        .container("sandbox", "c0ffee", "web", &[]);
    let _fake = FakeCri::start(socket, script).context("serve a fake runtime")?;
    println!("ready");
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}

/// A fake runtime in a process of its own, which can be killed and stopped. Dropping it ends it.
pub(crate) struct Runtime {
    child: Child,
}

impl Runtime {
    /// Starts it at [`ENDPOINT`].
    pub(crate) fn start() -> Result<Self> {
        let socket = Path::new(ENDPOINT);
        fs::create_dir_all(socket.parent().context("a folder")?)?;
        let mut child = Command::new(env::current_exe()?)
            .arg(SERVE)
            .arg(socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start a runtime")?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("a pipe")?).read_line(&mut line)?;
        ensure!(line == "ready\n", "the runtime is not ready: {line:?}");
        Ok(Self { child })
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, sent: Signal) -> Result<()> {
        signal(self.child.id(), sent)
    }

    /// Kills it. Its socket's file stays.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.kill();
    }
}

/// Starts an engine at [`ENGINE`].
pub(crate) fn start_engine() -> Result<Engine> {
    Engine::start(Path::new(ENGINE))
}
