//! File systems hang under the paths that castoff reads.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use castoff_tests::report::list;

use crate::Plan;
use crate::hanging::{Copy, HangingMount};
use crate::node::{ENDPOINT, Runtime, start_engine, start_kubelet};
use crate::watched::{Phase, Watched};

/// The time for two looks, of which the first waits for a disk until its deadline.
const LASTS: Duration = Duration::from_secs(35);
/// The bound that `/livez` grants the looks with these settings, and a margin.
const BOUND: Duration = Duration::from_secs(55);
/// The time for which the agent is watched while files hang: longer than what `/livez` grants.
const WATCHED: Duration = Duration::from_secs(42);
/// The time that a stop may take while looks hang: the default of --grace.
const GRACE: Duration = Duration::from_secs(10);

/// The directories of the host that castoff reads, each on a disk of its own on some node.
const DISKS: [&str; 8] = [
    "/etc/docker",
    "/etc/kubernetes",
    "/etc/systemd",
    "/usr/lib/systemd",
    "/var/lib/docker",
    "/var/lib/dpkg",
    "/var/lib/kubelet",
    "/var/snap",
];

/// All of them hang at the same time, and castoff still sees a client that is connected.
pub(crate) fn disks(_: &Plan) -> Result<()> {
    let _node = (start_kubelet()?, Runtime::start()?);
    for disk in DISKS {
        fs::create_dir_all(disk).with_context(|| disk.to_owned())?;
    }
    let engine = start_engine()?;
    let _client = engine.connect()?;
    let mut agent = Watched::start(&["--runtime-endpoint", ENDPOINT])?;
    agent.wait_for_verdict(&["in-use"])?;
    let mut hanging = Vec::new();
    // Each repetition waits for the deadlines of the looks.
    agent.endure((1, LASTS), &["in-use"], |phase| {
        hanging.clear();
        if phase == Phase::Begin {
            for disk in DISKS {
                hanging.push(HangingMount::over(Path::new(disk))?);
            }
        }
        Ok(())
    })?;
    agent.stop()
}

/// A client that begins while the disks hang is seen.
pub(crate) fn a_client_is_found_while_disks_hang(_: &Plan) -> Result<()> {
    let _node = (start_kubelet()?, Runtime::start()?);
    let engine = start_engine()?;
    let mut agent = Watched::start(&["--runtime-endpoint", ENDPOINT])?;
    let before = agent.wait_for_verdict(&["idle", "exposed", "unknown"])?;
    let mut hanging = Vec::new();
    for disk in DISKS {
        fs::create_dir_all(disk).with_context(|| disk.to_owned())?;
        hanging.push(HangingMount::over(Path::new(disk))?);
    }
    agent.wait_for_looks(2, LASTS)?;
    let _client = engine.connect()?;
    agent
        .wait_for_verdict(&["in-use"])
        .with_context(|| format!("it was {before}"))?;
    ensure!(
        list(&agent.agent().report()?, "clients")?
            .iter()
            .any(|client| client["connections"] == 1),
        "{}",
        agent.agent().report()?
    );
    drop(hanging);
    agent.stop()
}

/// The host's files hang, and the processes and sockets do not: looks end, and the agent is alive.
pub(crate) fn files_alone(_: &Plan) -> Result<()> {
    let root = Copy::of("/")?;
    let path = root.path().to_string_lossy().into_owned();
    let agent = Watched::start(&["--host-root", &path])?;
    let hanging = HangingMount::over(root.path())?;
    let end = Instant::now() + WATCHED;
    while Instant::now() < end {
        agent.wait_for_looks(1, LASTS)?;
        let (status, body) = agent.agent().request("/livez")?;
        ensure!(status == 200, "/livez is {status}: {body}");
    }
    drop(hanging);
    agent.stop()
}

/// Every look hangs: the agent is not alive until a look ends. Meanwhile it can still be stopped in time.
pub(crate) fn an_agent_whose_looks_all_hang_is_not_alive(_: &Plan) -> Result<()> {
    let (proc, root) = (Copy::of("/proc")?, Copy::of("/")?);
    let paths = [proc.path(), root.path()].map(|path| path.to_string_lossy().into_owned());
    let arguments = ["--proc", &paths[0], "--host-root", &paths[1]];
    let mut agent = Watched::start(&arguments)?;
    agent.wait_for_looks(1, LASTS)?;
    let hanging = [HangingMount::over(proc.path())?, HangingMount::over(root.path())?];
    agent.wait_for_livez(503, BOUND)?;
    let report = agent.agent().report()?;
    ensure!(report["verdict"] == "unknown", "{report}");
    drop(hanging);
    agent.wait_for_livez(200, LASTS)?;
    agent.check()?;
    let hanging = [HangingMount::over(proc.path())?, HangingMount::over(root.path())?];
    agent.wait_for_looks(1, LASTS)?;
    let begun = Instant::now();
    agent.stop()?;
    ensure!(begun.elapsed() < GRACE, "it took {:?} to stop", begun.elapsed());
    drop(hanging);
    Ok(())
}
