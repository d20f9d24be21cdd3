//! The rows of the page's tables, and their limits.

use super::drawing::Drawing;
use super::when::When;
use crate::findings::readiness::answer::{Obstacle, Readiness};
use crate::findings::report::{Report, SourceStatus};
use crate::model::client::{Client, ClientIdentity};
use crate::model::engine::{Api, Engine, Listener, Scope};
use crate::model::exposure::Exposure;
use crate::model::process::Process;
use crate::model::reading::Gap;
use crate::model::socket::ListenerId;
use crate::model::time::Timestamp;
use crate::model::workload::owner::Workload;
use crate::sinks::views::amount::Amount;
use crate::sinks::views::table::words;

/// The maximum number of rows in one table: ten times a full node. Further ones are counted, and are in the report.
pub(super) const LIMIT: usize = 1_000;

/// The rows of one table.
#[derive(Debug)]
pub(super) struct Rows<'a, T> {
    /// The rows that are shown.
    pub(super) shown: Vec<T>,
    /// The number of rows that are not shown.
    pub(super) more: usize,
    /// The number of rows in all.
    pub(super) count: usize,
    /// The number of rows of an engine inside a pod, which do not count for the node.
    pub(super) of_pods: usize,
    /// The reason why nothing is known.
    pub(super) unknown: Option<&'a Gap>,
    /// True if a gap may hide more rows.
    pub(super) partial: bool,
}

impl<'a, T> Rows<'a, T> {
    pub(super) fn new<I>(amount: &Amount<'a, I>, row: impl FnMut((usize, &'a I)) -> T) -> Self {
        let items = amount.items();
        Self {
            shown: items.iter().take(LIMIT).enumerate().map(row).collect(),
            more: items.len().saturating_sub(LIMIT),
            count: items.len(),
            of_pods: 0,
            unknown: match amount {
                Amount::Unknown(gap) => Some(gap),
                Amount::All(_) | Amount::Some(_) => None,
            },
            partial: matches!(amount, Amount::Some(_)),
        }
    }

    /// Returns the same with the rows of engines inside pods counted separately.
    pub(super) fn apart<I>(self, amount: &Amount<'a, I>, scope: impl Fn(&I) -> &Scope) -> Self {
        let of_pods = amount.items().iter().filter(|item| !scope(item).is_of_node()).count();
        Self { of_pods, ..self }
    }

    /// The number that counts for the node, in words: `4`, `at least 4`, `unknown`.
    pub(super) fn amount(&self) -> String {
        match (self.unknown, self.partial, self.count - self.of_pods) {
            (Some(_), ..) => "unknown".to_owned(),
            (None, true, 0) => "none seen".to_owned(),
            (None, true, count) => format!("at least {count}"),
            (None, false, count) => count.to_string(),
        }
    }

    /// Returns `one` or `several`, to match [`Self::amount`].
    pub(super) fn noun(&self, one: &'static str, several: &'static str) -> &'static str {
        if self.count - self.of_pods == 1 { one } else { several }
    }
}

/// Clients of an engine's listener.
#[derive(Debug)]
pub(super) struct ClientRow<'a> {
    pub(super) client: &'a Client,
    pub(super) open: bool,
    pub(super) who: String,
    /// The workload of its pod, and the pod's uid, as far as they are known.
    pub(super) of: String,
    pub(super) engine: String,
    pub(super) connections: String,
    /// The classes of its requests; empty where no request was seen.
    pub(super) requests: String,
    pub(super) first: When,
    pub(super) last: When,
    pub(super) drawing: Drawing,
}

impl<'a> ClientRow<'a> {
    /// `id` is the id of its drawing on the page.
    pub(super) fn new(id: String, client: &'a Client, now: Timestamp) -> Self {
        let key = &client.key;
        let who = key.identity.to_string();
        Self {
            client,
            open: client.is_open(),
            of: match &key.identity {
                ClientIdentity::Pod(pod) => of(pod.workload.as_ref(), client.pod_uid.as_deref()),
                _ => String::new(),
            },
            engine: words::engine(key.engine, &key.scope, key.api),
            connections: words::connections(client),
            requests: words::requests(&client.requests),
            first: When::new(client.first_seen, now),
            last: When::new(client.last_seen, now),
            drawing: Drawing::new(id, &who, &client.timeline),
            who,
        }
    }
}

/// A container that could reach a listener.
#[derive(Debug)]
pub(super) struct ExposureRow<'a> {
    pub(super) exposure: &'a Exposure,
    pub(super) first: When,
    pub(super) last: When,
}

impl<'a> ExposureRow<'a> {
    pub(super) fn new(exposure: &'a Exposure, now: Timestamp) -> Self {
        Self {
            exposure,
            first: When::new(exposure.first_seen, now),
            last: When::new(exposure.last_seen, now),
        }
    }
}

/// The workload of a pod, and its uid: `Deployment builder, pod uid 1234`.
pub(super) fn of(workload: Option<&Workload>, pod_uid: Option<&str>) -> String {
    let workload = workload.map(ToString::to_string);
    let uid = pod_uid.map(|uid| format!("pod uid {uid}"));
    workload.into_iter().chain(uid).collect::<Vec<_>>().join(", ")
}

/// An engine with its listeners.
#[derive(Debug)]
pub(super) struct EngineRow<'a> {
    pub(super) engine: &'a Engine,
    /// The reason why there is no process.
    pub(super) absence: &'static str,
    pub(super) listeners: Vec<ListenerRow<'a>>,
}

/// One listener of an engine.
#[derive(Debug)]
pub(super) struct ListenerRow<'a> {
    pub(super) listener: &'a Listener,
    pub(super) name: String,
    pub(super) file: String,
}

impl<'a> EngineRow<'a> {
    pub(super) fn new(engine: &'a Engine) -> Self {
        let listener = |listener: &'a Listener| ListenerRow {
            listener,
            name: match listener.api {
                Api::Docker => listener.name.to_string(),
                Api::Cri => format!("{} (CRI)", listener.name),
            },
            file: match &listener.id {
                ListenerId::File(file) => format!("file {file}"),
                ListenerId::Abstract(..) => "an abstract name".to_owned(),
                ListenerId::Tcp(..) => listener.transport.map_or_else(|| "TCP".to_owned(), words::transport),
            },
        };
        Self {
            engine,
            absence: words::absence(engine),
            listeners: engine.listeners.iter().map(listener).collect(),
        }
    }
}

/// The known facts of a process, one by one.
pub(super) fn process(process: &Process) -> Vec<String> {
    let mut pieces = vec![
        format!("pid {}, started at tick {}", process.key.pid, process.key.start),
        process.executable.as_ref().map_or_else(
            || format!("called {}, executable unknown", process.name),
            |executable| format!("{executable}, called {}", process.name),
        ),
        process
            .uid
            .map_or_else(|| "user unknown".to_owned(), |uid| format!("user {uid}")),
        process.netns.map_or_else(
            || "network namespace unknown".to_owned(),
            |netns| format!("network namespace {}", netns.0),
        ),
    ];
    let membership = &process.membership;
    pieces.extend(membership.unit.iter().map(ToString::to_string));
    pieces.extend(membership.pod_uid.iter().map(|uid| format!("pod {uid}")));
    let containers = membership.containers.iter();
    pieces.extend(containers.map(|c| format!("container {} of {}", c.id, c.manager)));
    pieces
}

/// The answer for one target.
#[derive(Debug)]
pub(super) struct ReadyRow<'a> {
    pub(super) target: String,
    pub(super) answer: &'static str,
    pub(super) tone: &'static str,
    /// The obstacles, each with the words for its effect.
    pub(super) obstacles: Vec<(&'static str, &'a Obstacle)>,
}

impl<'a> ReadyRow<'a> {
    pub(super) fn new(ready: &'a Readiness) -> Self {
        let obstacles = ready.obstacles.iter();
        Self {
            target: ready.target.to_string(),
            answer: words::answer(ready.answer),
            tone: super::class(words::answer_tone(ready.answer)),
            obstacles: obstacles.map(|found| (words::effect(found.effect), found)).collect(),
        }
    }
}

/// The result of a source.
#[derive(Debug)]
pub(super) struct SourceRow<'a> {
    pub(super) status: &'a SourceStatus,
    /// Its duration in percent of the slowest source's.
    pub(super) share: u64,
    /// Its duration in milliseconds.
    pub(super) millis: String,
}

pub(super) fn source_rows(report: &Report) -> Vec<SourceRow<'_>> {
    let times = report.sources.iter().map(|status| status.duration_micros);
    let longest = times.max().unwrap_or(0).max(1);
    let row = |status| {
        let SourceStatus { duration_micros, .. }: &SourceStatus = status;
        SourceRow {
            status,
            share: duration_micros.saturating_mul(100).div_ceil(longest),
            millis: format!("{}.{:03}", duration_micros / 1_000, duration_micros % 1_000),
        }
    };
    report.sources.iter().map(row).collect()
}
