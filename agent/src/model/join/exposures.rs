//! Mount → exposure: the container, the engine that the mount leads to, the time when the mount was first seen, and
//! whether the socket was ever used.

use std::collections::BTreeMap;
use std::time::Duration;

use super::place::{Places, ProcessPlace};
use super::{Joined, served};
use crate::model::client::{ClientIdentity, ClientKey, OpenClient};
use crate::model::engine::{Api, Engine, EngineKind, Scope};
use crate::model::exposure::{Exposure, ExposureKey, FilesMount, LostMount, Mounted, Reach, Reached};
use crate::model::history::{ExposureRecord, History};
use crate::model::reading::Reading;
use crate::model::snapshot::Snapshot;
use crate::model::socket::{ListenerId, SocketName};
use crate::model::workload::Membership;

/// The mounts that lead containers to an engine's socket, as this look sees them.
pub(super) fn mounted(
    reaches: &Reading<Vec<Reach>>,
    places: &Places<'_>,
    engines: &[Engine],
) -> Reading<BTreeMap<ExposureKey, Mounted>> {
    reaches.clone().map(|reaches| {
        let mut mounted = BTreeMap::new();
        for reach in reaches {
            let Some((engine, scope, api, listener)) = engine_of(engines, &reach.reached) else {
                continue; // an engine that went between the two looks
            };
            let client = ClientKey {
                identity: identity_of(places, &reach.membership),
                engine,
                scope,
                api,
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
            let mount = match mounted.remove(&key) {
                Some(other) => mount.wider(other),
                None => mount,
            };
            mounted.insert(key, mount);
        }
        mounted
    })
}

/// True if a container may have a read-only mount of a socket of the node's Docker. Reads the mounts one by one, because
/// [`mounted`] merges containers that have the same key.
pub(super) fn is_readonly_mounted(snapshot: &Snapshot, engines: &[Engine]) -> bool {
    let mut reaches = snapshot.reaches.reading.items().iter();
    reaches.any(|reach| {
        let engine = engine_of(engines, &reach.reached);
        reach.is_readonly_somewhere && engine.is_none_or(|(_, scope, api, _)| api == Api::Docker && scope.is_of_node())
    })
}

/// The mounts that lead to no listener, each with its container.
pub(super) fn lost_mounts(snapshot: &Snapshot, places: &Places<'_>) -> Vec<(ClientIdentity, LostMount)> {
    let lost = snapshot.lost_mounts.iter();
    lost.map(|mount| (identity_of(places, &mount.membership), mount.clone()))
        .collect()
}

/// The mounts that lead to Docker's files, each with its container.
pub(super) fn files_mounts(snapshot: &Snapshot, places: &Places<'_>) -> Vec<(ClientIdentity, FilesMount)> {
    let mounts = snapshot.files_mounts.iter();
    mounts
        .map(|mount| (identity_of(places, &mount.membership), mount.clone()))
        .collect()
}

fn engine_of(engines: &[Engine], reached: &Reached) -> Option<(EngineKind, Scope, Api, SocketName)> {
    let of = |id: &ListenerId| {
        let (engine, listener) = served(engines, id).next()?;
        Some((engine.kind, engine.scope.clone(), listener.api, listener.name.clone()))
    };
    match reached {
        Reached::Listener(id) => of(id),
        Reached::Unseen { file, kind, name } => {
            of(&ListenerId::File(*file)).or_else(|| Some((*kind, Scope::Outside, Api::Docker, name.clone())))
        }
    }
}

fn identity_of(places: &Places<'_>, membership: &Membership) -> ClientIdentity {
    match places.of_membership(membership) {
        ProcessPlace::Pod(place) => ClientIdentity::Pod(place),
        ProcessPlace::EngineContainer { engine, name, image } => {
            ClientIdentity::EngineContainer { engine, name, image }
        }
        ProcessPlace::Host => ClientIdentity::Unnamed, // in no container: no source returns such a mount
    }
}

/// Returns the containers that could reach an engine, now or within the window; `used` follows from the snapshot and the history.
/// Remembered exposures are reported only by a look that saw the current ones.
pub fn exposures(snapshot: &Snapshot, joined: &Joined, history: &History, window: Duration) -> Reading<Vec<Exposure>> {
    exposures_to(
        Api::Docker,
        &joined.mounted,
        joined.clients.items(),
        snapshot,
        history,
        window,
    )
}

/// Returns the same for the runtime's own socket.
pub fn runtime_exposures(
    snapshot: &Snapshot,
    joined: &Joined,
    history: &History,
    window: Duration,
) -> Reading<Vec<Exposure>> {
    let open = joined.runtime_clients.items();
    exposures_to(Api::Cri, &joined.runtime_mounted, open, snapshot, history, window)
}

fn exposures_to(
    api: Api,
    mounted: &Reading<BTreeMap<ExposureKey, Mounted>>,
    open: &[OpenClient],
    snapshot: &Snapshot,
    history: &History,
    window: Duration,
) -> Reading<Vec<Exposure>> {
    let open = open.iter().map(|client| &client.key);
    let users: Vec<&ClientKey> = open.chain(history.clients().map(|(key, _)| key)).collect();
    let none = BTreeMap::new();
    let now = match mounted {
        Reading::Known(now) => now,
        Reading::Absent => &none,
        Reading::Unknown(gap) => return Reading::Unknown(gap.clone()),
    };
    let remembered: BTreeMap<&ExposureKey, &ExposureRecord> =
        history.exposures().filter(|(key, _)| key.client.api == api).collect();
    let earlier = remembered
        .iter()
        .filter(|(key, seen)| !now.contains_key(key) && snapshot.taken.since(seen.last) <= window)
        .map(|(key, seen)| (*key, &seen.mount));
    let exposure = |(key, mount): (&ExposureKey, &Mounted)| {
        let at = snapshot.taken;
        let is_mounted = now.contains_key(key);
        let (first, last) = remembered.get(key).map_or((at, at), |seen| (seen.first, seen.last));
        let pod_uid = match &key.client.identity {
            ClientIdentity::Pod(place) => snapshot.pod_uid(place),
            _ => None,
        };
        Exposure {
            identity: key.client.identity.clone(),
            pod_uid,
            agent: None,
            engine: key.client.engine,
            scope: key.client.scope.clone(),
            listener: key.client.listener.clone(),
            via: mount.via,
            host_path: mount.host_path.clone(),
            container_path: key.container_path.clone(),
            readonly: mount.readonly,
            access: mount.access,
            mounted: is_mounted,
            first_seen: first,
            last_seen: if is_mounted { at } else { last },
            used: users.iter().any(|user| user.continues(&key.client)),
        }
    };
    let mut exposures: Vec<Exposure> = now.iter().chain(earlier).map(exposure).collect();
    if exposures.is_empty() && *mounted == Reading::Absent {
        return Reading::Absent;
    }
    exposures.sort_by(|a, b| {
        let order = |e: &Exposure| (!e.mounted, e.identity.clone(), e.container_path.clone());
        order(a).cmp(&order(b))
    });
    Reading::Known(exposures)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::exposure::Access;
    use crate::model::history::History;
    use crate::model::join::join;
    use crate::model::sample::{clear_node, dockerd, id, known, reach};

    /// castoff knows the name of neither container, so both have the same key.
    #[test]
    fn a_container_without_a_name_does_not_hide_the_access_of_another() {
        let with = |n: u8, access: Access, readonly: bool| Reach {
            membership: Membership::of_container(id(n), None),
            access,
            readonly,
            ..reach()
        };
        let (denied, allowed) = (with(8, Access::Denied, false), with(9, Access::Allowed, true));
        for reaches in [[denied.clone(), allowed.clone()], [allowed, denied]] {
            let mut node = clear_node();
            known(&mut node.engines).push(dockerd());
            known(&mut node.reaches).extend(reaches);
            let mounted = join(&node).mounted;
            let mounts: Vec<_> = mounted.known().expect("known").values().collect();
            assert_eq!(mounts.len(), 1, "{mounts:?}");
            assert_eq!((mounts[0].access, mounts[0].readonly), (Access::Allowed, true));
        }
    }

    #[test]
    fn a_readonly_mount_of_a_container_without_a_name_is_not_hidden() {
        let with = |n: u8, readonly: bool| Reach {
            membership: Membership::of_container(id(n), None),
            readonly,
            is_readonly_somewhere: readonly,
            access: Access::Allowed,
            ..reach()
        };
        let mut node = clear_node();
        known(&mut node.engines).push(dockerd());
        for (reaches, expected) in [
            (vec![], false),
            (vec![with(8, false)], false),
            (vec![with(8, true)], true),
            (vec![with(8, true), with(9, false)], true),
        ] {
            *known(&mut node.reaches) = reaches;
            let joined = join(&node);
            assert_eq!(joined.is_readonly_mounted, expected, "{:?}", node.reaches);
            let mut history = History::default();
            history.record_exposures(node.taken, &joined.all_mounted().expect("they are known"));
            assert_eq!(history.exposures().count(), 0, "a container without a name is not kept");
        }
        known(&mut node.engines).clear();
        assert!(
            join(&node).is_readonly_mounted,
            "the engine that it leads to is not known"
        );
    }
}
