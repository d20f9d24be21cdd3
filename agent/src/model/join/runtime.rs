//! The runtime's own socket: its unexpected clients, and the containers that mount it.

use std::collections::BTreeMap;

use super::exposures::mounted;
use super::open_clients;
use super::place::Places;
use crate::model::client::OpenClient;
use crate::model::connect::Connects;
use crate::model::exposure::{ExposureKey, Mounted};
use crate::model::reading::{Gap, Hides, Reading, Sighting};
use crate::model::request::Requests;
use crate::model::runtime_socket::RuntimeSocket;
use crate::model::snapshot::Snapshot;
use crate::model::socket::Connection;

/// Returns the clients of the runtime's socket. A connection whose holder could not be named is left out, because it may be the
/// kubelet's; a gap reports it.
pub(super) fn clients(snapshot: &Snapshot, places: &Places<'_>) -> Reading<Vec<OpenClient>> {
    snapshot.runtime_socket.as_ref().and_then(|socket| {
        let seen = match &socket.connections.reading {
            Reading::Known(seen) => seen,
            Reading::Absent => return Reading::Absent,
            Reading::Unknown(gap) => return Reading::Unknown(gap.clone()),
        };
        let connections: Vec<Connection> = seen
            .connections
            .iter()
            .filter_map(|connection| of_others(socket, connection))
            .collect();
        let connects = snapshot.connects.reading.known().map_or(&[][..], |seen| &seen.connects);
        let connects: Vec<Connects> = connects
            .iter()
            .filter(|reported| {
                reported
                    .process
                    .as_ref()
                    .is_some_and(|process| !socket.expects(process))
            })
            // Requests are classed by the paths of Docker's API, and these are none of it.
            .map(|reported| Connects {
                requests: Requests::default(),
                ..reported.clone()
            })
            .filter(|reported| reported.count > 0)
            .collect();
        let server = super::engine(places, socket.server.clone());
        let clients = open_clients(places, &[server], &connections, &connects);
        whole(clients, &socket.connections, |hides| {
            matches!(hides, Hides::Client | Hides::Identity)
        })
    })
}

/// Returns the mounts that lead containers to the runtime's socket.
pub(super) fn mounted_by_containers(
    snapshot: &Snapshot,
    places: &Places<'_>,
) -> Reading<BTreeMap<ExposureKey, Mounted>> {
    snapshot.runtime_socket.as_ref().and_then(|socket| {
        let server = super::engine(places, socket.server.clone());
        mounted(&socket.reaches.reading, places, &[server])
    })
}

/// Returns a connection with only its unexpected holders.
fn of_others(socket: &RuntimeSocket, connection: &Connection) -> Option<Connection> {
    let mut others = connection.clone();
    others.holders.retain(|holder| !socket.expects(holder));
    (!others.holders.is_empty()).then_some(others)
}

/// Returns the clients, or the gap if none is seen: "no clients" is claimed only where everything was seen.
fn whole<T>(clients: Vec<OpenClient>, seen: &Sighting<T>, hides: impl Fn(Hides) -> bool) -> Reading<Vec<OpenClient>> {
    let is_hiding = |gap: &&Gap| hides(gap.hides);
    match seen.all_gaps().find(is_hiding) {
        Some(gap) if clients.is_empty() => Reading::Unknown(gap.clone()),
        _ => Reading::Known(clients),
    }
}
