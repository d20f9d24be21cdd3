//! Mount → exposure: whose container it is, which engine it leads to, since when, and whether it was ever used.

use std::collections::BTreeMap;
use std::time::Duration;

use super::place::{Places, ProcessPlace};
use super::{Joined, served};
use crate::model::client::{ClientIdentity, ClientKey};
use crate::model::engine::{Api, Engine, EngineKind, Scope};
use crate::model::exposure::{Exposure, ExposureKey, LostMount, Mounted, Reached};
use crate::model::history::{History, SeenMounted};
use crate::model::reading::Reading;
use crate::model::snapshot::Snapshot;
use crate::model::socket::{ListenerId, SocketName};
use crate::model::workload::Membership;

/// The ways of containers to an engine's socket that this look sees.
pub(super) fn mounted(
    snapshot: &Snapshot,
    places: &Places<'_>,
    engines: &[Engine],
) -> Reading<BTreeMap<ExposureKey, Mounted>> {
    snapshot.reaches.reading.clone().map(|reaches| {
        let mut mounted = BTreeMap::new();
        for reach in reaches {
            let Some((engine, scope, listener)) = engine_of(engines, &reach.reached) else {
                continue; // an engine that went between the two looks
            };
            let client = ClientKey {
                identity: identity_of(places, &reach.membership),
                engine,
                scope,
                api: Api::Docker,
                listener,
            };
            let key = ExposureKey {
                client,
                container_path: reach.container_path,
            };
            let mount = Mounted {
                via: reach.via,
                host_path: reach.host_path,
                readonly: reach.readonly,
                access: reach.access,
            };
            mounted.insert(key, mount);
        }
        mounted
    })
}

/// The mounts that lead to no listener, with whose they are.
pub(super) fn lost_mounts(snapshot: &Snapshot, places: &Places<'_>) -> Vec<(ClientIdentity, LostMount)> {
    let lost = snapshot.lost_mounts.iter();
    lost.map(|mount| (identity_of(places, &mount.membership), mount.clone()))
        .collect()
}

fn engine_of(engines: &[Engine], reached: &Reached) -> Option<(EngineKind, Scope, SocketName)> {
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
        ProcessPlace::Pod(place) => ClientIdentity::Pod(place),
        ProcessPlace::EngineContainer { engine, name, image } => {
            ClientIdentity::EngineContainer { engine, name, image }
        }
        ProcessPlace::Host => ClientIdentity::Unnamed, // in no container: a source gives none such
    }
}

/// The containers that could reach an engine, now or within the window; `used` by what the snapshot and the history have
/// seen. What is remembered is told only beside a look that saw what is there now.
pub fn exposures(snapshot: &Snapshot, joined: &Joined, history: &History, window: Duration) -> Reading<Vec<Exposure>> {
    let open = joined.clients.items().iter().map(|client| &client.key);
    let users: Vec<&ClientKey> = open.chain(history.clients().map(|(key, _)| key)).collect();
    let none = BTreeMap::new();
    let now = match &joined.mounted {
        Reading::Known(now) => now,
        Reading::Absent => &none,
        Reading::Unknown(gap) => return Reading::Unknown(gap.clone()),
    };
    let remembered: BTreeMap<&ExposureKey, &SeenMounted> = history.exposures().collect();
    let earlier = remembered
        .iter()
        .filter(|(key, seen)| !now.contains_key(key) && snapshot.taken.since(seen.last) <= window)
        .map(|(key, seen)| (*key, &seen.mount));
    let exposure = |(key, mount): (&ExposureKey, &Mounted)| {
        let at = snapshot.taken;
        let mounted = now.contains_key(key);
        let (first, last) = remembered.get(key).map_or((at, at), |seen| (seen.first, seen.last));
        let pod_uid = match &key.client.identity {
            ClientIdentity::Pod(place) => snapshot.pod_uid(place),
            _ => None,
        };
        Exposure {
            identity: key.client.identity.clone(),
            pod_uid,
            engine: key.client.engine,
            scope: key.client.scope.clone(),
            listener: key.client.listener.clone(),
            via: mount.via,
            host_path: mount.host_path.clone(),
            container_path: key.container_path.clone(),
            readonly: mount.readonly,
            access: mount.access,
            mounted,
            first_seen: first,
            last_seen: if mounted { at } else { last },
            used: users.iter().any(|user| user.continues(&key.client)),
        }
    };
    let mut exposures: Vec<Exposure> = now.iter().chain(earlier).map(exposure).collect();
    if exposures.is_empty() && snapshot.reaches.reading == Reading::Absent {
        return Reading::Absent;
    }
    exposures.sort_by(|a, b| {
        let order = |e: &Exposure| (!e.mounted, e.identity.clone(), e.container_path.clone());
        order(a).cmp(&order(b))
    });
    Reading::Known(exposures)
}
