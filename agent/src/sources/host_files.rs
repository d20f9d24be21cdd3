//! Facts from files of the host: the cgroup version, Docker's leftovers on the disk, and missing shims.
//!
//! Relies on the kubelet's own rule for the version (`/sys/fs/cgroup` is a cgroup2 mount or is not), on the paths where
//! distributions and vendors install Docker, and on systemd's directories of enabled units. Podman's files are not
//! Docker's.

mod callers;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzzing;
mod left_overs;
mod packages;
mod shims;
mod units;
mod user_namespaces;

use std::collections::BTreeSet;
use std::io;

use super::HostPaths;
use super::docker::SOCKET_PATHS;
use super::engines::data_roots_of;
use super::kernel::mountinfo::read_mounts;
use super::kernel::refusal::{self, Right, leads_nowhere};
use super::kernel::rooted::Rooted;
use crate::model::host::{CgroupVersion, DockerCaller, HostFiles};
use crate::model::identity::FileIdentity;
use crate::model::reading::{Gap, Hides, Reading, Reason, Sighting};
pub use units::{EnginePorts, UnitMemory};

/// The mount point of the control groups, which every runtime expects.
const CGROUP_ROOT: &[u8] = b"/sys/fs/cgroup";

/// Every host's root directory has one of these, and so does a part of it that is mounted for castoff. A runtime
/// creates none of them in a container that has only castoff. (It does create `/etc/hosts` and similar files, `/run`
/// and `/var/run`.)
const OF_A_HOST: [&str; 6] = [
    "/etc/passwd",
    "/etc/os-release",
    "/run/lock",
    "/run/systemd",
    "/usr",
    "/var/log",
];

/// Reads the host's files. `cgroups` is the version from an earlier look in this boot: it does not change, and reading
/// it again means reading all mounts.
pub fn read_host_files(host: &HostPaths, cgroups: Option<CgroupVersion>) -> Sighting<HostFiles> {
    let mut gaps = Vec::new();
    let (left_overs, docker_data, containerd_io, orphaned_shims) = match Rooted::open(&host.root) {
        Ok(root) => {
            gaps.extend(find_foreign_root(&root, host));
            let docker_data = data_roots_of(&root);
            (
                left_overs::find(&root, &docker_data, &mut gaps),
                docker_data,
                packages::find_containerd_io(&root),
                shims::find_orphaned(&root),
            )
        }
        Err(error) => {
            let gap = |hides| Gap::new(Reason::of(&error), hides, host.root.display(), &error);
            (
                Reading::Unknown(gap(Hides::Engine)),
                BTreeSet::new(),
                Reading::Unknown(gap(Hides::Detail)),
                Reading::Unknown(gap(Hides::Detail)),
            )
        }
    };
    let files = HostFiles {
        cgroups: cgroups.map_or_else(|| read_cgroup_version(host), Reading::Known),
        left_overs,
        docker_data,
        containerd_io,
        orphaned_shims,
        user_namespaces: Box::new(user_namespaces::read(host)),
        docker_callers: Reading::Absent,
    };
    Sighting::partial(files, gaps)
}

/// The number of looks for which the files that call Docker are not read again: they change seldom, and are many.
const LOOKS_BETWEEN: u32 = 40;

/// The files that call Docker, kept for some looks.
#[derive(Debug, Default)]
pub struct CallerMemory {
    found: Option<(Reading<Vec<DockerCaller>>, Vec<Gap>)>,
    looks: u32,
}

impl CallerMemory {
    /// Adds the files that call Docker to `files`.
    pub fn add_to(&mut self, host: &HostPaths, files: &mut Sighting<HostFiles>) {
        let Reading::Known(known) = &mut files.reading else {
            return;
        };
        self.looks += 1;
        if self.looks > LOOKS_BETWEEN {
            self.found = None;
        }
        let (found, unread) = self.found.get_or_insert_with(|| {
            self.looks = 0;
            let mut gaps = Vec::new();
            let found = match Rooted::open(&host.root) {
                Ok(root) => callers::find(&root, &mut gaps),
                // The gap of the other files says so already.
                Err(error) => Reading::Unknown(refusal::gap(&error, Hides::Detail, host.root.display(), Right::Root)),
            };
            (found, gaps)
        });
        known.docker_callers.clone_from(found);
        for gap in unread {
            gap.clone().fold_into(&mut files.gaps);
        }
    }
}

/// The places of engines' sockets.
#[derive(Debug)]
pub struct SocketPlaces {
    /// The files at the usual paths of engines' sockets, by path.
    pub files: Sighting<Vec<(&'static str, FileIdentity)>>,
    /// The TCP ports on which systemd may listen for an engine.
    pub ports: Sighting<EnginePorts>,
}

impl SocketPlaces {
    /// Returns the places if the files could not be read.
    pub fn unknown(gap: &Gap) -> Self {
        Self {
            files: Sighting::unknown(gap.clone()),
            ports: Sighting::unknown(gap.clone()),
        }
    }
}

/// Reads the files at the usual paths of engines' sockets, and systemd's units.
pub fn read_socket_places(host: &HostPaths, units: &mut UnitMemory) -> SocketPlaces {
    match Rooted::open(&host.root) {
        Ok(root) => SocketPlaces {
            files: read_socket_files(&root),
            ports: units.read_ports(&root),
        },
        Err(error) => {
            let gap = refusal::gap(&error, Hides::Engine, host.root.display(), Right::Root);
            SocketPlaces::unknown(&gap)
        }
    }
}

fn read_socket_files(root: &Rooted) -> Sighting<Vec<(&'static str, FileIdentity)>> {
    let (mut found, mut gaps) = (Vec::new(), Vec::new());
    for path in SOCKET_PATHS {
        match root.read_identity(path) {
            Ok((file, _)) => found.push((path, file)),
            Err(error) if leads_nowhere(&error) => {}
            Err(error) => refusal::gap(&error, Hides::Engine, path, Right::Root).fold_into(&mut gaps),
        }
    }
    Sighting::partial(found, gaps)
}

/// Returns a gap if the host's root directory has nothing of a host. Then no result about it means anything: castoff
/// was given another directory, or the host's is not mounted there.
fn find_foreign_root(root: &Rooted, host: &HostPaths) -> Option<Gap> {
    let is_there =
        |path: &&str| !matches!(root.read_identity(path), Err(error) if error.kind() == io::ErrorKind::NotFound);
    let answer = format_args!("has none of {}: not the root directory of a host", OF_A_HOST.join(", "));
    let gap = || Gap::new(Reason::NotFound, Hides::Runtime, host.root.display(), answer);
    (!OF_A_HOST.iter().any(is_there)).then(gap)
}

/// Reads the version from the mounts of pid 1, which are the host's. If those may not be read, castoff's own are used,
/// in which a runtime has the same version.
fn read_cgroup_version(host: &HostPaths) -> Reading<CgroupVersion> {
    let of_init = read_version_of(host, "1/mountinfo");
    let of_either = of_init.or_else(|error| read_version_of(host, "self/mountinfo").map_err(|_| error));
    match of_either {
        Ok(Some(version)) => Reading::Known(version),
        Ok(None) => Reading::Absent,
        Err(error) => {
            let asked = host.proc.join("1/mountinfo");
            Reading::Unknown(Gap::new(Reason::of(&error), Hides::Detail, asked.display(), &error))
        }
    }
}

fn read_version_of(host: &HostPaths, file: &str) -> io::Result<Option<CgroupVersion>> {
    let mut version = None;
    read_mounts(&host.proc.join(file), |mount| {
        if mount.point == CGROUP_ROOT {
            // A hybrid host has a tmpfs here and cgroup2 below it, which the kubelet counts as version 1. A later mount
            // covers an earlier one.
            let unified = mount.fs_type == b"cgroup2";
            version = Some(if unified { CgroupVersion::V2 } else { CgroupVersion::V1 });
        }
        true
    })?;
    Ok(version)
}

#[cfg(test)]
mod tests;
