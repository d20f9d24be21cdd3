//! The authority of a process: only a process of the node's own root may determine the settings of the node's kubelet.

use std::io;

use crate::model::workload::{CgroupContainer, Manager, Membership};
use crate::sources::kernel::process::ProcessDirectory;

/// All user IDs of the initial user namespace, mapped to themselves (`uid_map` of `user_namespaces(7)`).
const ALL_USERS: [&[u8]; 3] = [b"0", b"0", b"4294967295"];

/// The authority of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sources) enum Authority {
    /// Over the node: root of the initial user namespace, in the PID namespace that castoff sees, and in no pod.
    Node,
    /// Over an ordinary user's own node: it has a user namespace of its own, and is in no container.
    Rootless,
    /// Over itself alone: a process of an ordinary user, of a pod, or of a node in a container (kind, k3d), whose PID
    /// namespace and paths are its own.
    Itself,
}

/// Reads the authority of a process, from files that any user may read.
pub(in crate::sources) fn read_authority(process: &ProcessDirectory) -> io::Result<Authority> {
    let placed = match process.read_cgroups() {
        Ok(cgroups) => Membership::from_names(&cgroups),
        // The kernel has no control groups.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Membership::default(),
        Err(error) => return Err(error),
    };
    let users = process.read_users()?;
    let status = process.read_status()?;
    let is_initial = users.is_none_or(|map| is_all(&map));
    let is_nested = status.pid_namespaces().is_some_and(|depth| depth > 1);
    // A pod's container without the pod's group: the kubelet has no `cgroupsPerQOS`.
    let of_kubelet = |one: &CgroupContainer| matches!(one.manager, Manager::CriContainerd | Manager::Crio);
    let is_in_pod = placed.pod_uid.is_some() || placed.containers.iter().any(of_kubelet);
    Ok(match is_in_pod {
        false if is_initial && !is_nested && status.uid() == Some(0) => Authority::Node,
        false if !is_initial && placed.containers.is_empty() => Authority::Rootless,
        _ => Authority::Itself,
    })
}

fn is_all(map: &[u8]) -> bool {
    let fields = map.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
    fields.eq(ALL_USERS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::recorded::RecordedHost;

    #[test]
    fn only_the_nodes_own_root_has_authority_over_it() {
        const ROOT: &str = "Uid:\t0\t0\t0\t0\nNSpid:\t40\n";
        const USER: &str = "Uid:\t1000\t1000\t1000\t1000\nNSpid:\t40\n";
        const NESTED: &str = "Uid:\t0\t0\t0\t0\nNSpid:\t40\t7\n";
        const ALL: &str = "         0          0 4294967295\n";
        const OWN: &str = "         0       1000          1\n         1     100000      65536\n";
        let pod = "/kubepods/burstable/pod0c2ab1c5-7a3e-4f0e-9d3b-1f2e3d4c5b6a";
        let container = format!("/docker/{}", "4f2a".repeat(16));
        for (status, map, cgroup, authority) in [
            (ROOT, Some(ALL), "/system.slice/kubelet.service", Authority::Node),
            (ROOT, None, "/system.slice/kubelet.service", Authority::Node),
            (ROOT, Some(ALL), container.as_str(), Authority::Node), // RKE1's kubelet
            (USER, Some(ALL), "/system.slice/kubelet.service", Authority::Itself),
            (ROOT, Some(ALL), pod, Authority::Itself),
            (
                ROOT,
                Some(ALL),
                container.replace("/docker", "/k8s.io").as_str(),
                Authority::Itself,
            ),
            (NESTED, Some(ALL), container.as_str(), Authority::Itself),
            (
                USER,
                Some(OWN),
                "/user.slice/user-1000.slice/user@1000.service/k3s-rootless.service",
                Authority::Rootless,
            ),
            (NESTED, Some(OWN), "/user.slice", Authority::Rootless),
            (USER, Some(OWN), container.as_str(), Authority::Itself),
            (USER, Some(OWN), pod, Authority::Itself),
        ] {
            let host = RecordedHost::new();
            let process = host.process(40, 1, "kubelet").file("status", status).cgroup(cgroup);
            if let Some(map) = map {
                process.file("uid_map", map);
            }
            let process = ProcessDirectory::open(&host.paths().proc.join("40")).expect("it is recorded");
            let read = read_authority(&process).expect("it is readable");
            assert_eq!(read, authority, "{status} {map:?} {cgroup}");
        }
    }
}
