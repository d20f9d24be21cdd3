//! The rules: they take one snapshot, the history and the settings, and return one report. Pure: no input or output, no errors.
//!
//! A family of rules is a file with one function from [`Facts`] to findings. To add a finding: a code in [`report`], its text in
//! [`catalogue`], a rule in the file of its family.

mod advice;
pub mod agents;
pub mod blind_spots;
mod builds;
pub mod callers;
pub mod catalogue;
pub mod containerd;
pub mod daemon_config;
pub mod engines;
pub mod left_over;
pub mod mounts;
pub mod readiness;
pub mod relays;
pub mod releases;
pub mod report;
pub mod runtime;
pub mod runtime_socket;
pub mod usage;
pub mod verdict;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashMap;
use std::time::Duration;

use crate::model::client::{Client, ClientIdentity, ClientKey, OpenClient, Origin};
use crate::model::container::ShadowContainer;
use crate::model::engine::{Api, Engine};
use crate::model::exposure::{Exposure, FilesMount, LostMount};
use crate::model::history::History;
use crate::model::host::UserNamespaces;
use crate::model::join::{self, Joined};
use crate::model::reading::{Gap, Reading, Source};
use crate::model::relay::Relay;
use crate::model::snapshot::{ConnectionsSeen, Snapshot};
use crate::model::time::Timestamp;
use agents::claims::Claims;
use readiness::Grounds;
use readiness::target::Target;
use report::{API_VERSION, Finding, KubeletCeiling, Report, SourceStatus};

/// The user's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The node's name.
    pub node: Option<String>,
    /// The time for which a use counts.
    pub window: Duration,
    /// The targets that the node is to be ready for.
    pub ready_for: Vec<Target>,
}

/// The facts that the rules judge.
pub struct Facts<'a> {
    /// The snapshot of the sources.
    pub snapshot: &'a Snapshot,
    /// The engines with their scope.
    pub engines: &'a Reading<Vec<Engine>>,
    /// The clients that use them, now or within the window.
    pub clients: &'a Reading<Vec<Client>>,
    /// The clients among them that use an engine of the node. If the current clients are unknown, the remembered
    /// clients of the window, which count even if nothing can be seen now.
    pub used_by: Vec<&'a Client>,
    /// The clients that pass the API on, or may do so.
    pub relays: &'a Reading<Vec<Relay>>,
    /// The containers that could reach them.
    pub exposures: &'a Reading<Vec<Exposure>>,
    /// Clients of the runtime's own socket, now or within the window, except the kubelet and the runtime itself.
    pub runtime_clients: &'a Reading<Vec<Client>>,
    /// Containers that could reach that socket.
    pub runtime_exposures: &'a Reading<Vec<Exposure>>,
    /// The mounts that lead to no listener, each with its container.
    pub lost_mounts: &'a [(ClientIdentity, LostMount)],
    /// The containers that mount Docker's files.
    pub files_mounts: &'a [(ClientIdentity, FilesMount)],
    /// Containers outside Kubernetes.
    pub shadow_containers: &'a Reading<Vec<ShadowContainer>>,
    /// The newest kubelet that the runtime can serve.
    pub ceiling: &'a Reading<KubeletCeiling>,
    /// The names by which programs claim to be known agents.
    agents: &'a Claims<'a>,
    /// The gaps of each source.
    pub gaps: &'a [(Source, &'a Gap)],
    /// The time for which a use counts.
    pub window: Duration,
}

impl<'a> Facts<'a> {
    /// The engines of the node.
    fn node_engines(&self) -> impl Iterator<Item = &'a Engine> {
        seen(self.engines).filter(|engine| engine.scope.is_of_node())
    }

    /// The containers that could reach an engine of the node.
    fn node_exposures(&self) -> impl Iterator<Item = &'a Exposure> {
        seen(self.exposures).filter(|exposure| exposure.scope.is_of_node())
    }

    /// The settings on which builds without root depend; none if the host's files could not be read.
    fn user_namespaces(&self) -> Option<&'a UserNamespaces> {
        let host = self.snapshot.host.reading.known();
        host.map(|host| &*host.user_namespaces)
    }

    /// The containers that the node's Docker runs outside Kubernetes.
    fn docker_containers(&self) -> impl Iterator<Item = &'a ShadowContainer> {
        seen(self.shadow_containers).filter(|container| container.uses_docker())
    }
}

/// The items that were seen; none if they are unknown.
fn seen<T>(reading: &Reading<Vec<T>>) -> impl Iterator<Item = &T> {
    reading.items().iter()
}

/// The clients and exposures of one look and of the window.
struct Lists {
    clients: Reading<Vec<Client>>,
    /// Docker's clients that are remembered within the window and have no connection now.
    remembered: Vec<Client>,
    exposures: Reading<Vec<Exposure>>,
    runtime_clients: Reading<Vec<Client>>,
    runtime_exposures: Reading<Vec<Exposure>>,
}

impl Lists {
    fn new(snapshot: &Snapshot, joined: &Joined, history: &History, agents: &Claims<'_>, window: Duration) -> Self {
        let unseen = latest_unseen(&joined.engines);
        let known = |api, open: &[OpenClient]| {
            let mut known = clients(api, open, history, &unseen, snapshot, window);
            for client in &mut known {
                client.agent = agents.agent_of(&client.key.identity, &client.holders);
            }
            known
        };
        let of = |api, open: &Reading<Vec<OpenClient>>| open.as_ref().map(|open| known(api, open));
        let named = |mut exposures: Vec<Exposure>| {
            for exposure in &mut exposures {
                exposure.agent = agents.agent_of(&exposure.identity, &[]);
            }
            exposures
        };
        Self {
            clients: of(Api::Docker, &joined.clients),
            remembered: known(Api::Docker, &[]),
            exposures: join::exposures(snapshot, joined, history, window).map(named),
            runtime_clients: of(Api::Cri, &joined.runtime_clients),
            runtime_exposures: join::runtime_exposures(snapshot, joined, history, window).map(named),
        }
    }

    fn facts<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        joined: &'a Joined,
        agents: &'a Claims<'a>,
        (ceiling, gaps): (&'a Reading<KubeletCeiling>, &'a [(Source, &'a Gap)]),
        window: Duration,
    ) -> Facts<'a> {
        Facts {
            snapshot,
            engines: &joined.engines,
            clients: &self.clients,
            used_by: of_node(self.clients.known().unwrap_or(&self.remembered)),
            relays: &joined.relays,
            exposures: &self.exposures,
            runtime_clients: &self.runtime_clients,
            runtime_exposures: &self.runtime_exposures,
            lost_mounts: &joined.lost_mounts,
            files_mounts: &joined.files_mounts,
            shadow_containers: &joined.shadow_containers,
            ceiling,
            agents,
            gaps,
            window,
        }
    }
}

/// Judges one look; `joined` holds its joined facts. `history` must have recorded the look already; `sources` holds the status of
/// each source.
pub fn evaluate(
    snapshot: &Snapshot,
    joined: Joined,
    history: &History,
    sources: Vec<SourceStatus>,
    settings: &Settings,
) -> Report {
    let agents = Claims::new(snapshot);
    let lists = Lists::new(snapshot, &joined, history, &agents, settings.window);
    let ceiling = runtime::ceiling(snapshot);
    let gaps = gaps_of(&sources);
    let facts = lists.facts(snapshot, &joined, &agents, (&ceiling, &gaps), settings.window);
    let (verdict, verdict_reason) = verdict::judge(&facts);
    let report = Report {
        api_version: API_VERSION,
        kind: "NodeReport",
        castoff_version: env!("CARGO_PKG_VERSION"),
        node: settings.node.clone(),
        time: snapshot.taken,
        verdict,
        verdict_reason,
        findings: find(&facts),
        timeline: history.timeline(snapshot.taken, facts.used_by.iter().map(|client| &client.key)),
        runtime: snapshot.runtime.runtime.reading.clone(),
        refused_endpoints: snapshot.runtime.refused.clone(),
        kubelet_ceiling: ceiling,
        kubelet: snapshot.kubelet.reading.clone(),
        cgroups: snapshot.host.reading.as_ref().and_then(|host| host.cgroups.clone()),
        containers: snapshot.runtime.containers.reading.clone().map(|c| count(c.len())),
        pods: ready_pods(snapshot),
        engines: joined.engines,
        clients: lists.clients,
        docker_free: history.disuse().reading(),
        relays: joined.relays,
        exposures: lists.exposures,
        runtime_clients: lists.runtime_clients,
        runtime_exposures: lists.runtime_exposures,
        shadow_containers: joined.shadow_containers,
        daemon_config: daemon_config::reading(snapshot),
        shared_containerd: containerd::reading(snapshot),
        orphaned_shims: runtime::orphaned_shims(snapshot),
        readiness: Vec::new(),
        connect_events: snapshot.connects.reading.as_ref().map(|seen| seen.events.clone()),
        holder_method: connections(snapshot).map(|seen| seen.method),
        iterator_refused: connections(snapshot).and_then(|seen| seen.iterator_refused.clone()),
        sources,
    };
    with_readiness(report, &settings.ready_for)
}

fn connections(snapshot: &Snapshot) -> Option<&ConnectionsSeen> {
    snapshot.connections.reading.known()
}

fn gaps_of(sources: &[SourceStatus]) -> Vec<(Source, &Gap)> {
    let each = sources.iter();
    each.flat_map(|s| s.gaps.iter().map(|g| (s.source, g))).collect()
}

fn with_readiness(mut report: Report, targets: &[Target]) -> Report {
    if !targets.is_empty() {
        let grounds = Grounds::of(&report);
        report.readiness = targets.iter().map(|target| grounds.judge(*target)).collect();
    }
    report
}

/// The findings of all families, most severe first.
fn find(facts: &Facts<'_>) -> Vec<Finding> {
    let families = [
        runtime::find,
        usage::find,
        relays::find,
        mounts::find,
        engines::find,
        left_over::find,
        containerd::find,
        daemon_config::find,
        callers::find,
        runtime_socket::find,
        blind_spots::find,
    ];
    let mut findings: Vec<Finding> = families.iter().flat_map(|find| find(facts)).collect();
    findings.sort_by(|a, b| (a.severity, a.code, &a.subject).cmp(&(b.severity, b.code, &b.subject)));
    findings
}

fn of_node(clients: &[Client]) -> Vec<&Client> {
    clients.iter().filter(|client| client.key.scope.is_of_node()).collect()
}

fn ready_pods(snapshot: &Snapshot) -> Reading<u32> {
    let pods = snapshot.runtime.pods.reading.clone();
    pods.map(|pods| count(pods.iter().filter(|pod| pod.ready).count()))
}

/// The latest time at which a client that no look saw may have connected to each listener: where access times are kept once a
/// day, this is a day after the time that was seen.
fn latest_unseen(engines: &Reading<Vec<Engine>>) -> HashMap<ClientKey, Timestamp> {
    let listeners = seen(engines).flat_map(|engine| engine.listeners.iter().map(move |listener| (engine, listener)));
    listeners
        .filter_map(|(engine, listener)| Some((join::unseen_key(engine, listener), listener.last_connect?.latest()?)))
        .collect()
}

/// The clients of one API, now and within the window: open ones first, then the latest seen.
fn clients(
    api: Api,
    open: &[OpenClient],
    history: &History,
    unseen: &HashMap<ClientKey, Timestamp>,
    snapshot: &Snapshot,
    window: Duration,
) -> Vec<Client> {
    let open: HashMap<&ClientKey, &OpenClient> = open.iter().map(|client| (&client.key, client)).collect();
    let mut clients: Vec<Client> = history
        .clients()
        .filter(|(key, _)| key.api == api)
        .filter_map(|(key, seen)| {
            let now = open.get(key);
            let last = unseen.get(key).map_or(seen.last, |latest| seen.last.max(*latest));
            let past = seen.as_runtime || snapshot.taken.since(last) > window;
            if now.is_none() && past {
                return None;
            }
            let pod_uid = match &key.identity {
                ClientIdentity::Pod(place) => snapshot.pod_uid(place),
                _ => None,
            };
            Some(Client {
                key: key.clone(),
                pod_uid,
                agent: None,
                connections: now.map_or(0, |n| n.connections),
                pending: now.map_or(0, |n| n.pending),
                holders: now.map_or_else(Vec::new, |n| n.holders.clone()),
                connectors: now.map_or_else(Vec::new, |n| n.connectors.clone()),
                origin: match key.identity {
                    ClientIdentity::Unseen => Origin::FileTimes,
                    _ if seen.by_event => Origin::Event,
                    _ => Origin::Polled,
                },
                first_seen: seen.first,
                last_seen: seen.last,
                connects: seen.connects,
                requests: seen.requests.clone(),
                as_runtime: seen.as_runtime,
                timeline: history.timeline(snapshot.taken, [key]),
            })
        })
        .collect();
    clients.sort_by(|a, b| {
        b.is_open()
            .cmp(&a.is_open())
            .then(b.last_seen.cmp(&a.last_seen))
            .then(a.key.cmp(&b.key))
    });
    clients
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
