//! The labels and the annotation of castoff's own Node, and the Events on its pods: the tasks that maintain and send
//! them, against a fake API server on a real socket.

mod credentials;
mod events;
mod refusals;
mod removal;
mod usual;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use castoff::apiserver::access::Access;
use castoff::apiserver::pace::{Allowance, Paces};
use castoff::apiserver::sender::run;
use castoff::findings::report::{API_VERSION, KubeletCeiling, Report, Verdict};
use castoff::model::disuse::{Began, DockerFree, Proof};
use castoff::model::host::CgroupVersion;
use castoff::model::hours::Hours;
use castoff::model::kubelet::{EndpointCandidate, EndpointOrigin};
use castoff::model::machine::Machine;
use castoff::model::publishing::{Outcome, Publishing, Way};
use castoff::model::reading::{Gap, Hides, Reading, Reason};
use castoff::model::runtime::{CgroupDriver, CriApi, Runtime};
use castoff::model::time::Timestamp;
use castoff::model::timeline::Timeline;
use castoff::sinks::publishing::labels::prefix::Prefix;
use castoff::sinks::publishing::node::sender::{NodeSender, NodeSettings};
use castoff_tests::fake::api::FakeApi;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

const NODE: &str = "worker-1";
const VERDICT: &str = "castoff.dev/docker-dependency";
const FREE_DAYS: &str = "castoff.dev/docker-free-days";
const SUMMARY: &str = "castoff.dev/summary";

/// One hour is one second: everything that is spread over minutes by default happens within this test's timeouts.
fn paces() -> Paces {
    let often = Allowance {
        burst: 1000,
        refill: Duration::from_millis(1),
    };
    Paces {
        spread: Duration::ZERO,
        first_wait: Duration::from_millis(40),
        longest_wait: Duration::from_millis(400),
        verify: Duration::from_secs(600),
        annotation: Duration::ZERO,
        reads: often,
        writes: often,
        deadline: Duration::from_secs(5),
    }
}

/// Returns the report of a node with a runtime, without gaps.
fn report(verdict: Verdict, second: u64) -> Report {
    let runtime = Runtime {
        endpoint: EndpointCandidate {
            path: "/run/containerd/containerd.sock".to_owned(),
            origin: EndpointOrigin::Configured,
        },
        canonical_path: "/run/containerd/containerd.sock".to_owned(),
        api: CriApi::V1,
        name: "containerd".to_owned(),
        version: "1.6.20~ds1".to_owned(),
        conditions: Reading::Absent,
        silenced_deprecations: Vec::new(),
        pod_metrics: Reading::Known(true),
        deprecations: Reading::Absent,
        cgroup_driver: Reading::Known(CgroupDriver::Systemd),
    };
    Report {
        api_version: API_VERSION,
        kind: "NodeReport",
        castoff_version: "0.1.0",
        node: Some(NODE.to_owned()),
        time: Timestamp::from_unix(1_795_521_600 + second),
        verdict,
        verdict_reason: format!("seen {second} s after the start"),
        runtime: Reading::Known(runtime),
        refused_endpoints: Vec::new(),
        shared_containerd: Reading::Absent,
        orphaned_shims: Reading::Absent,
        readiness: Vec::new(),
        kubelet_ceiling: Reading::Known(KubeletCeiling::Minor(37)),
        kubelet: Reading::Absent,
        cgroups: Reading::Known(CgroupVersion::V2),
        containers: Reading::Known(3),
        pods: Reading::Known(2),
        engines: Reading::Known(Vec::new()),
        clients: Reading::Known(Vec::new()),
        docker_free: Reading::Absent,
        runtime_clients: Reading::Known(Vec::new()),
        runtime_exposures: Reading::Known(Vec::new()),
        relays: Reading::Known(Vec::new()),
        exposures: Reading::Known(Vec::new()),
        shadow_containers: Reading::Known(Vec::new()),
        findings: Vec::new(),
        daemon_config: Reading::Absent,
        connect_events: Reading::Absent,
        holder_method: None,
        iterator_refused: None,
        sources: Vec::new(),
        timeline: Timeline::new(Timestamp::from_unix(1_795_521_600 + second), &[], &Hours::default()),
    }
}

/// Returns the same for a node of which nothing could be seen.
fn blind(second: u64) -> Report {
    let gap = || Gap::new(Reason::DeadlineExceeded, Hides::Runtime, "Version", "no answer");
    let mut report = report(Verdict::Unknown, second);
    report.runtime = Reading::Unknown(gap());
    report.kubelet_ceiling = Reading::Unknown(gap());
    report.engines = Reading::Unknown(gap());
    report.docker_free = Reading::Unknown(gap());
    report
}

/// A running publisher, and the files that it reads.
struct Agent {
    reports: watch::Sender<Option<Arc<Report>>>,
    standing: watch::Receiver<Publishing>,
    task: JoinHandle<()>,
    folder: tempfile::TempDir,
    second: u64,
}

impl Agent {
    /// Starts one that reaches `api` with a kubeconfig of its own.
    fn of(api: &FakeApi) -> Result<Self> {
        Self::with(&format!("http://{}", api.address()), paces(), Machine::default())
    }

    fn with(server: &str, paces: Paces, machine: Machine) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("kubeconfig");
        std::fs::write(folder.path().join("token"), "first")?;
        std::fs::write(&path, kubeconfig(server, &folder.path().join("token")))?;
        let settings = NodeSettings {
            node: NODE.to_owned(),
            prefix: Prefix::parse("castoff.dev/")?,
            access: Access::Kubeconfig { path, programs: false },
            machine,
            paces,
        };
        Ok(Self::start(settings, folder))
    }

    fn start(settings: NodeSettings, folder: tempfile::TempDir) -> Self {
        let (standing, latest_standing) = watch::channel(Publishing::new(Way::Api));
        let (reports, latest) = watch::channel(None);
        let sender = NodeSender::new(settings, standing);
        Self {
            reports,
            standing: latest_standing,
            task: tokio::spawn(run(sender, latest, std::future::pending())),
            folder,
            second: 0,
        }
    }

    /// Publishes a report with `verdict`.
    fn say(&mut self, verdict: Verdict) {
        self.second += 15;
        self.reports.send_replace(Some(Arc::new(report(verdict, self.second))));
    }

    /// Publishes a report of a node whose Docker has been unused for this many days.
    fn say_unused_for(&mut self, days: u64) {
        self.second += 15;
        let mut report = report(Verdict::Idle, self.second);
        report.docker_free = Reading::Known(DockerFree {
            since: Timestamp::from_unix(1_795_521_600 - days * 86_400),
            days,
            by: Proof::SocketClock,
            began: Began::AfterUse,
        });
        self.reports.send_replace(Some(Arc::new(report)));
    }

    fn say_nothing_is_seen(&mut self) {
        self.second += 15;
        self.reports.send_replace(Some(Arc::new(blind(self.second))));
    }

    fn state(&self) -> Publishing {
        self.standing.borrow().clone()
    }

    /// Waits until the labels are confirmed as `verdict`.
    async fn published(&self, verdict: &str) -> Result<()> {
        let confirmed = |labels: &BTreeMap<String, String>| labels.get(VERDICT).is_some_and(|v| v == verdict);
        eventually(|| {
            let labels = self.state().labels;
            labels.known().is_some_and(|l| confirmed(&l.labels)).then_some(())
        })
        .await
        .map_err(|error| error.context(format!("{:?}", self.state())))
    }

    /// Waits until an attempt ended with `outcome`.
    async fn failing(&self, outcome: Outcome) -> Result<()> {
        eventually(|| (self.state().failing == Some(outcome)).then_some(()))
            .await
            .map_err(|error| error.context(format!("{outcome}: {:?}", self.state())))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn kubeconfig(server: &str, token: &std::path::Path) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         contexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
         clusters: [{{name: k, cluster: {{server: '{server}', insecure-skip-tls-verify: true}}}}]\n\
         users: [{{name: u, user: {{tokenFile: '{}'}}}}]\n",
        token.display()
    )
}

/// Repeats `ask` until it returns a value, for at most ten seconds on a busy machine.
async fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> Result<T> {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        if Instant::now() > end {
            bail!("nothing of the kind happened within ten seconds");
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// Waits long enough for any pending request to be sent.
async fn a_while() {
    sleep(Duration::from_millis(400)).await;
}
