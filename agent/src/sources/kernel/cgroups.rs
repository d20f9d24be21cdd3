//! The control groups of a process, with the owners of their directories.
//!
//! Relies on the places where systemd mounts the hierarchies: `/sys/fs/cgroup` of the host's first process, and with
//! version 1 a directory for each below it. A cgroup of a running process that cannot be read is judged by its name.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::model::workload::Membership;

/// Returns the membership of a process from `file`, the contents of its `cgroup`.
pub(crate) fn read_membership(proc: &Path, file: &[u8]) -> Membership {
    let mounted = mounted(proc);
    Membership::from_cgroups(file, &|controllers, group| read_owner(&mounted, controllers, group))
}

/// Returns the membership of a process of the user `uid` that may have ended, from the kernel's record of its groups.
pub(crate) fn read_recorded(proc: &Path, record: &[u8], uid: u32) -> Membership {
    let mounted = mounted(proc);
    Membership::from_record(
        record,
        &|controllers, group| read_owner(&mounted, controllers, group),
        uid,
    )
}

fn mounted(proc: &Path) -> PathBuf {
    proc.join("1/root/sys/fs/cgroup")
}

fn read_owner(mounted: &Path, controllers: &[u8], group: &[u8]) -> Option<u32> {
    let group = OsStr::from_bytes(group.strip_prefix(b"/")?);
    let places: [PathBuf; 2] = match controllers {
        b"" => [mounted.to_owned(), mounted.join("unified")],
        b"name=systemd" => [mounted.join("systemd"), PathBuf::new()],
        controllers => [mounted.join(OsStr::from_bytes(controllers)), PathBuf::new()],
    };
    let mut found = places.iter().filter(|place| !place.as_os_str().is_empty());
    found.find_map(|place| Some(fs::symlink_metadata(place.join(group)).ok()?.uid()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_a_group_is_found_in_each_hierarchy() {
        let mounted = tempfile::tempdir().expect("a temporary directory");
        let own = rustix::process::getuid().as_raw();
        for (place, controllers) in [
            ("", ""),
            ("unified", ""),
            ("systemd", "name=systemd"),
            ("cpu,cpuacct", "cpu,cpuacct"),
        ] {
            let name = format!("of-{place}.service");
            let group = format!("/system.slice/{name}");
            assert_eq!(
                read_owner(mounted.path(), controllers.as_bytes(), group.as_bytes()),
                None
            );
            fs::create_dir_all(mounted.path().join(place).join("system.slice").join(&name)).expect("a directory");
            let owner = read_owner(mounted.path(), controllers.as_bytes(), group.as_bytes());
            assert_eq!(owner, Some(own), "{controllers}");
            assert_eq!(read_owner(mounted.path(), b"memory", group.as_bytes()), None);
        }
    }
}
