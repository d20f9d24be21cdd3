//! The loads: an engine that accepts and never answers, and processes that hold sockets and connections.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::images;
use tempfile::TempDir;

/// The size of a node's load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) processes: usize,
    pub(crate) sockets: usize,
    /// Descriptors that are not sockets.
    pub(crate) files: usize,
    /// Additional processes in a network namespace of their own.
    pub(crate) namespaces: usize,
    /// The number of the processes, and of the namespaces, with a connection to the engine.
    pub(crate) clients: usize,
}

/// A node's load. Dropping it ends all of its processes.
#[derive(Debug)]
pub(crate) struct Load {
    /// The engine's socket.
    pub(crate) socket: PathBuf,
    /// The processes that hold a connection to it.
    pub(crate) holders: Vec<u32>,
    _parts: Vec<Part>,
    _engine: Part,
    _folder: TempDir,
}

#[derive(Debug)]
struct Part(Child);

impl Load {
    /// Starts an engine that keeps every connection, and processes.
    pub(crate) fn make(size: Size) -> Result<Self> {
        Self::with_engine("serve", size)
    }

    /// Starts an engine alone, which closes every connection at once.
    pub(crate) fn closing() -> Result<Self> {
        let none = Size {
            processes: 0,
            sockets: 0,
            files: 0,
            namespaces: 0,
            clients: 0,
        };
        Self::with_engine("close", none)
    }

    fn with_engine(mode: &str, size: Size) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("castoff-bench").tempdir()?;
        let program = images::load()?;
        // Under a name by which castoff recognises dockerd.
        let engine = folder.path().join("dockerd");
        fs::copy(&program, &engine).context("copy the load program")?;
        let socket = folder.path().join("docker.sock");
        let at = socket.to_string_lossy().into_owned();
        let (engine, _) = start(&engine, &[mode, &at])?;
        let mut parts = Vec::new();
        let mut holders = Vec::new();
        let mut add = |arguments: &[String]| -> Result<()> {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let (part, held) = start(&program, &arguments)?;
            parts.push(part);
            holders.extend(held);
            Ok(())
        };
        let words = |mode: &str, numbers: &[usize]| {
            let numbers = numbers.iter().map(ToString::to_string);
            let words: Vec<String> = [mode.to_owned()]
                .into_iter()
                .chain(numbers)
                .chain([at.clone()])
                .collect();
            words
        };
        if size.processes > 0 {
            add(&words(
                "crowd",
                &[size.processes, size.sockets, size.files, size.clients],
            ))?;
        }
        if size.namespaces > 0 {
            add(&words("rooms", &[size.namespaces, size.clients]))?;
        }
        Ok(Self {
            socket,
            holders,
            _parts: parts,
            _engine: engine,
            _folder: folder,
        })
    }
}

fn start(program: &Path, arguments: &[&str]) -> Result<(Part, Vec<u32>)> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start the load {arguments:?}"))?;
    let output = child.stdout.take().context("its output is a pipe")?;
    let part = Part(child);
    let mut answer = String::new();
    BufReader::new(output).read_line(&mut answer)?;
    let holders = answer.strip_prefix("ready").map(str::split_ascii_whitespace);
    let Some(holders) = holders else {
        anyhow::bail!("the load {arguments:?} is not ready: {answer:?}");
    };
    let holders: Vec<u32> = holders.map(str::parse).collect::<Result<_, _>>()?;
    ensure!(holders.iter().all(|pid| *pid > 1), "the load names no processes");
    Ok((part, holders))
}

impl Drop for Part {
    fn drop(&mut self) {
        // It ends with its input, and the kernel ends its children with it.
        drop(self.0.stdin.take());
        if let Err(error) = self.0.wait() {
            eprintln!("a load did not end: {error}");
        }
    }
}
