//! The requirements of a tier of tests, and what this machine lacks of them.
//!
//! [`read_facts`] inspects the machine, [`missing`] decides: a tier runs with all that it needs or not at all.

use std::fmt;
use std::fs;
use std::path::Path;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::cgroups;

/// A tier that needs more than a compiler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tier {
    /// Real daemons, pods and clients.
    Runtime,
    /// The same without packages, and file systems that hang.
    Faults,
    /// A real Kubernetes, with all that it needs.
    Cluster,
    /// Kernels in virtual machines.
    Kernel,
    /// A node with systemd in a virtual machine.
    Systemd,
}

impl Tier {
    /// Returns the tier that `tests/run` calls by this name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "runtime" => Some(Self::Runtime),
            "faults" => Some(Self::Faults),
            "cluster" => Some(Self::Cluster),
            "kernel" => Some(Self::Kernel),
            "systemd" => Some(Self::Systemd),
            _ => None,
        }
    }
}

/// The facts about a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The processor's architecture, by Rust's name.
    pub architecture: &'static str,
    /// The effective capabilities of this process, as in `/proc/self/status`.
    pub capabilities: u64,
    /// Filesystems that the kernel supports now.
    pub filesystems: Vec<String>,
    /// The number of user namespaces that a user may create; none if the kernel does not report it.
    pub user_namespaces: Option<u64>,
    /// Mounted cgroup hierarchies.
    pub cgroup_hierarchies: usize,
    /// The answer of `sock_diag` to a request for Unix sockets.
    pub unix_diag: Result<(), String>,
    /// The required programs that are not in `PATH`.
    pub absent_programs: Vec<String>,
    /// The filesystem of the temporary directory, which has the daemons' rooms.
    pub temporary_filesystem: Option<String>,
}

/// A missing requirement, with its purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    what: String,
    why: &'static str,
}

impl fmt::Display for Missing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.what, self.why)
    }
}

/// Capabilities by their bit in the kernel's `linux/capability.h`.
const CAPABILITIES: &[(u32, &str, &str)] = &[
    (0, "CAP_CHOWN", "images hold files of several users"),
    (7, "CAP_SETUID", "clients run as ordinary users"),
    (12, "CAP_NET_ADMIN", "pods get a network of their own"),
    (19, "CAP_SYS_PTRACE", "the holders of every process's sockets are read"),
    (21, "CAP_SYS_ADMIN", "containers are mounts and namespaces"),
];

/// The programs that the lab calls. Every Debian has them, except for the first.
const PROGRAMS: &[(&str, &str)] = &[
    ("rustc", "compiles the client program"),
    ("apt-get", "gets the daemons' packages"),
    ("dpkg", "unpacks the daemons' packages"),
    ("tar", "makes images"),
    ("sha256sum", "makes images"),
    ("mount", "gives a rootless daemon its user"),
    ("unshare", "puts clients into namespaces"),
    ("nsenter", "looks into the namespaces of pods"),
    ("setpriv", "starts clients as ordinary users"),
    ("ip", "takes networks away"),
    ("ss", "is the second witness of who holds a connection"),
];

/// The additional programs that tier `cluster` calls.
const CLUSTER_PROGRAMS: &[(&str, &str)] = &[
    ("go", "builds Kubernetes"),
    ("npm", "gets helm"),
    ("python3", "unpacks helm"),
    ("jq", "is what runbooks pipe reports into"),
];

/// The additional programs that tier `faults` calls.
const FAULTS_PROGRAMS: &[(&str, &str)] = &[("prlimit", "takes descriptors away from an agent")];

/// The programs that tier `kernel` calls. It tests what is inside of virtual machines.
const KERNEL_PROGRAMS: &[(&str, &str)] = &[
    ("rustc", "compiles the client program"),
    ("apt-get", "gets kernels and the emulator"),
    ("dpkg", "unpacks kernels and the emulator"),
    ("tar", "makes castoff's image"),
];

/// The additional programs that tier `systemd` calls.
const SYSTEMD_PROGRAMS: &[(&str, &str)] = &[("go", "builds the kubelet")];

/// Returns what the machine lacks for the tier; empty if it can run.
pub fn missing(tier: Tier, facts: &Facts) -> Vec<Missing> {
    let programs = match tier {
        Tier::Runtime => PROGRAMS.to_vec(),
        Tier::Faults => [PROGRAMS, FAULTS_PROGRAMS].concat(),
        Tier::Cluster => [PROGRAMS, CLUSTER_PROGRAMS].concat(),
        Tier::Kernel => KERNEL_PROGRAMS.to_vec(),
        Tier::Systemd => [KERNEL_PROGRAMS, SYSTEMD_PROGRAMS].concat(),
    };
    let mut missing = missing_programs(&programs, facts);
    if tier == Tier::Faults && !facts.filesystems.iter().any(|known| known == "fuse") {
        missing.push(Missing {
            what: "filesystem fuse".to_owned(),
            why: "a disk that hangs is one that nobody serves",
        });
    }
    if !matches!(tier, Tier::Kernel | Tier::Systemd) {
        missing.extend(missing_for_daemons(facts));
    } else if facts.architecture != "x86_64" {
        missing.push(Missing {
            what: format!("an x86_64 processor (this is {})", facts.architecture),
            why: "a guest runs the same static castoff",
        });
    }
    missing
}

fn missing_programs(programs: &[(&str, &'static str)], facts: &Facts) -> Vec<Missing> {
    let absent = |program: &str| facts.absent_programs.iter().any(|absent| absent == program);
    let programs = programs.iter().filter(|(program, _)| absent(program));
    let lack = |(program, why): &(&str, &'static str)| Missing {
        what: format!("program {program}"),
        why,
    };
    programs.map(lack).collect()
}

/// Returns what the machine itself lacks for daemons, pods and clients.
fn missing_for_daemons(facts: &Facts) -> Vec<Missing> {
    let mut missing = Vec::new();
    let mut lack = |what: &str, why| {
        missing.push(Missing {
            what: what.to_owned(),
            why,
        });
    };
    for (bit, name, why) in CAPABILITIES {
        if facts.capabilities & (1 << bit) == 0 {
            lack(&format!("{name} (run as root)"), why);
        }
    }
    if !facts.filesystems.iter().any(|known| known == "overlay") {
        lack("filesystem overlay", "images are layers");
    }
    if facts.temporary_filesystem.as_deref() == Some("overlay") {
        lack(
            "a TMPDIR that is not on overlay",
            "containers cannot have their layers on another overlay",
        );
    }
    if facts.user_namespaces == Some(0) {
        lack(
            "user namespaces (user.max_user_namespaces is 0)",
            "rootless clients have their own",
        );
    }
    if facts.cgroup_hierarchies == 0 {
        lack("a mounted cgroup hierarchy", "containers have a cgroup each");
    }
    if let Err(refusal) = &facts.unix_diag {
        lack(
            &format!("sock_diag for Unix sockets ({refusal})"),
            "holders are found with it",
        );
    }
    missing
}

/// Inspects this machine.
pub fn read_facts() -> Facts {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let capabilities = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let filesystems = filesystems.lines().filter_map(|line| line.split('\t').next_back());
    let user_namespaces = fs::read_to_string("/proc/sys/user/max_user_namespaces").ok();
    Facts {
        architecture: std::env::consts::ARCH,
        capabilities: capabilities.unwrap_or(0),
        filesystems: filesystems.map(str::to_owned).collect(),
        user_namespaces: user_namespaces.and_then(|limit| limit.trim().parse().ok()),
        cgroup_hierarchies: cgroups::count_hierarchies().unwrap_or(0),
        unix_diag: query_unix_diag().map_err(|error| error.to_string()),
        absent_programs: absent_programs(),
        temporary_filesystem: filesystem_of(&std::env::temp_dir()),
    }
}

fn absent_programs() -> Vec<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    PROGRAMS
        .iter()
        .chain(CLUSTER_PROGRAMS)
        .chain(FAULTS_PROGRAMS)
        .filter(|(program, _)| !std::env::split_paths(&path).any(|folder| folder.join(program).exists()))
        .map(|(program, _)| (*program).to_owned())
        .collect()
}

fn filesystem_of(folder: &Path) -> Option<String> {
    let folder = folder.canonicalize().ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let (_, kind) = mounts
        .lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            Some((before.split(' ').nth(4)?, after.split(' ').next()?))
        })
        .filter(|(mount, _)| folder.starts_with(mount))
        // Of several on one path the last one is on top.
        .max_by_key(|(mount, _)| mount.len())?;
    Some(kind.to_owned())
}

/// Asks `sock_diag` for the listening Unix sockets. Only success or failure matters.
fn query_unix_diag() -> Result<(), rustix::io::Errno> {
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const NLM_F_REQUEST_DUMP: u16 = 0x1 | 0x300;
    const NLMSG_ERROR: u16 = 2;
    const STATE_LISTEN: u32 = 1 << 10;

    let mut request = [0_u8; 40];
    // struct nlmsghdr: length, type, flags, sequence, port
    request[0..4].copy_from_slice(&40_u32.to_ne_bytes());
    request[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request[6..8].copy_from_slice(&NLM_F_REQUEST_DUMP.to_ne_bytes());
    // struct unix_diag_req: family, protocol, padding, states, inode, show, cookie
    request[16] = u8::try_from(AddressFamily::UNIX.as_raw()).unwrap_or(1);
    request[20..24].copy_from_slice(&STATE_LISTEN.to_ne_bytes());

    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    rustix::net::sendto(&socket, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0_u8; 32];
    rustix::net::recv(&socket, &mut answer, RecvFlags::empty())?;
    let kind = u16::from_ne_bytes([answer[4], answer[5]]);
    let code = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
    if kind == NLMSG_ERROR && code != 0 {
        return Err(rustix::io::Errno::from_raw_os_error(-code));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capable() -> Facts {
        Facts {
            architecture: "x86_64",
            capabilities: u64::MAX,
            filesystems: vec!["ext4".to_owned(), "overlay".to_owned()],
            user_namespaces: Some(1000),
            cgroup_hierarchies: 1,
            unix_diag: Ok(()),
            absent_programs: Vec::new(),
            temporary_filesystem: Some("ext4".to_owned()),
        }
    }

    #[test]
    fn a_capable_machine_lacks_nothing() {
        assert_eq!(missing(Tier::Runtime, &capable()), []);
    }

    #[test]
    fn a_cluster_needs_more() {
        let mut facts = capable();
        facts.absent_programs = vec!["go".to_owned()];
        assert_eq!(missing(Tier::Runtime, &facts), []);
        let lines: Vec<String> = missing(Tier::Cluster, &facts).iter().map(Missing::to_string).collect();
        assert_eq!(lines, ["program go: builds Kubernetes"]);
    }

    #[test]
    fn disks_that_hang_need_fuse() {
        let mut facts = capable();
        facts.absent_programs = vec!["prlimit".to_owned()];
        let lines: Vec<String> = missing(Tier::Faults, &facts).iter().map(Missing::to_string).collect();
        assert_eq!(
            lines,
            [
                "program prlimit: takes descriptors away from an agent",
                "filesystem fuse: a disk that hangs is one that nobody serves"
            ]
        );
        facts.absent_programs.clear();
        facts.filesystems.push("fuse".to_owned());
        assert_eq!(missing(Tier::Faults, &facts), []);
    }

    #[test]
    fn a_virtual_machine_needs_its_processor_and_no_rights() {
        let mut facts = capable();
        facts.capabilities = 0;
        facts.unix_diag = Err("EPERM".to_owned());
        assert_eq!(missing(Tier::Kernel, &facts), []);
        facts.architecture = "aarch64";
        facts.absent_programs = vec!["ss".to_owned(), "dpkg".to_owned()];
        let lines: Vec<String> = missing(Tier::Kernel, &facts).iter().map(Missing::to_string).collect();
        assert_eq!(
            lines,
            [
                "program dpkg: unpacks kernels and the emulator",
                "an x86_64 processor (this is aarch64): a guest runs the same static castoff"
            ]
        );
    }

    #[test]
    fn each_missing_fact_is_named() {
        type TakeAway = fn(&mut Facts);
        let cases: [(TakeAway, &str); 8] = [
            (
                |facts| facts.capabilities &= !(1 << 21),
                "CAP_SYS_ADMIN (run as root): containers are mounts and namespaces",
            ),
            (
                |facts| facts.filesystems.truncate(1),
                "filesystem overlay: images are layers",
            ),
            (|facts| facts.user_namespaces = Some(0), "user namespaces"),
            (|facts| facts.cgroup_hierarchies = 0, "a mounted cgroup hierarchy"),
            (
                |facts| facts.unix_diag = Err("ENOENT".to_owned()),
                "sock_diag for Unix sockets (ENOENT)",
            ),
            (
                |facts| facts.absent_programs.push("apt-get".to_owned()),
                "program apt-get: gets the daemons' packages",
            ),
            (|facts| facts.absent_programs.push("rustc".to_owned()), "program rustc"),
            (
                |facts| facts.temporary_filesystem = Some("overlay".to_owned()),
                "a TMPDIR that is not on overlay",
            ),
        ];
        for (take_away, named) in cases {
            let mut facts = capable();
            take_away(&mut facts);
            let lines: Vec<String> = missing(Tier::Runtime, &facts).iter().map(Missing::to_string).collect();
            assert!(lines.len() == 1 && lines[0].starts_with(named), "{named}: {lines:?}");
        }
    }
}
