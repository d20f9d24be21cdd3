//! The verdict: the worst one that holds, and `unknown` where castoff could not see enough to claim a better one.

use super::report::Verdict;
use super::runtime::docker_is_the_runtime;
use super::{Facts, seen};
use crate::model::client::{Client, ClientIdentity};
use crate::model::connect::ConnectMethod;
use crate::model::engine::{Engine, Scope};
use crate::model::exposure::Exposure;
use crate::model::host::LeftOverKind;
use crate::model::last_connect::{LastConnect, NoMark};
use crate::model::reading::{Hides, Reading};
use crate::model::socket::ListenerId;
use crate::model::time::Timestamp;

/// Returns the verdict and one sentence with the reason.
pub(super) fn judge(facts: &Facts<'_>) -> (Verdict, String) {
    if let Some(why) = docker_is_the_runtime(facts.snapshot) {
        return (Verdict::Runtime, why);
    }
    if let Some(why) = in_use(facts) {
        return (Verdict::InUse, why);
    }
    if let Some(missing) = missing_fact(facts) {
        return (Verdict::Unknown, missing);
    }
    if let Some(why) = exposed(facts) {
        return (Verdict::Exposed, why);
    }
    match (idle(facts), without_mark(facts)) {
        (Some(why), Some(missing)) => (Verdict::Unknown, format!("{why}, but {missing}")),
        (Some(why), None) => (Verdict::Idle, format!("{why}{}", last_connect(facts))),
        (None, _) => (Verdict::Clear, clear(facts)),
    }
}

/// The reason why the node's engines count as used: clients now or within the window, or containers that Docker runs now.
pub(super) fn in_use(facts: &Facts<'_>) -> Option<String> {
    let mut reasons = Vec::new();
    if let Some(latest) = facts.used_by.first() {
        reasons.push(used(&facts.used_by, latest.last_seen));
    }
    let containers = facts.docker_containers().count();
    if containers > 0 {
        let containers = counted(containers, "container", "containers");
        reasons.push(format!("Docker runs {containers} outside Kubernetes"));
    }
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// The reason why a client could use the node's engines: current mounts, else those within the window.
fn exposed(facts: &Facts<'_>) -> Option<String> {
    let now = facts.node_exposures().filter(|exposure| exposure.mounted).count();
    let latest = facts.node_exposures().map(|exposure| exposure.last_seen).max()?;
    let way = if now > 0 {
        format!("{} to an engine", counted(now, "mount leads", "mounts lead"))
    } else {
        let all = counted(facts.node_exposures().count(), "mount", "mounts");
        format!("{all} led to an engine, last seen {latest}")
    };
    let is_readonly = |e: &Exposure| e.mounted && e.readonly;
    let leaves_none = reported_by(facts).is_none() && facts.node_exposures().any(is_readonly);
    let missing = match (without_mark(facts), leaves_none) {
        (Some(missing), _) => format!("; {missing}"),
        (None, true) => {
            format!("; {SHORT} if it comes through a read-only mount, which leaves no trace of it; {HOW_TO_SEE}")
        }
        (None, false) => String::new(),
    };
    Some(format!("{way}, and nothing was seen using one{missing}"))
}

/// The message about a use that looks miss.
const SHORT: &str = "a use between two looks is not seen";

/// The ways to miss fewer uses.
const HOW_TO_SEE: &str =
    "let the kernel report connects (--connect-events), or look more often (a shorter --period, or --sample)";

/// The reason why a use of the node's engines between two looks would leave no trace. A user's own engine is a detail:
/// otherwise each user could take the answer `idle` away by a socket of his own. Where the kernel reports each connect
/// to a file, only an abstract name remains. A TCP port has a finding of its own, and a listener whose file was not
/// read has a gap.
fn without_mark(facts: &Facts<'_>) -> Option<String> {
    let is_reported = reported_by(facts).is_some();
    let engines = facts.node_engines().filter(|engine| !is_of_user(engine));
    let listeners = engines.flat_map(|engine| &engine.listeners);
    let unreported = listeners.filter(|listener| !(is_reported && matches!(listener.id, ListenerId::File(_))));
    let mut missing = unreported.filter_map(|listener| Some((listener, listener.last_connect?.missing()?)));
    let (listener, why) = missing.find(|(_, why)| *why != NoMark::Tcp)?;
    let remedy = why.remedy().unwrap_or(HOW_TO_SEE);
    Some(format!(
        "{SHORT} at {}, because {}; {remedy}",
        listener.name,
        why.words()
    ))
}

/// The method by which the kernel reports each connect, and the time since when.
fn reported_by(facts: &Facts<'_>) -> Option<(ConnectMethod, Timestamp)> {
    let events = &facts.snapshot.connects.reading.known()?.events;
    events.method.zip(events.since)
}

/// Describes the last connect by the files of the node's sockets, and the time since when the kernel reports each connect.
fn last_connect(facts: &Facts<'_>) -> String {
    let by_kernel = reported_by(facts)
        .map(|(method, since)| format!("; the kernel has reported each connect since {since} ({method})"));
    format!("{}{}", last_connect_by_file(facts), by_kernel.unwrap_or_default())
}

fn last_connect_by_file(facts: &Facts<'_>) -> String {
    let listeners = main_engines(facts).flat_map(|engine| &engine.listeners);
    let connects = listeners.filter_map(|listener| Some((listener.last_connect?, &listener.name)));
    match connects.max_by_key(|(connect, _)| connect.time()) {
        Some((LastConnect::NoneSince { since: at } | LastConnect::Exact { at }, name)) => {
            format!("; no client connected to {name} since {at}")
        }
        Some((LastConnect::AtLeast { at }, name)) => {
            format!("; a client connected to {name} at {at}, and perhaps within 24 hours after that")
        }
        Some((LastConnect::NoMark { .. }, _)) | None => String::new(),
    }
}

/// The engines of the node that a reason names: those of users only if there are no others.
fn main_engines<'a>(facts: &Facts<'a>) -> impl Iterator<Item = &'a Engine> {
    let only_users = facts.node_engines().all(is_of_user);
    facts
        .node_engines()
        .filter(move |engine| only_users || !is_of_user(engine))
}

/// True for an ordinary user's own engine.
const fn is_of_user(engine: &Engine) -> bool {
    matches!(engine.scope, Scope::User { .. })
}

fn used(clients: &[&Client], last: Timestamp) -> String {
    let first = &clients[0].key.scope;
    let engine = match first {
        Scope::User { .. } if clients.iter().all(|c| c.key.scope == *first) => format!("an engine of {first}"),
        _ => "an engine".to_owned(),
    };
    if clients
        .iter()
        .all(|client| client.key.identity == ClientIdentity::Unseen)
    {
        return format!("a client that no look saw connected to {engine}, last at {last}");
    }
    let open = clients.iter().filter(|client| client.is_open()).count();
    match (open, clients.len()) {
        (0, 1) => format!("1 client used {engine}, last seen {last}"),
        (0, all) => format!("{all} clients used {engine}, last seen {last}"),
        (1, _) => format!("1 client holds a connection to {engine} now"),
        _ => format!("{open} clients hold connections to {engine} now"),
    }
}

fn clear(facts: &Facts<'_>) -> String {
    let inside = seen(facts.engines).count();
    let clear = "no Docker engine on the node, no client and no mount of a Docker socket was found";
    if inside == 0 {
        clear.to_owned()
    } else {
        let engines = counted(inside, "engine runs", "engines run");
        format!("{clear}; {engines} inside pods, which does not depend on the node's Docker")
    }
}

fn counted(n: usize, one: &str, several: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { several })
}

/// The reason why an engine counts as present: it runs, systemd would start it on a connection, or it is installed to start.
fn idle(facts: &Facts<'_>) -> Option<String> {
    if let Some(engine) = main_engines(facts).next() {
        let (kind, scope) = (engine.kind, &engine.scope);
        return Some(if engine.is_awaited() {
            format!("systemd listens for {kind} ({scope}) and nothing was seen using it")
        } else {
            format!("{kind} runs ({scope}) and nothing was seen using it")
        });
    }
    let host = facts.snapshot.host.reading.known()?;
    let installed = host.left_overs.known()?.iter().find(|l| starts_docker(l.kind))?;
    Some(format!("Docker is installed ({}) and does not run", installed.path))
}

/// True if a left-over can start Docker again: everything except data and configuration.
fn starts_docker(kind: LeftOverKind) -> bool {
    match kind {
        LeftOverKind::Binary | LeftOverKind::EnabledUnit => true,
        LeftOverKind::Data | LeftOverKind::Configuration => false,
    }
}

/// Returns the first gap that prevents castoff from claiming `exposed`, `idle` or `clear`.
pub(super) fn missing_fact(facts: &Facts<'_>) -> Option<String> {
    let needed = |hides: Hides| match hides {
        Hides::Runtime | Hides::Engine | Hides::Client | Hides::Exposure | Hides::ShadowContainer => true,
        Hides::Identity | Hides::Detail => false,
    };
    let mut gaps = facts.gaps.iter().filter(|(_, gap)| needed(gap.hides));
    if let Some((source, gap)) = gaps.next() {
        let more = match gaps.count() {
            0 => String::new(),
            n => format!("; {n} more gaps"),
        };
        return Some(format!("{source} could not see everything: {gap}{more}"));
    }
    // A reading may be unknown although the status of its source has no gap.
    let unknown = [
        ("the runtime", facts.snapshot.runtime.runtime.reading.gap()),
        ("the kubelet", facts.snapshot.kubelet.reading.gap()),
        ("the engines", facts.engines.gap()),
        ("the clients", facts.clients.gap()),
        ("the exposures", facts.exposures.gap()),
        ("the containers outside Kubernetes", facts.shadow_containers.gap()),
        ("the host's files", facts.snapshot.host.reading.gap()),
    ];
    if let Some((what, gap)) = unknown.into_iter().find_map(|(what, gap)| Some((what, gap?))) {
        return Some(format!("{what}: {gap}"));
    }
    match &facts.snapshot.connections.reading {
        Reading::Absent => Some("castoff did not look for clients".to_owned()),
        Reading::Known(_) | Reading::Unknown(_) => None,
    }
}
