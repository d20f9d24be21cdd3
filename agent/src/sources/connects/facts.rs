//! What the kernel and castoff's own rights allow, for [`plan`](super::method::plan).

use std::fs;
use std::path::Path;

use rustix::system::uname;

use super::method::KernelFacts;
use crate::sources::kernel::process::ProcessDirectory;

/// Bits of `CapEff` (capabilities(7)).
const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_PERFMON: u64 = 1 << 38;
const CAP_BPF: u64 = 1 << 39;

const BTF: &str = "/sys/kernel/btf/vmlinux";
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";
const SECURITY_MODULES: &str = "/sys/kernel/security/lsm";
/// The kernel's own name for kprobes among the sources of events.
const KPROBES: &str = "/sys/bus/event_source/devices/kprobe";

/// Reads them of this machine. `proc` is a procfs that has castoff itself.
pub(super) fn read(proc: &Path) -> KernelFacts {
    let status = ProcessDirectory::open(&proc.join("self")).and_then(|own| own.read_status());
    KernelFacts {
        btf: Path::new(BTF).exists(),
        version: uname().release().to_str().ok().and_then(parse_version),
        architecture: std::env::consts::ARCH,
        // In a container securityfs is seldom mounted.
        confidential: fs::read_to_string(LOCKDOWN).ok().map(|modes| is_confidential(&modes)),
        may_load: status.ok().and_then(|status| status.capabilities()).map(may_load),
        kprobes: Path::new(KPROBES).exists(),
        bpf_lsm: fs::read_to_string(SECURITY_MODULES)
            .ok()
            .map(|modules| modules.trim().split(',').any(|module| module == "bpf")),
    }
}

const fn may_load(capabilities: u64) -> bool {
    const TRACING: u64 = CAP_BPF | CAP_PERFMON;
    capabilities & CAP_SYS_ADMIN != 0 || capabilities & TRACING == TRACING
}

/// `6.1.0-18-amd64`.
fn parse_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// `none integrity [confidentiality]`: the mode in brackets is the one that holds.
fn is_confidential(modes: &str) -> bool {
    modes.contains("[confidentiality]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_lockdown_and_rights_are_read_as_the_kernel_writes_them() {
        assert_eq!(parse_version("6.1.0-18-cloud-amd64"), Some((6, 1)));
        assert_eq!(parse_version("5.10-rc1"), Some((5, 10)));
        assert_eq!(parse_version("custom"), None);
        assert!(is_confidential("none integrity [confidentiality]\n"));
        assert!(!is_confidential("none [integrity] confidentiality\n"));
        assert!(may_load(CAP_SYS_ADMIN) && may_load(CAP_BPF | CAP_PERFMON));
        assert!(!may_load(CAP_BPF) && !may_load(CAP_PERFMON) && !may_load(0));
    }
}
