//! The state file, its disk and its writer fail.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::clients::{self, Client};
use castoff_tests::lab::engine::Engine;
use castoff_tests::lab::places::Place;
use castoff_tests::report::gaps;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};
use serde_json::{Value, json};

use crate::Plan;
use crate::hanging::HangingMount;
use crate::node::{ENDPOINT, Runtime, start_engine, start_kubelet};
use crate::watched::{Phase, Watched};

const LASTS: Duration = Duration::from_secs(12);
/// The time for two looks, after the first of which the write waits until its deadline.
const HANGS: Duration = Duration::from_secs(30);
/// A file system in memory of a fixed size, for a state file.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn mount(size: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let options = std::ffi::CString::new(format!("size={size},mode=700"))?;
        mount(
            "state",
            folder.path(),
            "tmpfs",
            MountFlags::empty(),
            Some(options.as_c_str()),
        )?;
        Ok(Self { folder })
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state.json")
    }

    /// Makes it read-only, or writable again.
    fn set_read_only(&self, read_only: bool) -> Result<()> {
        let flags = if read_only {
            MountFlags::RDONLY
        } else {
            MountFlags::empty()
        };
        mount_remount(self.folder.path(), flags, "").context("remount the disk")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(error) = unmount(self.folder.path(), UnmountFlags::DETACH) {
            eprintln!("{} stays mounted: {error}", self.folder.path().display());
        }
    }
}

/// A node with an engine, and an agent that keeps its state on `disk`.
struct Kept {
    engine: Engine,
    disk: Disk,
    agent: Watched,
    _node: (Client, Runtime),
}

impl Kept {
    fn start() -> Result<Self> {
        let node = (start_kubelet()?, Runtime::start()?);
        let engine = start_engine()?;
        let disk = Disk::mount("256k")?;
        let agent = start(&disk.state())?;
        Ok(Self {
            engine,
            disk,
            agent,
            _node: node,
        })
    }
}

pub(crate) fn start(state: &Path) -> Result<Watched> {
    let state = state.to_str().context("UTF-8")?;
    Watched::start(&["--runtime-endpoint", ENDPOINT, "--state", state])
}

/// A client whose program has this name, which makes the state differ.
pub(crate) fn connect(_: &Engine, name: &str) -> Result<Client> {
    clients::hold_as(name, Path::new(crate::node::ENGINE), Place::host())
}

/// Returns the programs of the clients in a state file.
pub(crate) fn programs(state: &Path) -> Result<BTreeSet<String>> {
    let bytes = fs::read(state).with_context(|| format!("read {}", state.display()))?;
    let state: Value = serde_json::from_slice(&bytes).context("the state file is no JSON")?;
    let clients = state["clients"].as_array().context("clients")?;
    Ok(clients
        .iter()
        .map(|entry| entry["client"]["identity"]["executable"].to_string())
        .map(|path| {
            path.rsplit('/')
                .next()
                .unwrap_or_default()
                .trim_end_matches('"')
                .to_owned()
        })
        .collect())
}

pub(crate) fn is_told(report: &Value) -> bool {
    gaps(report).any(|gap| gap["asked"].as_str().is_some_and(|asked| asked.contains("state file")))
}

/// The disk is full, read-only, or gone. castoff reports this, continues to look, and writes the state when the disk is
/// back.
fn endure(extent: (u32, Duration), mut change: impl FnMut(&Disk, Phase) -> Result<()>) -> Result<()> {
    let mut kept = Kept::start()?;
    let _first = connect(&kept.engine, "first")?;
    kept.agent.wait_for_verdict(&["in-use"])?;
    let state = kept.disk.state();
    let mut clients = Vec::new();
    let mut began = 0;
    kept.agent.endure(extent, &["in-use"], |phase| {
        change(&kept.disk, phase)?;
        if phase == Phase::Begin {
            began += 1;
            // The state changes, and the disk refuses the write.
            clients.push(connect(&kept.engine, &format!("new-{began}"))?);
        }
        Ok(())
    })?;
    kept.agent.wait_for("the state is written", |agent| {
        ensure!(!is_told(&agent.report()?), "{}", agent.report()?);
        let written = programs(&state)?;
        ensure!(
            (1..=began).all(|n| written.contains(&format!("new-{n}"))),
            "{written:?}"
        );
        Ok(())
    })?;
    ensure!(
        kept.agent.agent().log().contains("state file"),
        "the fault was not reported"
    );
    let mode = fs::metadata(&state)?.permissions().mode();
    ensure!(mode & 0o7777 == 0o600, "{mode:o}");
    let left: Vec<_> = fs::read_dir(kept.disk.folder.path())?
        .flatten()
        .map(|e| e.file_name())
        .collect();
    ensure!(left == ["state.json"], "{left:?}");
    kept.agent.stop()
}

pub(crate) fn full(plan: &Plan) -> Result<()> {
    endure((plan.times(), LASTS), |disk, phase| {
        let much = disk.folder.path().join("much");
        match phase {
            Phase::Begin => {
                let mut file = File::create(much)?;
                let written = std::io::copy(&mut std::io::repeat(0), &mut file);
                ensure!(written.is_err(), "the disk has no end");
            }
            Phase::End => fs::remove_file(much)?,
        }
        Ok(())
    })
}

pub(crate) fn read_only(plan: &Plan) -> Result<()> {
    endure((plan.times(), LASTS), |disk, phase| {
        disk.set_read_only(phase == Phase::Begin)
    })
}

/// The disk never answers: the first write waits for its deadline, and no later look waits at all.
pub(crate) fn hanging(_: &Plan) -> Result<()> {
    let mut mount = None;
    endure((1, HANGS), |disk, phase| {
        mount = None;
        if phase == Phase::Begin {
            mount = Some(HangingMount::over(disk.folder.path())?);
        }
        Ok(())
    })
}

/// The directory is removed and made again: what the agent remembers is written into the new one.
pub(crate) fn removed(plan: &Plan) -> Result<()> {
    let _node = (start_kubelet()?, Runtime::start()?);
    let engine = start_engine()?;
    let place = tempfile::tempdir()?;
    let folder = place.path().join("state");
    fs::create_dir(&folder)?;
    let mut agent = start(&folder.join("state.json"))?;
    let _client = connect(&engine, "first")?;
    agent.wait_for_verdict(&["in-use"])?;
    let mut began = 0;
    let mut clients = Vec::new();
    agent.endure((plan.times(), LASTS), &["in-use"], |phase| {
        match phase {
            Phase::Begin => {
                fs::remove_dir_all(&folder)?;
                began += 1;
                clients.push(connect(&engine, &format!("new-{began}"))?);
            }
            Phase::End => fs::create_dir(&folder)?,
        }
        Ok(())
    })?;
    agent.wait_for("the state is written", |_| {
        let written = programs(&folder.join("state.json"))?;
        ensure!(written.contains("first") && written.contains("new-1"), "{written:?}");
        Ok(())
    })?;
    agent.stop()
}

/// A file that no castoff of this version wrote is kept aside and reported, and does not keep the agent from starting.
pub(crate) fn unreadable(_: &Plan) -> Result<()> {
    let _node = (start_kubelet()?, Runtime::start()?);
    let contents: [(&str, Vec<u8>); 5] = [
        ("torn", b"{\"format\":\"castoff-state\",\"ver".to_vec()),
        ("empty", Vec::new()),
        ("garbage", vec![0xff; 4096]),
        (
            "future",
            json!({"format": "castoff-state", "version": 99, "clients": {"a": 1}})
                .to_string()
                .into_bytes(),
        ),
        ("of another program", b"{\"format\":\"other\",\"version\":1}".to_vec()),
    ];
    for (name, content) in contents {
        let folder = tempfile::tempdir()?;
        let state = folder.path().join("state.json");
        fs::write(&state, &content)?;
        let mut agent = start(&state).with_context(|| name.to_owned())?;
        let verdict = agent.check().with_context(|| name.to_owned())?;
        // The file may contain an earlier use, so castoff claims nothing better than unknown.
        ensure!(verdict == "unknown", "{name}: {verdict}");
        ensure!(is_told(&agent.agent().report()?), "{name} is not reported");
        ensure!(
            fs::read(folder.path().join("state.json.corrupt"))? == content,
            "{name} was changed"
        );
        agent.stop()?;
    }
    Ok(())
}
