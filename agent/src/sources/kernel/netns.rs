//! Network namespaces as files: `/proc/<pid>/ns/net`, and mounts of them.
//!
//! Relies on namespaces(7) and setns(2), and on procfs having one `net` tree for each network namespace
//! (`get_proc_task_net` of `fs/proc/proc_net.c`).

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, fstat, fstatfs, openat};
use rustix::io::Errno;
use rustix::path::Arg;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::process::{ProcessDirectory, parse_bracketed};
use super::unix_table::table_path;
use crate::model::identity::{NetNs, Pid};

/// `NSFS_MAGIC` of <https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/magic.h>.
const NSFS_MAGIC: u64 = 0x6e73_6673;

/// Returns the file through which the network namespace of a process is entered.
pub(crate) fn namespace_path(proc: &Path, pid: Pid) -> PathBuf {
    proc.join(format!("{pid}/ns/net"))
}

/// Returns the calling thread's network namespace, from castoff's own `/proc` and not the host's.
pub(crate) fn own() -> Option<NetNs> {
    fs::metadata("/proc/thread-self/ns/net").ok().map(|m| NetNs(m.ino()))
}

/// Reads the network namespace of a process. Returns none if the process has ended. Needs `CAP_SYS_PTRACE` for other
/// users' processes.
pub(crate) fn read(proc: &Path, pid: Pid) -> io::Result<Option<NetNs>> {
    let target = fs::read_link(namespace_path(proc, pid))?;
    Ok(parse_bracketed(target.as_os_str().as_bytes(), b"net:[").map(NetNs))
}

/// Returns the device and inode of the process's `net` tree. Two processes have the same tree if and only if they share
/// the namespace. Any user may read it.
pub(crate) fn read_tree(proc: &Path, pid: Pid) -> Option<(u64, u64)> {
    let table = fs::metadata(table_path(proc, pid)).ok()?;
    Some((table.dev(), table.ino()))
}

/// Opens the file at `path` if it is the expected namespace.
pub(crate) fn open_expected(path: &Path, netns: NetNs) -> Result<Option<OwnedFd>, Errno> {
    open_expected_at(CWD, path, netns)
}

/// Opens the namespace of a process if it is the expected one. If the process's first thread has ended, opens that of a
/// thread that still runs.
pub(crate) fn open_of_process(proc: &Path, pid: Pid, netns: NetNs) -> Result<Option<OwnedFd>, Errno> {
    let opened = open_expected(&namespace_path(proc, pid), netns);
    let thread = || {
        let process = ProcessDirectory::open(&proc.join(pid.to_string())).ok()?;
        process.living_thread()
    };
    match opened {
        Err(Errno::NOENT) => thread().map_or(opened, |thread| open_expected_at(&thread, "ns/net", netns)),
        opened => opened,
    }
}

fn open_expected_at(at: impl AsFd, path: impl Arg, netns: NetNs) -> Result<Option<OwnedFd>, Errno> {
    // NONBLOCK: if it is a pipe by now, the call does not wait for the other end.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = openat(at, path, flags, Mode::empty())?;
    let is_namespace = u64::try_from(fstatfs(&file)?.f_type) == Ok(NSFS_MAGIC);
    Ok((is_namespace && fstat(&file)?.st_ino == netns.0).then_some(file))
}

/// Moves the calling thread into the namespace of `file`. Needs `CAP_SYS_ADMIN`.
pub(crate) fn enter(file: &OwnedFd) -> io::Result<()> {
    Ok(move_into_link_name_space(
        file.as_fd(),
        Some(LinkNameSpaceType::Network),
    )?)
}
