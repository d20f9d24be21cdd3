//! `tests/run demo`: a complete node for a user without a cluster. It has real daemons, pods, containers and clients
//! that come and go, the agent with its page, and a Prometheus with the shipped alerts, until Ctrl-C.
//!
//! All of it belongs to the lab, so nothing of the host is changed and nothing is left behind, however it ends.

mod node;
mod past;
mod stage;
mod usual;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};

use self::node::{Daemons, Inhabitants};
use self::stage::{Ended, Stage};
use crate::lab::prometheus::Prometheus;
use crate::lab::shipped;
use crate::report::Agent;
use crate::wait;

pub(crate) use self::usual::{INSIDE, enter};

/// The agent's period. Shorter than on a node, because a person is watching.
const PERIOD: &str = "2s";
/// The root directory of the demo's mount namespace. By itself castoff uses that of process 1, which is the machine's.
const HOST_ROOT: &str = "/";
/// The timeout of the alert on a client, which takes five seconds.
const FIRST_ALERT: Duration = Duration::from_secs(60);

/// Runs until SIGINT or SIGTERM, in the namespaces of [`enter`].
///
/// # Errors
/// A part that does not start, with the end of its log. All that had started is removed by then.
pub(crate) fn run() -> Result<()> {
    let stage = Stage::open()?;
    match play(&stage) {
        Err(error) if !error.is::<Ended>() => Err(error),
        _ => {
            println!("Ended; nothing is left behind.");
            Ok(())
        }
    }
}

/// Everything that it starts is dropped in reverse order before it returns.
fn play(stage: &Stage) -> Result<()> {
    let daemons = Daemons::start(stage)?;
    let _inhabitants = Inhabitants::of(&daemons, stage)?;
    let folder = tempfile::tempdir()?;
    let seen = folder.path().join("state.json");
    past::save(&seen)?;
    let seen = seen.display().to_string();
    let agent = stage.step("castoff", || {
        Agent::start(["--host-root", HOST_ROOT, "--period", PERIOD, "--state", &seen])
    })?;
    let rules = folder.path().join("castoff.rules.yaml");
    std::fs::write(&rules, shipped::read_impatient_rules()?)?;
    let configuration = shipped::configuration(&rules, agent.address(), None);
    let prometheus = stage.step("Prometheus", || Prometheus::start(&configuration))?;
    let alerts = stage.step("alerts", || wait_for_alerts(&prometheus))?;
    print!("{}", describe(&agent, &prometheus, &alerts));
    node::come_and_go(&daemons, stage)?;
    println!("Ending …");
    agent.stop().map(drop)
}

/// Waits for the alert on a client, and returns the names of all firing alerts, each once.
fn wait_for_alerts(prometheus: &Prometheus) -> Result<BTreeSet<String>> {
    wait::until("the alert on a client", FIRST_ALERT, || {
        let data = prometheus.api("alerts", &[])?;
        let alerts = data["alerts"].as_array().map_or(&[][..], Vec::as_slice);
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        let names: BTreeSet<String> = firing
            .filter_map(|alert| alert["labels"]["alertname"].as_str().map(str::to_owned))
            .collect();
        ensure!(names.contains("CastoffSocketClientNew"), "only these fire: {alerts:?}");
        Ok(names)
    })
}

fn describe(agent: &Agent, prometheus: &Prometheus, alerts: &BTreeSet<String>) -> String {
    let (agent, prometheus) = (agent.address(), prometheus.address());
    let enter = format!("nsenter --target {} --mount --uts --", std::process::id());
    format!(
        "
A node in a box: containerd with five pods, dockerd with a container, clients on the host. Some come and go.

  the page     http://{agent}/
  metrics      http://{agent}/metrics
  the report   http://{agent}/api/v1/report
  alerts       http://{prometheus}/api/v1/alerts   (they wait seconds here, and minutes as they are shipped)
  queries      http://{prometheus}/api/v1/query?query=castoff_node_verdict
  once more    {enter} castoff check --host-root {HOST_ROOT}

Alerts that fire: {alerts}.

Look at the page first: its verdict is in-use, and the clients say why. The week before is made up, and the rest is
real. The pod ci/release connects every half minute; reload to see it come, and stay in the history when it goes.
On another machine: ssh -L {port}:{agent} …

Ctrl-C ends it.
",
        alerts = alerts.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
        port = agent.rsplit(':').next().unwrap_or_default(),
    )
}
