//! One process of the node.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use super::identity::{ContainerId, NetNs, ProcessKey};
use super::workload::Membership;

/// A process that a finding refers to. Its arguments and its environment are not kept, because both may contain
/// secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// Pid and start time.
    #[serde(flatten)]
    pub key: ProcessKey,
    /// The kernel's name for it (`comm`): at most 15 bytes, chosen by the process itself, never proof of anything.
    pub name: String,
    /// The file it executes, as its own mount namespace names it, without the kernel's ` (deleted)`. None if that
    /// could not be read.
    pub executable: Option<String>,
    /// The real user id, in castoff's user namespace. None if it could not be read.
    pub uid: Option<u32>,
    /// The network namespace it is in now. None if it could not be read.
    pub netns: Option<NetNs>,
    /// The containers, pod and unit that its control groups place it in.
    pub membership: Membership,
}

/// The owner of a process: its user, and the container around it. Limits apply to each owner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// The real user id; none if that is not known.
    pub uid: Option<u32>,
    /// The outermost container around it, except those that a user claims.
    pub container: Option<ContainerId>,
}

impl Owner {
    /// True for root outside all containers: engines of this owner are the node's own.
    pub const fn is_node(&self) -> bool {
        matches!(
            self,
            Self {
                uid: Some(0) | None,
                container: None
            }
        )
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.uid {
            Some(uid) => write!(f, "user {uid}")?,
            None => f.write_str("a user that is not known")?,
        }
        match &self.container {
            Some(container) => write!(f, " in container {}", container.short()),
            None => Ok(()),
        }
    }
}

impl Process {
    /// The owner of the process.
    pub fn owner(&self) -> Owner {
        Owner {
            uid: self.uid,
            container: self.membership.trusted().next().map(|c| c.id.clone()),
        }
    }

    /// True if both execute one program in one cgroup. A server's workers may run as another user than the server.
    pub fn is_like(&self, other: &Self) -> bool {
        self.executable.is_some() && self.executable == other.executable && self.membership == other.membership
    }

    /// The last component of the executable, else the kernel's name for the process.
    pub fn program(&self) -> &str {
        self.executable
            .as_deref()
            .and_then(|e| e.rsplit('/').next())
            .filter(|n| !n.is_empty())
            .unwrap_or(&self.name)
    }
}
