//! The comparison of each container's mounts with the targets.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use rustix::fs::FileType;

use super::contained::{Chain, chain_of};
use super::files::DockerDirectory;
use super::named::{Named, suggested_by};
use super::own::{OwnMounts, View};
use super::table::{below, path_of};
use super::targets::{Host, Target};
use super::{CONTAINERS_KEPT, ContainerProcess, Looked, unreadable};
use crate::model::container::Mount;
use crate::model::exposure::{Access, FilesMount, LostMount, Reach, Via};
use crate::model::identity::{ContainerId, FileIdentity, ProcessKey};
use crate::model::reading::{Gap, Hides, Reading, Reason};
use crate::model::workload::{CgroupContainer, Membership};
use crate::sources::kernel::refusal::leads_nowhere;
use crate::sources::kernel::rooted::Unresolved;

/// The most views of one container that are read. Each takes the kernel up to a millisecond.
const VIEWS_KEPT: usize = 64;

/// One container, with the facts about its mounts.
pub(super) struct Subject<'a> {
    pub(super) membership: Membership,
    /// The name in gaps.
    name: &'a str,
    pub(super) declared: Result<&'a [Mount], &'a Gap>,
    /// One for each view of its mounts, the oldest first.
    processes: Vec<&'a ContainerProcess>,
}

impl Subject<'_> {
    /// Returns the container's own ID, unless it is only a user's claim.
    pub(super) fn own_id(&self) -> Option<&ContainerId> {
        match self.membership.containers.as_slice() {
            [only] if only.user.is_none() => Some(&only.id),
            _ => None,
        }
    }

    fn innermost(&self) -> Option<&CgroupContainer> {
        self.membership.containers.last()
    }

    /// Returns the ordinary user who claims the container.
    fn user(&self) -> Option<u32> {
        self.innermost().and_then(|container| container.user)
    }
}

/// Returns the node's own containers, and then those of users in turns: a user who claims many hides no other's.
fn fairly<'a>(subjects: impl Iterator<Item = Subject<'a>>) -> Vec<Subject<'a>> {
    let mut turns: BTreeMap<Option<u32>, usize> = BTreeMap::new();
    let mut all: Vec<(usize, Subject<'a>)> = subjects
        .map(|subject| {
            let turn = turns.entry(subject.user()).or_default();
            *turn += usize::from(subject.user().is_some());
            (*turn, subject)
        })
        .collect();
    all.sort_by_key(|(turn, _)| *turn);
    all.into_iter().map(|(_, subject)| subject).collect()
}

/// The file that a path of the host leads to.
type Resolved = Option<(FileIdentity, FileType, Vec<u8>)>;

pub(super) struct MountSearch<'a> {
    pub(super) looked: &'a Looked<'a>,
    pub(super) host: &'a Host<'a>,
    pub(super) targets: &'a [Target],
    pub(super) directories: &'a [DockerDirectory],
    pub(super) last: KnownMounts,
    pub(super) own: KnownMounts,
    /// None for a path that leads nowhere. Cached, because 110 pods mount the same few paths.
    pub(super) resolved: BTreeMap<String, Resolved>,
    pub(super) reaches: Vec<Reach>,
    pub(super) lost: Vec<LostMount>,
    pub(super) files: Vec<FilesMount>,
    pub(super) gaps: Vec<Gap>,
}

/// The mounts that the processes of containers see.
pub(super) type KnownMounts = BTreeMap<ProcessKey, OwnMounts>;

impl<'a> MountSearch<'a> {
    pub(super) fn take_all(&mut self) {
        let subjects = fairly(self.subjects().into_values());
        if let Some(first) = subjects.get(CONTAINERS_KEPT) {
            let answer = format_args!("{} containers, {CONTAINERS_KEPT} are looked at", subjects.len());
            let hides = if first.user().is_some() {
                Hides::Detail
            } else {
                Hides::Exposure
            };
            Gap::new(Reason::LimitReached, hides, "the containers' mounts", answer).fold_into(&mut self.gaps);
        }
        for subject in subjects.into_iter().take(CONTAINERS_KEPT) {
            self.take(&subject);
        }
    }

    /// Returns all containers: the runtime's, the engines', and those that are known only from their processes.
    fn subjects(&self) -> BTreeMap<Chain, Subject<'a>> {
        let looked = self.looked;
        let mut subjects: BTreeMap<Chain, Subject<'_>> = BTreeMap::new();
        let mut add = |id: &ContainerId, user, name, declared| {
            subjects.entry(vec![(id.clone(), user)]).or_insert_with(|| Subject {
                membership: Membership::of_container(id.clone(), user),
                name,
                declared,
                processes: Vec::new(),
            });
        };
        for container in looked.containers.reading.items() {
            let declared = match &container.mounts {
                Reading::Known(mounts) => Ok(mounts.as_slice()),
                Reading::Absent => Ok(&[][..]),
                Reading::Unknown(gap) => Err(gap),
            };
            add(&container.id, None, container.name.as_str(), declared);
        }
        for container in looked.supervised {
            // The request to an engine inside a container has paths of that container.
            let is_of_host = container.inside.is_none() && container.user.is_none();
            let declared = if is_of_host { &container.mounts[..] } else { &[] };
            let name = container.name.as_deref().unwrap_or_default();
            add(&container.id, container.user, name, Ok(declared));
        }
        for process in looked.processes.reading.items() {
            let Some(chain) = self.chain_of(process, &subjects) else {
                continue;
            };
            let subject = subjects.entry(chain).or_insert_with(|| Subject {
                membership: process.membership.clone(),
                name: "",
                declared: Ok(&[]),
                processes: Vec::new(),
            });
            subject.processes.push(process);
        }
        subjects
    }

    /// Returns the container that a process belongs to. A user may choose the name of a cgroup below a known container,
    /// or in the user's own part of the hierarchy: such a cgroup never stands for the container of that name. Returns
    /// none for a sandbox, and for a container that only a user claims.
    fn chain_of(&self, process: &ContainerProcess, known: &BTreeMap<Chain, Subject<'_>>) -> Option<Chain> {
        let mut chain = chain_of(&process.membership);
        let (innermost, around) = chain.split_last()?;
        let is_known = |one: &(ContainerId, Option<u32>)| known.contains_key(std::slice::from_ref(one));
        if innermost.1.is_some() {
            let is_claim = !is_known(innermost) || self.looked.reader.shares_mounts_with_init(process.key);
            return (!is_claim).then(|| vec![innermost.clone()]);
        }
        if around.iter().any(is_known) {
            return Some(chain);
        }
        let innermost = chain.pop().filter(|(id, _)| !self.looked.sandboxes.contains(id))?;
        Some(vec![innermost])
    }

    fn take(&mut self, subject: &Subject<'_>) {
        let name = subject.innermost().map_or("", |container| container.id.short());
        let mut seen: Option<OwnMounts> = None;
        if subject.processes.len() > VIEWS_KEPT {
            let asked = format_args!("the mounts of container {name}");
            let answer = format_args!(
                "it has {} views of them, {VIEWS_KEPT} are read",
                subject.processes.len()
            );
            let hides = if subject.user().is_some() {
                Hides::Detail
            } else {
                Hides::Exposure
            };
            Gap::new(Reason::LimitReached, hides, asked, answer).fold_into(&mut self.gaps);
        }
        for process in subject.processes.iter().take(VIEWS_KEPT) {
            match self.read_own(process, subject.declared.unwrap_or_default()) {
                Ok(own) => {
                    self.own.insert(process.key, own.clone());
                    match &mut seen {
                        Some(seen) => seen.join(own),
                        none => *none = Some(own),
                    }
                }
                Err(error) if leads_nowhere(&error) => {} // it has ended
                Err(error) => {
                    let asked = format_args!("the mounts of container {name}");
                    unreadable(asked, &error).fold_into(&mut self.gaps);
                }
            }
        }
        match (seen, subject.declared) {
            (Some(own), _) => self.take_own(subject, &own),
            (None, Ok(mounts)) => {
                for mount in mounts {
                    self.take_declared(subject, mount, &BTreeSet::new());
                    self.take_declared_files(subject, mount);
                }
            }
            (None, Err(gap)) => {
                let asked = format_args!("the mounts of container {name} ({})", subject.name);
                Gap::new(Reason::DependsOnAnother, Hides::Exposure, asked, &gap.answer).fold_into(&mut self.gaps);
            }
        }
    }

    /// Returns the mounts that a process of a container sees: the current ones, or those of the last look if it is not
    /// the process's turn.
    fn read_own(&mut self, process: &ContainerProcess, declared: &[Mount]) -> io::Result<OwnMounts> {
        match self.last.remove(&process.key) {
            // The requested mounts of a container do not change, but they may not have been known yet.
            Some(own) if process.is_kept && own.asked == declared.len() => Ok(own),
            _ => {
                let view = View {
                    reader: self.looked.reader,
                    key: process.key,
                    host: self.host,
                };
                view.read_own(self.targets, self.directories, declared)
            }
        }
    }

    fn take_own(&mut self, subject: &Subject<'_>, own: &OwnMounts) {
        let declared = subject.declared.unwrap_or_default();
        for way in &own.ways {
            let named = declared_at(declared, &way.point);
            let is_whole = named.is_none_or(|mount| mount.container_path.trim_end_matches('/') == way.point);
            let (host_path, container_path) = match named {
                Some(mount) => (mount.host_path.clone(), mount.container_path.clone()),
                None => (way.source.clone(), way.point.clone()),
            };
            let via = if way.is_direct && is_whole {
                Via::Socket
            } else {
                Via::Directory
            };
            let mount = Mount {
                host_path,
                container_path,
                readonly: way.readonly,
            };
            self.reach(subject, way.target, via, mount, way.access);
        }
        self.take_own_files(subject, &own.files);
        for named in &own.named {
            let mut named = named.clone();
            if let Some(mount) = declared_at(declared, &named.container_path) {
                named.host_path.clone_from(&mount.host_path);
            }
            self.judge(&subject.membership, named);
        }
        // A process may have left a mount and keep a descriptor of it.
        let reached: BTreeSet<usize> = own.ways.iter().map(|way| way.target).collect();
        for mount in declared
            .iter()
            .filter(|mount| own.missing.contains(&mount.container_path))
        {
            self.take_declared(subject, mount, &reached);
        }
        let is_unplaced = |target: &&Target| target.place.is_none() && !target.directories.is_empty();
        for target in self
            .targets
            .iter()
            .filter(is_unplaced)
            .filter(|t| subject.own_id().is_none_or(|id| !t.own.contains(id)))
        {
            let asked = format_args!("the file system of {}", target.name);
            let answer = "the engine's mounts do not show it";
            Gap::new(Reason::NotFound, Hides::Exposure, asked, answer).fold_into(&mut self.gaps);
        }
    }

    /// Adds a mount that was requested from the runtime or the engine, and that was not seen. The container reaches the
    /// targets of `reached` by other mounts.
    fn take_declared(&mut self, subject: &Subject<'_>, mount: &Mount, reached: &BTreeSet<usize>) {
        let resolved = self.resolve(&mount.host_path);
        let mut leads = false;
        for (at, target) in self.targets.iter().enumerate() {
            let Some((identity, kind, path)) = &resolved else { break };
            let is_above = |on_host: &Vec<u8>| below(on_host, path).is_some_and(|rest| !rest.is_empty());
            let via = match *kind {
                FileType::Socket if target.socket.contains(identity) => Via::Socket,
                FileType::Directory if target.directories.contains(identity) || target.on_host.iter().any(is_above) => {
                    Via::Directory
                }
                _ => continue,
            };
            leads |= via == Via::Socket;
            if !reached.contains(&at) {
                let mut mount = mount.clone();
                mount.readonly &= via == Via::Socket || !self.is_below_another_mount(target, path);
                self.reach(subject, at, via, mount, Access::Unknown);
            }
        }
        if let Some(name) = suggested_by(mount).filter(|_| !leads) {
            let named = Named {
                name,
                host_path: mount.host_path.clone(),
                container_path: mount.container_path.clone(),
                readonly: mount.readonly,
                what: resolved.map(|(identity, kind, _)| (identity, kind)),
                is_deleted: false,
            };
            self.judge(&subject.membership, named);
        }
    }

    /// True if the host has mounted another file system on every path from this directory to the target. A read-only mount
    /// of the directory leaves such a mount writable.
    fn is_below_another_mount(&self, target: &Target, directory: &[u8]) -> bool {
        let is_between = |point: &[u8], on_host: &[u8]| {
            below(point, directory).is_some_and(|rest| !rest.is_empty()) && below(on_host, point).is_some()
        };
        let paths = target.on_host.iter().filter(|path| below(path, directory).is_some());
        let mut is_mounted = paths.map(|path| self.host.table.entries().any(|entry| is_between(&entry.point, path)));
        is_mounted
            .next()
            .is_some_and(|first| first && is_mounted.all(|each| each))
    }

    fn reach(&mut self, subject: &Subject<'_>, target: usize, via: Via, mount: Mount, access: Access) {
        let target = &self.targets[target];
        if subject.own_id().is_some_and(|id| target.own.contains(id)) {
            return;
        }
        let reach = Reach {
            membership: subject.membership.clone(),
            reached: target.reached.clone(),
            via,
            host_path: mount.host_path,
            container_path: mount.container_path,
            readonly: mount.readonly,
            is_readonly_somewhere: mount.readonly,
            access,
        };
        let is_same = |other: &Reach| {
            other.membership == reach.membership
                && other.reached == reach.reached
                && other.container_path == reach.container_path
        };
        match self.reaches.iter_mut().find(|other| is_same(other)) {
            Some(known) => known.add_rights(&reach),
            None => self.reaches.push(reach),
        }
    }

    pub(super) fn resolve(&mut self, path: &str) -> Resolved {
        if let Some(known) = self.resolved.get(path) {
            return known.clone();
        }
        let found = match self.host.root.walk(path) {
            Ok(_) if path.is_empty() => None,
            Ok(walked) => Some((walked.identity, walked.kind, path_of(&walked))),
            Err(Unresolved { error, .. }) if leads_nowhere(&error) => None,
            Err(Unresolved { error, .. }) => {
                unreadable(path, &error).fold_into(&mut self.gaps);
                None
            }
        };
        self.resolved.insert(path.to_owned(), found.clone());
        found
    }
}

/// Returns the requested mount at `point` of the container, or at a directory above it.
pub(super) fn declared_at<'m>(declared: &'m [Mount], point: &str) -> Option<&'m Mount> {
    let above = |mount: &&Mount| {
        let path = mount.container_path.trim_end_matches('/');
        below(point.as_bytes(), path.as_bytes()).is_some()
    };
    declared
        .iter()
        .filter(above)
        .max_by_key(|mount| mount.container_path.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_who_claims_many_containers_hides_no_other() {
        let subject = |number: u32, user: Option<u32>| Subject {
            membership: Membership::of_container(ContainerId(number.to_string()), user),
            name: "",
            declared: Ok(&[]),
            processes: Vec::new(),
        };
        let claims = (0..5).map(|number| subject(number, Some(1000)));
        let others = [subject(5, Some(1001)), subject(6, None), subject(7, None)];
        let order: Vec<String> = fairly(claims.chain(others))
            .iter()
            .filter_map(|subject| Some(subject.innermost()?.id.0.clone()))
            .collect();
        assert_eq!(order, ["6", "7", "0", "5", "1", "2", "3", "4"]);
    }
}
