//! Chooses the methods to try, their order, and the reasons against the others: a pure function of the facts about the
//! kernel.

use std::fmt;

use crate::model::connect::{ConnectMethod, RefusedMethod};
use crate::sources::kernel::bpf::facts::{KernelFacts, UNIX_SOCK};

/// The requested method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// A method that slows down Unix connects alone, if the kernel has one.
    Auto,
    /// The exit of every system call.
    Tracepoint,
    /// No method.
    #[default]
    Off,
}

/// The way in which a program reads the kernel's structures; see `bpf/connects.bpf.c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadBy {
    /// By pointers whose types the verifier knows.
    Types,
    /// By the helper `bpf_probe_read_kernel`.
    Helper,
}

/// One method to try, with its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) method: ConnectMethod,
    /// The program's name in the object.
    pub(super) program: &'static str,
}

/// The methods to try, in this order, and those that are ruled out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) attempts: Vec<Attempt>,
    pub(super) refused: Vec<RefusedMethod>,
}

impl Plan {
    /// Returns those of `methods` for which `choose` has a program, and the reasons why the others have none.
    fn of(methods: &[ConnectMethod], choose: impl Fn(ConnectMethod) -> Result<&'static str, String>) -> Self {
        let mut plan = Self::default();
        for method in methods.iter().copied() {
            match choose(method) {
                Ok(program) => plan.attempts.push(Attempt { method, program }),
                Err(answer) => plan.refused.push(RefusedMethod { method, answer }),
            }
        }
        plan
    }

    /// Returns what `attach` makes of the first attempt that the kernel accepts. Earlier attempts are refused with the
    /// kernel's message.
    pub(super) fn attach_first<T, E: fmt::Display>(
        &mut self,
        mut attach: impl FnMut(Attempt) -> Result<T, E>,
    ) -> Option<T> {
        for attempt in &self.attempts {
            match attach(*attempt) {
                Ok(attached) => return Some(attached),
                Err(error) => self.refused.push(RefusedMethod {
                    method: attempt.method,
                    answer: error.to_string(),
                }),
            }
        }
        None
    }
}

/// The first kernel with BPF ring buffers.
const RING_BUFFERS: (u32, u32) = (5, 8);
/// The first kernel with fentry on x86; BPF trampolines and LSM programs attach by the same means.
const FENTRY_X86: (u32, u32) = (5, 5);
/// The first kernel with fentry on arm64.
const FENTRY_ARM64: (u32, u32) = (6, 4);

/// Returns the methods to try on this kernel.
pub(super) fn plan(wanted: Wanted, facts: &KernelFacts) -> Plan {
    let methods: &[ConnectMethod] = match wanted {
        Wanted::Off => &[],
        Wanted::Auto => &[ConnectMethod::Fentry, ConnectMethod::Lsm, ConnectMethod::Kprobe],
        Wanted::Tracepoint => &[ConnectMethod::SyscallExit],
    };
    Plan::of(methods, |method| choose(method, facts))
}

/// Returns the methods to see requests by on this kernel.
pub(super) fn plan_requests(wanted: Wanted, facts: &KernelFacts) -> Plan {
    let methods: &[ConnectMethod] = match wanted {
        Wanted::Off => &[],
        Wanted::Auto => &[ConnectMethod::Fentry],
        Wanted::Tracepoint => &[ConnectMethod::SyscallExit],
    };
    Plan::of(methods, |method| choose_for_requests(method, facts))
}

/// Returns the program that sees requests by a method. It needs the same as the one for connects, and reads the
/// sender's memory.
fn choose_for_requests(method: ConnectMethod, facts: &KernelFacts) -> Result<&'static str, String> {
    choose(method, facts)?;
    match (method, facts.confidential, facts.architecture) {
        (_, Some(true), _) => Err("lockdown=confidentiality prevents castoff from reading requests".to_owned()),
        (ConnectMethod::Fentry, ..) => Ok("send_fentry"),
        (_, _, "x86_64") => Ok("send_x86"),
        _ => Ok("send_arm64"),
    }
}

/// Returns the program for a method, or the missing requirement.
fn choose(method: ConnectMethod, facts: &KernelFacts) -> Result<&'static str, String> {
    let is_x86 = match facts.architecture {
        "x86_64" => true,
        "aarch64" => false,
        other => return Err(format!("castoff has no program for {other}")),
    };
    facts.may_run()?;
    facts.needs(RING_BUFFERS, "BPF ring buffers")?;
    let trampolines = if is_x86 { FENTRY_X86 } else { FENTRY_ARM64 };
    let typed = facts.version.is_none_or(|version| version >= UNIX_SOCK);
    let read_by = if typed && matches!(method, ConnectMethod::Fentry | ConnectMethod::Lsm) {
        ReadBy::Types
    } else {
        ReadBy::Helper
    };
    if read_by == ReadBy::Helper && facts.confidential == Some(true) {
        return Err("lockdown=confidentiality prevents programs from reading the kernel's memory".to_owned());
    }
    match method {
        ConnectMethod::Fentry => {
            facts.needs(trampolines, "fentry")?;
            Ok(if typed { "fentry_typed" } else { "fentry_probed" })
        }
        ConnectMethod::Lsm => {
            facts.needs(trampolines.max(UNIX_SOCK), "LSM programs that know Unix sockets")?;
            match facts.bpf_lsm {
                Some(false) => Err("`bpf` is not among the active security modules (boot parameter lsm=)".to_owned()),
                Some(true) | None => Ok("lsm_typed"),
            }
        }
        ConnectMethod::Kprobe if !facts.kprobes => Err("the kernel has no kprobes".to_owned()),
        ConnectMethod::Kprobe => Ok(if is_x86 { "kprobe_x86" } else { "kprobe_arm64" }),
        ConnectMethod::SyscallExit => Ok(if is_x86 { "sys_exit_x86" } else { "sys_exit_arm64" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual() -> KernelFacts {
        KernelFacts {
            btf: true,
            version: Some((6, 1)),
            architecture: "x86_64",
            confidential: Some(false),
            may_load: Some(true),
            kprobes: true,
            bpf_lsm: Some(true),
        }
    }

    fn tried(wanted: Wanted, facts: &KernelFacts) -> Vec<&'static str> {
        plan(wanted, facts).attempts.iter().map(|a| a.program).collect()
    }

    #[test]
    fn each_kernel_has_its_order_of_methods() {
        let all = ["fentry_typed", "lsm_typed", "kprobe_x86"];
        let auto = |change: &dyn Fn(&mut KernelFacts)| {
            let mut facts = usual();
            change(&mut facts);
            tried(Wanted::Auto, &facts)
        };
        assert_eq!(auto(&|_| {}), all);
        assert_eq!(auto(&|f| f.version = Some((5, 10))), ["fentry_probed", "kprobe_x86"]);
        assert_eq!(auto(&|f| f.version = Some((5, 15))), ["fentry_probed", "kprobe_x86"]);
        assert_eq!(auto(&|f| f.version = Some((5, 7))), [""; 0]);
        assert_eq!(auto(&|f| f.bpf_lsm = Some(false)), ["fentry_typed", "kprobe_x86"]);
        assert_eq!(auto(&|f| f.kprobes = false), ["fentry_typed", "lsm_typed"]);
        assert_eq!(auto(&|f| f.confidential = Some(true)), ["fentry_typed", "lsm_typed"]);
        assert_eq!(auto(&|f| f.btf = false), [""; 0]);
        assert_eq!(auto(&|f| f.may_load = Some(false)), [""; 0]);
        assert_eq!(auto(&|f| f.architecture = "aarch64"), ["kprobe_arm64"]);
        assert_eq!(auto(&|f| f.architecture = "s390x"), [""; 0]);
        let arm = |f: &mut KernelFacts| (f.architecture, f.version) = ("aarch64", Some((6, 4)));
        assert_eq!(auto(&arm), ["fentry_typed", "lsm_typed", "kprobe_arm64"]);
        let old_and_locked = |f: &mut KernelFacts| (f.version, f.confidential) = (Some((5, 10)), Some(true));
        assert_eq!(auto(&old_and_locked), [""; 0]);
    }

    #[test]
    fn methods_with_unknown_requirements_are_tried() {
        let facts = KernelFacts {
            version: None,
            confidential: None,
            may_load: None,
            bpf_lsm: None,
            ..usual()
        };
        assert_eq!(tried(Wanted::Auto, &facts), ["fentry_typed", "lsm_typed", "kprobe_x86"]);
    }

    #[test]
    fn the_tracepoint_is_used_only_on_request() {
        assert_eq!(tried(Wanted::Tracepoint, &usual()), ["sys_exit_x86"]);
        assert_eq!(tried(Wanted::Off, &usual()), [""; 0]);
        let locked = KernelFacts {
            confidential: Some(true),
            ..usual()
        };
        assert_eq!(tried(Wanted::Tracepoint, &locked), [""; 0]);
    }

    #[test]
    fn requests_are_seen_by_fentry_or_on_request() {
        let tried = |wanted, change: &dyn Fn(&mut KernelFacts)| {
            let mut facts = usual();
            change(&mut facts);
            let plan = plan_requests(wanted, &facts);
            let refused = plan.refused.into_iter().map(|refused| refused.answer);
            let programs = plan.attempts.iter().map(|attempt| attempt.program.to_owned());
            programs.chain(refused).collect::<Vec<_>>()
        };
        assert_eq!(tried(Wanted::Auto, &|_| ()), ["send_fentry"]);
        assert_eq!(tried(Wanted::Auto, &|f| f.version = Some((5, 10))), ["send_fentry"]);
        assert_eq!(tried(Wanted::Tracepoint, &|_| ()), ["send_x86"]);
        assert_eq!(
            tried(Wanted::Tracepoint, &|f| f.architecture = "aarch64"),
            ["send_arm64"]
        );
        assert_eq!(tried(Wanted::Off, &|_| ()), [""; 0]);
        let locked = ["lockdown=confidentiality prevents castoff from reading requests"];
        assert_eq!(tried(Wanted::Auto, &|f| f.confidential = Some(true)), locked);
        let unknown = tried(Wanted::Auto, &|f| f.architecture = "s390x");
        assert_eq!(unknown, ["castoff has no program for s390x"]);
        let arm = |f: &mut KernelFacts| (f.architecture, f.version) = ("aarch64", Some((6, 1)));
        let old = tried(Wanted::Auto, &arm);
        assert_eq!(old, ["fentry: needs Linux 6.4, this is 6.1"]);
    }

    #[test]
    fn an_untried_method_has_its_missing_requirement() {
        let facts = KernelFacts {
            version: Some((5, 10)),
            kprobes: false,
            ..usual()
        };
        let refused = plan(Wanted::Auto, &facts).refused;
        let told: Vec<(ConnectMethod, &str)> = refused.iter().map(|r| (r.method, r.answer.as_str())).collect();
        assert_eq!(
            told,
            [
                (
                    ConnectMethod::Lsm,
                    "LSM programs that know Unix sockets: needs Linux 5.16, this is 5.10"
                ),
                (ConnectMethod::Kprobe, "the kernel has no kprobes"),
            ]
        );
        let plan = plan(
            Wanted::Auto,
            &KernelFacts {
                may_load: Some(false),
                ..usual()
            },
        );
        assert_eq!(plan.refused.len(), 3);
        assert!(plan.refused.iter().all(|r| r.answer == "needs CAP_BPF and CAP_PERFMON"));
    }
}
