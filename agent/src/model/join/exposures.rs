//! Mount → exposure: the container, the engine that the mount leads to, the time when the mount was first seen, and
//! whether the socket was ever used.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
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
            let place = places.of_membership(&reach.membership);
            let unnamed = places.unnamed(&reach.membership, &place);
            let client = ClientKey {
                identity: identity_at(place),
                engine,
                scope,
                api,
                listener,
            };
            let key = ExposureKey {
                client,
                container_path: reach.container_path,
                unnamed,
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
    identity_at(places.of_membership(membership))
}

fn identity_at(place: ProcessPlace) -> ClientIdentity {
    match place {
        ProcessPlace::Pod(place) => ClientIdentity::Pod(place),
        ProcessPlace::EngineContainer { engine, name, image } => {
            ClientIdentity::EngineContainer { engine, name, image }
        }
        ProcessPlace::Host => ClientIdentity::Unnamed, // in no container: no source returns such a mount
    }
}

/// Returns the exposures of the history that were recorded without a name and are not mounted now, each with the key
/// that it has now: under the name that this look found, or under the one that it keeps because no look will find
/// another.
pub fn named_since(
    snapshot: &Snapshot,
    mounted: &BTreeMap<ExposureKey, Mounted>,
    history: &History,
) -> Vec<(ExposureKey, ExposureKey)> {
    let unnamed = history.exposures().map(|(key, _)| key);
    let unnamed = unnamed.filter(|key| key.unnamed.is_some() && !mounted.contains_key(key));
    let mut unnamed = unnamed.peekable();
    if unnamed.peek().is_none() {
        return Vec::new();
    }
    let places = Places::new(snapshot);
    let named = |key: &ExposureKey| {
        let mut now = key.clone();
        let place = places.of_unnamed(key.unnamed.as_ref()?);
        if places.are_complete() || place.as_ref().is_some_and(|place| place.container.is_some()) {
            now.unnamed = None;
        }
        if let Some(place) = place {
            now.client.identity = ClientIdentity::Pod(place);
        }
        (now != *key).then(|| (key.clone(), now))
    };
    unnamed.filter_map(named).collect()
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
    // Containers without a name have keys of their own, and one name in the report.
    let mut merged: BTreeMap<(ClientKey, &str), Exposure> = BTreeMap::new();
    for (key, mount) in now.iter().chain(earlier) {
        let record = remembered.get(key).copied();
        let is_used = users.iter().any(|user| user.continues(&key.client));
        let exposure = Exposure {
            used: is_used,
            ..exposure_of(key, mount, now.contains_key(key), record, snapshot)
        };
        match merged.entry((key.client.clone(), &key.container_path)) {
            Entry::Vacant(entry) => drop(entry.insert(exposure)),
            Entry::Occupied(mut entry) => entry.get_mut().merge(&exposure),
        }
    }
    let mut exposures: Vec<Exposure> = merged.into_values().collect();
    if exposures.is_empty() && *mounted == Reading::Absent {
        return Reading::Absent;
    }
    exposures.sort_by(|a, b| {
        let order = |e: &Exposure| (!e.mounted, e.identity.clone(), e.container_path.clone());
        order(a).cmp(&order(b))
    });
    Reading::Known(exposures)
}

/// Returns one exposure, whose use is not known yet.
fn exposure_of(
    key: &ExposureKey,
    mount: &Mounted,
    is_mounted: bool,
    record: Option<&ExposureRecord>,
    snapshot: &Snapshot,
) -> Exposure {
    let at = snapshot.taken;
    let (first, last) = record.map_or((at, at), |seen| (seen.first, seen.last));
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
        used: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::exposure::Access;
    use crate::model::history::History;
    use crate::model::hours::Hours;
    use crate::model::join::join;
    use crate::model::reading::{Hides, Sighting};
    use crate::model::sample::{POD_UID, clear_node, dockerd, gap, id, known, reach};
    use crate::model::time::Timestamp;

    const WINDOW: Duration = Duration::from_secs(7 * 86_400);

    fn shown(node: &Snapshot, history: &History) -> Vec<Exposure> {
        exposures(node, &join(node), history, WINDOW).items().to_vec()
    }

    /// Adds the look at a node to the history as the agent does, and returns the names that a report then has, each
    /// with the first and the last time and whether it is mounted.
    fn remember(node: &Snapshot, history: &mut History) -> Vec<(String, u64, u64, bool)> {
        let mounted = join(node).all_mounted().expect("they are known");
        history.rename_exposures(named_since(node, &mounted, history));
        history.record_exposures(node.taken, &mounted);
        let seconds = |at: Timestamp| at.as_unix() - clear_node().taken.as_unix();
        let shown = shown(node, history).into_iter();
        let words = |e: Exposure| {
            (
                e.identity.to_string(),
                seconds(e.first_seen),
                seconds(e.last_seen),
                e.mounted,
            )
        };
        shown.map(words).collect()
    }

    /// A node `seconds` after the first look, with a mount of the container of the pod.
    fn exposed_at(seconds: u64, uid: Option<&str>) -> Snapshot {
        let mut node = clear_node();
        node.taken = Timestamp::from_unix(node.taken.as_unix() + seconds);
        known(&mut node.engines).push(dockerd());
        let mut membership = Membership::of_container(id(1), None);
        membership.pod_uid = uid.map(str::to_owned);
        known(&mut node.reaches).push(Reach { membership, ..reach() });
        node
    }

    fn without(mut node: Snapshot, pods: bool, containers: bool) -> Snapshot {
        if pods {
            node.runtime.pods = Sighting::unknown(gap(Hides::Identity));
        }
        if containers {
            node.runtime.containers = Sighting::unknown(gap(Hides::Identity));
        }
        node
    }

    const OF_POD: &str = "pod ci/builder-0 (build)";

    #[test]
    fn an_exposure_that_was_seen_while_a_list_failed_is_remembered() {
        let short = id(1).short().to_owned();
        let at_once = format!("container build ({short})");
        let by_id = format!("container {short}");
        for (uid, (pods, containers), then) in [
            (None, (true, false), &*at_once),
            (Some(POD_UID), (true, false), &at_once),
            (None, (true, true), &by_id),
            (None, (false, true), &by_id),
            (Some(POD_UID), (false, true), "pod ci/builder-0"),
        ] {
            let mut history = History::default();
            let seen = remember(&without(exposed_at(0, uid), pods, containers), &mut history);
            assert_eq!(seen, [(then.to_owned(), 0, 0, true)]);
            // The pod is gone in the next look.
            let mut gone = exposed_at(9, None);
            known(&mut gone.reaches).clear();
            known(&mut gone.runtime.pods).clear();
            known(&mut gone.runtime.containers).clear();
            for _ in 0..2 {
                let seen = remember(&gone, &mut history);
                assert_eq!(seen, [(then.to_owned(), 0, 0, false)]);
            }
            assert!(
                history.exposures().all(|(key, _)| key.unnamed.is_none()),
                "no name will be found"
            );
        }
    }

    #[test]
    fn an_exposure_is_not_shown_twice_if_its_pod_becomes_known() {
        for uid in [None, Some(POD_UID)] {
            for (pods, containers) in [(true, false), (true, true), (false, true)] {
                let mut history = History::default();
                remember(&without(exposed_at(0, uid), pods, containers), &mut history);
                // The history is read again, after castoff was restarted.
                let kept = history.exposures().map(|(key, seen)| (key.clone(), seen.clone()));
                let mut history = History::restore([], kept.collect::<Vec<_>>(), Hours::default(), []);
                let seen = remember(&exposed_at(5, uid), &mut history);
                assert_eq!(seen, [(OF_POD.to_owned(), 0, 5, true)], "{uid:?} {pods} {containers}");
                assert_eq!(history.exposures().count(), 1);
            }
        }
    }

    /// The runtime still lists the pod, or the pod has another container by now.
    #[test]
    fn an_exposure_gets_the_name_of_a_pod_whose_container_is_gone() {
        for uid in [None, Some(POD_UID)] {
            let mut history = History::default();
            remember(&without(exposed_at(0, uid), true, false), &mut history);
            let mut ended = exposed_at(5, None);
            known(&mut ended.reaches).clear();
            known(&mut ended.runtime.containers).clear();
            assert_eq!(remember(&ended, &mut history), [(OF_POD.to_owned(), 0, 0, false)]);
        }
        let mut history = History::default();
        remember(&without(exposed_at(0, Some(POD_UID)), false, true), &mut history);
        let mut restarted = exposed_at(5, None);
        known(&mut restarted.runtime.containers)[0].id = id(8);
        known(&mut restarted.reaches)[0].membership = Membership::of_container(id(8), None);
        assert_eq!(remember(&restarted, &mut history), [(OF_POD.to_owned(), 0, 5, true)]);
    }

    /// Two containers are in no list; later the runtime lists one of them.
    #[test]
    fn a_name_that_is_found_hides_no_other_container_without_one() {
        let mut node = exposed_at(0, None);
        known(&mut node.runtime.containers).clear();
        known(&mut node.reaches).push(Reach {
            membership: Membership::of_container(id(9), None),
            ..reach()
        });
        let mut history = History::default();
        let unknown = "container without a known name".to_owned();
        assert_eq!(remember(&node, &mut history), [(unknown.clone(), 0, 0, true)]);
        let seen = remember(&exposed_at(5, None), &mut history);
        assert_eq!(seen, [(OF_POD.to_owned(), 0, 5, true), (unknown, 0, 0, false)]);
    }

    /// castoff knows the name of neither container, so both have the same name in the report.
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
            let seen = shown(&node, &History::default());
            assert_eq!(seen.len(), 1, "{seen:?}");
            assert_eq!((seen[0].access, seen[0].readonly), (Access::Allowed, true));
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
        }
        known(&mut node.engines).clear();
        assert!(
            join(&node).is_readonly_mounted,
            "the engine that it leads to is not known"
        );
    }
}
