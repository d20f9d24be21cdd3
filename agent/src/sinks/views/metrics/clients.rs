//! Metrics of the clients of a Docker socket, and of the containers that could be.
//!
//! Only `castoff_pod_*` has the labels `namespace`, `pod` and `container`, and none of them is ever empty: with `honorLabels` an
//! empty label counts as missing, and is replaced by that of the scraped agent's own pod.
//!
//! Clients of a CRI runtime's own socket have families of their own: they do not use Docker, and a sum over the others must stay
//! the answer to "who depends on Docker".

use super::catalogue as c;
use super::family::{Family, number};
use super::node::seen;
use crate::findings::report::Report;
use crate::model::client::{Client, ClientIdentity, container_label};
use crate::model::container::PodContainer;
use crate::model::exposure::Exposure;
use crate::model::relay::Relay;
use crate::model::turns::in_turns;

const UNKNOWN: &str = "(unknown)";

pub(super) fn families(report: &Report) -> Vec<Family> {
    let mut families = exposures(report);
    families.push(last_connects(report));
    if let Some(clients) = seen(&report.clients) {
        families.push(counted(&c::CLIENTS, clients));
        families.extend(named(clients.iter().collect()));
    }
    families.extend(seen(&report.relays).map(relays));
    families.extend(seen(&report.runtime_clients).map(|clients| counted(&c::RUNTIME_CLIENTS, clients)));
    families.extend(seen(&report.runtime_exposures).map(runtime_exposures));
    families
}

fn relays(relays: &[Relay]) -> Family {
    let mut family = Family::new(&c::RELAYS);
    for word in ["yes", "maybe"] {
        family.add([word], 0.0);
    }
    for relay in relays {
        family.add([if relay.is_sure() { "yes" } else { "maybe" }], 1.0);
    }
    family
}

fn runtime_exposures(exposures: &[Exposure]) -> Family {
    let mut family = Family::new(&c::RUNTIME_EXPOSURES);
    for who in ClientIdentity::CODES {
        family.add([who], 0.0);
    }
    for exposure in exposures.iter().filter(|exposure| exposure.mounted) {
        family.add([exposure.identity.code()], 1.0);
    }
    family
}

fn counted(description: &'static c::Description, clients: &[Client]) -> Family {
    let mut family = Family::new(description);
    for who in ClientIdentity::CODES {
        for state in ["connected", "earlier"] {
            family.add([who, state], 0.0);
        }
    }
    for client in clients.iter().filter(|client| client.key.scope.is_of_node()) {
        let state = if client.is_open() { "connected" } else { "earlier" };
        family.add([client.key.identity.code(), state], 1.0);
    }
    family
}

/// The families of clients of one kind.
struct Use {
    connections: Family,
    first_seen: Family,
    last_seen: Family,
    connects: Family,
    /// The requests, with one more label; none over TCP, where requests are not seen.
    requests: Option<Family>,
}

impl Use {
    fn add<const N: usize>(&mut self, labels: [&str; N], client: &Client) {
        let open = u64::from(client.connections) + u64::from(client.pending);
        self.connections.add(labels, number(open));
        self.first_seen.lower(labels, number(client.first_seen.as_unix()));
        self.last_seen.raise(labels, number(client.last_seen.as_unix()));
        self.connects.add(labels, number(client.connects));
        for (operation, count) in &client.requests.operations {
            if let Some(requests) = &mut self.requests {
                requests.add_to(&[&labels[..], &[operation.code()]].concat(), number(*count));
            }
        }
    }

    fn into_families(self) -> impl Iterator<Item = Family> {
        let uses = [self.connections, self.first_seen, self.last_seen, self.connects];
        uses.into_iter().chain(self.requests)
    }
}

/// The families of pods, of the host's processes, of engines' containers, of other machines and of unnamed clients.
fn uses() -> [Use; 5] {
    let new = |[connections, first_seen, last_seen, connects]: [&'static c::Description; 4], requests| Use {
        connections: Family::new(connections),
        first_seen: Family::new(first_seen),
        last_seen: Family::new(last_seen),
        connects: Family::new(connects),
        requests: Option::map(requests, Family::new),
    };
    [
        new(
            [
                &c::POD_CONNECTIONS,
                &c::POD_FIRST_SEEN,
                &c::POD_LAST_SEEN,
                &c::POD_CONNECTS,
            ],
            Some(&c::POD_REQUESTS),
        ),
        new(
            [
                &c::HOST_CONNECTIONS,
                &c::HOST_FIRST_SEEN,
                &c::HOST_LAST_SEEN,
                &c::HOST_CONNECTS,
            ],
            Some(&c::HOST_REQUESTS),
        ),
        new(
            [
                &c::ENGINE_CONTAINER_CONNECTIONS,
                &c::ENGINE_CONTAINER_FIRST_SEEN,
                &c::ENGINE_CONTAINER_LAST_SEEN,
                &c::ENGINE_CONTAINER_CONNECTS,
            ],
            Some(&c::ENGINE_CONTAINER_REQUESTS),
        ),
        new(
            [
                &c::REMOTE_CONNECTIONS,
                &c::REMOTE_FIRST_SEEN,
                &c::REMOTE_LAST_SEEN,
                &c::REMOTE_CONNECTS,
            ],
            None,
        ),
        new(
            [
                &c::UNNAMED_CONNECTIONS,
                &c::UNNAMED_FIRST_SEEN,
                &c::UNNAMED_LAST_SEEN,
                &c::UNNAMED_CONNECTS,
            ],
            Some(&c::UNNAMED_REQUESTS),
        ),
    ]
}

fn named(clients: Vec<&Client>) -> Vec<Family> {
    let [mut pods, mut hosts, mut engine_containers, mut remotes, mut unnamed] = uses();
    let mut unseen = [&c::UNSEEN_FIRST_SEEN, &c::UNSEEN_LAST_SEEN, &c::UNSEEN_CONNECTS].map(Family::new);
    // If there are more than a family has room for, the owners take turns.
    for client in in_turns(clients, |client| (&client.key.identity, &client.key.scope)) {
        let engine = client.key.engine.code();
        let scope = client.key.scope.code();
        match &client.key.identity {
            ClientIdentity::Pod(place) => {
                let [namespace, pod, container, workload, kind] = labels_of(place);
                pods.add([namespace, pod, container, workload, kind, engine, scope], client);
            }
            ClientIdentity::Host { unit, executable, uid } => {
                let unit = unit.as_ref().map_or_else(|| "(none)".to_owned(), ToString::to_string);
                let uid = uid.map_or_else(|| UNKNOWN.to_owned(), |uid| uid.to_string());
                hosts.add([&unit, or_unknown(executable), &uid, engine, scope], client);
            }
            ClientIdentity::EngineContainer {
                engine: owner,
                name,
                image,
            } => {
                let owner = owner.map_or(UNKNOWN, |o| o.code());
                let name = container_label(name, image.as_deref());
                engine_containers.add([or_unknown(&name), owner, engine, scope], client);
            }
            ClientIdentity::Remote { address } => {
                let address = address.map_or_else(|| "(others)".to_owned(), |address| address.to_string());
                remotes.add([&address, engine, scope], client);
            }
            ClientIdentity::Unnamed => unnamed.add([engine, scope], client),
            ClientIdentity::Unseen => add_unseen(&mut unseen, [engine, scope], client),
        }
    }
    let known = [pods, hosts, engine_containers, remotes, unnamed].into_iter();
    known.flat_map(Use::into_families).chain(unseen).collect()
}

/// A client that no look saw never has an open connection.
fn add_unseen([first_seen, last_seen, connects]: &mut [Family; 3], labels: [&str; 2], client: &Client) {
    first_seen.lower(labels, number(client.first_seen.as_unix()));
    last_seen.raise(labels, number(client.last_seen.as_unix()));
    connects.add(labels, number(client.connects));
}

/// The last connect to each listener, by its file.
fn last_connects(report: &Report) -> Family {
    let mut family = Family::new(&c::LISTENER_LAST_CONNECT);
    for engine in seen(&report.engines).unwrap_or_default() {
        let [kind, scope] = [engine.kind.code(), engine.scope.code()];
        for last in engine.listeners.iter().filter_map(|listener| listener.last_connect) {
            if let Some(time) = last.time() {
                family.raise([kind, scope, last.code()], number(time.as_unix()));
            }
        }
    }
    family
}

/// The families of mounts, for containers of one kind.
struct Exposed {
    mounts: Family,
    first_seen: Family,
    last_seen: Family,
}

impl Exposed {
    fn new([mounts, first_seen, last_seen]: [&'static c::Description; 3]) -> Self {
        Self {
            mounts: Family::new(mounts),
            first_seen: Family::new(first_seen),
            last_seen: Family::new(last_seen),
        }
    }

    fn add<const N: usize>(&mut self, labels: [&str; N], exposure: &Exposure) {
        self.mounts.add(labels, f64::from(u8::from(exposure.mounted)));
        self.first_seen.lower(labels, number(exposure.first_seen.as_unix()));
        self.last_seen.raise(labels, number(exposure.last_seen.as_unix()));
    }
}

fn exposures(report: &Report) -> Vec<Family> {
    let mut pods = Exposed::new([
        &c::POD_EXPOSURE,
        &c::POD_EXPOSURE_FIRST_SEEN,
        &c::POD_EXPOSURE_LAST_SEEN,
    ]);
    let mut others = Exposed::new([
        &c::ENGINE_CONTAINER_EXPOSURE,
        &c::ENGINE_CONTAINER_EXPOSURE_FIRST_SEEN,
        &c::ENGINE_CONTAINER_EXPOSURE_LAST_SEEN,
    ]);
    let exposures = seen(&report.exposures).unwrap_or_default().iter();
    for e in in_turns(exposures.collect(), |e| (&e.identity, &e.scope)) {
        let [engine, scope, via] = [e.engine.code(), e.scope.code(), e.via.code()];
        let used = if e.used { "true" } else { "false" };
        match &e.identity {
            ClientIdentity::Pod(place) => {
                let [namespace, pod, container, workload, kind] = labels_of(place);
                pods.add([namespace, pod, container, workload, kind, engine, scope, via, used], e);
            }
            ClientIdentity::EngineContainer {
                engine: owner,
                name,
                image,
            } => {
                let owner = owner.map_or(UNKNOWN, |o| o.code());
                let name = container_label(name, image.as_deref());
                others.add([or_unknown(&name), owner, engine, scope, via, used], e);
            }
            ClientIdentity::Host { .. }
            | ClientIdentity::Remote { .. }
            | ClientIdentity::Unnamed
            | ClientIdentity::Unseen => {}
        }
    }
    let families = |of: Exposed| [of.mounts, of.first_seen, of.last_seen];
    [pods, others].into_iter().flat_map(families).collect()
}

/// Namespace, pod and container, and name and kind of the pod's workload: the pod itself where that is unknown or uncertain.
fn labels_of(place: &PodContainer) -> [&str; 5] {
    let pod = or_unknown(&place.pod);
    let container = or_unknown(place.container.as_deref().unwrap_or_default());
    let [workload, kind] = match &place.workload {
        Some(workload) if workload.certain => [or_unknown(&workload.name), workload.kind.code()],
        _ => [pod, "Pod"],
    };
    [or_unknown(&place.namespace), pod, container, workload, kind]
}

fn or_unknown(name: &str) -> &str {
    if name.is_empty() { UNKNOWN } else { name }
}
