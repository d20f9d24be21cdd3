//! `castoff cluster`: one look at every node's agent, or look after look.

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
use super::judge::{exit_code, judge_verdict};
use super::terminal::style;
use super::{CANNOT_TELL, WRONG_USE};
use crate::apiserver::access::Access;
use crate::apiserver::path::is_name;
use crate::apiserver::refusal::Refusal;
use crate::apiserver::workstation::Workstation;
use crate::config::{Mistakes, Reader};
use crate::fleet::look::{Ending, Progress, Settings, look, now};
use crate::fleet::row::Row;
use crate::fleet::summary::Tally;
use crate::fleet::{Cluster, Door, Where};
use crate::model::publishing::Outcome;
use crate::sinks::views::junit::Outcome as Judgement;
use printer::Printer;
use sheet::Sheet;

/// How often what has come is printed, and progress shown.
const TICK: Duration = Duration::from_millis(100);

/// What to do.
struct Task {
    access: Access,
    place: Where,
    settings: Settings,
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
    // Whoever is still being asked is not waited for.
    runtime.shutdown_background();
    let finished = printer.finish().context("writing to standard output");
    let code = match outcome {
        Err(Stop::Refused(refusal)) => {
            // Where it cannot be said, nobody reads it.
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

/// Why there is nothing to print.
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
        let mut sheet = Sheet::new(args, style(args.colour, args.output == FleetOutput::Wide));
        let seen = one_look(task, args, &mut sheet, &mut changes, printer, &mut interrupt).await?;
        if !args.watch || seen.ends {
            return Ok(seen.code);
        }
        tokio::select! {
            _ = interrupt.recv() => return Ok(seen.code),
            () = tokio::time::sleep(task.interval) => {}
        }
    }
}

/// What one look amounts to.
struct Seen {
    code: u8,
    /// Whether nobody wants another: interrupted, or the reader left.
    ends: bool,
}

async fn one_look(
    task: &Task,
    args: &Args,
    sheet: &mut Sheet,
    changes: &mut Changes,
    printer: &mut Printer,
    interrupt: &mut Signal,
) -> Result<Seen, Stop> {
    let (start, time) = (Instant::now(), now());
    let at_once = task.settings.at_once;
    let cluster = Cluster::reach(&task.access, task.place.clone(), task.timeout, at_once).await;
    let cluster = cluster.map_err(Stop::Refused)?;
    let progress = Arc::new(Progress::default());
    let (rows, mut came) = mpsc::channel(64);
    let looking = tokio::spawn(look(
        cluster.clone(),
        task.settings.clone(),
        Arc::clone(&progress),
        rows,
    ));
    let (mut tally, mut judgement, mut reader_left) = (Tally::default(), Judgement::Passed, false);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stopped = loop {
        tokio::select! {
            biased;
            _ = interrupt.recv() => break true,
            row = came.recv() => {
                let Some(row) = row else { break false };
                tally.add(&row);
                judgement = worse(judgement, judge_verdict(row.verdict, row.runtime_is_hidden, &args.fail_on));
                let is_new = changes.are_in(&row);
                if is_new || args.output == FleetOutput::Json {
                    sheet.add(row);
                }
                if sheet.is_full() {
                    reader_left = sheet.print(printer, time).await.map_err(failed)?;
                }
            }
            _ = ticks.tick() => {
                reader_left = sheet.print_in_time(printer, time, start.elapsed()).await.map_err(failed)?;
                printer.progress(line(&progress, tally.nodes())).await;
            }
        }
        if reader_left {
            break true;
        }
    };
    came.close();
    let ending: Option<Ending> = if stopped {
        looking.abort();
        None
    } else {
        // It ended by itself, and hands on its own panics only.
        Some(
            looking
                .await
                .context("looking")
                .map_err(Stop::Failed)?
                .map_err(Stop::Refused)?,
        )
    };
    let millis = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let summary = tally.summary(ending.as_ref(), &task.place, cluster.requests(), millis);
    if !reader_left {
        reader_left = sheet
            .end(printer, time, &summary, &tally, cluster.server())
            .await
            .map_err(failed)?;
    }
    // A reader that has seen enough changes nothing about what was seen until then.
    let all = summary.nodes > 0 && (summary.complete || reader_left);
    let judgement = if all {
        judgement
    } else {
        worse(judgement, Judgement::CannotTell)
    };
    Ok(Seen {
        code: exit_code(judgement),
        ends: stopped || reader_left,
    })
}

fn failed(error: anyhow::Error) -> Stop {
    Stop::Failed(error)
}

/// Something found is something found, whatever cannot be told beside it.
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

/// Which rows are new, over many looks: two hashes for each node.
#[derive(Default)]
struct Changes {
    hash: RandomState,
    seen: HashMap<u64, u64>,
}

impl Changes {
    fn are_in(&mut self, row: &Row) -> bool {
        let mut hasher = self.hash.build_hasher();
        row.verdict.hash(&mut hasher);
        row.doubt.hash(&mut hasher);
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
        let wants = "not the name of a namespace; wants lower-case letters, digits and '-'";
        reader.mistake((), format!("--namespace {:?}: {wants}", args.namespace));
    }
    let door = args.port.as_ref().map(|text| {
        let wants = "not a port; wants 1 to 65535, with https: before it where the agents serve TLS";
        Door::parse(text).unwrap_or_else(|| reader.mistake(Door::default(), format!("--port {text:?}: {wants}")))
    });
    if args.watch && args.output == FleetOutput::Html {
        let wants = "a page is of one look; wants table, wide or json";
        reader.mistake((), format!("--watch: {wants}"));
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
        timeout: reader.duration("--timeout", &args.timeout, Duration::from_millis(10), 600 * second),
        interval: reader.duration("--interval", &args.interval, second / 10, 86_400 * second),
        settings: Settings {
            at_once: usize::from(args.concurrency),
            stale_after: reader.duration("--stale-after", &args.stale_after, second, 365 * 86_400 * second),
            door,
        },
    };
    reader.finish()?;
    Ok(task)
}
