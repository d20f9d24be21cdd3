//! The forms in which runtimes, the kubelet and systemd spell a place in the control group hierarchies.
//!
//! Bytes of `/proc/<pid>/cgroup` in, a [`Membership`] out. Relies on cgroups(7) for the lines, and for the paths on what
//! containerd, CRI-O, Docker, Podman, nerdctl, runc (`docs/systemd.md`), the kubelet and systemd write. Never guesses: an
//! unknown form places the process nowhere.
//!
//! Paths are relative to the *reader's* control group namespace and may begin with `/..`, so every form is recognized by its
//! segments, never by the start of a path.
//!
//! An ordinary user makes groups of any name below `user@N.service`, and below every group whose directory he owns (a service
//! with `User=` and `Delegate=`). Such a name of a container is marked as that user's claim, and no such name is the
//! system's unit.

#[cfg(test)]
mod tests;
mod unit;

use super::{CgroupContainer, GroupOwner, Manager, Membership, Unit};
use crate::model::identity::ContainerId;

/// The number of nested containers that are kept. The kernel's paths end at 4,096 bytes, which 60 ids fill.
const NESTING_LIMIT: usize = 32;

/// Lengths of the groups of a UUID, as the API server makes a pod's uid.
const UUID: [usize; 5] = [8, 4, 4, 4, 12];

/// Hexadecimal digits of a container's id.
const ID_DIGITS: usize = 64;

/// Parses the file of one process.
///
/// A group that is missing has been removed since the file was recorded. `ended` is the ordinary user of a recorded process that
/// has ended: he may have owned such a group.
pub(super) fn parse(file: &[u8], owner: GroupOwner<'_>, ended: Option<u32>) -> Membership {
    let mut lines: Vec<Line<'_>> = file.split(|b| *b == b'\n').filter_map(Line::parse).collect();
    lines.sort_by_key(|line| line.rank); // stable: the others keep the kernel's order
    let mut placed = Membership::default();
    for line in &lines {
        let (containers, pod_uid) = line.walk(owner, ended);
        // A nested engine makes groups only in the hierarchies that its container mounts: the deepest line is right. A user's
        // claim never outweighs a group that the user could not make.
        if weight(&containers) > weight(&placed.containers) {
            placed.containers = containers;
            placed.pod_uid = pod_uid.or(placed.pod_uid);
        } else if placed.pod_uid.is_none() {
            placed.pod_uid = pod_uid;
        }
    }
    if placed.containers.iter().all(|c| c.user.is_some()) && placed.pod_uid.is_none() {
        placed.unit = lines.iter().find_map(|line| line.find_unit(owner, ended));
    }
    placed
}

/// True if the processes of both files may be in the same groups: no hierarchy of `recorded`, which has one controller in each
/// line, has another path in `file`.
pub(super) fn may_be_same(file: &[u8], recorded: &[u8]) -> bool {
    let lines = |file| <[u8]>::split(file, |b| *b == b'\n').filter_map(Line::parse);
    lines(recorded).all(|then| {
        let mut now =
            lines(file).filter(|now| now.controllers.split(|b| *b == b',').any(|one| one == then.controllers));
        now.next().is_none_or(|now| now.may_be_at(then.path))
    })
}

/// The weight of one line's containers: those outside every user's part of the hierarchy first, then their number.
fn weight(containers: &[CgroupContainer]) -> (bool, usize) {
    (containers.first().is_some_and(|c| c.user.is_none()), containers.len())
}

/// One hierarchy's line, `4:memory:/system.slice/x.service`.
struct Line<'a> {
    /// The order in which hierarchies are read: systemd's own, the unified one, any other.
    rank: u8,
    controllers: &'a [u8],
    path: &'a [u8],
}

/// A part of a path that an ordinary user may name.
#[derive(Clone, Copy)]
struct Claim {
    uid: u32,
    /// The first segment that the user may name.
    from: usize,
}

impl<'a> Line<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.splitn(3, |b| *b == b':'); // the path may hold colons of its own
        let hierarchy = fields.next()?;
        let controllers = fields.next()?;
        let path = fields.next()?;
        let rank = match (hierarchy, controllers) {
            (_, b"name=systemd") => 0,
            (b"0", b"") => 1,
            _ => 2,
        };
        // The unified hierarchy appends this to a group that was removed while the process is a zombie (cgroups(7)).
        let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
        Some(Self {
            rank,
            controllers,
            path,
        })
    }

    /// True if the path may be this one, which begins at the root. A path that begins with `/..` tells only its end.
    fn may_be_at(&self, whole: &[u8]) -> bool {
        let mut end = self.path;
        while let Some(below) = end.strip_prefix(b"/..") {
            end = below;
        }
        if end.len() < self.path.len() {
            whole.ends_with(end)
        } else {
            whole == self.path
        }
    }

    /// Returns the containers along the path and the pod's uid. Owners are read only where the names alone place the process in a
    /// container or a pod.
    fn walk(&self, owner: GroupOwner<'_>, ended: Option<u32>) -> (Vec<CgroupContainer>, Option<String>) {
        let (containers, pod_uid) = walk(self.path, None);
        let is_placed = pod_uid.is_some() || !containers.is_empty();
        let claim = if is_placed { self.find_claim(owner, ended) } else { None };
        match claim {
            Some(_) => walk(self.path, claim),
            None => (containers, pod_uid),
        }
    }

    /// Returns the unit along the path. Owners are read only of the groups above the one that has the name of a unit.
    fn find_unit(&self, owner: GroupOwner<'_>, ended: Option<u32>) -> Option<Unit> {
        let owner_of = |depth: usize| {
            let mut group = Vec::new();
            for segment in segments(self.path).take(depth) {
                group.push(b'/');
                group.extend_from_slice(segment);
            }
            match owner(self.controllers, &group) {
                Some(0) => unit::Owner::Root,
                Some(_) => unit::Owner::User,
                // As in `find_claim`.
                None if ended.is_some() && depth > 1 => unit::Owner::Gone,
                None => unit::Owner::Root,
            }
        };
        unit::find(segments(self.path), owner_of)
    }

    /// Finds the outermost group that an ordinary user owns, or may have owned. The groups around pods and containers usually
    /// outlast them, so a missing one may have been the user's. If the first group is missing, castoff does not see that part of
    /// the hierarchy.
    fn find_claim(&self, owner: GroupOwner<'_>, ended: Option<u32>) -> Option<Claim> {
        let mut path = Vec::new();
        for (from, segment) in (1..).zip(segments(self.path)) {
            path.push(b'/');
            path.extend_from_slice(segment);
            match owner(self.controllers, &path) {
                Some(0) => {}
                Some(uid) => return Some(Claim { uid, from }),
                None => {
                    let is_outside = from > 1 && walk(&path, None) == (Vec::new(), None);
                    return ended.filter(|_| is_outside).map(|uid| Claim { uid, from });
                }
            }
        }
        None
    }
}

fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    path.split(|b| *b == b'/').filter(|s| !s.is_empty() && *s != b"..")
}

/// Returns the containers along a path, outermost first, and the outermost pod's uid: the group of the node's own kubelet is
/// outside those of a nested one.
fn walk(path: &[u8], claim: Option<Claim>) -> (Vec<CgroupContainer>, Option<String>) {
    let mut containers: Vec<CgroupContainer> = Vec::new();
    let mut pod_uid = None;
    let mut user = None;
    let mut parent: &[u8] = b"";
    for (at, segment) in segments(path).enumerate() {
        if containers.is_empty() {
            // The outermost owner counts: below it the names are his, even another user's name.
            let by_owner = claim.filter(|claim| at >= claim.from).map(|claim| claim.uid);
            user = user.or(by_owner).or_else(|| unit::owner_of(segment));
        }
        // `kubepods-pod<uid>.slice:cri-containerd:<id>`: a cgroupfs runtime that was given systemd's form.
        let mut parts = segment.rsplitn(3, |b| *b == b':');
        let name = parts.next().unwrap_or_default();
        let prefix = parts.next();
        let slice = parts.next().unwrap_or(name);
        if pod_uid.is_none() && user.is_none() {
            pod_uid = parse_pod_uid(slice);
        }
        let found = match prefix {
            Some(prefix) if is_long_id(name) && !is_monitor(prefix) => Some((name, manager_of(prefix))),
            Some(_) => None,
            None => parse_container(name, parent),
        };
        if let Some((id, manager)) = found
            && containers.len() < NESTING_LIMIT
        {
            let id = ContainerId(String::from_utf8_lossy(id).into_owned());
            // Podman's payload group below the container's own, and kind's path that repeats its node's.
            if containers.last().is_none_or(|last| last.id != id) {
                containers.push(CgroupContainer { id, manager, user });
            }
        }
        parent = segment;
    }
    (containers, pod_uid)
}

/// Parses `cri-containerd-<id>.scope`, `crio-<id>`, `<id>`: the segment of a container.
fn parse_container<'s>(segment: &'s [u8], parent: &[u8]) -> Option<(&'s [u8], Manager)> {
    let name = segment.strip_suffix(b".scope").unwrap_or(segment);
    if is_long_id(name) {
        return match parent {
            b"docker" => Some((name, Manager::Docker)),
            b"k8s.io" => Some((name, Manager::CriContainerd)), // without `cgroupsPerQOS`
            b"libpod_parent" => None,                          // a pod of Podman's, which is no container
            _ => Some((name, Manager::Unnamed)),
        };
    }
    if is_task_id(name) || is_garden_id(name) {
        return Some((name, Manager::Unnamed));
    }
    let dash = name.iter().rposition(|b| *b == b'-')?;
    let (prefix, id) = (&name[..dash], &name[dash + 1..]);
    (is_long_id(id) && !is_monitor(prefix)).then(|| (id, manager_of(prefix)))
}

/// True for the groups of `conmon`, which runs beside the container that it is named after.
fn is_monitor(prefix: &[u8]) -> bool {
    prefix.ends_with(b"-conmon")
}

fn manager_of(prefix: &[u8]) -> Manager {
    match prefix {
        b"cri-containerd" => Manager::CriContainerd,
        b"crio" => Manager::Crio,
        b"docker" => Manager::Docker,
        b"libpod" | b"libpod-payload" => Manager::Podman,
        b"nerdctl" => Manager::Nerdctl,
        _ => Manager::Unnamed,
    }
}

fn is_hex(text: &[u8]) -> bool {
    text.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_long_id(text: &[u8]) -> bool {
    text.len() == ID_DIGITS && is_hex(text)
}

/// True for an Amazon ECS id: the task's 32 digits, then the container's number.
fn is_task_id(text: &[u8]) -> bool {
    text.split_at_checked(32).is_some_and(|(task, rest)| {
        is_hex(task)
            && rest
                .strip_prefix(b"-")
                .is_some_and(|n| !n.is_empty() && n.iter().all(u8::is_ascii_digit))
    })
}

/// True for a Garden id (Cloud Foundry): 8-4-4-4-4.
fn is_garden_id(text: &[u8]) -> bool {
    is_groups(text, &[8, 4, 4, 4, 4], b'-')
}

/// True if `text` is groups of hexadecimal digits with these lengths.
fn is_groups(text: &[u8], lengths: &[usize], separator: u8) -> bool {
    let mut groups = text.split(|b| *b == separator);
    lengths
        .iter()
        .all(|length| groups.next().is_some_and(|g| g.len() == *length && is_hex(g)))
        && groups.next().is_none()
}

/// Parses `pod<uid>` and `kubepods-burstable-pod<uid>.slice`, with the uid's three forms: dashes (cgroupfs), underscores
/// (systemd), 32 digits (a static pod's hash).
fn parse_pod_uid(segment: &[u8]) -> Option<String> {
    let name = segment.strip_suffix(b".slice").unwrap_or(segment);
    let at = name.windows(3).rposition(|w| w == b"pod")?;
    let (before, uid) = (&name[..at], &name[at + 3..]);
    if !(before.is_empty() || before.ends_with(b"-")) {
        return None;
    }
    let known = is_groups(uid, &UUID, b'-') || is_groups(uid, &UUID, b'_') || (uid.len() == 32 && is_hex(uid));
    known.then(|| String::from_utf8_lossy(uid).replace('_', "-"))
}
