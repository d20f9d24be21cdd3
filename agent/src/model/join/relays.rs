//! Relays: their place, their listeners upstream, and the clients behind them.

use std::collections::BTreeMap;

use super::place::Places;
use super::{Remotes, by_identity, identity, served};
use crate::model::client::ClientIdentity;
use crate::model::engine::{Engine, Scope};
use crate::model::reading::Reading;
use crate::model::relay::{Relay, RelayClient, RelayPoint, RelaySighting, leads_back};
use crate::model::snapshot::Snapshot;
use crate::model::socket::{ListenerId, SocketName};

/// Returns the engines. A relay has the scope of the engine behind it, because a relay in a pod is not a Docker inside
/// that pod. An ordinary user's relay keeps the user's scope.
pub(super) fn placed(snapshot: &Snapshot, mut engines: Vec<Engine>) -> Vec<Engine> {
    for relay in snapshot.relays.reading.items() {
        let scope = relay
            .upstream
            .iter()
            .find_map(|id| Some(served(&engines, id).next()?.0.scope.clone()));
        let own = engines
            .iter_mut()
            .filter(|engine| engine.process.as_ref() == Some(&relay.process));
        for engine in own.filter(|engine| !matches!(engine.scope, Scope::User { .. })) {
            engine.scope = scope.clone().unwrap_or(Scope::Host);
        }
    }
    engines
}

/// Returns the relays, each with the clients behind it.
pub(super) fn found(snapshot: &Snapshot, places: &Places<'_>, engines: &[Engine]) -> Reading<Vec<Relay>> {
    snapshot.relays.reading.as_ref().map(|relays| {
        let each = relays.iter().enumerate();
        each.map(|(at, relay)| Relay {
            identity: identity(places, &relay.process),
            listeners: points(relay),
            upstream: relay
                .upstream
                .iter()
                .filter_map(|id| name_of(id, engines, relays))
                .collect(),
            clients: clients(places, relay),
            loops: leads_back(relays, at),
        })
        .collect()
    })
}

fn points(relay: &RelaySighting) -> Vec<RelayPoint> {
    let points = relay.listeners.iter().map(|listener| RelayPoint {
        name: listener.name.clone(),
        basis: listener.basis,
    });
    points.collect()
}

fn name_of(id: &ListenerId, engines: &[Engine], relays: &[RelaySighting]) -> Option<SocketName> {
    let of_engine = served(engines, id).next().map(|(_, listener)| listener.name.clone());
    let of_relays = || relays.iter().flat_map(|relay| &relay.listeners);
    of_engine.or_else(|| of_relays().find(|l| &l.id == id).map(|listener| listener.name.clone()))
}

fn clients(places: &Places<'_>, relay: &RelaySighting) -> Vec<RelayClient> {
    let mut clients: BTreeMap<ClientIdentity, (u32, bool)> = BTreeMap::new();
    let mut remotes = Remotes::default();
    for connection in relay.connections.iter().filter(|connection| relay.shows(connection)) {
        for (identity, _) in by_identity(places, connection, &mut remotes) {
            let (connections, passed_on) = clients.entry(identity).or_default();
            *connections += 1;
            *passed_on |= relay.is_passed_on(connection);
        }
    }
    let client = |(identity, (connections, passed_on))| RelayClient {
        identity,
        connections,
        passed_on,
    };
    clients.into_iter().map(client).collect()
}
