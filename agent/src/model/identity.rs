//! The kernel's identities of processes, devices, inodes and namespaces. Each is a newtype of its own, so that a socket's inode
//! is never compared with a file's.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A process id in the PID namespace that castoff sees. Reused by the kernel: see [`ProcessKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Pid(pub u32);

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A process for as long as it lives: its pid and its start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProcessKey {
    /// The process id.
    pub pid: Pid,
    /// Field 22 of `/proc/<pid>/stat`: clock ticks since boot (proc(5)).
    pub start: u64,
}

/// A network namespace: the inode of its nsfs file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct NetNs(pub u64);

/// A socket's own inode, as in `socket:[N]` and in `sock_diag`, which gives 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SocketInode(pub u32);

/// A device number, kept as its two parts because the kernel and stat(2) pack them differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Device {
    /// Major number, 12 bits.
    pub major: u32,
    /// Minor number, 20 bits.
    pub minor: u32,
}

impl Device {
    /// From `st_dev` of stat(2), glibc's 64-bit packing (`gnu_dev_major`, `gnu_dev_minor`).
    pub const fn from_stat(st_dev: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "the masks leave 32 bits")]
        Self {
            major: (((st_dev >> 8) & 0xfff) | ((st_dev >> 32) & 0xffff_f000)) as u32,
            minor: ((st_dev & 0xff) | ((st_dev >> 12) & 0xffff_ff00)) as u32,
        }
    }

    /// From the kernel's own packing, `major << 20 | minor` (`MKDEV` of `include/linux/kdev_t.h`), as `UNIX_DIAG_VFS`
    /// gives it.
    pub const fn from_kernel(dev: u32) -> Self {
        Self {
            major: dev >> 20,
            minor: dev & 0xf_ffff,
        }
    }

    /// In the kernel's own packing.
    pub const fn to_kernel(self) -> u32 {
        self.major << 20 | self.minor
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// A file by the kernel's identity of it: a listener *is* this file, whatever name leads to it.
///
/// The inode is cut to 32 bits because `UNIX_DIAG_VFS` gives no more (net/unix/diag.c, `sk_diag_dump_vfs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct FileIdentity {
    /// The file system's device.
    pub device: Device,
    /// The low 32 bits of the inode number.
    pub inode: u32,
}

impl FileIdentity {
    /// From `st_dev` and `st_ino` of stat(2).
    pub const fn from_stat(st_dev: u64, st_ino: u64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "cut on purpose, as the kernel's answer is"
        )]
        Self {
            device: Device::from_stat(st_dev),
            inode: st_ino as u32,
        }
    }
}

impl fmt::Display for FileIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} inode {}", self.device, self.inode)
    }
}

/// A container's id as its runtime gives it: 64 hexadecimal digits nearly everywhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ContainerId(pub String);

impl ContainerId {
    /// The first twelve characters, as `docker ps` and `crictl ps` show it.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_and_the_kernel_pack_one_device_differently() {
        // Seen on ext4 at 254:0: st_dev 0xfe00, UNIX_DIAG_VFS 266338304.
        assert_eq!(Device::from_stat(0xfe00), Device { major: 254, minor: 0 });
        assert_eq!(Device::from_kernel(266_338_304), Device::from_stat(0xfe00));
        assert_eq!(Device::from_stat(0xfe00).to_kernel(), 266_338_304);
    }

    #[test]
    fn minors_over_8_bits_survive_both_packings() {
        // 0:1234 = an anonymous device of a busy node: minor 0x4d2 is split by stat(2).
        assert_eq!(Device::from_stat(0x40_00d2), Device { major: 0, minor: 0x4d2 });
        assert_eq!(Device::from_kernel(0x4d2), Device { major: 0, minor: 0x4d2 });
    }
}
