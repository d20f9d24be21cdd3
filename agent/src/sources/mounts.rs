//! Which containers could reach a listener through what they mount.
//!
//! The mounts are those that the kubelet asked the runtime for. Each is resolved on the host and compared by device and
//! inode with the listener's file and with the directories in which that file really is, so that neither another name nor
//! a link hides it. Never compares paths. Relies on bind mounts keeping the inode of what they bind.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use rustix::fs::FileType;

use super::HostPaths;
use super::kernel::refusal::{self, Right};
use super::kernel::rooted::{Rooted, Walked};
use super::processes::ProcessReader;
use crate::model::container::{Container, Mount};
use crate::model::engine::{EngineSighting, Listener};
use crate::model::exposure::{Access, Reach, Via};
use crate::model::identity::{ContainerId, FileIdentity};
use crate::model::reading::{Gap, Hides, Reading, Reason, Sighting};
use crate::model::socket::{ListenerId, SocketName};
use crate::model::workload::Membership;

/// Finds the mounts of `containers` that lead to a listener of `engines`. An engine's own container does not count.
pub fn find_reaches(
    host: &HostPaths,
    reader: &ProcessReader,
    containers: &Sighting<Vec<Container>>,
    engines: &Sighting<Vec<EngineSighting>>,
) -> Sighting<Vec<Reach>> {
    let depends = |on: &str| Sighting::unknown(Gap::new(Reason::DependsOnAnother, Hides::Exposure, on, "not known"));
    let engines = match &engines.reading {
        Reading::Known(engines) => engines,
        Reading::Absent => return Sighting::absent(),
        Reading::Unknown(_) => return depends("the engines' listeners"),
    };
    let listeners = || engines.iter().flat_map(|e| e.listeners.iter().map(move |l| (e, l)));
    if listeners().next().is_none() {
        return Sighting::absent();
    }
    let containers = match &containers.reading {
        Reading::Known(containers) => containers,
        Reading::Absent => return Sighting::absent(),
        Reading::Unknown(_) => return depends("the containers' mounts"),
    };
    let root = match Rooted::open(&host.root) {
        Ok(root) => root,
        Err(error) => return Sighting::unknown(unreadable(&host.root.display(), &error)),
    };
    let mut search = Search {
        root: &root,
        resolved: BTreeMap::new(),
        reaches: Vec::new(),
        gaps: Vec::new(),
    };
    let targets: Vec<Target<'_>> = listeners()
        .filter_map(|(engine, listener)| search.find_target(reader, engine, listener))
        .collect();
    for container in containers {
        search.take_container(container, &targets);
    }
    if search.reaches.is_empty() && search.gaps.is_empty() {
        return Sighting::absent();
    }
    Sighting::partial(search.reaches, search.gaps)
}

/// A listener, and everything that leads to it.
struct Target<'a> {
    listener: &'a ListenerId,
    /// The socket's file, as the kernel's socket list and as stat(2) identify it: the same but on Btrfs and overlayfs,
    /// which give stat(2) another device.
    socket: [FileIdentity; 2],
    /// The directories that it is in.
    directories: BTreeSet<FileIdentity>,
    /// The containers that the engine itself is in.
    own: Vec<&'a ContainerId>,
}

struct Search<'a> {
    root: &'a Rooted,
    /// What each host path leads to; none where it leads nowhere. 110 pods mount the same few over and over.
    resolved: BTreeMap<&'a str, Option<(FileIdentity, FileType)>>,
    reaches: Vec<Reach>,
    gaps: Vec<Gap>,
}

impl<'a> Search<'a> {
    fn find_target<'e>(
        &mut self,
        reader: &ProcessReader,
        engine: &'e EngineSighting,
        listener: &'e Listener,
    ) -> Option<Target<'e>> {
        let ListenerId::File(file) = &listener.id else {
            return None; // no file system leads to an abstract name
        };
        let process = engine.process.as_ref();
        let mut target = Target {
            listener: &listener.id,
            socket: [*file, *file],
            directories: BTreeSet::new(),
            own: process
                .into_iter()
                .flat_map(|p| p.membership.containers.iter().map(|c| &c.id))
                .collect(),
        };
        match self.find_listener(reader, engine, listener, *file) {
            Ok(Some(walked)) => {
                target.socket[1] = walked.identity;
                target.directories.extend(walked.ancestors);
            }
            // Its file was removed or replaced under the engine: no directory leads to it any more.
            Ok(None) => {}
            Err(error) => {
                let asked = format_args!("the directories above {}", listener.name);
                unreadable(&asked, &error).fold_into(&mut self.gaps);
            }
        }
        Some(target)
    }

    /// Walks the listener's name in the engine's own mount namespace, else on the host, and makes sure that it still leads
    /// to the listener. None where it certainly does not.
    fn find_listener(
        &self,
        reader: &ProcessReader,
        engine: &EngineSighting,
        listener: &Listener,
        file: FileIdentity,
    ) -> io::Result<Option<Walked>> {
        let SocketName::Path(name) = &listener.name else {
            return Ok(None);
        };
        let key = engine.process.as_ref().map(|process| process.key);
        let path = match key {
            _ if name.starts_with('/') => name.clone(),
            Some(key) => format!("{}/{name}", reader.open(key)?.read_working_directory()?),
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        let is_it = |walked: &Walked| walked.kind == FileType::Socket && walked.identity.inode == file.inode;
        let own_root = key.map(|key| reader.open_root(key).map(Rooted::new)).transpose();
        let in_own = match &own_root {
            Ok(own) => own
                .as_ref()
                .map(|root| root.walk(&path).map_err(|e| e.error))
                .transpose(),
            Err(_) => Ok(None),
        };
        if let Ok(Some(walked)) = in_own.as_ref()
            && is_it(walked)
        {
            return in_own;
        }
        if let Ok(walked) = self.root.walk(&path)
            && is_it(&walked)
        {
            return Ok(Some(walked));
        }
        match (own_root, in_own) {
            (Err(error), _) | (_, Err(error)) if !refusal::leads_nowhere(&error) => Err(error),
            // Looked at in the right place, by a name that is whole.
            (Ok(Some(_)), _) if name.starts_with('/') && !name.contains(char::REPLACEMENT_CHARACTER) => Ok(None),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn take_container(&mut self, container: &'a Container, targets: &[Target<'_>]) {
        match &container.mounts {
            Reading::Known(mounts) => {
                for mount in mounts {
                    self.take_mount(container, mount, targets);
                }
            }
            Reading::Absent => {}
            Reading::Unknown(gap) => {
                let asked = format_args!("the mounts of container {} ({})", container.id.short(), container.name);
                Gap::new(Reason::DependsOnAnother, Hides::Exposure, asked, &gap.answer).fold_into(&mut self.gaps);
            }
        }
    }

    fn take_mount(&mut self, container: &Container, mount: &'a Mount, targets: &[Target<'_>]) {
        let Some((identity, kind)) = self.resolve(&mount.host_path) else {
            return;
        };
        for target in targets {
            let via = match kind {
                FileType::Socket if target.socket.contains(&identity) => Via::Socket,
                FileType::Directory if target.directories.contains(&identity) => Via::Directory,
                _ => continue,
            };
            if target.own.contains(&&container.id) {
                continue;
            }
            self.reaches.push(Reach {
                membership: Membership::of_container(container.id.clone()),
                listener: target.listener.clone(),
                via,
                host_path: mount.host_path.clone(),
                container_path: mount.container_path.clone(),
                readonly: mount.readonly,
                access: Access::Unknown,
            });
        }
    }

    fn resolve(&mut self, path: &'a str) -> Option<(FileIdentity, FileType)> {
        if let Some(known) = self.resolved.get(path) {
            return *known;
        }
        let found = match self.root.read_identity(path) {
            Ok(found) => Some(found),
            // What that means for the container is another question.
            Err(error) if refusal::leads_nowhere(&error) => None,
            Err(error) => {
                unreadable(&path, &error).fold_into(&mut self.gaps);
                None
            }
        };
        self.resolved.insert(path, found);
        found
    }
}

fn unreadable(asked: &dyn std::fmt::Display, error: &io::Error) -> Gap {
    refusal::gap(error, Hides::Exposure, asked, Right::TraceAndSearch)
}

#[cfg(test)]
mod tests;
