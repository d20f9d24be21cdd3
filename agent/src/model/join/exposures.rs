//! Mount → exposure: whose container it is, which engine it leads to, and whether it was ever used.

use super::place::{Place, Places};
use super::{Joined, served};
use crate::model::client::{ClientIdentity, ClientKey};
use crate::model::engine::{Engine, Listener};
use crate::model::exposure::{Exposure, Reach};
use crate::model::history::History;
use crate::model::reading::Reading;
use crate::model::snapshot::Snapshot;

/// The containers that could reach an engine; `used` by what the snapshot and the history have seen.
pub fn exposures(snapshot: &Snapshot, joined: &Joined, history: &History) -> Reading<Vec<Exposure>> {
    let places = Places::new(snapshot);
    let open = joined.clients.known().into_iter().flatten().map(|client| &client.key);
    let users: Vec<&ClientKey> = open.chain(history.clients().map(|(key, _)| key)).collect();
    let engines = joined.engines.known().map_or(&[][..], Vec::as_slice);
    snapshot.reaches.reading.clone().map(|reaches| {
        let mut exposures = Vec::new();
        for reach in reaches {
            for (engine, listener) in served(engines, &reach.listener) {
                let mut exposure = exposure(snapshot, &places, &reach, engine, listener);
                let key = exposure.key();
                exposure.used = users.iter().any(|user| user.continues(&key));
                exposures.push(exposure);
            }
        }
        exposures.sort_by(|a, b| (&a.identity, &a.container_path).cmp(&(&b.identity, &b.container_path)));
        exposures
    })
}

fn exposure(snapshot: &Snapshot, places: &Places<'_>, reach: &Reach, engine: &Engine, listener: &Listener) -> Exposure {
    let identity = match places.of_membership(&reach.membership) {
        Place::Pod(place) => ClientIdentity::Pod(place),
        Place::EngineContainer { engine, name, image } => ClientIdentity::EngineContainer { engine, name, image },
        Place::Host => ClientIdentity::Unnamed, // in no container: a source gives none such
    };
    let pod_uid = match &identity {
        ClientIdentity::Pod(place) => snapshot.pod_uid(place),
        _ => None,
    };
    Exposure {
        identity,
        pod_uid,
        engine: engine.kind,
        scope: engine.scope.clone(),
        listener: listener.name.clone(),
        via: reach.via,
        host_path: reach.host_path.clone(),
        container_path: reach.container_path.clone(),
        readonly: reach.readonly,
        access: reach.access,
        used: false,
    }
}
