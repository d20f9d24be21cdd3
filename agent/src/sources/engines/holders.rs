//! Finds the holders of listening sockets that have an engine's name, or that a dockerd uses for itself, and that no
//! known engine holds.
//!
//! The holder may be a proxy in front of an engine, a fork under another name, a test double, or systemd for an engine
//! that no client has connected to yet. The search walks the descriptors of other processes, so it runs only if there
//! is such a socket.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::names::is_of_dockerd;
use super::{EngineSearch, refused};
use crate::model::engine::EngineKind;
use crate::model::identity::{NetNs, Pid};
use crate::model::reading::{Gap, Hides, Reason};
use crate::sources::processes::ProcessEntry;

impl<'a> EngineSearch<'a> {
    /// Adds engines for the processes that listen like a dockerd for its own purposes. Neither their program nor the
    /// sockets on which they serve the API have a known name.
    pub(super) fn take_renamed(&mut self) {
        let unclaimed = self.listening.iter().enumerate();
        let unclaimed = unclaimed.filter(|(at, socket)| !self.claimed.contains(at) && is_of_dockerd(&socket.name));
        let internal: BTreeMap<usize, EngineKind> = unclaimed.map(|(at, _)| (at, EngineKind::Dockerd)).collect();
        if internal.is_empty() {
            return;
        }
        // Sockets whose holder is hidden belong to an engine that is known already, or cannot be attributed.
        let owners = self.find_owners(&internal, &mut None);
        for owner in owners.into_values() {
            let held = self.read_listening(owner).unwrap_or_default();
            let own = held.difference(&self.claimed).copied().collect();
            self.add_engine(EngineKind::Dockerd, Some(owner), own);
        }
    }

    /// Adds engines for the listening sockets that are known only by their name.
    pub(super) fn take_named(&mut self) {
        let named: BTreeMap<usize, EngineKind> = self.unclaimed_named().collect();
        if named.is_empty() {
            return;
        }
        let mut hidden = None;
        let owners = self.find_owners(&named, &mut hidden);
        let mut by_owner: BTreeMap<(Option<Pid>, EngineKind), BTreeSet<usize>> = BTreeMap::new();
        let mut unowned = BTreeSet::new();
        for (at, suggested) in named {
            let key = match owners.get(&at) {
                Some(owner) => (Some(owner.key.pid), EngineKind::Other),
                None => (self.contained_activator(at), suggested),
            };
            if key.0.is_none() && !self.activated.contains_key(&at) {
                unowned.insert(at);
            }
            by_owner.entry(key).or_default().insert(at);
        }
        for ((owner, kind), sockets) in by_owner {
            let owner = owner.and_then(|pid| self.table.get(pid));
            if owner.is_some() {
                self.add_engine(kind, owner, sockets);
                continue;
            }
            // No holder yet: each socket is an engine of its own, so that a user's is separate from the host's.
            for at in sockets {
                self.add_engine(kind, None, BTreeSet::from([at]));
            }
        }
        self.report_unowned(&unowned, hidden.as_ref());
    }

    /// Returns the activator of a socket, if it runs in a container.
    fn contained_activator(&self, at: usize) -> Option<Pid> {
        let activator = self.activated.get(&at).copied();
        activator.filter(|pid| self.contained.contains(pid))
    }

    /// Finds the owner of each socket: the oldest process that holds it and did not inherit it from its parent.
    /// Processes in the socket's own network namespace come first, because the server is nearly always among them.
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

    /// Adds the gaps for sockets without a known holder: the engine counts, and its process stays unknown.
    fn report_unowned(&mut self, sockets: &BTreeSet<usize>, hidden: Option<&Gap>) {
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

/// Returns the oldest holder whose parent does not hold the socket too.
fn owner_of<'a>(holders: &[&'a ProcessEntry]) -> Option<&'a ProcessEntry> {
    let inherited = |entry: &ProcessEntry| holders.iter().any(|other| other.key.pid == entry.parent);
    holders
        .iter()
        .filter(|entry| !inherited(entry))
        .min_by_key(|entry| (entry.key.start, entry.key.pid))
        .or_else(|| holders.first())
        .copied()
}
