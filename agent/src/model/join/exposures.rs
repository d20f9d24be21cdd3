//! Mount → exposure: whose container it is, which engine it leads to, and whether it was ever used.

use super::place::{Place, Places};
use super::{Joined, served};
use crate::model::client::{ClientIdentity, ClientKey};
use crate::model::engine::{Engine, EngineKind, Scope};
use crate::model::exposure::{Exposure, LostMount, Reach, Reached};
use crate::model::history::History;
use crate::model::reading::Reading;
use crate::model::snapshot::Snapshot;
use crate::model::socket::{ListenerId, SocketName};
use crate::model::workload::Membership;

/// The containers that could reach an engine; `used` by what the snapshot and the history have seen.
pub fn exposures(snapshot: &Snapshot, joined: &Joined, history: &History) -> Reading<Vec<Exposure>> {
    let places = Places::new(snapshot);
    let open = joined.clients.known().into_iter().flatten().map(|client| &client.key);
    let users: Vec<&ClientKey> = open.chain(history.clients().map(|(key, _)| key)).collect();
    let engines = joined.engines.known().map_or(&[][..], Vec::as_slice);
    snapshot.reaches.reading.clone().map(|reaches| {
        let mut exposures = Vec::new();
        for reach in reaches {
            let Some(engine) = engine_of(engines, &reach.reached) else {
                continue; // an engine that went between the two looks
            };
            let mut exposure = exposure(snapshot, &places, reach, engine);
            let key = exposure.key();
            exposure.used = users.iter().any(|user| user.continues(&key));
            exposures.push(exposure);
        }
        exposures.sort_by(|a, b| (&a.identity, &a.container_path).cmp(&(&b.identity, &b.container_path)));
        exposures
    })
}

/// The mounts that lead to no listener, with whose they are.
pub fn lost_mounts(snapshot: &Snapshot) -> Vec<(ClientIdentity, &LostMount)> {
    let places = Places::new(snapshot);
    let lost = snapshot.lost_mounts.iter();
    lost.map(|mount| (identity_of(&places, &mount.membership), mount))
        .collect()
}

type Served = (EngineKind, Scope, SocketName);

fn engine_of(engines: &[Engine], reached: &Reached) -> Option<Served> {
    let of = |id: &ListenerId| {
        let (engine, listener) = served(engines, id).next()?;
        Some((engine.kind, engine.scope.clone(), listener.name.clone()))
    };
    match reached {
        Reached::Listener(id) => of(id),
        Reached::Unseen { file, kind, name } => {
            of(&ListenerId::File(*file)).or_else(|| Some((*kind, Scope::Outside, name.clone())))
        }
    }
}

fn identity_of(places: &Places<'_>, membership: &Membership) -> ClientIdentity {
    match places.of_membership(membership) {
        Place::Pod(place) => ClientIdentity::Pod(place),
        Place::EngineContainer { engine, name, image } => ClientIdentity::EngineContainer { engine, name, image },
        Place::Host => ClientIdentity::Unnamed, // in no container: a source gives none such
    }
}

fn exposure(snapshot: &Snapshot, places: &Places<'_>, reach: Reach, (engine, scope, listener): Served) -> Exposure {
    let identity = identity_of(places, &reach.membership);
    let pod_uid = match &identity {
        ClientIdentity::Pod(place) => snapshot.pod_uid(place),
        _ => None,
    };
    Exposure {
        identity,
        pod_uid,
        engine,
        scope,
        listener,
        via: reach.via,
        host_path: reach.host_path,
        container_path: reach.container_path,
        readonly: reach.readonly,
        access: reach.access,
        used: false,
    }
}
