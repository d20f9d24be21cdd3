//! Reads the host. A source that fails reports this in its [`Sighting`](crate::model::reading::Sighting). No source
//! depends on how its result is used. Blocking walks run off the async runtime.

pub(crate) mod aside;
pub mod connects;
mod docker;
pub mod engines;
pub mod holders;
pub mod host_files;
pub mod kernel;
pub mod kubelet;
pub mod machine;

pub mod mounts;
pub(crate) mod offload;
pub mod processes;
#[cfg(any(test, feature = "recorded"))]
pub mod recorded;

mod proxies;
pub mod relays;
pub mod runtime;
pub mod runtime_settings;
pub mod sockets;
mod systemd;

use std::path::{Path, PathBuf};

/// The paths of the host's own files, as castoff sees them.
#[derive(Clone, Debug)]
pub struct HostPaths {
    /// A procfs of the host's PID namespace, `/proc` with `hostPID`.
    pub proc: PathBuf,
    /// The host's root directory: `/`, `/proc/1/root`, or where it is mounted.
    pub root: PathBuf,
}

impl HostPaths {
    /// Returns the host's root from `proc`: the root directory of its first process if it may be read, or else that of
    /// the kernel's own threads, or else castoff's own.
    pub fn find_root(proc: &Path) -> PathBuf {
        // Following the link needs ptrace access; the link itself is visible to any user.
        let is_there = |path: PathBuf| std::fs::metadata(path).is_ok();
        let of_init = proc.join("1/root");
        if is_there(of_init.join(".")) {
            return of_init;
        }
        // The root of init may not be read. If the host was started from a file system in memory, the kernel's threads
        // still have that file system as their root, and it is empty by now.
        let of_kernel = proc.join("2/root");
        let is_kernel = std::fs::read(proc.join("2/comm")).is_ok_and(|name| name == b"kthreadd\n");
        if is_kernel && is_there(of_kernel.join("usr")) {
            of_kernel
        } else {
            PathBuf::from("/")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_root_is_inits_else_the_kernels_else_castoffs_own() {
        let proc = tempfile::tempdir().expect("a temporary directory");
        let proc = proc.path();
        for folder in ["1", "2", "host/usr", "memory"] {
            fs::create_dir_all(proc.join(folder)).expect("a fresh directory");
        }
        let found = || HostPaths::find_root(proc);
        assert_eq!(found(), Path::new("/"));
        fs::write(proc.join("2/comm"), "kthreadd\n").expect("a fresh file");
        symlink(proc.join("memory"), proc.join("2/root")).expect("a fresh link");
        assert_eq!(found(), Path::new("/"), "a host that came up from memory");
        fs::remove_file(proc.join("2/root")).expect("it is there");
        symlink(proc.join("host"), proc.join("2/root")).expect("a fresh link");
        assert_eq!(found(), proc.join("2/root"));
        fs::write(proc.join("2/comm"), "sh\n").expect("a file");
        assert_eq!(found(), Path::new("/"), "the second process of a container");
        symlink(proc.join("host"), proc.join("1/root")).expect("a fresh link");
        assert_eq!(found(), proc.join("1/root"));
    }
}
