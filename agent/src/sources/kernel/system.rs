//! The files of a procfs that are of no process: how long the machine has run, which boot this is, whose PID namespace is
//! shown.
//!
//! Relies on proc(5), random(4) for the boot id, and on the initial PID namespace's fixed inode.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{PROC_SUPER_MAGIC, statfs};

use crate::model::identity::Device;

/// `PROC_PID_INIT_INO` of `include/linux/proc_ns.h`: the inode of the initial PID namespace on every kernel since 3.8.
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// True if `proc` is a procfs of the kernel. A recorded tree is an ordinary directory: it shows what it has.
pub(crate) fn is_live(proc: &Path) -> bool {
    statfs(proc).is_ok_and(|fs| fs.f_type == PROC_SUPER_MAGIC)
}

/// The device that the procfs is.
pub(crate) fn read_device(proc: &Path) -> Option<Device> {
    fs::metadata(proc).ok().map(|m| Device::from_stat(m.dev()))
}

/// True if the first of `processes` (a pid or `self`) whose PID namespace may be read is in the initial one. An ordinary user
/// may only read castoff's own.
pub(crate) fn is_in_initial_pid_namespace(proc: &Path, processes: &[&str]) -> bool {
    let mut links = processes.iter().map(|process| proc.join(process).join("ns/pid"));
    let target = links.find_map(|link| fs::read_link(link).ok());
    target.is_some_and(|target| target.as_os_str() == INITIAL_PID_NAMESPACE)
}

/// Whole seconds since boot, which `/proc/uptime` begins with.
pub(crate) fn read_uptime(proc: &Path) -> Option<u64> {
    let mut line = [0; 32];
    let length = File::open(proc.join("uptime")).ok()?.read(&mut line).ok()?;
    let seconds = line[..length].split(|b| *b == b'.').next()?;
    std::str::from_utf8(seconds).ok()?.parse().ok()
}

/// The boot's id, at most `limit` bytes of it.
pub(crate) fn read_boot_id(proc: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let file = File::open(proc.join("sys/kernel/random/boot_id"))?;
    file.take(limit).read_to_end(&mut content)?;
    Ok(content)
}
