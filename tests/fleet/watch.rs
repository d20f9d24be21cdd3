//! `castoff cluster --watch` for hundreds of rounds: requests, memory and descriptors do not grow with them, whatever the
//! API server and the agents do.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use castoff_tests::fake::api::{FakeApi, Fault, Reply, report_used_by};
use castoff_tests::lab::process::Resources;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use super::Person;

/// The nodes, and the most objects of one page of a list.
const NODES: u64 = 20;
const PAGE: usize = 5;
/// The requests of a round: four pages of each of two lists, a pod for the agents' port, and a report of each node.
const REQUESTS: u64 = 4 + 4 + 1 + NODES;
/// The rounds before memory is measured, and those until it is measured again.
const WARM_UP: u64 = 40;
const ROUNDS: u64 = 200;
/// The growth of memory that does not count as a leak, in KiB. Keeping a report in every tenth round would exceed it.
const MORE_MEMORY: usize = 1 << 10;
const PATIENCE: Duration = Duration::from_secs(60);

struct Watching {
    api: FakeApi,
    child: Child,
    /// The rounds that have ended, by the summaries that were printed.
    rounds: Arc<AtomicU64>,
    _person: Person,
}

impl Watching {
    async fn start() -> Result<Self> {
        let api = FakeApi::start().await?;
        {
            let mut script = api.script();
            script.forgets = true;
            script.fleet.page = PAGE;
            for at in 0..NODES {
                script.fleet.add(&name(at));
            }
        }
        let person = Person::of(&api)?;
        let mut command = person.command(&["--watch", "--interval", "100ms", "--timeout", "5s"])?;
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("a pipe")?).lines();
        let rounds = Arc::new(AtomicU64::new(0));
        let ended = Arc::clone(&rounds);
        let summary = format!("{NODES} nodes in");
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                ended.fetch_add(u64::from(line.contains(&summary)), Ordering::Relaxed);
            }
        });
        Ok(Self {
            api,
            child,
            rounds,
            _person: person,
        })
    }

    fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    /// Waits until this many more rounds have ended with a summary of all nodes.
    async fn wait_for_rounds(&self, more: u64) -> Result<()> {
        let (end, wanted) = (Instant::now() + PATIENCE, self.rounds() + more);
        while self.rounds() < wanted {
            ensure!(Instant::now() < end, "only {} rounds of {wanted}", self.rounds());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    async fn resources(&self) -> Result<Resources> {
        let pid = self.child.id().context("it runs")?;
        tokio::task::spawn_blocking(move || Resources::measure(pid)).await?
    }
}

fn name(at: u64) -> String {
    format!("node-{at:04}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_holds_no_more_after_hundreds_of_rounds() -> Result<()> {
    let mut watching = Watching::start().await?;
    let change = |round: u64| {
        // A new client each time, so that each round has something to remember and to print.
        let node = name(round % NODES);
        let report = report_used_by(&node, "ci", &format!("builder-{round}"));
        watching.api.script().fleet.answer(&node, Reply::Report(report));
    };
    for round in 0..WARM_UP {
        change(round);
        watching.wait_for_rounds(1).await?;
    }
    let before = watching.resources().await?;
    let (requests, rounds) = (watching.api.script().requests, watching.rounds());
    for round in WARM_UP..WARM_UP + ROUNDS {
        change(round);
        watching.wait_for_rounds(1).await?;
    }
    let requests = watching.api.script().requests - requests;
    let expected = (watching.rounds() - rounds) * REQUESTS;
    // A round may be under way at the beginning and at the end.
    ensure!(
        requests.abs_diff(expected) <= REQUESTS,
        "{requests} requests instead of {expected}"
    );
    let after = watching.resources().await?;
    after.are_flat_since(&before)?;
    ensure!(
        after.memory <= before.memory + MORE_MEMORY,
        "it held {before}, and holds {after} after {ROUNDS} rounds"
    );
    watching.child.kill().await?;
    Ok(())
}

/// Returns the fault of an API server that is busy.
fn throttled() -> Fault {
    Fault::Answer {
        status: 429,
        headers: vec![
            ("retry-after", "1".to_owned()),
            ("content-type", "application/json".to_owned()),
        ],
        body: "{}".to_owned(),
    }
}

/// Returns the fault of a page whose list is too old, with the server's offer to continue at `at`.
fn expired(at: usize) -> Fault {
    let status =
        json!({ "kind": "Status", "code": 410, "reason": "Expired", "metadata": { "continue": at.to_string() } });
    Fault::Answer {
        status: 410,
        headers: vec![("content-type", "application/json".to_owned())],
        body: status.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_reads_every_node_while_the_server_throttles_and_pages_expire() -> Result<()> {
    let mut watching = Watching::start().await?;
    watching.wait_for_rounds(2).await?;
    for round in 0..5 {
        let faults = [
            ("/api/v1/nodes", throttled()),
            (
                "/api/v1/nodes?limit=250&includeObject=Metadata&continue=10",
                expired(10),
            ),
            (
                "labelSelector=app.kubernetes.io%2Fname%3Dcastoff&continue=5",
                expired(5),
            ),
            ("castoff-node-0003:", throttled()),
        ];
        watching.api.script().on.extend(faults);
        // A round that is under way has not had all faults.
        watching.wait_for_rounds(2).await?;
        let left = watching.api.script().on.len();
        ensure!(left == 0, "round {round}: {left} faults were not met");
    }
    watching.child.kill().await?;
    Ok(())
}
