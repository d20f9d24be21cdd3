//! Reads the report of another node's agent. The agent may have another version, and the process on its port may be
//! something else. So each part is read by itself, a part that is not understood is unknown, and texts are bounded.
//! Pure.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::days::{Week, days};
use super::row::{Clients, FreeSeen, Reported, RuntimeSeen, Use, User, UserKind};
use crate::findings::report::{API_VERSION, Verdict};
use crate::model::engine;
use crate::model::reading::Hides;
use crate::model::text::cut_bytes;
use crate::model::time::Timestamp;
use crate::model::timeline::Timeline;

/// The maximum length of a name in bytes.
const NAME_LIMIT: usize = 253;
/// The maximum length of a sentence in bytes.
pub(super) const SENTENCE_LIMIT: usize = 512;

/// A report, as far as the fleet needs it.
#[derive(Debug)]
pub(super) struct Report {
    /// The node that the report is about; none if the agent knows no name.
    pub(super) node: Option<String>,
    pub(super) version: Option<String>,
    pub(super) time: Timestamp,
    pub(super) verdict: Verdict,
    pub(super) reason: String,
    pub(super) runtime: Reported<Option<RuntimeSeen>>,
    pub(super) kubelet_ceiling: Reported<Option<u32>>,
    pub(super) clients: Reported<Clients>,
    pub(super) exposures: Reported<u64>,
    pub(super) shadow_containers: Reported<u64>,
    pub(super) docker_free: Reported<Option<FreeSeen>>,
    /// The use on each of the last days, by the agent's clock.
    pub(super) week: Week,
    pub(super) runtime_is_hidden: bool,
}

/// The reason why a document cannot be read as a report.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoReport {
    /// It is not a report.
    #[error("the answer is not a report: {0}")]
    NotOne(String),
    /// It is a report of another form.
    #[error("its report is {0}, and this castoff reads {API_VERSION} only")]
    OtherSchema(String),
    /// It has the right form, but an unknown verdict.
    #[error("its verdict {0:?} has no meaning for this castoff")]
    OtherVerdict(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    api_version: Option<String>,
    kind: Option<String>,
    castoff_version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    node: Option<String>,
    time: Timestamp,
    verdict: String,
    #[serde(default)]
    verdict_reason: String,
    #[serde(borrow, default)]
    runtime: Option<&'a RawValue>,
    #[serde(borrow, default)]
    kubelet_ceiling: Option<&'a RawValue>,
    #[serde(borrow, default)]
    clients: Option<&'a RawValue>,
    #[serde(borrow, default)]
    exposures: Option<&'a RawValue>,
    #[serde(borrow, default)]
    shadow_containers: Option<&'a RawValue>,
    #[serde(borrow, default)]
    docker_free: Option<&'a RawValue>,
    #[serde(borrow, default)]
    timeline: Option<&'a RawValue>,
    #[serde(borrow, default)]
    sources: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Reading<'a> {
    state: String,
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Source {
    gaps: Vec<Gap>,
}

#[derive(Deserialize)]
struct Gap {
    hides: String,
}

#[derive(Deserialize)]
struct Ceiling {
    kind: String,
    minor: Option<u32>,
}

#[derive(Deserialize)]
struct Free {
    since: Timestamp,
    days: u64,
}

#[derive(Deserialize)]
struct Runtime {
    name: String,
    version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Client {
    identity: Identity,
    #[serde(default)]
    scope: Scope,
    api: Option<String>,
    connections: u64,
    #[serde(default)]
    pending: u64,
    last_seen: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Identity {
    kind: String,
    namespace: Option<String>,
    pod: Option<String>,
    workload: Option<Workload>,
    name: Option<String>,
    unit: Option<Unit>,
    executable: Option<String>,
    address: Option<String>,
}

#[derive(Deserialize)]
struct Workload {
    kind: String,
    name: String,
    /// True if the pod's marks allow no other workload.
    #[serde(default)]
    certain: bool,
}

#[derive(Deserialize)]
struct Unit {
    name: String,
}

/// The host, user, pod or container that an engine serves.
#[derive(Default, Deserialize)]
struct Scope {
    #[serde(default)]
    kind: String,
}

impl Scope {
    fn is_of_node(&self) -> bool {
        engine::Scope::is_code_of_node(&self.kind)
    }
}

#[derive(Deserialize)]
struct Exposure {
    #[serde(default)]
    scope: Scope,
}

#[derive(Deserialize)]
struct Anything {}

impl Report {
    /// Reads the report in `bytes`.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, NoReport> {
        let head: Head = serde_json::from_slice(bytes).map_err(|error| NoReport::NotOne(error.to_string()))?;
        match (head.api_version, head.kind.as_deref()) {
            (Some(version), Some("NodeReport")) if version == API_VERSION => {}
            (Some(version), Some("NodeReport")) => {
                let of = head.castoff_version.unwrap_or_else(|| "an unnamed version".to_owned());
                return Err(NoReport::OtherSchema(format!(
                    "{} of castoff {}",
                    name(version),
                    name(of)
                )));
            }
            (_, kind) => {
                let kind = kind.map_or_else(|| "nothing".to_owned(), |kind| format!("{:?}", cut(kind, 64)));
                return Err(NoReport::NotOne(format!("its kind is {kind}")));
            }
        }
        let body: Body<'_> = serde_json::from_slice(bytes).map_err(|error| NoReport::NotOne(error.to_string()))?;
        let verdict = Verdict::ALL
            .iter()
            .copied()
            .find(|verdict| verdict.code() == body.verdict);
        let verdict = verdict.ok_or_else(|| NoReport::OtherVerdict(cut(&body.verdict, 64)))?;
        let sources: Option<Vec<Source>> = body.sources.and_then(|raw| serde_json::from_str(raw.get()).ok());
        let hidden = |what: &[Hides]| {
            sources.as_ref().is_none_or(|sources| {
                let mut gaps = sources.iter().flat_map(|source| &source.gaps);
                gaps.any(|gap| what.iter().any(|hides| hides.code() == gap.hides))
            })
        };
        Ok(Self {
            node: body.node.map(name),
            version: head.castoff_version.map(name),
            time: body.time,
            verdict,
            reason: cut(&body.verdict_reason, SENTENCE_LIMIT),
            runtime: runtime(body.runtime),
            kubelet_ceiling: ceiling(body.kubelet_ceiling),
            clients: counted(
                read_part(body.clients, |all| Some(clients(all))),
                hidden(&[Hides::Client, Hides::Engine]),
            ),
            exposures: counted(
                read_part(body.exposures, |all: Vec<Exposure>| {
                    Some(all.iter().filter(|exposure| exposure.scope.is_of_node()).count() as u64)
                }),
                hidden(&[Hides::Exposure, Hides::Engine]),
            ),
            shadow_containers: counted(
                read_part(body.shadow_containers, |all: Vec<Anything>| Some(all.len() as u64)),
                hidden(&[Hides::ShadowContainer]),
            ),
            docker_free: read_part(body.docker_free, |free: Free| Some(free.into())),
            week: week(body.timeline, body.time),
            runtime_is_hidden: hidden(&[Hides::Runtime]),
        })
    }
}

impl From<Free> for FreeSeen {
    fn from(Free { since, days }: Free) -> Self {
        Self { since, days }
    }
}

/// Reads a reading: `Known(None)` where it is absent.
fn read_part<'a, T: Deserialize<'a>, U>(
    raw: Option<&'a RawValue>,
    of: impl FnOnce(T) -> Option<U>,
) -> Reported<Option<U>> {
    let understood = || {
        let reading: Reading<'a> = serde_json::from_str(raw?.get()).ok()?;
        match (reading.state.as_str(), reading.value) {
            ("known", Some(value)) => {
                of(serde_json::from_str(value.get()).ok()?).map(|value| Reported::Known(Some(value)))
            }
            ("absent", _) => Some(Reported::Known(None)),
            _ => None,
        }
    };
    understood().unwrap_or(Reported::Unknown)
}

fn counted<T: Default>(part: Reported<Option<T>>, hidden: bool) -> Reported<T> {
    match part {
        Reported::Known(value) if !hidden => Reported::Known(value.unwrap_or_default()),
        Reported::Known(value) | Reported::AtLeast(value) => Reported::AtLeast(value.unwrap_or_default()),
        Reported::Unknown => Reported::Unknown,
    }
}

fn runtime(raw: Option<&RawValue>) -> Reported<Option<RuntimeSeen>> {
    read_part(raw, |runtime: Runtime| {
        Some(RuntimeSeen {
            name: name(runtime.name),
            version: name(runtime.version),
        })
    })
}

fn week(raw: Option<&RawValue>, time: Timestamp) -> Week {
    let timeline = raw.and_then(|raw| serde_json::from_str::<Timeline>(raw.get()).ok());
    timeline.map_or(Week::default(), |timeline| days(&timeline, time))
}

fn ceiling(raw: Option<&RawValue>) -> Reported<Option<u32>> {
    let seen = read_part(raw, |ceiling: Ceiling| match (ceiling.kind.as_str(), ceiling.minor) {
        ("none", _) => Some(None),
        ("minor", Some(minor)) => Some(Some(minor)),
        _ => None,
    });
    match seen {
        Reported::Known(Some(minor)) | Reported::AtLeast(Some(minor)) => Reported::Known(minor),
        // Without a runtime there is no ceiling, which must not look like permission to upgrade.
        Reported::Known(None) | Reported::AtLeast(None) | Reported::Unknown => Reported::Unknown,
    }
}

/// Groups the clients of the node's engines by user, regardless of container, listener and engine.
fn clients(all: Vec<Client>) -> Clients {
    let mut by_user: BTreeMap<User, (u64, Option<Timestamp>)> = BTreeMap::new();
    for client in all {
        if client.api.as_deref().is_some_and(|api| api != "docker") || !client.scope.is_of_node() {
            continue;
        }
        let (connections, last_seen) = by_user.entry(user(client.identity)).or_default();
        let open = client.connections.saturating_add(client.pending);
        *connections = connections.saturating_add(open);
        *last_seen = (*last_seen).max(client.last_seen);
    }
    let now = by_user.values().filter(|(connections, _)| *connections > 0).count();
    let mut seen = Clients {
        now: now as u64,
        before: (by_user.len() - now) as u64,
        more_users: by_user.len().saturating_sub(Clients::USERS) as u64,
        users: Vec::new(),
    };
    let mut users: Vec<Use> = by_user
        .into_iter()
        .map(|(user, (connections, last_seen))| Use {
            user,
            connections,
            last_seen,
        })
        .collect();
    users.sort_by(|a, b| b.connections.cmp(&a.connections).then_with(|| a.user.cmp(&b.user)));
    users.truncate(Clients::USERS);
    seen.users = users;
    seen
}

fn user(identity: Identity) -> User {
    let of = |kind, name: Option<String>| User {
        kind,
        namespace: None,
        name: self::name(name.unwrap_or_else(|| "without a name".to_owned())),
    };
    match identity.kind.as_str() {
        "pod" => User {
            namespace: identity.namespace.map(name),
            ..of(
                UserKind::Workload,
                match identity.workload {
                    Some(workload) => {
                        let perhaps = if workload.certain { "" } else { "perhaps " };
                        Some(format!("{perhaps}{} {}", workload.kind, workload.name))
                    }
                    None => identity.pod.map(|pod| format!("pod {pod}")),
                },
            )
        },
        "engine-container" => of(UserKind::EngineContainer, identity.name),
        "host" => of(
            UserKind::Host,
            identity.unit.map(|unit| unit.name).or(identity.executable),
        ),
        "remote" => of(
            UserKind::Remote,
            Some(match identity.address {
                Some(address) => format!("remote address {address}"),
                None => "other remote addresses".to_owned(),
            }),
        ),
        "unnamed" => of(UserKind::Unnamed, Some("a process that could not be named".to_owned())),
        other => of(
            UserKind::Other,
            Some(format!("{other} {}", identity.name.unwrap_or_default())),
        ),
    }
}

fn name(text: String) -> String {
    cut_bytes(text.into(), NAME_LIMIT).into_owned()
}

pub(super) fn cut(text: &str, limit: usize) -> String {
    cut_bytes(text.into(), limit).into_owned()
}

#[cfg(test)]
mod tests;
