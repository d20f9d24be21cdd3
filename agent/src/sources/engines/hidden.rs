//! Engines whose descriptors castoff may not read. Their listeners are found from the arguments, which any user may
//! read, and from the names of listening sockets.

use std::collections::BTreeSet;

use super::program;
use super::settings::hosts_of;
use super::{Candidate, EngineSearch, is_of_user, refused};
use crate::model::engine::EngineKind;
use crate::model::reading::Hides;
use crate::model::socket::SocketName;

/// The listeners in an engine's arguments.
enum Asked {
    /// These paths and no others.
    Paths(Vec<String>),
    /// None: it listens at the default path, on the sockets that systemd passes, or where a configuration file says.
    Usual,
}

impl EngineSearch<'_> {
    /// Adds the engines whose descriptors are hidden, with the listeners that can be found without them.
    pub(super) fn take_hidden(&mut self, mut candidates: Vec<Candidate<'_>>) {
        // Root's processes come before those of users, who may give any program such a name. Next, processes that share
        // a namespace with a listener come before those whose namespace is not known.
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
            if !suggested.is_empty() || !self.is_command_line(&candidate) {
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
            EngineKind::Dockerd => hosts_of(&command).collect(),
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
