//! Selects the clients that are kept where there is too little room: each kind of client in turn, and in it each owner in turn.
//!
//! A flood of one kind thus takes only the places that no other kind needs. If a user creates ten thousand clients, all
//! of them have one owner, so that they displace only that user's clients.

use std::collections::BTreeMap;

use super::client::{ClientIdentity, OF_USER};
use super::engine::Scope;
use super::workload::Unit;

/// A kind of client. Clients are a separate kind if many of them can be created without creating any of another kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Containers of pods.
    Pod,
    /// Containers that an engine runs by itself, except an ordinary user's.
    EngineContainer,
    /// Processes of the system's units, and of root.
    System,
    /// Processes of an ordinary user.
    User,
    /// Other machines, which choose their addresses.
    Remote,
    /// Clients that could not be named.
    Unnamed,
    /// Clients that no look saw: one for each listener.
    Unseen,
}

/// Within a kind: a namespace, an image, a unit or a user.
type Owner = String;

/// Returns the kind and the owner of an engine's client, by its identity and by the engine's scope. All clients of a user's own
/// engine belong to that user.
fn owner_of(identity: &ClientIdentity, scope: &Scope) -> (Kind, Owner) {
    if let Scope::User { uid } = scope {
        return (Kind::User, uid.to_string());
    }
    match identity {
        ClientIdentity::Pod(place) => (Kind::Pod, place.namespace.clone()),
        ClientIdentity::EngineContainer { name, image, .. } => match name.rsplit_once(OF_USER) {
            Some((_, user)) => (Kind::User, user.to_owned()),
            None => (Kind::EngineContainer, image.clone().unwrap_or_default()),
        },
        // By the unit first: in a user namespace of his own, a user has thousands of user ids.
        ClientIdentity::Host { unit, uid, .. } => match (unit, uid) {
            (Some(Unit::User { uid, .. } | Unit::Session { uid }), _) => (Kind::User, uid.to_string()),
            (Some(Unit::System { name }), _) => (Kind::System, name.clone()),
            (None, Some(uid)) if *uid != 0 => (Kind::User, uid.to_string()),
            (None, _) => (Kind::System, Owner::new()),
        },
        ClientIdentity::Remote { .. } => (Kind::Remote, Owner::new()),
        ClientIdentity::Unnamed => (Kind::Unnamed, Owner::new()),
        ClientIdentity::Unseen => (Kind::Unseen, Owner::new()),
    }
}

/// Orders the items so that the first `n` of them are those to keep where there is room for `n`. They come best first, and those
/// of one owner stay in that order.
pub fn in_turns<T>(best_first: Vec<T>, whose: impl Fn(&T) -> (&ClientIdentity, &Scope)) -> Vec<T> {
    let owned = best_first.into_iter().map(|item| {
        let (identity, scope) = whose(&item);
        (owner_of(identity, scope), item)
    });
    let by_owner = take_turns(owned.collect(), |(owner, _)| owner.clone());
    let by_kind = take_turns(by_owner, |((kind, _), _)| *kind);
    by_kind.into_iter().map(|(_, item)| item).collect()
}

/// Returns the first of each group, then the second of each, and so on.
fn take_turns<T, G: Ord>(items: Vec<T>, group: impl Fn(&T) -> G) -> Vec<T> {
    let mut turns: BTreeMap<G, usize> = BTreeMap::new();
    let turn_of = |item: T| {
        let turn = turns.entry(group(&item)).or_default();
        *turn += 1;
        (*turn, item)
    };
    let mut ranked: Vec<(usize, T)> = items.into_iter().map(turn_of).collect();
    ranked.sort_by_key(|(turn, _)| *turn); // stable
    ranked.into_iter().map(|(_, item)| item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(unit: Option<Unit>, uid: u32, executable: usize) -> ClientIdentity {
        ClientIdentity::Host {
            unit,
            executable: format!("/bin/{executable}"),
            uid: Some(uid),
        }
    }

    #[test]
    fn a_flood_of_one_user_displaces_no_other_client() {
        let scope = || Some(Unit::Session { uid: 1000 });
        let mut all: Vec<ClientIdentity> = (0..10_000).map(|n| host(scope(), 100_000 + n, n as usize)).collect();
        let honest = [
            host(None, 1001, 1),
            host(Some(Unit::Session { uid: 1002 }), 1002, 2),
            host(
                Some(Unit::System {
                    name: "backup.service".to_owned(),
                }),
                0,
                3,
            ),
            ClientIdentity::Unnamed,
        ];
        all.extend(honest.clone());
        let kept = in_turns(all, |identity| (identity, &Scope::Host));
        for identity in &honest {
            assert!(kept[..6].contains(identity), "{identity}");
        }
        assert_eq!(kept.len(), 10_004);
    }

    #[test]
    fn clients_of_one_owner_come_best_first() {
        let all: Vec<ClientIdentity> = (0..5).map(|n| host(None, 1000, n)).collect();
        assert_eq!(in_turns(all.clone(), |identity| (identity, &Scope::Host)), all);
    }
}
