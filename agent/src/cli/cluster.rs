//! `castoff cluster`: one look at every node's agent, or repeated looks.

mod printer;
mod sheet;

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState};
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::args::{Cluster as Args, FleetOutput};
use super::judge::{exit_code, judge_answers, judge_verdict};
use super::terminal::style;
use super::{CANNOT_TELL, WRONG_USE};
use crate::apiserver::access::Access;
use crate::apiserver::path::is_name;
use crate::apiserver::refusal::Refusal;
use crate::apiserver::workstation::Workstation;
use crate::config::{Mistakes, Reader};
use crate::fleet::look::{Ending, FleetSettings, Progress, look, now};
use crate::fleet::row::NodeRow;
use crate::fleet::summary::Tally;
use crate::fleet::{AgentPort, Cluster, Tokens, Where};
use crate::model::publishing::Outcome;
use crate::model::time::Timestamp;
use crate::sinks::views::junit::Outcome as Judgement;
use printer::Printer;
use sheet::Sheet;

/// The interval at which new rows are printed and progress is shown.
const TICK: Duration = Duration::from_millis(100);

/// The work of one call.
struct Task {
    access: Access,
    place: Where,
    tokens: Tokens,
    settings: FleetSettings,
    timeout: Duration,
    interval: Duration,
}

pub(super) fn cluster(args: &Args) -> anyhow::Result<u8> {
    let task = resolve(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the async runtime")?;
    let mut printer = Printer::start().context("starting to print")?;
    let outcome = runtime.block_on(looks(&task, args, &mut printer));
    // Requests that are still pending are not awaited.
    runtime.shutdown_background();
    let finished = printer.finish().context("writing to standard output");
    let code = match outcome {
        Err(Stop::Refused(refusal)) => {
            // An error here has no reader.
            let _ = writeln!(io::stderr(), "castoff: {refusal}{}", advice(&refusal, &task.place));
            match refusal.outcome {
                Outcome::Unconfigured => WRONG_USE,
                _ => CANNOT_TELL,
            }
        }
        Err(Stop::Failed(error)) => return Err(error),
        Ok(code) => code,
    };
    finished?;
    Ok(code)
}

/// The reason why there is nothing to print.
enum Stop {
    Refused(Refusal),
    Failed(anyhow::Error),
}

fn advice(refusal: &Refusal, place: &Where) -> String {
    match refusal.outcome {
        Outcome::Forbidden => format!(
            "\n  castoff cluster needs the right to list nodes, and to list pods and get pods/proxy in namespace {}",
            place.namespace
        ),
        Outcome::Unauthenticated => {
            "\n  the API server does not accept these credentials: sign in again, or choose another --context"
                .to_owned()
        }
        Outcome::Unreachable | Outcome::DeadlineExceeded | Outcome::TlsFailed | Outcome::BadAnswer => {
            "\n  check that the kubeconfig's cluster is the right one and can be reached from here".to_owned()
        }
        _ => String::new(),
    }
}

async fn looks(task: &Task, args: &Args, printer: &mut Printer) -> Result<u8, Stop> {
    let mut interrupt = signal(SignalKind::interrupt())
        .context("waiting for an interrupt")
        .map_err(Stop::Failed)?;
    let mut changes = Changes::default();
    loop {
        let round = Round {
            args,
            sheet: Sheet::new(args, style(args.colour, args.output == FleetOutput::Wide)),
            changes: &mut changes,
            printer: &mut *printer,
            time: now(),
            start: Instant::now(),
            tally: Tally::default(),
            judgement: Judgement::Passed,
            pipe_closed: false,
        };
        let end = round.ask(task, &mut interrupt).await?;
        if !args.watch || end.is_last {
            return Ok(end.code);
        }
        tokio::select! {
            _ = interrupt.recv() => return Ok(end.code),
            () = tokio::time::sleep(task.interval) => {}
        }
    }
}

/// The end of one round over all nodes.
struct End {
    code: u8,
    /// True if no other round follows: castoff was interrupted, or the reader closed the pipe.
    is_last: bool,
}

/// One round over all nodes: its output, and its results.
struct Round<'a> {
    args: &'a Args,
    sheet: Sheet,
    changes: &'a mut Changes,
    printer: &'a mut Printer,
    time: Timestamp,
    start: Instant,
    tally: Tally,
    judgement: Judgement,
    pipe_closed: bool,
}

impl Round<'_> {
    async fn ask(mut self, task: &Task, interrupt: &mut Signal) -> Result<End, Stop> {
        let at_once = task.settings.at_once;
        let (place, tokens) = (task.place.clone(), task.tokens.clone());
        let cluster = Cluster::reach(&task.access, place, tokens, task.timeout, at_once).await;
        let cluster = cluster.map_err(Stop::Refused)?;
        let progress = Arc::new(Progress::default());
        let (rows, mut came) = mpsc::channel(64);
        let looking = look(cluster.clone(), task.settings.clone(), Arc::clone(&progress), rows);
        let looking = tokio::spawn(looking);
        let stopped = self.take_rows(&mut came, &progress, interrupt).await?;
        came.close();
        let ending: Option<Ending> = if stopped {
            looking.abort();
            None
        } else {
            // The task was not cancelled, so an error here is a panic.
            let ended = looking.await.context("looking").map_err(Stop::Failed)?;
            Some(ended.map_err(Stop::Refused)?)
        };
        self.end(stopped, ending.as_ref(), &cluster, &task.place).await
    }

    /// Takes the rows as they come. True if it was stopped before the last one.
    async fn take_rows(
        &mut self,
        came: &mut mpsc::Receiver<NodeRow>,
        progress: &Progress,
        interrupt: &mut Signal,
    ) -> Result<bool, Stop> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.pipe_closed {
            tokio::select! {
                biased;
                _ = interrupt.recv() => return Ok(true),
                row = came.recv() => match row {
                    Some(row) => self.take(row).await?,
                    None => return Ok(false),
                },
                _ = ticks.tick() => {
                    let printed = self.sheet.print_in_time(self.printer, self.time, self.start.elapsed()).await;
                    self.pipe_closed = printed.map_err(Stop::Failed)?;
                    self.printer.progress(line(progress, self.tally.nodes())).await;
                }
            }
        }
        Ok(true)
    }

    async fn take(&mut self, row: NodeRow) -> Result<(), Stop> {
        self.tally.add(&row);
        let answers = judge_answers(row.readiness.iter().map(|ready| ready.answer));
        let by_verdict = || judge_verdict(row.verdict, row.runtime_is_hidden, &self.args.fail_on);
        let of_row = answers.unwrap_or_else(by_verdict);
        self.judgement = worse(self.judgement, of_row);
        if self.changes.are_in(&row) || self.args.output == FleetOutput::Json {
            self.sheet.add(row);
        }
        if self.sheet.is_full() {
            let printed = self.sheet.print(self.printer, self.time).await;
            self.pipe_closed = printed.map_err(Stop::Failed)?;
        }
        Ok(())
    }

    async fn end(
        mut self,
        stopped: bool,
        ending: Option<&Ending>,
        cluster: &Cluster,
        place: &Where,
    ) -> Result<End, Stop> {
        let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let summary = self.tally.summary(ending, place, cluster.requests(), millis);
        if !self.pipe_closed {
            let ended = self
                .sheet
                .end(self.printer, self.time, &summary, &self.tally, cluster.server());
            self.pipe_closed = ended.await.map_err(Stop::Failed)?;
        }
        // A reader that closes the pipe does not change the result so far.
        let all = summary.nodes > 0 && (summary.complete || self.pipe_closed);
        if !all {
            self.judgement = worse(self.judgement, Judgement::CannotTell);
        }
        Ok(End {
            code: exit_code(self.judgement),
            is_last: stopped || self.pipe_closed,
        })
    }
}

/// A finding counts, even if something else could not be seen.
const fn worse(a: Judgement, b: Judgement) -> Judgement {
    match (a, b) {
        (Judgement::Failed, _) | (_, Judgement::Failed) => Judgement::Failed,
        (Judgement::CannotTell, _) | (_, Judgement::CannotTell) => Judgement::CannotTell,
        (Judgement::Passed, Judgement::Passed) => Judgement::Passed,
    }
}

fn line(progress: &Progress, rows: u64) -> String {
    match (progress.listed(), progress.expected()) {
        (0, _) => "asking the API server for nodes".to_owned(),
        (listed, expected) if expected > listed => format!("{rows} of {expected} nodes"),
        (listed, _) => format!("{rows} of {listed} nodes"),
    }
}

/// Finds the rows that are new, over many looks: two hashes for each node.
#[derive(Default)]
struct Changes {
    hash: RandomState,
    seen: HashMap<u64, u64>,
}

impl Changes {
    fn are_in(&mut self, row: &NodeRow) -> bool {
        let mut hasher = self.hash.build_hasher();
        row.verdict.hash(&mut hasher);
        row.doubt.hash(&mut hasher);
        row.readiness.iter().for_each(|ready| ready.answer.hash(&mut hasher));
        for used in row.clients.seen().map_or(&[][..], |clients| &clients.users) {
            used.user.hash(&mut hasher);
        }
        let now = hasher.finish();
        self.seen.insert(self.hash.hash_one(&row.node), now) != Some(now)
    }
}

fn resolve(args: &Args) -> Result<Task, Mistakes> {
    let mut reader = Reader::default();
    let second = Duration::from_secs(1);
    let namespace = reader.text("--namespace", Some(&args.namespace)).unwrap_or_default();
    if !is_name(&namespace) || namespace.contains('.') {
        let problem = "not the name of a namespace; expected lower-case letters, digits and '-'";
        reader.mistake((), format!("--namespace {:?}: {problem}", args.namespace));
    }
    let agent_port = args.port.as_ref().map(|text| {
        let problem = "not a port; expected 1 to 65535, with https: before it where the agents serve TLS";
        AgentPort::parse(text)
            .unwrap_or_else(|| reader.mistake(AgentPort::default(), format!("--port {text:?}: {problem}")))
    });
    if args.watch && args.output == FleetOutput::Html {
        let problem = "a page is of one look; expected table, wide or json";
        reader.mistake((), format!("--watch: {problem}"));
    }
    if !args.ready_for.is_empty() && args.output == FleetOutput::Html {
        let problem = "the page has no room for the answers; expected table, wide or json";
        reader.mistake((), format!("--for: {problem}"));
    }
    let account = reader.text("--reader", args.reader.as_deref());
    if let Some(name) = account.as_ref().filter(|name| !is_name(name)) {
        let problem = "not the name of a service account; expected lower-case letters, digits, '-' and '.'";
        reader.mistake((), format!("--reader {name:?}: {problem}"));
    }
    let kubeconfig = reader.file("--kubeconfig", args.kubeconfig.as_deref());
    let context = reader.text("--context", args.context.as_deref());
    let access = Access::Workstation(Workstation::find(kubeconfig, context, |name| std::env::var_os(name)));
    let task = Task {
        access,
        place: Where {
            namespace,
            agents: reader.text("--agents", Some(&args.agents)).unwrap_or_default(),
            nodes: reader.text("--selector", args.selector.as_deref()),
        },
        tokens: Tokens::of(account),
        timeout: reader.duration("--timeout", &args.timeout, Duration::from_millis(10), 600 * second),
        interval: reader.duration("--interval", &args.interval, second / 10, 86_400 * second),
        settings: FleetSettings {
            at_once: usize::from(args.concurrency),
            stale_after: reader.duration("--stale-after", &args.stale_after, second, 365 * 86_400 * second),
            ready_for: reader.targets("--for", &args.ready_for),
            agent_port,
        },
    };
    reader.finish()?;
    Ok(task)
}
