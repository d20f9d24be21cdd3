//! Asks the host. Every source may fail, says so in a [`Sighting`](crate::model::reading::Sighting), and never knows
//! what is made of its answer. Blocking walks are called off the async runtime.

pub mod engines;
pub mod holders;
pub mod host_files;
pub mod kubelet;
pub mod machine;
mod mountinfo;
pub mod mounts;
pub mod processes;
#[cfg(any(test, feature = "recorded"))]
pub mod recorded;
mod rooted;
pub mod runtime;
pub mod sockets;

use std::path::{Path, PathBuf};

/// Where the host's own files are, seen from castoff.
#[derive(Clone, Debug)]
pub struct HostPaths {
    /// A procfs of the host's PID namespace, `/proc` with `hostPID`.
    pub proc: PathBuf,
    /// The host's root directory: `/`, `/proc/1/root`, or where it is mounted.
    pub root: PathBuf,
}

impl HostPaths {
    /// The host's root as `proc` leads to it: the root directory of its first process, where that may be looked into,
    /// else castoff's own.
    pub fn find_root(proc: &Path) -> PathBuf {
        let first = proc.join("1/root");
        // Looking through the link wants ptrace access; the link itself can be seen by everyone.
        if std::fs::metadata(first.join(".")).is_ok() {
            first
        } else {
            PathBuf::from("/")
        }
    }
}
