//! Processes come and go by the thousand while the agent reads them.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use castoff_tests::lab::process::started_since_boot;

use crate::Plan;
use crate::node::{ENDPOINT, Runtime, start_engine, start_kubelet};
use crate::watched::{Phase, Watched};

const LASTS: Duration = Duration::from_secs(25);
/// The shells that start processes, and the seconds after which each ends by itself.
const SHELLS: usize = 3;
const SECONDS: &str = "60";
/// Starts subshells that end at once, hundreds a second.
const CHURN: &str = r#"end=$(($(cut -d. -f1 /proc/uptime) + $1))
while [ "$(cut -d. -f1 /proc/uptime)" -lt "$end" ]; do
    i=0; while [ $i -lt 200 ]; do (:); i=$((i + 1)); done
done"#;

/// Processes that start and end until it is dropped.
pub(crate) struct Churn(Vec<Child>);

impl Churn {
    pub(crate) fn start() -> Result<Self> {
        let shells = (0..SHELLS).map(|_| {
            let mut shell = Command::new("sh");
            shell.args(["-c", CHURN, "sh", SECONDS]).stdin(Stdio::null());
            shell.spawn().context("start a shell")
        });
        Ok(Self(shells.collect::<Result<_>>()?))
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        for shell in &mut self.0 {
            // It may have ended by itself.
            let _ = shell.kill();
            let _ = shell.wait();
        }
    }
}

/// A node without Docker stays clear, and a client on a node with Docker stays seen.
pub(crate) fn churn(plan: &Plan) -> Result<()> {
    let _node = (start_kubelet()?, Runtime::start()?);
    let mut agent = Watched::start(&["--runtime-endpoint", ENDPOINT])?;
    agent.wait_for_verdict(&["clear"])?;
    let mut running = None;
    let before = started_since_boot()?;
    // A process that ends while it is read hides nothing.
    agent.endure((plan.times(), LASTS), &["clear"], |phase| {
        running = match phase {
            Phase::Begin => Some(Churn::start()?),
            Phase::End => None,
        };
        Ok(())
    })?;
    ensure!(
        started_since_boot()? - before > 2_000,
        "only {} processes were started",
        started_since_boot()? - before
    );
    let engine = start_engine()?;
    let churn = Churn::start()?;
    let _client = engine.connect()?;
    agent.wait_for_verdict(&["in-use"])?;
    drop(churn);
    agent.stop()
}
