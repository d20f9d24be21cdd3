//! The containers, pod and unit that control groups place a process in. The parser beside it documents the forms of paths;
//! [`owner`] finds the workload of a pod.

mod cgroup;
pub mod container_name;
pub(in crate::model) mod executable;
pub(in crate::model) mod generated;
pub mod owner;
mod unit_name;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::identity::ContainerId;
use super::reading::codes;

codes! {
    /// The program that made a container's control group, as far as its name shows.
    Manager {
        /// containerd's CRI plugin.
        CriContainerd = "cri-containerd",
        /// CRI-O.
        Crio = "cri-o",
        /// Docker; also the containers of dockershim and cri-dockerd.
        Docker = "docker",
        /// Podman.
        Podman = "podman",
        /// nerdctl.
        Nerdctl = "nerdctl",
        /// The name does not show it: cgroupfs paths of containerd, and others.
        Unnamed = "unnamed",
    }
}

/// A container that a control group path passes through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CgroupContainer {
    /// The id in the path.
    pub id: ContainerId,
    /// The program that made the group.
    pub manager: Manager,
    /// The user in whose own part of the hierarchy it is: below his slice, or below a group that he owns. That user chooses the
    /// names of the groups there, so the id is his claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<u32>,
}

/// Returns the user who owns the directory of a control group, by the controllers of its hierarchy as `/proc/<pid>/cgroup` names
/// them and by its path. None if there is no such directory.
pub type GroupOwner<'a> = &'a dyn Fn(&[u8], &[u8]) -> Option<u32>;

/// The unit of the host's init system that a process belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Unit {
    /// A system service, `foo.service`, or another unit of the system's own (`init.scope`, `foo.scope`, `foo.slice`).
    System {
        /// The unit's name with its suffix.
        name: String,
    },
    /// A unit of a user's own service manager.
    User {
        /// The user.
        uid: u32,
        /// The unit's name with its suffix.
        name: String,
    },
    /// A login session (`session-N.scope`): ssh, console, cron with PAM. N is not kept: it is new each time.
    Session {
        /// The user.
        uid: u32,
    },
}

impl Unit {
    /// Returns the unit under the name that its next run has too: `ssh@.service` for the service of one connection.
    #[must_use]
    pub fn lasting(self) -> Self {
        match self {
            Self::System { name } => Self::System {
                name: generated::settle(name, unit_name::lasting),
            },
            Self::User { uid, name } => Self::User {
                uid,
                name: generated::settle(name, unit_name::lasting),
            },
            Self::Session { uid } => Self::Session { uid },
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System { name } => f.write_str(name),
            Self::User { uid, name } => write!(f, "{name} of user {uid}"),
            Self::Session { uid } => write!(f, "session of user {uid}"),
        }
    }
}

/// The place of a process by its control groups. All empty: the root group, or nothing could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Membership {
    /// The containers around it, outermost first; several where engines are nested.
    pub containers: Vec<CgroupContainer>,
    /// The pod's uid as the path spells it, brought to the form with dashes; 32 hexadecimal digits for a static pod.
    pub pod_uid: Option<String>,
    /// The host's unit, only where no container is around the process except one that a user claims.
    pub unit: Option<Unit>,
}

impl Membership {
    /// Returns the membership of a container by its id alone; `user` is the user whose claim it is.
    pub fn of_container(id: ContainerId, user: Option<u32>) -> Self {
        let manager = Manager::Unnamed;
        Self {
            containers: vec![CgroupContainer { id, manager, user }],
            ..Self::default()
        }
    }

    /// Returns the containers that no user claims, outermost first.
    pub fn trusted(&self) -> impl DoubleEndedIterator<Item = &CgroupContainer> {
        self.containers.iter().filter(|container| container.user.is_none())
    }

    /// True if a container or a pod is around the process that no user claims.
    pub fn is_contained(&self) -> bool {
        self.pod_uid.is_some() || self.trusted().next().is_some()
    }

    /// True if a process with the contents `file` of its `/proc/<pid>/cgroup` may be in the groups that were recorded in the same
    /// form, one controller in each line.
    pub fn may_be_of(file: &[u8], recorded: &[u8]) -> bool {
        cgroup::may_be_same(file, recorded)
    }

    /// Parses the bytes of `/proc/<pid>/cgroup`. A form that is not understood places the process nowhere. `owner` returns the
    /// user who owns the directory of a control group: that user chooses the names of the groups below it.
    pub fn from_cgroups(file: &[u8], owner: GroupOwner<'_>) -> Self {
        cgroup::parse(file, owner, None)
    }

    /// Parses the record of a process of the user `uid`, which may have ended. Its groups may be removed by now, so that the name
    /// of a container below a missing group may be that user's claim.
    pub fn from_record(record: &[u8], owner: GroupOwner<'_>, uid: u32) -> Self {
        cgroup::parse(record, owner, Some(uid).filter(|uid| *uid != 0))
    }

    /// Parses by the names alone, without owners.
    pub fn from_names(file: &[u8]) -> Self {
        cgroup::parse(file, &|_, _| None, None)
    }
}
