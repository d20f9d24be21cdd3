//! Engines whose descriptors castoff may not read: what they listen on by their arguments, which any user may read, and by
//! the names of listening sockets.

use std::collections::BTreeSet;

use super::program::{self, options};
use super::{Candidate, EngineSearch, is_of_user, refused};
use crate::model::engine::EngineKind;
use crate::model::reading::Hides;
use crate::model::socket::SocketName;

/// What an engine's arguments say of its listeners.
enum Asked {
    /// To listen on these paths and on no other.
    Paths(Vec<String>),
    /// Nothing: the default, what systemd hands over, or what a configuration file says.
    Usual,
}

impl EngineSearch<'_> {
    /// An engine whose descriptors are hidden is there all the same, with the listeners that can be told without.
    pub(super) fn take_hidden(&mut self, mut candidates: Vec<Candidate<'_>>) {
        // Root's come before those of users, who may call any program so; then those that are seen to share a namespace with a
        // listener before those of which that is not known.
        candidates.sort_by_key(|candidate| (self.user_of(candidate.entry), candidate.entry.netns.is_none()));
        for candidate in candidates {
            let user = self.user_of(candidate.entry);
            if let Err(error) = &candidate.sockets {
                let hides = if user.is_some() { Hides::Detail } else { Hides::Engine };
                refused(candidate.entry, hides, error).fold_into(&mut self.gaps);
            }
            let mut suggested = self.suggest(&candidate);
            if let Some(user) = user {
                suggested.retain(|at| is_of_user(&self.listening[*at].name, user));
            }
            // Podman without a listener is its command line.
            if candidate.kind == EngineKind::Dockerd || !suggested.is_empty() {
                self.add_engine(candidate.kind, Some(candidate.entry), suggested);
            }
        }
    }

    fn suggest(&self, candidate: &Candidate<'_>) -> BTreeSet<usize> {
        let asked = self.read_asked(candidate);
        let is_near = |at: &usize| candidate.entry.netns.is_none_or(|n| n == self.listening[*at].netns);
        match asked {
            Asked::Usual => self
                .unclaimed_named()
                .filter(|(_, kind)| *kind == candidate.kind)
                .map(|(at, _)| at)
                .filter(is_near)
                .collect(),
            Asked::Paths(paths) => (0..self.listening.len())
                .filter(|at| !self.claimed.contains(at))
                .filter(is_near)
                .filter(|at| matches!(&self.listening[*at].name, SocketName::Path(path) if paths.contains(path)))
                .collect(),
        }
    }

    fn read_asked(&self, candidate: &Candidate<'_>) -> Asked {
        let command = program::read_command(self.reader, candidate.entry).unwrap_or_default();
        let given: Vec<&str> = match candidate.kind {
            EngineKind::Dockerd => options(&command, &["-H", "--host"]).collect(),
            // podman system service [options] [URI]
            _ => command
                .last()
                .map(String::as_str)
                .into_iter()
                .filter(|uri| uri.contains("://"))
                .collect(),
        };
        if given.is_empty() || given.iter().any(|uri| uri.starts_with("fd://") || *uri == "unix://") {
            return Asked::Usual;
        }
        Asked::Paths(
            given
                .iter()
                .filter_map(|uri| Some(uri.strip_prefix("unix://")?.to_owned()))
                .collect(),
        )
    }
}
