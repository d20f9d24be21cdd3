//! For whom a process may speak: only one of the node's own root may tell what the node's kubelet is.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::model::identity::Pid;
use crate::model::workload::Membership;

/// Bytes of one file that are read: the longest is `cgroup`, with a path of `PATH_MAX` in each of 14 hierarchies.
const FILE_BYTES: u64 = 64 << 10;

/// The user ids of the initial user namespace, `uid_map` of user_namespaces(7): all of them, as themselves.
const ALL_USERS: [&str; 3] = ["0", "0", "4294967295"];

/// For whom a process speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sources) enum Standing {
    /// The node: root of the initial user namespace, in the PID namespace that castoff sees, and in no pod.
    Node,
    /// An ordinary user's own node: a user namespace of its own, in no container.
    Rootless,
    /// Itself: an ordinary user's process, a pod's, or one of a node in a container (kind, k3d), whose PID namespace and
    /// paths are its own.
    Itself,
}

/// Reads for whom a process speaks. All of it may be read by everyone.
pub(in crate::sources) fn read_standing(proc: &Path, pid: Pid) -> io::Result<Standing> {
    let process = proc.join(pid.to_string());
    let status = read(&process.join("status"))?;
    let placed = match read(&process.join("cgroup")) {
        Ok(cgroups) => Membership::from_cgroups(cgroups.as_bytes()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Membership::default(),
        Err(error) => return Err(error),
    };
    if !is_of_initial_users(&process)? {
        let is_apart = placed.containers.is_empty() && placed.pod_uid.is_none();
        return Ok(if is_apart { Standing::Rootless } else { Standing::Itself });
    }
    let is_root = fields(&status, "Uid:").next() == Some("0");
    // One number for each PID namespace from the procfs' own on down; no such line before Linux 4.1.
    let is_nested = fields(&status, "NSpid:").count() > 1;
    Ok(if is_root && !is_nested && placed.pod_uid.is_none() {
        Standing::Node
    } else {
        Standing::Itself
    })
}

/// A kernel without user namespaces has no such file.
fn is_of_initial_users(process: &Path) -> io::Result<bool> {
    match read(&process.join("uid_map")) {
        Ok(map) => Ok(map.split_whitespace().eq(ALL_USERS)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

fn fields<'a>(status: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_default().split_whitespace()
}

fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::recorded::RecordedHost;

    #[test]
    fn only_the_nodes_own_root_speaks_for_it() {
        const ROOT: &str = "Uid:\t0\t0\t0\t0\nNSpid:\t40\n";
        const USER: &str = "Uid:\t1000\t1000\t1000\t1000\nNSpid:\t40\n";
        const NESTED: &str = "Uid:\t0\t0\t0\t0\nNSpid:\t40\t7\n";
        const ALL: &str = "         0          0 4294967295\n";
        const OWN: &str = "         0       1000          1\n         1     100000      65536\n";
        let pod = "/kubepods/burstable/pod0c2ab1c5-7a3e-4f0e-9d3b-1f2e3d4c5b6a";
        let container = format!("/docker/{}", "4f2a".repeat(16));
        for (status, map, cgroup, standing) in [
            (ROOT, Some(ALL), "/system.slice/kubelet.service", Standing::Node),
            (ROOT, None, "/system.slice/kubelet.service", Standing::Node),
            (ROOT, Some(ALL), container.as_str(), Standing::Node), // RKE1's kubelet
            (USER, Some(ALL), "/system.slice/kubelet.service", Standing::Itself),
            (ROOT, Some(ALL), pod, Standing::Itself),
            (NESTED, Some(ALL), container.as_str(), Standing::Itself),
            (
                USER,
                Some(OWN),
                "/user.slice/user-1000.slice/user@1000.service/k3s-rootless.service",
                Standing::Rootless,
            ),
            (NESTED, Some(OWN), "/user.slice", Standing::Rootless),
            (USER, Some(OWN), container.as_str(), Standing::Itself),
            (USER, Some(OWN), pod, Standing::Itself),
        ] {
            let host = RecordedHost::new();
            let process = host.process(40, 1, "kubelet").file("status", status).cgroup(cgroup);
            if let Some(map) = map {
                process.file("uid_map", map);
            }
            let read = read_standing(&host.paths().proc, Pid(40)).expect("it is readable");
            assert_eq!(read, standing, "{status} {map:?} {cgroup}");
        }
        let host = RecordedHost::new();
        assert!(read_standing(&host.paths().proc, Pid(40)).is_err());
    }
}
