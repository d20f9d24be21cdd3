//! The binary records of the kernel program: `struct record` of `bpf/connects.bpf.c` for a connect, and
//! `struct request` of `bpf/requests.h`, which begins with a `struct record`, for a request.

use std::ops::Range;

use super::operation::LINE;
use crate::model::identity::{Device, FileIdentity, NetNs, Pid, ProcessKey};
use crate::model::process::Process;
use crate::model::workload::Membership;
use crate::sources::kernel::bpf::{long, short, ticks};

/// One connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Nanoseconds from boot to the connect.
    pub(super) time: u64,
    /// The file of the listener that was connected to.
    pub(super) listener: FileIdentity,
    /// The process that connected, in the initial PID namespace.
    pub(super) process: ProcessKey,
    /// The process that started it.
    pub(super) parent: Pid,
    pub(super) origin: Origin,
}

/// The properties that are the same in all runs of one client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Origin {
    /// The user ID, in the initial user namespace.
    pub(super) uid: u32,
    pub(super) netns: u64,
    /// The device and inode of the executable file.
    pub(super) program_file: (u32, u64),
    /// The name of that file, or `comm` if there is none.
    pub(super) program: String,
    /// The cgroups, in the form of `/proc/<pid>/cgroup`; only those that the record has in full.
    pub(super) groups: String,
}

/// The number of bytes of a record.
pub(super) const LENGTH: usize = 896;

const COMM: Range<usize> = 72..88;
const PROGRAM: Range<usize> = 88..128;
const UNIFIED: Range<usize> = 128..512;
const MEMORY: Range<usize> = 512..896;

/// A request or a part of one: the process that sent it, and its first bytes.
pub(super) struct Sent<'a> {
    /// The sender, as in the record of a connect. The time is that of the request.
    pub(super) sender: Record,
    /// A number that distinguishes the sender's sockets.
    pub(super) socket: u64,
    /// The first bytes, which are not kept.
    pub(super) line: &'a [u8],
}

/// The offset of a request's bytes in its record.
const SENT: usize = LENGTH + 16;

impl<'a> Sent<'a> {
    /// Reads a record. Returns none if the bytes are not a record.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (sender, rest) = bytes.split_at_checked(LENGTH)?;
        let length = usize::try_from(short(rest, 8)?).ok()?;
        let line = bytes.get(SENT..).filter(|line| line.len() == LINE)?;
        Some(Self {
            sender: Record::parse(sender)?,
            socket: long(rest, 0)?,
            line: line.get(..length).unwrap_or(line),
        })
    }
}

impl Record {
    /// Reads a record. Returns none if the bytes are not a record.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != LENGTH {
            return None;
        }
        let name = match text(&bytes[PROGRAM]) {
            name if name.is_empty() => text(&bytes[COMM]),
            name => name,
        };
        let unified = path(bytes, UNIFIED, short(bytes, 60)?).map(|path| format!("0::{path}\n"));
        let memory = path(bytes, MEMORY, short(bytes, 64)?).map(|path| format!("1:memory:{path}\n"));
        Some(Self {
            time: long(bytes, 0)?,
            listener: FileIdentity {
                device: Device::from_kernel(short(bytes, 32)?),
                inode: short(bytes, 36)?,
            },
            process: ProcessKey {
                pid: Pid(short(bytes, 44)?),
                start: ticks(long(bytes, 8)?),
            },
            parent: Pid(short(bytes, 48)?),
            origin: Origin {
                uid: short(bytes, 52)?,
                netns: short(bytes, 56)?.into(),
                program_file: (short(bytes, 40)?, long(bytes, 16)?),
                program: name,
                groups: unified.into_iter().chain(memory).collect(),
            },
        })
    }

    /// Describes the process from this record alone, with the given membership.
    pub(super) fn describe(&self, membership: Membership) -> Process {
        Process {
            key: self.process,
            name: self.origin.program.clone(),
            executable: None,
            uid: Some(self.origin.uid),
            netns: Some(NetNs(self.origin.netns)),
            membership,
        }
    }

    /// Returns the place of its cgroup, by the names alone.
    pub(super) fn membership(&self) -> Membership {
        Membership::from_names(self.origin.groups.as_bytes())
    }
}

/// Returns the path of a cgroup from its names. The kernel gives them from the innermost cgroup outwards, each ended by
/// a slash; the root's name is empty. Without the root the path is not known, because the outer cgroups decide the
/// owner.
fn path(record: &[u8], names: Range<usize>, length: u32) -> Option<String> {
    let names = record.get(names)?;
    let names = names.get(..usize::try_from(length).ok()?).unwrap_or(names);
    let names = String::from_utf8_lossy(names);
    if names == "/" {
        return Some(names.into_owned());
    }
    let (below_root, _) = names.split_once("//")?;
    Some(
        below_root
            .rsplit('/')
            .fold(String::new(), |path, name| path + "/" + name),
    )
}

fn text(bytes: &[u8]) -> String {
    let text = bytes.split(|b| *b == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::workload::Manager;

    const POD: &str = "kubepods-burstable-pod0c2ab1c5_7a3e_4f0e_9d3b_1f2e3d4c5b6a.slice";

    /// Returns a record as the kernel writes it: of process 4711, run by user 33.
    pub(in crate::sources::connects) fn bytes(program: &str, group: &str) -> Vec<u8> {
        let mut bytes = vec![0xee; LENGTH];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &90_000_000_000_u64.to_ne_bytes());
        put(8, &89_995_000_000_u64.to_ne_bytes());
        put(16, &77_u64.to_ne_bytes());
        let length = u32::try_from(group.len()).expect("short");
        let numbers: [u32; 9] = [27, 1301, 0xfe00, 4711, 4700, 33, 4_026_531_840, length, 0];
        for (at, number) in numbers.iter().enumerate() {
            put(32 + 4 * at, &number.to_ne_bytes());
        }
        put(72, b"renamed\0");
        put(88, program.as_bytes());
        put(88 + program.len(), b"\0");
        put(128, group.as_bytes());
        bytes
    }

    #[test]
    fn a_record_names_listener_process_and_container() {
        let id = "4f2a".repeat(16);
        let group = format!("cri-containerd-{id}.scope/{POD}/kubepods-burstable.slice/kubepods.slice//");
        let record = Record::parse(&bytes("docker", &group)).expect("it is one");
        assert_eq!((record.time, record.process.start), (90_000_000_000, 8_999));
        assert_eq!((record.process.pid, record.parent), (Pid(4711), Pid(4700)));
        assert_eq!(record.listener.to_string(), "0:27 inode 1301");
        let process = record.describe(record.membership());
        assert_eq!((process.program(), process.uid), ("docker", Some(33)));
        assert_eq!(process.netns, Some(NetNs(4_026_531_840)));
        let container = &process.membership.containers[0];
        assert_eq!(
            (container.id.0.as_str(), container.manager),
            (id.as_str(), Manager::CriContainerd)
        );
        let uid = "0c2ab1c5-7a3e-4f0e-9d3b-1f2e3d4c5b6a";
        assert_eq!(process.membership.pod_uid.as_deref(), Some(uid));
    }

    /// Returns a request as the kernel writes it, of the process of [`bytes`].
    pub(in crate::sources::connects) fn sent(socket: u64, line: &[u8]) -> Vec<u8> {
        let mut sent = bytes("docker", "/");
        let length = u32::try_from(line.len()).expect("short");
        sent.extend(socket.to_ne_bytes());
        sent.extend(length.to_ne_bytes());
        sent.extend([0; 4]);
        sent.extend(line);
        // The rest of an earlier request.
        sent.resize(SENT + LINE, b'x');
        sent
    }

    #[test]
    fn a_request_has_its_sender_and_as_many_bytes_as_were_sent() {
        let bytes = sent(7, b"GET /_ping");
        let sent = Sent::parse(&bytes).expect("it is one");
        assert_eq!((sent.socket, sent.line), (7, &b"GET /_ping"[..]));
        assert_eq!(sent.sender.process.pid, Pid(4711));
        assert!(Sent::parse(&bytes[..bytes.len() - 1]).is_none());
        assert!(Sent::parse(&bytes[..LENGTH]).is_none());
    }

    #[test]
    fn a_cgroup_that_a_user_created_is_the_users_claim() {
        let id = "4f2a".repeat(16);
        let group = format!("cri-containerd-{id}.scope/{POD}/user@1000.service/user-1000.slice/user.slice//");
        let record = Record::parse(&bytes("docker", &group)).expect("it is one");
        let membership = record.membership();
        assert_eq!(membership.pod_uid, None);
        assert_eq!(membership.containers[0].user, Some(1000));
    }

    #[test]
    fn names_without_the_root_give_no_path() {
        for (names, whole) in [
            ("cron.service/system.slice//", "0::/system.slice/cron.service\n"),
            ("cron.service/system.slice//////", "0::/system.slice/cron.service\n"),
            ("/", "0::/\n"),
            ("cron.service/system.slice/", ""),
            ("cron.service/system.sli", ""),
            ("", ""),
        ] {
            let record = Record::parse(&bytes("curl", names)).expect("it is one");
            assert_eq!(record.origin.groups, whole, "{names}");
        }
    }

    #[test]
    fn a_container_is_named_by_the_hierarchy_that_has_it() {
        let mut bytes = bytes("docker", "containerd.service/system.slice//");
        let id = "4f2a".repeat(16);
        let group = format!("{id}/docker//");
        bytes[512..512 + group.len()].copy_from_slice(group.as_bytes());
        bytes[64..68].copy_from_slice(&u32::try_from(group.len()).expect("short").to_ne_bytes());
        let membership = Record::parse(&bytes).expect("it is one").membership();
        assert_eq!(membership.containers[0].id.0, id);
        assert_eq!(membership.unit, None);
    }

    #[test]
    fn without_an_executable_the_process_name_is_used() {
        let record = Record::parse(&bytes("", "/")).expect("it is one");
        assert_eq!(record.describe(record.membership()).program(), "renamed");
    }

    #[test]
    fn bytes_that_are_not_a_record_are_refused() {
        let whole = bytes("curl", "/");
        assert_eq!(Record::parse(&whole[..LENGTH - 8]), None);
        assert_eq!(Record::parse(&[]), None);
        let mut long = whole;
        long[60..64].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert_eq!(Record::parse(&long).expect("it is cut").origin.groups, "");
    }
}
