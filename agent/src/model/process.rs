//! One process of the node.

use schemars::JsonSchema;
use serde::Serialize;

use super::identity::{NetNs, ProcessKey};
use super::workload::Membership;

/// A process that matters to a finding. Neither arguments nor environment are kept: both hold secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// Pid and start time.
    #[serde(flatten)]
    pub key: ProcessKey,
    /// The kernel's name for it (`comm`): at most 15 bytes, chosen by the process itself, never proof of anything.
    pub name: String,
    /// The file it executes, as its own mount namespace names it, without the kernel's ` (deleted)`. None where that
    /// could not be read.
    pub executable: Option<String>,
    /// The real user id, in castoff's user namespace. None where that could not be read.
    pub uid: Option<u32>,
    /// The network namespace it is in now. None where that could not be read.
    pub netns: Option<NetNs>,
    /// Where its control groups place it.
    pub membership: Membership,
}

impl Process {
    /// The last component of the executable, else the kernel's name for the process.
    pub fn program(&self) -> &str {
        self.executable
            .as_deref()
            .and_then(|e| e.rsplit('/').next())
            .filter(|n| !n.is_empty())
            .unwrap_or(&self.name)
    }
}
