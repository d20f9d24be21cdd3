//! The verdict: the worst that holds, and `unknown` where a better one would rest on a sight that is missing.

use super::Facts;
use super::report::Verdict;
use super::runtime::docker_is_the_runtime;
use crate::model::host::LeftOverKind;
use crate::model::reading::{Hides, Reading};
use crate::model::time::Timestamp;

/// The verdict and one sentence that says why.
pub(super) fn judge(facts: &Facts<'_>) -> (Verdict, String) {
    if let Some(why) = docker_is_the_runtime(facts.snapshot) {
        return (Verdict::Runtime, why);
    }
    let clients = facts.used_by;
    if !clients.is_empty() {
        let open = clients.iter().filter(|c| c.connections + c.pending > 0).count();
        return (Verdict::InUse, in_use(open, clients.len(), clients[0].last_seen));
    }
    if let Some(missing) = missing_sight(facts) {
        return (Verdict::Unknown, missing);
    }
    let exposures = facts.exposures.known().map_or(&[][..], Vec::as_slice);
    if !exposures.is_empty() {
        let what = if exposures.len() == 1 {
            "1 container".to_owned()
        } else {
            format!("{} mounts", exposures.len())
        };
        return (
            Verdict::Exposed,
            format!("{what} could reach an engine, and nothing was seen using one"),
        );
    }
    match idle(facts) {
        Some(why) => (Verdict::Idle, why),
        None => (
            Verdict::Clear,
            "no Docker engine, no client and no way to one was found".to_owned(),
        ),
    }
}

fn in_use(open: usize, all: usize, last: Timestamp) -> String {
    match (open, all) {
        (0, 1) => format!("1 client used an engine, last seen {last}"),
        (0, _) => format!("{all} clients used an engine, last seen {last}"),
        (1, _) => "1 client holds a connection to an engine now".to_owned(),
        _ => format!("{open} clients hold connections to an engine now"),
    }
}

/// Why an engine counts as being here: it runs, systemd would start it on a connection, or it is installed to start.
fn idle(facts: &Facts<'_>) -> Option<String> {
    if let Some(engine) = facts.engines.known().and_then(|engines| engines.first()) {
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

/// Whether a left-over can bring Docker back, other than data and configuration, which only lie there.
fn starts_docker(kind: LeftOverKind) -> bool {
    match kind {
        LeftOverKind::Binary | LeftOverKind::EnabledUnit => true,
        LeftOverKind::Data | LeftOverKind::Configuration => false,
    }
}

/// The first sight that `exposed`, `idle` and `clear` need and that is missing.
fn missing_sight(facts: &Facts<'_>) -> Option<String> {
    let needed = |hides: Hides| match hides {
        Hides::Runtime | Hides::Engine | Hides::Client | Hides::Exposure => true,
        Hides::Identity | Hides::ShadowContainer | Hides::Detail => false,
    };
    let mut gaps = facts.gaps.iter().filter(|(_, gap)| needed(gap.hides));
    if let Some((source, gap)) = gaps.next() {
        let more = match gaps.count() {
            0 => String::new(),
            n => format!("; {n} more sights are missing"),
        };
        return Some(format!("{source} could not see all: {gap}{more}"));
    }
    // A reading may be unknown without its source having said so in its status; that must not slip through.
    let unknown = [
        ("the runtime", facts.snapshot.runtime.runtime.reading.gap()),
        ("the kubelet", facts.snapshot.kubelet.reading.gap()),
        ("the engines", facts.engines.gap()),
        ("the clients", facts.clients.gap()),
        ("the exposures", facts.exposures.gap()),
        ("the host's files", facts.snapshot.host.reading.gap()),
    ];
    if let Some((what, gap)) = unknown.into_iter().find_map(|(what, gap)| Some((what, gap?))) {
        return Some(format!("{what}: {gap}"));
    }
    match &facts.snapshot.connections.reading {
        Reading::Absent => Some("nothing looked for clients".to_owned()),
        Reading::Known(_) | Reading::Unknown(_) => None,
    }
}
