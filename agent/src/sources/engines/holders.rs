//! Who holds a listening socket that is named as an engine's and that no known engine holds.
//!
//! A proxy in front of an engine, a fork under another name, a test double; or systemd alone, for an engine that nobody
//! has called yet. Walks the descriptors of other processes, so it does that only where there is such a socket.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::{EngineSearch, refused};
use crate::model::engine::EngineKind;
use crate::model::identity::{NetNs, Pid};
use crate::model::reading::{Gap, Hides, Reason};
use crate::sources::processes::ProcessEntry;

impl<'a> EngineSearch<'a> {
    /// Makes engines of the listening sockets that only their name tells of.
    pub(super) fn take_named(&mut self) {
        let named: BTreeMap<usize, EngineKind> = self.unclaimed_named().collect();
        if named.is_empty() {
            return;
        }
        let mut hidden = None;
        let owners = self.find_owners(&named, &mut hidden);
        let mut by_owner: BTreeMap<(Option<Pid>, EngineKind), BTreeSet<usize>> = BTreeMap::new();
        let mut nobodys = BTreeSet::new();
        for (at, suggested) in named {
            let key = match owners.get(&at) {
                Some(owner) => (Some(owner.key.pid), EngineKind::Other),
                None => (None, suggested),
            };
            if key.0.is_none() && !self.activated.contains_key(&at) {
                nobodys.insert(at);
            }
            by_owner.entry(key).or_default().insert(at);
        }
        for ((owner, kind), sockets) in by_owner {
            let owner = owner.and_then(|pid| self.table.get(pid));
            if owner.is_some() {
                self.add_engine(kind, owner, sockets);
                continue;
            }
            // Nobody yet: each socket is an engine of its own, a user's apart from the host's.
            for at in sockets {
                self.add_engine(kind, None, BTreeSet::from([at]));
            }
        }
        self.tell_nobodys(&nobodys, hidden.as_ref());
    }

    /// Finds the process that each socket belongs to: the oldest that holds it and did not get it from its parent. First
    /// among the processes of the socket's own network namespace, where the server nearly always is.
    fn find_owners(
        &mut self,
        named: &BTreeMap<usize, EngineKind>,
        hidden: &mut Option<Gap>,
    ) -> BTreeMap<usize, &'a ProcessEntry> {
        let near: BTreeSet<NetNs> = named.keys().map(|at| self.listening[*at].netns).collect();
        let is_near = |entry: &ProcessEntry| entry.netns.is_none_or(|netns| near.contains(&netns));
        let mut holders: BTreeMap<usize, Vec<&'a ProcessEntry>> = BTreeMap::new();
        for nearby in [true, false] {
            let table = self.table;
            for entry in table.entries.iter().filter(|entry| is_near(entry) == nearby) {
                match self.read_listening(entry) {
                    Ok(held) => {
                        let activates = |at: &usize| self.activated.get(at) == Some(&entry.key.pid);
                        for at in held.into_iter().filter(|at| named.contains_key(at) && !activates(at)) {
                            holders.entry(at).or_default().push(entry);
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) if hidden.is_none() => *hidden = Some(refused(entry, Hides::Detail, &error)),
                    Err(_) => {}
                }
            }
            let explained = |at: &usize| holders.contains_key(at) || self.activated.contains_key(at);
            if named.keys().all(explained) {
                break;
            }
        }
        holders
            .into_iter()
            .filter_map(|(at, holders)| Some((at, owner_of(&holders)?)))
            .collect()
    }

    /// Says of sockets without a holder why none was seen: the engine counts, its process stays unknown.
    fn tell_nobodys(&mut self, sockets: &BTreeSet<usize>, hidden: Option<&Gap>) {
        for at in sockets {
            let gap = hidden.cloned().unwrap_or_else(|| {
                let name = &self.listening[*at].name;
                Gap::new(
                    Reason::NotFound,
                    Hides::Detail,
                    name,
                    "no process that castoff sees holds this listener",
                )
            });
            gap.fold_into(&mut self.gaps);
        }
    }
}

/// The oldest holder whose parent does not hold the socket too.
fn owner_of<'a>(holders: &[&'a ProcessEntry]) -> Option<&'a ProcessEntry> {
    let inherited = |entry: &ProcessEntry| holders.iter().any(|other| other.key.pid == entry.parent);
    holders
        .iter()
        .filter(|entry| !inherited(entry))
        .min_by_key(|entry| (entry.key.start, entry.key.pid))
        .or_else(|| holders.first())
        .copied()
}
