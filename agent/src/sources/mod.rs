//! Asks the host. Every source may fail, says so in a [`Sighting`](crate::model::reading::Sighting), and never knows
//! what is made of its answer. Blocking walks are called off the async runtime.

pub mod engines;
pub mod host_files;
pub mod kubelet;
mod mountinfo;
pub mod mounts;
pub mod processes;
#[cfg(test)]
pub(crate) mod recorded;
mod rooted;
pub mod runtime;

use std::path::PathBuf;

/// Where the host's own files are, seen from castoff.
#[derive(Clone, Debug)]
pub struct HostPaths {
    /// A procfs of the host's PID namespace, `/proc` with `hostPID`.
    pub proc: PathBuf,
    /// The host's root directory: `/`, `/proc/1/root`, or where it is mounted.
    pub root: PathBuf,
}
