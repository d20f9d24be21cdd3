//! Facts about the kernel and castoff's own rights.

use std::fs;
use std::path::Path;

use rustix::system::uname;

use crate::sources::kernel::process::ProcessDirectory;

/// Bits of `CapEff` (capabilities(7)).
const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_PERFMON: u64 = 1 << 38;
const CAP_BPF: u64 = 1 << 39;

const BTF: &str = "/sys/kernel/btf/vmlinux";
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";
const SECURITY_MODULES: &str = "/sys/kernel/security/lsm";
/// The kernel's name for kprobes among its event sources.
const KPROBES: &str = "/sys/bus/event_source/devices/kprobe";

/// Facts about the kernel and castoff's rights. A fact that could not be determined is none: then castoff finds out by
/// loading the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KernelFacts {
    /// True if the kernel describes its types.
    pub(crate) btf: bool,
    /// The major and minor version.
    pub(crate) version: Option<(u32, u32)>,
    /// The architecture, by Rust's name.
    pub(crate) architecture: &'static str,
    /// True if lockdown prevents programs from reading the kernel's memory.
    pub(crate) confidential: Option<bool>,
    /// True if castoff may load tracing programs: it has `CAP_BPF` and `CAP_PERFMON`, or `CAP_SYS_ADMIN`.
    pub(crate) may_load: Option<bool>,
    /// True if the kernel has kprobes.
    pub(crate) kprobes: bool,
    /// True if `bpf` is among the active security modules.
    pub(crate) bpf_lsm: Option<bool>,
}

/// The first kernel with `bpf_skc_to_unix_sock`, which a typed program needs to find a socket's listener.
pub(crate) const UNIX_SOCK: (u32, u32) = (5, 16);

impl KernelFacts {
    /// # Errors
    /// The missing requirement that concerns all of castoff's programs.
    pub(crate) fn may_run(&self) -> Result<(), String> {
        if !self.btf {
            return Err("the kernel does not describe its types (no /sys/kernel/btf/vmlinux)".to_owned());
        }
        if self.may_load == Some(false) {
            return Err("needs CAP_BPF and CAP_PERFMON".to_owned());
        }
        Ok(())
    }

    /// # Errors
    /// If the kernel is older than Linux `least`, the message that `feature` needs it.
    pub(crate) fn needs(&self, least: (u32, u32), feature: &str) -> Result<(), String> {
        match self.version {
            Some(version) if version < least => {
                let ((major, minor), (at, dot)) = (least, version);
                Err(format!("{feature}: needs Linux {major}.{minor}, this is {at}.{dot}"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Reads the facts of this machine. `proc` is a procfs that has castoff itself.
pub(crate) fn read(proc: &Path) -> KernelFacts {
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

/// Parses a version like `6.1.0-18-amd64`.
fn parse_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// True for `none integrity [confidentiality]`: the current mode is in brackets.
fn is_confidential(modes: &str) -> bool {
    modes.contains("[confidentiality]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_lockdown_and_rights_are_parsed() {
        assert_eq!(parse_version("6.1.0-18-cloud-amd64"), Some((6, 1)));
        assert_eq!(parse_version("5.10-rc1"), Some((5, 10)));
        assert_eq!(parse_version("custom"), None);
        assert!(is_confidential("none integrity [confidentiality]\n"));
        assert!(!is_confidential("none [integrity] confidentiality\n"));
        assert!(may_load(CAP_SYS_ADMIN) && may_load(CAP_BPF | CAP_PERFMON));
        assert!(!may_load(CAP_BPF) && !may_load(CAP_PERFMON) && !may_load(0));
    }
}
