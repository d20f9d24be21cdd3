//! Facts of the host that are read from files.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reading::{Reading, codes};

codes! {
    /// The version of the node's control groups.
    CgroupVersion {
        /// Version 1, or the hybrid of both, which a kubelet counts as version 1.
        V1 = "v1",
        /// The unified hierarchy.
        V2 = "v2",
    }
}

codes! {
    /// The parts of Docker that are on the disk.
    LeftOverKind {
        /// The daemon's program.
        Binary = "binary",
        /// A systemd unit that starts it at boot.
        EnabledUnit = "enabled-unit",
        /// Images, containers and volumes.
        Data = "data",
        /// Its configuration.
        Configuration = "configuration",
    }
}

/// A part of Docker that is on the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeftOver {
    /// The kind of the part.
    pub kind: LeftOverKind,
    /// Its path on the host.
    pub path: String,
}

codes! {
    /// The kind of a file of the host that calls Docker.
    CallerKind {
        /// A systemd unit.
        Unit = "unit",
        /// A table or a script of cron.
        Cron = "cron",
        /// A configuration or a script of cloud-init.
        CloudInit = "cloud-init",
        /// A script that one of these names.
        Script = "script",
    }
}

/// A line of a file of the host that calls Docker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerCaller {
    /// The kind of the file.
    pub kind: CallerKind,
    /// Its path on the host.
    pub path: String,
    /// The number of the line, from 1.
    pub line: u32,
    /// The client that it calls.
    pub program: String,
    /// The file that names this script.
    pub named_by: Option<String>,
}

/// The program of a shim that is no longer on the disk while containers run by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrphanedShim {
    /// Its path on the host.
    pub path: String,
    /// The number of containers and sandboxes that it runs.
    pub bundles: u32,
}

/// The settings of the kernel on which builds of images without root depend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserNamespaces {
    /// `user.max_user_namespaces`: with 0 no user can create a user namespace.
    pub limit: Reading<u64>,
    /// `kernel.unprivileged_userns_clone`, which only some distributions have: with 0 ordinary users cannot create one.
    pub unprivileged: Reading<u64>,
    /// `kernel.apparmor_restrict_unprivileged_userns`, likewise: with 1 AppArmor denies ordinary users the rights
    /// inside a user namespace.
    pub restricted: Reading<u64>,
    /// True if AppArmor is on, so that pods have one of its profiles; absent where the kernel has no AppArmor.
    pub apparmor: Reading<bool>,
    /// True if the kernel filters system calls for containers; absent where it cannot.
    pub seccomp: Reading<bool>,
}

/// The facts in the host's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFiles {
    /// The control group version.
    pub cgroups: Reading<CgroupVersion>,
    /// The parts of Docker that are on the disk.
    pub left_overs: Reading<Vec<LeftOver>>,
    /// The directories of Docker's data: the default ones, and those that its configuration names. Not each exists.
    pub docker_data: BTreeSet<String>,
    /// The file that shows that Docker's package `containerd.io` is installed; absent where the host's packages were read and it
    /// is not among them, unknown where no list of packages was found.
    pub containerd_io: Reading<String>,
    /// The shims of the kubelet's containers that are no longer on the disk; absent where no containerd has its state.
    pub orphaned_shims: Reading<Vec<OrphanedShim>>,
    /// The settings on which builds without root depend. In a box, because five readings make the futures of a look large.
    pub user_namespaces: Box<UserNamespaces>,
    /// The files that call Docker; absent where they were not looked for.
    pub docker_callers: Reading<Vec<DockerCaller>>,
}
