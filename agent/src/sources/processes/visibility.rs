//! The processes that a procfs does not show at all: those hidden by `hidepid`, and those outside its PID namespace.
//!
//! Relies on Documentation/filesystems/proc.rst (hidepid, gid). Never claims a full view if this is uncertain.

use std::path::Path;

use super::authority::{Authority, read_authority};
use super::{ProcessEntry, ProcessTable};
use crate::model::identity::Pid;
use crate::model::kubelet::KubeletProgram;
use crate::model::reading::{Gap, Hides, Reason};
use crate::sources::kernel::mountinfo::{MountWatch, read_mounts};
use crate::sources::kernel::process::ProcessDirectory;
use crate::sources::kernel::system::{is_in_initial_pid_namespace, is_live, read_device};

/// Bit 19 of a capability set, `CAP_SYS_PTRACE` of include/uapi/linux/capability.h.
const CAP_SYS_PTRACE: u64 = 1 << 19;

/// The mount options of the procfs, read again if mounts have changed.
#[derive(Debug, Default)]
pub(super) struct Visibility {
    mounts: MountWatch,
    hidepid: Option<Hidepid>,
}

impl Visibility {
    /// Returns the gaps that concern the procfs as a whole.
    pub(super) fn find_gaps(&mut self, proc: &Path, table: &ProcessTable) -> Vec<Gap> {
        let live = is_live(proc);
        if self.mounts.has_changed(&proc.join("self/mountinfo")) {
            self.hidepid = read_hidepid(proc, live);
        }
        find_gaps(proc, live, self.hidepid.as_ref(), table)
    }
}

fn find_gaps(proc: &Path, live: bool, hidepid: Option<&Hidepid>, table: &ProcessTable) -> Vec<Gap> {
    let mut gaps = Vec::new();
    if let Some(mode) = hidepid
        && !sees_through_hidepid(proc, table, mode)
    {
        let answer = format!(
            "mounted with hidepid={}: CAP_SYS_PTRACE would show all processes",
            mode.value
        );
        hide_all(&mut gaps, proc, &answer);
    }
    let is_initial = is_in_initial_pid_namespace(proc, &["1", "self"]);
    let is_the_nodes = || table.entries.iter().any(|entry| is_kubelet(proc, entry));
    if live && !is_initial && !is_the_nodes() {
        let answer = "not of the host's PID namespace: hostPID, or the host's /proc mounted, would show all processes";
        hide_all(&mut gaps, proc, answer);
    }
    gaps
}

/// Returns the host's own init: pid 1, if castoff itself is seen to be in the initial PID namespace.
pub(super) fn find_init(proc: &Path) -> Option<Pid> {
    (is_live(proc) && is_in_initial_pid_namespace(proc, &["self"])).then_some(Pid(1))
}

fn hide_all(gaps: &mut Vec<Gap>, proc: &Path, answer: &str) {
    for hides in [Hides::Engine, Hides::Client] {
        Gap::new(Reason::NoKernelSupport, hides, proc.display(), answer).fold_into(gaps);
    }
}

/// The setting of `hidepid`.
#[derive(Debug)]
struct Hidepid {
    value: String,
    group: bool,
}

fn read_hidepid(proc: &Path, live: bool) -> Option<Hidepid> {
    let device = read_device(proc);
    let mut found = None;
    // An unreadable mountinfo is no gap by itself: processes that are refused are counted one by one.
    let _ = read_mounts(&proc.join("self/mountinfo"), |mount| {
        let ours = if live {
            Some(mount.device) == device
        } else {
            mount.point == b"/proc"
        };
        if mount.fs_type != b"proc" || !ours {
            return true;
        }
        found = mount
            .option(b"hidepid")
            .filter(|value| !matches!(*value, b"0" | b"off"))
            .map(|value| Hidepid {
                value: String::from_utf8_lossy(value).into_owned(),
                group: mount.option(b"gid").is_some(),
            });
        !live
    });
    found
}

/// True if all processes are visible in spite of `hidepid`: pid 1 belongs to another user and is visible, because
/// castoff may trace or is a member of the mount's `gid`.
fn sees_through_hidepid(proc: &Path, table: &ProcessTable, mode: &Hidepid) -> bool {
    let init_seen = table.entries.first().is_some_and(|entry| entry.key.pid == Pid(1));
    init_seen && (mode.group || may_trace(proc))
}

fn may_trace(proc: &Path) -> bool {
    let status = ProcessDirectory::open(&proc.join("self")).and_then(|own| own.read_status());
    status.is_ok_and(|status| status.capabilities().is_some_and(|set| set & CAP_SYS_PTRACE != 0))
}

/// True if this process is, contains or starts a kubelet, and runs as the node's own root. If there is such a process,
/// the procfs is the node's, whatever its namespace. The name alone proves nothing.
fn is_kubelet(proc: &Path, entry: &ProcessEntry) -> bool {
    let Some(program) = KubeletProgram::of(entry.program()) else {
        return false;
    };
    let Ok(process) = ProcessDirectory::open(&proc.join(entry.key.pid.to_string())) else {
        return false;
    };
    let arguments = process.read_arguments().unwrap_or_default();
    (program.runs_kubelet(&arguments) || program.starts_kubelet(&arguments))
        && read_authority(&process).is_ok_and(|authority| authority == Authority::Node)
}
