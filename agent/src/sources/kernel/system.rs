//! The files of a procfs that belong to no process: the uptime, the boot ID, and the PID namespace that is shown.
//!
//! Relies on proc(5), random(4) for the boot ID, and on the fixed inode of the initial PID namespace.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{PROC_SUPER_MAGIC, statfs};

use crate::model::identity::Device;

/// `PROC_PID_INIT_INO` of `include/linux/proc_ns.h`: the inode of the initial PID namespace on every kernel since 3.8.
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// True if `proc` is the kernel's procfs. A recorded tree is an ordinary directory.
pub(crate) fn is_live(proc: &Path) -> bool {
    statfs(proc).is_ok_and(|fs| fs.f_type == PROC_SUPER_MAGIC)
}

/// Returns the device of the procfs.
pub(crate) fn read_device(proc: &Path) -> Option<Device> {
    fs::metadata(proc).ok().map(|m| Device::from_stat(m.dev()))
}

/// True if the first of `processes` (a pid or `self`) whose PID namespace can be read is in the initial one. An
/// ordinary user may only read castoff's own.
pub(crate) fn is_in_initial_pid_namespace(proc: &Path, processes: &[&str]) -> bool {
    let mut links = processes.iter().map(|process| proc.join(process).join("ns/pid"));
    let target = links.find_map(|link| fs::read_link(link).ok());
    target.is_some_and(|target| target.as_os_str() == INITIAL_PID_NAMESPACE)
}

/// Returns the seconds since boot, rounded down, from `/proc/uptime`.
pub(crate) fn read_uptime(proc: &Path) -> Option<u64> {
    let mut line = [0; 32];
    let length = File::open(proc.join("uptime")).ok()?.read(&mut line).ok()?;
    let seconds = line[..length].split(|b| *b == b'.').next()?;
    std::str::from_utf8(seconds).ok()?.parse().ok()
}

/// Reads the time since boot to the hundredth of a second. None if it cannot be read.
pub(crate) fn read_time_since_boot(proc: &Path) -> Option<Duration> {
    let line = fs::read_to_string(proc.join("uptime")).ok()?;
    Duration::try_from_secs_f64(line.split_whitespace().next()?.parse().ok()?).ok()
}

/// Reads at most `limit` bytes of the boot ID.
pub(crate) fn read_boot_id(proc: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let file = File::open(proc.join("sys/kernel/random/boot_id"))?;
    file.take(limit).read_to_end(&mut content)?;
    Ok(content)
}
