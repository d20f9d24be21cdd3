//! `castoff run`: repeats the cycle, publishes each report on a watch channel and over HTTP, and keeps the history in the state
//! file. Its tasks are supervised: a task that ends unexpectedly ends the service with an error that names it.

mod publish;
mod state;
mod transitions;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::{Agent, HOST_DEADLINE};
use crate::config::{Look, Serve};
use crate::findings::Settings;
use crate::findings::report::Report;
use crate::model::machine::Machine;
use crate::model::reading::Gap;
use crate::sinks::http::tls::{self, Acceptor, TlsError};
use crate::sinks::http::{Guard, Limits, Liveness, Published, Server, router};
use crate::sinks::store::{Saved, StateKeeper};
use crate::sinks::views::metrics::cycles::CycleCounters;
use crate::sinks::views::metrics::{Build, Metrics};
use crate::sources::HostPaths;
use crate::sources::machine::{read_boot, read_machine};
use crate::sources::runtime::RuntimeSource;
use publish::{Senders, Task};
use state::{Remembered, State};
use transitions::Transitions;

/// The reason why the service could not start or has ended.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// castoff cannot listen on the address.
    #[error("listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The host's error.
        source: io::Error,
    },
    /// The certificate cannot be used.
    #[error("serve HTTP over TLS")]
    Tls(#[from] TlsError),
    /// A task ended unexpectedly, or panicked: a defect of castoff.
    #[error("the task {0} ended by itself")]
    Ended(&'static str),
}

/// An agent that is ready to serve: it listens on its address and has read its history.
pub struct Service {
    agent: Agent,
    state: State,
    lost: Vec<Gap>,
    listener: TcpListener,
    settings: Serve,
    reports: watch::Sender<Option<Arc<Report>>>,
    published: Published,
    senders: Senders,
    server: Server,
}

impl Service {
    /// Listens on the address and reads the state file. Permanent errors occur here.
    pub async fn start(look: Look, mut settings: Serve) -> Result<Self, ServiceError> {
        let address = settings.listen;
        let listen = |source| ServiceError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let (tls, state, host) = (settings.tls.take(), settings.state.take(), look.host.clone());
        let tls = match tls {
            Some(files) => Some(read_certificate(files, START_DEADLINE, Acceptor::read).await?),
            None => None,
        };
        let machine = find_machine(host, START_DEADLINE, read_machine).await?;
        let load = |path: &Path| StateKeeper::load(path, StateKeeper::REST);
        let (state, Remembered { history, lost, unkept }) = State::load(state, START_DEADLINE, load).await?;
        let (reports, latest) = watch::channel(None);
        let judged = Settings {
            ready_for: std::mem::take(&mut settings.ready_for),
            node: look.node.clone(),
            window: settings.window,
        };
        let stall = 3 * settings.period + 3 * HOST_DEADLINE + look.runtime_timeout * RuntimeSource::DEADLINES_IN_ALL;
        let (senders, (labels, events)) = Senders::new(settings.labels.take(), settings.events.take(), machine);
        let mut agent = Agent::new(look, judged, history);
        agent.set_history_gaps(lost.iter().cloned().chain(unkept).collect());
        Ok(Self {
            agent,
            senders,
            state,
            lost,
            listener,
            settings,
            reports,
            server: Server {
                limits: Limits::of_this_process(),
                tls,
            },
            published: Published {
                reports: latest,
                labels,
                events,
                cycles: Arc::new(Mutex::new(CycleCounters::default())),
                liveness: Arc::new(Liveness::new(stall, Instant::now())),
                metrics: Arc::new(Metrics::new(Build::current())),
            },
        })
    }

    /// The address that is served; if port 0 was given, the kernel chose the port.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// The time to read one file at the start: a disk that hangs must not keep castoff from looking.
const START_DEADLINE: Duration = Duration::from_secs(10);

/// The time for the look after the signal to stop. A healthy look takes milliseconds.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// Blocking work with a deadline.
enum Started<T> {
    /// The work has ended.
    Done(T),
    /// The work is still running.
    Running(JoinHandle<T>),
}

/// Starts the blocking `work`, and waits for it until `deadline` has passed.
async fn start_within<T: Send + 'static>(
    deadline: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Started<T>, ServiceError> {
    let mut running = spawn_blocking(work);
    match timeout(deadline, &mut running).await {
        Ok(Ok(done)) => Ok(Started::Done(done)),
        Ok(Err(_)) => Err(ServiceError::Ended("with a panic")),
        Err(_) => Ok(Started::Running(running)),
    }
}

async fn read_certificate(
    files: tls::Files,
    deadline: Duration,
    read: impl FnOnce(tls::Files) -> Result<Acceptor, TlsError> + Send + 'static,
) -> Result<Acceptor, ServiceError> {
    let path = files.certificate.clone();
    match start_within(deadline, || read(files)).await? {
        Started::Done(read) => Ok(read?),
        Started::Running(_) => {
            let source = io::ErrorKind::TimedOut.into();
            Err(TlsError::Read { path, source }.into())
        }
    }
}

/// Finds the identities of this machine; only those from the kernel if the disk hangs.
async fn find_machine(
    host: HostPaths,
    deadline: Duration,
    read: impl FnOnce(&HostPaths) -> Machine + Send + 'static,
) -> Result<Machine, ServiceError> {
    let of_boot = read_boot(&host);
    Ok(match start_within(deadline, move || read(&host)).await? {
        Started::Done(machine) => machine,
        Started::Running(_) => of_boot,
    })
}

/// Serves until `stopping`; then looks once more, writes the state file and completes pending requests.
pub async fn serve(service: Service, stopping: CancellationToken) -> Result<(), ServiceError> {
    let Service {
        agent,
        senders,
        state,
        lost,
        listener,
        settings,
        reports,
        published,
        server,
    } = service;
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, tls = server.tls.is_some(), version = env!("CARGO_PKG_VERSION"), "serving");
        if !address.ip().is_loopback() {
            warn_of_readers(address, settings.guard.is_some(), server.tls.is_some());
        }
    }
    let cycle = Cycle {
        agent,
        state,
        lost,
        reports,
        started: Instant::now(),
        window: settings.window,
        cycles: Arc::clone(&published.cycles),
        liveness: Arc::clone(&published.liveness),
        transitions: Transitions::default(),
    };
    let mut tasks: JoinSet<Task> = JoinSet::new();
    let stop = stopping.clone().cancelled_owned();
    let last_look = LAST_LOOK.min(settings.grace / 2);
    tasks.spawn(async move { ("cycle", cycle.run((settings.period, last_look), stop).await) });
    senders.start(&mut tasks, &published.reports, &stopping);
    let stop = stopping.clone().cancelled_owned();
    tasks.spawn(async move {
        let guard = settings.guard.map(|access| Arc::new(Guard::new(access)));
        // Half of the grace period: an unfinished request must not change the exit code.
        let grace = settings.grace / 2;
        server.serve(listener, router(published, guard), stop, grace).await;
        ("http", Ok(()))
    });
    while let Some(ended) = tasks.join_next().await {
        let (task, outcome) = ended.map_err(|_| ServiceError::Ended("with a panic"))?;
        outcome?;
        if !stopping.is_cancelled() {
            return Err(ServiceError::Ended(task));
        }
    }
    Ok(())
}

struct Cycle {
    agent: Agent,
    state: State,
    lost: Vec<Gap>,
    reports: watch::Sender<Option<Arc<Report>>>,
    started: Instant,
    window: Duration,
    cycles: Arc<Mutex<CycleCounters>>,
    liveness: Arc<Liveness>,
    transitions: Transitions,
}

/// Says who can read the report, or the tokens of its readers, on an address that is not loopback.
fn warn_of_readers(address: SocketAddr, is_guarded: bool, has_tls: bool) {
    if !is_guarded {
        tracing::warn!(%address, "everyone who can reach this address can read the report: --auth is not set");
    } else if !has_tls {
        tracing::info!(%address, "without --tls-cert, send this address only tokens that no other service accepts");
    }
}

impl Cycle {
    /// Looks each `period` until `stop`; then once more for at most `last_look`, and writes the state.
    async fn run(
        mut self,
        (period, last_look): (Duration, Duration),
        stop: impl Future<Output = ()>,
    ) -> Result<(), ServiceError> {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(stop);
        loop {
            let stopped = tokio::select! {
                () = &mut stop => true,
                _ = ticks.tick() => false,
            };
            let turn = self.turn();
            tokio::pin!(turn);
            if !stopped {
                tokio::select! {
                    () = &mut stop => {}
                    () = &mut turn => continue,
                }
            }
            // Without this look, the uses since the previous look and their clients' names would be lost.
            let _ = timeout(last_look, turn).await;
            break;
        }
        self.keep(true).await;
        Ok(())
    }

    async fn turn(&mut self) {
        let start = Instant::now();
        if start.duration_since(self.started) > self.window {
            self.lost.clear(); // the lost records are outside the window by now
        }
        if let Some(late) = self.state.take_late().await {
            self.agent.take_over(late.history);
            self.agent.set_history_gaps(late.lost.clone());
            self.lost = late.lost;
        }
        let report = Arc::new(self.agent.look().await);
        let took = start.elapsed();
        if self.agent.answers() {
            self.liveness.move_at(Instant::now());
        }
        self.counters(|cycles| cycles.record_cycle(&report, took, self.agent.history().forgotten()));
        self.transitions.log(&report);
        self.reports.send_replace(Some(report));
        let unkept = self.keep(false).await;
        self.agent
            .set_history_gaps(self.lost.iter().cloned().chain(unkept).collect());
    }

    /// Writes the state file if that is due, or `now`; returns the gap of a failure.
    async fn keep(&mut self, now: bool) -> Option<Gap> {
        let gap = match self.state.save(self.agent.history(), now).await? {
            Ok(Saved::Unchanged | Saved::NotDue) => return None,
            Ok(Saved::Written) => None,
            Err(gap) => Some(gap),
        };
        self.counters(|cycles| cycles.record_state_write(gap.is_none()));
        let gap = gap?;
        if now {
            // No later report will contain this gap. Before the stop, the log of transitions reports it once.
            tracing::warn!(%gap, "the history of clients is not kept");
        }
        Some(gap)
    }

    fn counters(&self, count: impl FnOnce(&mut CycleCounters)) {
        count(&mut self.cycles.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reading::{Hides, Reason, Source};
    use crate::sources::connects::Asked;
    use crate::sources::recorded::RecordedHost;

    /// The first report's gaps of the history, with the state file `state` in `folder`.
    async fn gaps_of_the_first_report(folder: &Path, state: &str) -> Vec<(Reason, Hides)> {
        let path = folder.to_owned();
        let look = Look {
            host: HostPaths {
                proc: path.clone(),
                root: path,
            },
            runtime_endpoint: None,
            runtime_timeout: Duration::from_millis(100),
            node: None,
            connect_events: Asked::default(),
            scan_host_files: false,
        };
        let settings = Serve {
            period: Duration::from_secs(1),
            window: Duration::from_secs(60),
            ready_for: Vec::new(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            state: Some(folder.join(state)),
            grace: Duration::from_secs(1),
            labels: None,
            tls: None,
            guard: None,
            events: None,
        };
        let mut service = Service::start(look, settings).await.expect("it starts");
        let first = service.agent.look().await;
        let of_history = first.sources.iter().find(|s| s.source == Source::History);
        let gaps = &of_history.expect("it has a status").gaps;
        gaps.iter().map(|gap| (gap.reason, gap.hides)).collect()
    }

    #[tokio::test]
    async fn a_lost_or_unkept_history_is_a_gap_of_the_first_report() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(folder.path().join("state.json"), "{ torn").expect("a file");
        let lost = gaps_of_the_first_report(folder.path(), "state.json").await;
        assert_eq!(lost, [(Reason::Malformed, Hides::Client)]);
        let unkept = gaps_of_the_first_report(folder.path(), "missing/state.json").await;
        assert_eq!(unkept, [(Reason::NotFound, Hides::Detail)]);
    }

    #[tokio::test]
    async fn a_disk_that_hangs_delays_the_start_no_longer_than_the_deadline() {
        const SHORT: Duration = Duration::from_millis(10);
        let hang = || std::thread::sleep(Duration::from_millis(500));
        let host = RecordedHost::new();
        let boot_id = host.paths().proc.join("sys/kernel/random/boot_id");
        std::fs::create_dir_all(boot_id.parent().expect("a folder")).expect("fresh");
        std::fs::write(boot_id, "4f1c6d\n").expect("fresh");
        let read = move |host: &HostPaths| {
            hang();
            read_machine(host)
        };
        let machine = find_machine(host.paths(), SHORT, read).await.expect("it starts");
        assert_eq!((machine.boot_id.as_deref(), machine.machine_id), (Some("4f1c6d"), None));
        let files = tls::Files {
            certificate: "/nowhere/tls.crt".into(),
            key: "/nowhere/tls.key".into(),
        };
        let read = move |files| {
            hang();
            Acceptor::read(files)
        };
        match read_certificate(files, SHORT, read).await {
            Err(ServiceError::Tls(TlsError::Read { source, .. })) => assert_eq!(source.kind(), io::ErrorKind::TimedOut),
            other => panic!("{:?}", other.err()),
        }
    }
}
