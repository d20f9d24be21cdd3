//! Words for closed codes, and ages.

use std::time::Duration;

use crate::findings::readiness::answer::{Answer, Effect};
use crate::findings::report::{KubeletCeiling, Severity, Verdict};
use crate::model::client::Client;
use crate::model::connect::{ConnectEvents, RequestEvents, SelfTest};
use crate::model::disuse::{Began, DockerFree, Proof};
use crate::model::engine::{Api, Engine, EngineKind, Scope, Security, SecurityBasis, Transport};
use crate::model::exposure::Access;
use crate::model::known_agent::KnownAgent;
use crate::model::kubelet::{EndpointOrigin, Kubelet};
use crate::model::last_connect::LastConnect;
use crate::model::reading::Hides;
use crate::model::request::{Operation, Requests};
use crate::model::snapshot::HolderMethod;
use crate::model::time::Timestamp;
use crate::model::workload::owner::Workload;
use crate::sinks::views::style::{Style, Tone};

/// Formats `9s`, `3m`, `5h`, `2d`: the largest unit alone, rounded down.
pub(in crate::sinks::views) fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Formats a point in time: the age at `now`, or, in a wide table, the time itself.
pub(super) fn when(time: Timestamp, now: Timestamp, style: Style) -> String {
    if style.wide {
        time.to_string()
    } else {
        age(now.since(time))
    }
}

/// Formats `dockerd`, `dockerd in pod ci/dind (dind)`, `podman of user 1000`.
pub(in crate::sinks::views) fn engine(kind: EngineKind, scope: &Scope, api: Api) -> String {
    let program = match api {
        Api::Docker => kind.to_string(),
        Api::Cri => "runtime".to_owned(),
    };
    match scope {
        Scope::Host => program,
        Scope::User { .. } => format!("{program} of {scope}"),
        Scope::Pod(_) | Scope::Container { .. } => format!("{program} in {scope}"),
        Scope::Outside => format!("{program} {scope}"),
    }
}

/// The security of a TCP listener, and the evidence for it.
pub(in crate::sinks::views) fn transport(transport: Transport) -> String {
    let security = match transport.security {
        Security::Plain => "no TLS",
        Security::Tls => "TLS without client certificates",
        Security::VerifiedTls => "TLS",
    };
    let basis = match transport.basis {
        SecurityBasis::Settings => "its settings",
        SecurityBasis::Port => "its port",
    };
    format!("{security}, by {basis}")
}

/// The access of a container's user to a socket; empty where it is not known.
pub(in crate::sinks) const fn access(access: Access) -> &'static str {
    match access {
        Access::Allowed => "its user may open it",
        Access::Denied => "its user may not open it now",
        Access::Unknown => "",
    }
}

/// The workload of a pod; empty where it is not known, or where the pod's own name needs the room.
pub(super) fn workload(workload: Option<&Workload>, style: Style) -> String {
    const ROOM: usize = 100;
    let has_room = style.wide || style.columns().is_none_or(|columns| columns >= ROOM);
    workload
        .filter(|_| has_room)
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// The known agent that a program has the name of; empty for any other.
pub(super) fn agent(agent: Option<KnownAgent>) -> &'static str {
    agent.map_or("", |agent| agent.name)
}

pub(in crate::sinks::views) const fn verdict_tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Runtime | Verdict::InUse => Tone::Bad,
        Verdict::Exposed | Verdict::Unknown => Tone::Warning,
        Verdict::Idle => Tone::Notice,
        Verdict::Clear => Tone::Good,
    }
}

pub(in crate::sinks::views) const fn severity_tone(severity: Severity) -> Tone {
    match severity {
        Severity::Critical => Tone::Bad,
        Severity::Warning => Tone::Warning,
        Severity::Info => Tone::Notice,
    }
}

/// Formats `3`, `2 waiting`, `3, 2 waiting`.
pub(in crate::sinks::views) fn connections(client: &Client) -> String {
    match (client.connections, client.pending) {
        (n, 0) => n.to_string(),
        (0, pending) => format!("{pending} waiting"),
        (n, pending) => format!("{n}, {pending} waiting"),
    }
}

/// The reason why no process is shown for an engine.
pub(in crate::sinks::views) fn absence(engine: &Engine) -> &'static str {
    if engine.is_awaited() { "not running" } else { "not seen" }
}

/// The program that runs as the kubelet.
pub(in crate::sinks::views) fn kubelet(kubelet: &Kubelet) -> String {
    match (&kubelet.program, kubelet.dockershim) {
        (Some(program), Some(true)) => format!("{program} with its built-in dockershim"),
        (Some(program), _) => program.clone(),
        (None, _) => "not running".to_owned(),
    }
}

/// Formats the last connect, by the socket's file.
pub(in crate::sinks::views) fn last_connect(connect: LastConnect) -> String {
    match connect {
        LastConnect::Exact { at } => at.to_string(),
        LastConnect::AtLeast { at } => format!("{at}, or up to 24h later"),
        LastConnect::NoneSince { since } => format!("none since {since}"),
        LastConnect::NoMark { because } => format!("unknown: {}", because.words()),
    }
}

/// Stands in the place of the time without use.
pub(in crate::sinks::views) const DOCKER_USED: &str = "no, Docker is used";

/// The time without use, the usual spans that it reaches, and the proof.
pub(in crate::sinks::views) fn docker_free(free: &DockerFree) -> String {
    let days = match free.days {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    };
    let spans = DockerFree::SPANS.map(|span| {
        let reached = if span <= free.days { "yes" } else { "not yet" };
        format!("{span} days: {reached}")
    });
    let proof = match free.by {
        Proof::Events => "the kernel reported each connect",
        Proof::SocketClock => "the times of the sockets' files",
        Proof::Looks => "looks alone",
    };
    let began = match free.began {
        Began::FirstLook => "castoff's first look",
        Began::AfterUse => "the last use",
        Began::AfterGap => "a time when castoff could not see everything",
    };
    format!(
        "{days}, since {} ({}); proof: {proof}; counted since {began}",
        free.since,
        spans.join(", ")
    )
}

/// The newest kubelet that the runtime serves.
pub(in crate::sinks::views) fn ceiling(ceiling: &KubeletCeiling) -> String {
    match ceiling {
        KubeletCeiling::None => "not limited by this runtime".to_owned(),
        KubeletCeiling::Minor(minor) => format!("newest supported kubelet: 1.{minor}"),
    }
}

/// Names the setting that an endpoint comes from.
pub(in crate::sinks::views) fn origin(origin: &EndpointOrigin) -> String {
    match origin {
        EndpointOrigin::Configured => "from --runtime-endpoint".to_owned(),
        EndpointOrigin::KubeletFlag { flag } => format!("from the kubelet's {flag}"),
        EndpointOrigin::KubeletFile { path } => format!("by {path}"),
        EndpointOrigin::WellKnown { of } => format!("the usual path of {of}"),
    }
}

/// Names the facts that a gap may hide.
pub(in crate::sinks::views) const fn hides(hides: Hides) -> &'static str {
    match hides {
        Hides::Runtime => "the runtime that the kubelet uses",
        Hides::Engine => "an engine, or a socket that one listens on",
        Hides::Client => "clients of a Docker socket",
        Hides::Identity => "the identity of a client that was seen",
        Hides::Exposure => "containers that could reach a Docker socket",
        Hides::ShadowContainer => "containers that Docker runs outside Kubernetes",
        Hides::Detail => "a detail that does not affect the verdict",
    }
}

/// The method by which the kernel reports connects, and the reason why no preferred method is used.
pub(in crate::sinks::views) fn connect_events(events: &ConnectEvents) -> String {
    let method = match (events.method, events.since) {
        (Some(method), Some(since)) => format!(
            "reported by {method} for {} sockets since {since}: {} recorded, {} lost; named from the process: {}, \
             from the kernel's record: {}, not named: {}",
            events.listeners,
            events.recorded,
            events.lost,
            events.attributed.process,
            events.attributed.record,
            events.attributed.none
        ),
        _ => "not reported by the kernel: no method can be used".to_owned(),
    };
    let tested = match &events.self_test {
        Some(SelfTest { at, failure: None }) => format!("; self-test passed {at}"),
        Some(SelfTest { at, failure: Some(why) }) => format!("; self-test failed {at}: {why}"),
        None => String::new(),
    };
    let refused = events
        .refused
        .iter()
        .map(|refused| format!("; {}: {}", refused.method, refused.answer));
    method + &tested + &refused.collect::<String>()
}

/// The method by which the kernel reports requests, and the reason why no preferred method is used.
pub(in crate::sinks::views) fn request_events(events: &RequestEvents) -> String {
    let method = match events.method {
        Some(method) => format!(
            "reported by {method}: {} recorded, {} lost",
            events.recorded, events.lost
        ),
        None if events.refused.is_empty() => "not requested, or connects are not reported".to_owned(),
        None => "not reported by the kernel".to_owned(),
    };
    let refused = events
        .refused
        .iter()
        .map(|refused| format!("; {}: {}", refused.method, refused.answer));
    method + &refused.collect::<String>()
}

/// Lists the classes of a client's requests, most frequent first.
pub(in crate::sinks::views) fn purposes(requests: &Requests) -> String {
    let purposes: Vec<&str> = requests.purposes().into_iter().map(Operation::code).collect();
    purposes.join(",")
}

/// Lists the classes of a client's requests, most frequent first, with their numbers, and the lowest version of the Docker API.
pub(in crate::sinks::views) fn requests(requests: &Requests) -> String {
    let count = |operation| requests.operations.get(&operation).copied().unwrap_or_default();
    let purposes = requests.purposes().into_iter();
    let purposes: Vec<String> = purposes
        .map(|operation| format!("{operation} {}", count(operation)))
        .collect();
    let api = requests.lowest_api.map(|lowest| format!(" (API {})", lowest.version()));
    purposes.join(", ") + &api.unwrap_or_default()
}

/// The method that found the connections and their holders, and the reason why the kernel's iterator was not used.
pub(in crate::sinks::views) fn method(method: HolderMethod, iterator_refused: Option<&str>) -> String {
    let words = match method {
        HolderMethod::Iterator => "sock_diag in every network namespace, and the kernel's iterator over open files",
        HolderMethod::SockDiag => "sock_diag in every network namespace, and /proc/<pid>/fd",
        HolderMethod::ProcNetUnix => "/proc/<pid>/net/unix: names the container, not the process",
    };
    match iterator_refused {
        Some(answer) => format!("{words}; the kernel's iterator over open files: {answer}"),
        None => words.to_owned(),
    }
}

/// The answer in words.
pub(in crate::sinks::views) const fn answer(answer: Answer) -> &'static str {
    match answer {
        Answer::Ready => "ready",
        Answer::NotReady => "not ready",
        Answer::CannotTell => "cannot tell",
    }
}

pub(in crate::sinks::views) const fn answer_tone(answer: Answer) -> Tone {
    match answer {
        Answer::Ready => Tone::Good,
        Answer::NotReady => Tone::Bad,
        Answer::CannotTell => Tone::Warning,
    }
}

pub(in crate::sinks::views) const fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::Blocks => "blocks",
        Effect::MayBlock => "may block",
        Effect::Note => "note",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_uses_the_largest_unit_that_fits() {
        let cases = [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3_599, "59m"),
            (3_600, "1h"),
            (86_399, "23h"),
            (86_400, "1d"),
            (700 * 86_400, "700d"),
        ];
        for (seconds, text) in cases {
            assert_eq!(age(Duration::from_secs(seconds)), text);
        }
    }
}
