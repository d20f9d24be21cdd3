//! The loads: an engine that accepts and never answers, and processes that hold sockets and connections.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::images;
use castoff_tests::lab::places::Place;
use castoff_tests::lab::rooms::copy_program;
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
    /// The processes that start each second, and exit at once.
    pub(crate) exits: usize,
    /// True if the processes belong to one ordinary user.
    pub(crate) of_a_user: bool,
}

impl Size {
    /// An engine alone.
    pub(crate) const NONE: Self = Self {
        processes: 0,
        sockets: 0,
        files: 0,
        namespaces: 0,
        clients: 0,
        exits: 0,
        of_a_user: false,
    };
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
        Self::with_engine("close", Size::NONE)
    }

    fn with_engine(mode: &str, size: Size) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("castoff-bench").tempdir()?;
        let program = folder.path().join("load");
        copy_program(&images::load()?, &program)?;
        // Under a name by which castoff recognises dockerd.
        let engine = folder.path().join("dockerd");
        copy_program(&program, &engine)?;
        let socket = folder.path().join("docker.sock");
        let at = socket.to_string_lossy().into_owned();
        let (engine, _) = start(&Place::host(), &engine, &[mode, &at])?;
        let mut crowd = Place::host();
        if size.of_a_user {
            for path in [folder.path(), &socket] {
                fs::set_permissions(path, fs::Permissions::from_mode(0o777))?;
            }
            crowd = crowd.ordinary_user();
        }
        let mut parts = Vec::new();
        let mut holders = Vec::new();
        let mut add = |place: &Place, mode: &str, numbers: &[usize]| -> Result<()> {
            let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
            let words: Vec<&str> = [mode]
                .into_iter()
                .chain(numbers.iter().map(String::as_str))
                .chain([at.as_str()])
                .collect();
            let (part, held) = start(place, &program, &words)?;
            parts.push(part);
            holders.extend(held);
            Ok(())
        };
        if size.processes > 0 {
            let numbers = [size.processes, size.sockets, size.files, size.clients];
            add(&crowd, "crowd", &numbers)?;
        }
        if size.namespaces > 0 {
            add(&Place::host(), "rooms", &[size.namespaces, size.clients])?;
        }
        if size.exits > 0 {
            add(&crowd, "churn", &[size.exits])?;
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

fn start(place: &Place, program: &Path, arguments: &[&str]) -> Result<(Part, Vec<u32>)> {
    let mut child = place
        .command(program)
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

/// Processes that start and exit at once, until it is dropped.
pub(crate) struct Exits {
    _part: Part,
}

impl Exits {
    /// Starts this many processes each second, if the machine is fast enough.
    pub(crate) fn start(each_second: usize) -> Result<Self> {
        let words = ["churn", &each_second.to_string(), "-"];
        let (part, _) = start(&Place::host(), &images::load()?, &words)?;
        Ok(Self { _part: part })
    }
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
