//! Events on pods that are new clients of a Docker socket.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use castoff::apiserver::access::Access;
use castoff::apiserver::pace::Allowance;
use castoff::apiserver::sender::run;
use castoff::findings::report::{Report, Verdict};
use castoff::model::client::{Client, ClientIdentity, ClientKey, Origin};
use castoff::model::container::PodContainer;
use castoff::model::engine::{Api, EngineKind, Scope};
use castoff::model::publishing::{Dropped, Events, Outcome};
use castoff::model::reading::Reading;
use castoff::model::request::Requests;
use castoff::model::socket::SocketName;
use castoff::sinks::publishing::events::event::Reporter;
use castoff::sinks::publishing::events::sender::{EventSender, EventSettings};
use castoff::sinks::publishing::labels::prefix::Prefix;

use castoff_tests::fake::api::{FakeApi, Fault};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{NODE, a_while, eventually, kubeconfig, paces, report};

/// Returns a pod's container that holds a connection, first seen in this report.
fn client(namespace: &str, pod: &str, report: &Report) -> Client {
    Client {
        key: ClientKey {
            identity: ClientIdentity::Pod(PodContainer {
                namespace: namespace.to_owned(),
                pod: pod.to_owned(),
                container: Some("build".to_owned()),
                workload: None,
            }),
            engine: EngineKind::Dockerd,
            scope: Scope::Host,
            api: Api::Docker,
            listener: SocketName::Path("/run/docker.sock".to_owned()),
        },
        agent: None,
        pod_uid: Some(format!("uid-of-{pod}")),
        connections: 1,
        pending: 0,
        holders: Vec::new(),
        connectors: Vec::new(),
        origin: Origin::Polled,
        first_seen: report.time,
        last_seen: report.time,
        connects: 1,
        requests: Requests::default(),
        as_runtime: false,
        timeline: report.timeline.clone(),
    }
}

/// A running sender for the node's reports.
struct Agent {
    reports: watch::Sender<Option<Arc<Report>>>,
    standing: watch::Receiver<Events>,
    task: JoinHandle<()>,
    clients: Vec<Client>,
    second: u64,
    _folder: tempfile::TempDir,
}

impl Agent {
    fn of(api: &FakeApi) -> Result<Self> {
        Self::with(api, |_| ())
    }

    /// Creates one that has made its first look.
    fn with(api: &FakeApi, change: impl FnOnce(&mut EventSettings)) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("kubeconfig");
        std::fs::write(folder.path().join("token"), "first")?;
        let server = format!("http://{}", api.address());
        std::fs::write(&path, kubeconfig(&server, &folder.path().join("token")))?;
        let reporter = Reporter {
            node: NODE.to_owned(),
            prefix: Prefix::parse("castoff.dev/")?,
        };
        let mut settings = EventSettings::new(reporter, Access::Kubeconfig { path, programs: false });
        settings.paces = paces();
        change(&mut settings);
        let (sender, standing) = EventSender::new(settings);
        let (reports, latest) = watch::channel(None);
        let mut agent = Self {
            reports,
            standing,
            task: tokio::spawn(run(sender, latest, std::future::pending())),
            clients: Vec::new(),
            second: 0,
            _folder: folder,
        };
        agent.look();
        Ok(agent)
    }

    /// Publishes the next report with the clients so far.
    fn look(&mut self) {
        self.second += 15;
        let mut next = report(Verdict::InUse, self.second);
        next.clients = Reading::Known(self.clients.clone());
        self.reports.send_replace(Some(Arc::new(next)));
    }

    /// Waits until the sender has seen the previous report, then publishes one with these new clients.
    async fn meet(&mut self, pods: &[(&str, &str)]) {
        a_while().await;
        let next = report(Verdict::InUse, self.second + 15);
        self.clients
            .extend(pods.iter().map(|(namespace, pod)| client(namespace, pod, &next)));
        self.look();
    }

    fn state(&self) -> Events {
        self.standing.borrow().clone()
    }

    fn requests(&self, outcome: Outcome) -> u64 {
        let requests = self.state().requests;
        requests.iter().find(|r| r.outcome == outcome).map_or(0, |r| r.count)
    }

    fn dropped(&self, reason: Dropped) -> u64 {
        let dropped = self.state().dropped;
        dropped.iter().find(|d| d.reason == reason).map_or(0, |d| d.count)
    }

    async fn until(&self, holds: impl Fn(&Self) -> bool) -> Result<()> {
        eventually(|| holds(self).then_some(()))
            .await
            .map_err(|error| error.context(format!("{:?}", self.state())))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn made(api: &FakeApi) -> Vec<String> {
    let script = api.script();
    let pod = |e: &&serde_json::Value| e["regarding"]["name"].as_str().unwrap_or_default().to_owned();
    script.events.all().iter().map(pod).collect()
}

#[tokio::test]
async fn a_new_client_is_one_event_and_the_first_look_is_none() -> Result<()> {
    let api = FakeApi::start().await?;
    let mut agent = Agent::of(&api)?;
    agent.meet(&[("ci", "builder-0")]).await;
    agent.until(|a| a.requests(Outcome::Succeeded) == 1).await?;
    for _ in 0..3 {
        agent.meet(&[]).await;
    }
    a_while().await;
    assert_eq!((made(&api), api.count("POST")), (vec!["builder-0".to_owned()], 1));
    let event = api.script().events.all()[0].clone();
    assert_eq!(event["regarding"]["uid"], "uid-of-builder-0");
    assert_eq!(
        (&event["reportingInstance"], &event["type"]),
        (&NODE.into(), &"Warning".into())
    );
    assert!(agent.state().last_success.is_some() && agent.state().failing.is_none());

    // An agent that restarts creates no Events for existing clients; and a repeated Event has the same name.
    let clients = agent.clients.clone();
    drop(agent);
    let mut agent = Agent::of(&api)?;
    a_while().await;
    agent.clients = clients;
    agent.clients[0].first_seen = report(Verdict::InUse, 30).time;
    agent.look();
    agent.until(|a| a.requests(Outcome::Succeeded) == 1).await?;
    assert_eq!(
        (made(&api).len(), api.count("POST")),
        (1, 2),
        "there already: 409 is as good"
    );
    Ok(())
}

#[tokio::test]
async fn a_permanent_refusal_costs_one_event() -> Result<()> {
    let api = FakeApi::start().await?;
    {
        let mut script = api.script();
        script.events.forbidden.insert("locked".to_owned());
        script.events.gone.insert("gone".to_owned());
        script.events.terminating.insert("going".to_owned());
    }
    let mut agent = Agent::of(&api)?;
    let pods = [
        ("locked", "a"),
        ("locked", "b"),
        ("gone", "c"),
        ("going", "d"),
        ("ci", "e"),
    ];
    agent.meet(&pods).await;
    agent.until(|a| a.requests(Outcome::Succeeded) == 1).await?;
    assert_eq!(made(&api), ["e"]);
    assert_eq!(agent.dropped(Dropped::Forbidden), 2);
    assert_eq!(agent.dropped(Dropped::Gone), 2);
    assert_eq!((agent.state().waiting, api.count("POST")), (0, 5), "none is repeated");

    api.script().next.push_back(Fault::status(422, "Event is invalid"));
    agent.meet(&[("ci", "f"), ("ci", "g")]).await;
    agent.until(|a| a.requests(Outcome::Succeeded) == 2).await?;
    assert_eq!((agent.dropped(Dropped::Rejected), made(&api).len()), (1, 2));
    Ok(())
}

#[tokio::test]
async fn a_temporary_refusal_is_retried_without_a_second_event() -> Result<()> {
    let faults = [
        (Fault::status(401, "Unauthorized"), Outcome::Unauthenticated),
        (Fault::status(429, "wait"), Outcome::Throttled),
        (Fault::status(500, "etcd leader changed"), Outcome::ServerError),
        (Fault::html(200), Outcome::BadAnswer),
        (Fault::CutOff, Outcome::BadAnswer),
        (Fault::Flood, Outcome::BadAnswer),
        (Fault::Silence, Outcome::DeadlineExceeded),
        // It was created, but the answer was lost.
        (Fault::Mute, Outcome::DeadlineExceeded),
    ];
    let api = FakeApi::start().await?;
    let mut agent = Agent::of(&api)?;
    for (nth, (fault, outcome)) in faults.into_iter().enumerate() {
        let before = agent.requests(outcome);
        api.script().next.push_back(fault.clone());
        agent.meet(&[("ci", &format!("pod-{nth}"))]).await;
        agent
            .until(|a| a.requests(Outcome::Succeeded) == nth as u64 + 1)
            .await?;
        assert_eq!(agent.requests(outcome), before + 1, "{fault:?}");
        assert_eq!(made(&api).len(), nth + 1, "{fault:?}");
    }
    assert_eq!(agent.state().dropped, []);
    Ok(())
}

#[tokio::test]
async fn an_unreachable_server_drops_old_and_excess_events() -> Result<()> {
    let mut api = FakeApi::start().await?;
    let mut agent = Agent::with(&api, |settings| settings.expiry = Duration::from_secs(3))?;
    api.stop();
    let names: Vec<String> = (0..70).map(|n| format!("pod-{n}")).collect();
    let pods: Vec<(&str, &str)> = names.iter().map(|name| ("ci", name.as_str())).collect();
    agent.meet(&pods).await;
    agent.until(|a| a.state().failing == Some(Outcome::Unreachable)).await?;
    assert_eq!((agent.state().waiting, agent.dropped(Dropped::QueueFull)), (64, 6));
    let tried = agent.requests(Outcome::Unreachable);
    assert!(tried < 10, "{tried} attempts: it waits longer each time");
    tokio::time::sleep(Duration::from_secs(3)).await;
    agent.meet(&[("ci", "late")]).await;
    agent.until(|a| a.dropped(Dropped::TooOld) == 64).await?;
    api.come_back().await?;
    agent.until(|a| a.requests(Outcome::Succeeded) == 1).await?;
    assert_eq!(made(&api), ["late"], "the newest, and no burst of old ones");
    Ok(())
}

#[tokio::test]
async fn many_events_are_rate_limited() -> Result<()> {
    let api = FakeApi::start().await?;
    let mut agent = Agent::with(&api, |settings| {
        settings.paces.writes = Allowance {
            burst: 10,
            refill: Duration::from_secs(30),
        };
    })?;
    let names: Vec<String> = (0..40).map(|n| format!("pod-{n}")).collect();
    let pods: Vec<(&str, &str)> = names.iter().map(|name| ("ci", name.as_str())).collect();
    agent.meet(&pods).await;
    agent.until(|a| a.requests(Outcome::Succeeded) == 10).await?;
    a_while().await;
    assert_eq!((api.count("POST"), agent.state().waiting), (10, 30));
    Ok(())
}
