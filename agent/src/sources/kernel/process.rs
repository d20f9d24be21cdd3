//! The directory of one process, `/proc/<pid>`. Once opened, it stays the directory of that process, even if the pid is
//! reused. castoff reads all files of a process here, with one method for each. Of an environment it keeps only the variables that
//! are asked for by name.
//!
//! Relies on procfs (proc(5), Documentation/filesystems/proc.rst). For every file of a process that has ended the error
//! is [`io::ErrorKind::NotFound`].

mod stat;

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RawDir, StatxFlags, fstat, major, minor, openat, readlinkat, readlinkat_raw, statat,
    statx,
};
use rustix::io::{Errno, read};
use rustix::path::Arg;

use super::refusal::is_gone;
use crate::model::identity::{NetNs, Pid, SocketInode};
pub(crate) use stat::Stat;

/// The most bytes that are read of `stat`: a name of at most 64 bytes and the next 22 numbers end before 600.
const STAT_BYTES: usize = 1024;

/// The most bytes that are read of a link's target: `d_path` returns at most a page.
const LINK_BYTES: usize = 4096 + 64;

/// The most bytes of directory entries that one call reads.
const DIRECTORY_BYTES: usize = 16 * 1024;

/// The most bytes that are read of any other file. Longer command lines exist (1 MiB of class path), but the relevant
/// arguments come first. `cgroup` has 14 hierarchies with a path of at most `PATH_MAX` each.
const FILE_BYTES: u64 = 64 * 1024;

const SUFFIX_OF_DELETED: &[u8] = b" (deleted)"; // proc_pid_exe(5)

/// A procfs: the processes that it lists.
#[derive(Debug)]
pub(crate) struct Procfs(OwnedFd);

impl Procfs {
    /// Opens the procfs that is mounted at `path`.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(open_directory(CWD, path)?))
    }

    /// Returns the processes, by ascending pid, each with the inode of its directory.
    pub(crate) fn list(&self) -> io::Result<Vec<(Pid, u64)>> {
        let mut buffer = [MaybeUninit::uninit(); DIRECTORY_BYTES];
        let mut list = RawDir::new(&self.0, &mut buffer);
        let mut listed = Vec::new();
        while let Some(item) = list.next() {
            let item = item?;
            listed.extend(parse_pid(item.file_name()).map(|pid| (pid, item.ino())));
        }
        listed.sort_unstable(); // procfs lists them in order, a recorded tree does not
        Ok(listed)
    }

    /// Opens the directory of the process that has this pid now.
    pub(crate) fn process(&self, pid: Pid) -> io::Result<ProcessDirectory> {
        ProcessDirectory::open_at(&self.0, pid.to_string())
    }

    /// Reads the executable of the process that has this pid now, in one call. Returns none if it cannot be read.
    pub(crate) fn read_executable(&self, pid: Pid) -> Option<String> {
        let mut link = [0; LINK_BYTES];
        let length = readlinkat_raw(&self.0, format!("{pid}/exe"), &mut link[..]).ok()?;
        Some(without_suffix(&link[..length]))
    }

    /// Reads the socket that this descriptor of the process with this pid refers to, in one call. Returns none if it is
    /// no socket or there is no such process.
    pub(crate) fn read_socket(&self, pid: Pid, descriptor: u32) -> Option<SocketInode> {
        read_socket(&self.0, format!("{pid}/fd/{descriptor}"), &mut [0; 32])
            .ok()
            .flatten()
    }
}

/// The mounts that a process sees. Processes with the same view see the same mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MountView {
    /// The mount namespace.
    pub namespace: u64,
    /// The root directory in it; none if its file system refuses to show it.
    root: Option<RootIdentity>,
}

/// A directory's device and inode, and the mount that it is on, which is 0 before Linux 5.8.
type RootIdentity = (u32, u32, u64, u64);

impl MountView {
    /// True if both have the same root directory, in whatever mount namespaces.
    pub(crate) fn has_root_of(&self, other: &Self) -> bool {
        let directory = |view: &Self| view.root.map(|(major, minor, inode, _)| (major, minor, inode));
        directory(self).is_some() && directory(self) == directory(other)
    }
}

/// The open directory of one process.
#[derive(Debug)]
pub(crate) struct ProcessDirectory(OwnedFd);

impl AsFd for ProcessDirectory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl ProcessDirectory {
    /// Opens the directory at `path`.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Self::open_at(CWD, path)
    }

    fn open_at(at: impl AsFd, path: impl Arg) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(at, path, flags, Mode::empty()).map(Self).map_err(failed)
    }

    /// Returns the directory of a thread that still runs, if the process's first thread has ended. Procfs then has no
    /// files of the process itself: neither its executable, its namespaces and mounts nor its descriptors, and with
    /// version 1 not its control groups.
    pub(crate) fn of_living(self) -> Self {
        self.living_thread().unwrap_or(self)
    }

    /// Does the same. Returns none if the first thread still runs, or no thread does.
    pub(crate) fn living_thread(&self) -> Option<Self> {
        if self.has_executable() {
            return None;
        }
        // Of a kernel thread and of a process that has ended as a whole this lists one thread.
        let threads = Procfs(open_directory(&self.0, c"task").ok()?);
        let listed = threads.list().ok()?.into_iter();
        let mut living = listed.filter_map(|(thread, _)| threads.process(thread).ok());
        living.find(Self::has_executable)
    }

    fn has_executable(&self) -> bool {
        !readlinkat_raw(&self.0, c"exe", &mut [0; 1][..]).is_err_and(|error| is_gone(&error.into()))
    }

    /// Returns the inode of the directory, which distinguishes a process from a later one with the same pid.
    pub(crate) fn inode(&self) -> io::Result<u64> {
        Ok(fstat(&self.0)?.st_ino)
    }

    /// Reads `stat`.
    pub(crate) fn read_stat(&self) -> io::Result<Stat> {
        let mut buffer = [0; STAT_BYTES];
        let file = openat(&self.0, c"stat", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
        let length = read(&file, &mut buffer[..]).map_err(failed)?; // the kernel writes it in one piece
        stat::parse(&buffer[..length]).ok_or_else(malformed)
    }

    /// Reads `status`.
    pub(crate) fn read_status(&self) -> io::Result<Status> {
        self.read_file(c"status").map(Status)
    }

    /// Reads `cgroup`, unparsed.
    pub(crate) fn read_cgroups(&self) -> io::Result<Vec<u8>> {
        self.read_file(c"cgroup")
    }

    /// Reads `uid_map`, the users of its user namespace (`user_namespaces(7)`). Returns none if the kernel has no such
    /// file.
    pub(crate) fn read_users(&self) -> io::Result<Option<Vec<u8>>> {
        match self.read_file(c"uid_map") {
            Ok(map) => Ok(Some(map)),
            // Or the process has ended, which the next file reports.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads `comm`, the kernel's name for the process, which the process may change.
    pub(crate) fn read_name(&self) -> io::Result<String> {
        let name = self.read_file(c"comm")?;
        Ok(lossy(name.strip_suffix(b"\n").unwrap_or(&name)))
    }

    /// Reads `cmdline`: the arguments in the first 64 KiB, with invalid UTF-8 replaced.
    pub(crate) fn read_arguments(&self) -> io::Result<Vec<String>> {
        let file = self.read_file(c"cmdline")?;
        let line = file.strip_suffix(b"\0").unwrap_or(&file);
        if line.is_empty() {
            return Ok(Vec::new());
        }
        Ok(line.split(|b| *b == 0).map(lossy).collect())
    }

    /// Reads `environ`, the environment at the start of the process, and returns only the variables of `names`, with
    /// invalid UTF-8 replaced. The error is [`io::ErrorKind::FileTooLarge`] if it has more than 64 KiB.
    pub(crate) fn read_variables(&self, names: &[&str]) -> io::Result<Vec<(String, String)>> {
        let file = self.read_file(c"environ")?;
        if file.len() as u64 >= FILE_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let pairs = file.split(|b| *b == 0).filter_map(|pair| {
            let at = pair.iter().position(|b| *b == b'=')?;
            let name = names.iter().find(|name| name.as_bytes() == &pair[..at])?;
            Some(((*name).to_owned(), lossy(&pair[at + 1..])))
        });
        Ok(pairs.collect())
    }

    /// Reads the target of `exe` without ` (deleted)`. Returns none for a kernel thread and a zombie.
    pub(crate) fn read_executable(&self) -> io::Result<Option<String>> {
        let target = self.read_link(c"exe", &mut [0; LINK_BYTES], without_suffix);
        none_where_gone(target)
    }

    /// Reads the network namespace from `ns/net`. Returns none for a zombie.
    pub(crate) fn read_netns(&self) -> io::Result<Option<NetNs>> {
        let target = self.read_link(c"ns/net", &mut [0; 64], |target| parse_bracketed(target, b"net:["));
        none_where_gone(target)?
            .map(|netns| netns.map(NetNs).ok_or_else(malformed))
            .transpose()
    }

    /// Reads the working directory, as a path in the process's own mount namespace.
    pub(crate) fn read_working_directory(&self) -> io::Result<String> {
        let target = readlinkat(&self.0, c"cwd", Vec::new()).map_err(failed)?;
        Ok(target.to_string_lossy().into_owned())
    }

    /// Reads the path of the process's root directory in its mount namespace: `/`, unless it was changed.
    pub(crate) fn read_root(&self) -> io::Result<String> {
        let target = readlinkat(&self.0, c"root", Vec::new()).map_err(failed)?;
        Ok(target.to_string_lossy().into_owned())
    }

    /// Reads the mount namespace from `ns/mnt`.
    pub(crate) fn read_mount_namespace(&self) -> io::Result<u64> {
        let parse = |target: &[u8]| parse_bracketed(target, b"mnt:[");
        self.read_link(c"ns/mnt", &mut [0; 64], parse)?.ok_or_else(malformed)
    }

    /// Reads the mount namespace and the identity of the root directory. Does not wait for the file system of the root,
    /// which may not answer. FUSE refuses even root, unless it is mounted with `allow_other`.
    pub(crate) fn read_mount_view(&self) -> io::Result<MountView> {
        let namespace = self.read_mount_namespace()?;
        let root = match self.read_root_identity().map_err(failed) {
            Ok(root) => Some(root),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
            Err(_) => None,
        };
        Ok(MountView { namespace, root })
    }

    fn read_root_identity(&self) -> rustix::io::Result<RootIdentity> {
        let flags = AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
        match statx(&self.0, c"root", flags, StatxFlags::INO | StatxFlags::MNT_ID) {
            Ok(root) => {
                let has_mount = StatxFlags::from_bits_retain(root.stx_mask).contains(StatxFlags::MNT_ID);
                let mount = if has_mount { root.stx_mnt_id } else { 0 };
                Ok((root.stx_dev_major, root.stx_dev_minor, root.stx_ino, mount))
            }
            Err(Errno::NOSYS) => {
                let root = statat(&self.0, c"root", AtFlags::NO_AUTOMOUNT)?; // before Linux 4.11
                Ok((major(root.st_dev), minor(root.st_dev), root.st_ino, 0))
            }
            Err(error) => Err(error),
        }
    }

    /// Opens `mountinfo`.
    pub(crate) fn open_mountinfo(&self) -> io::Result<File> {
        let file = openat(&self.0, c"mountinfo", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        file.map(File::from).map_err(failed)
    }

    /// Reads `uid_map` and `gid_map`: the users and groups of castoff's own user namespace that exist in the process's.
    pub(crate) fn read_id_maps(&self) -> io::Result<[String; 2]> {
        Ok([lossy(&self.read_file(c"uid_map")?), lossy(&self.read_file(c"gid_map")?)])
    }

    /// Opens the root directory in the process's own mount namespace.
    pub(crate) fn open_root(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(&self.0, c"root", flags, Mode::empty()).map_err(failed)
    }

    /// Calls `each` with every descriptor of the process that is a socket, and with the socket. Returns the number of
    /// all descriptors.
    pub(crate) fn read_sockets(&self, each: &mut dyn FnMut(u32, SocketInode)) -> io::Result<usize> {
        let fds = open_directory(&self.0, c"fd").map_err(failed)?;
        let mut buffer = [MaybeUninit::uninit(); DIRECTORY_BYTES];
        let mut list = RawDir::new(&fds, &mut buffer);
        let mut target = [0; 32]; // `socket:[4294967295]` fits; a longer target is no socket
        let mut count = 0;
        while let Some(item) = list.next() {
            let item = item.map_err(failed)?;
            let Some(Pid(descriptor)) = parse_pid(item.file_name()) else {
                continue;
            };
            count += 1;
            if let Some(socket) = read_socket(&fds, item.file_name(), &mut target)? {
                each(descriptor, socket);
            }
        }
        Ok(count)
    }

    fn read_file(&self, name: &CStr) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        let file = openat(&self.0, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
        File::from(file)
            .take(FILE_BYTES)
            .read_to_end(&mut content)
            .map_err(failed)?;
        Ok(content)
    }

    fn read_link<T>(&self, name: &CStr, buffer: &mut [u8], parse: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
        let length = readlinkat_raw(&self.0, name, &mut *buffer).map_err(failed)?;
        Ok(parse(&buffer[..length]))
    }
}

/// The file `status`.
#[derive(Debug)]
pub(crate) struct Status(Vec<u8>);

impl Status {
    /// Returns the real user ID: the first number of the line `Uid:`.
    pub(crate) fn uid(&self) -> Option<u32> {
        self.values(b"Uid:")?.next()?.parse().ok()
    }

    /// Returns the number of PID namespaces that the process is in, starting with the one of this procfs: `NSpid:` has
    /// a number for each. None before Linux 4.1.
    pub(crate) fn pid_namespaces(&self) -> Option<usize> {
        Some(self.values(b"NSpid:")?.count())
    }

    /// Returns the user and group for file systems: the last number of the lines `Uid:` and `Gid:`.
    pub(crate) fn file_system_ids(&self) -> Option<(u32, u32)> {
        let last = |name: &[u8]| self.values(name)?.nth(3)?.parse().ok();
        Some((last(b"Uid:")?, last(b"Gid:")?))
    }

    /// Returns the supplementary groups.
    pub(crate) fn groups(&self) -> Option<Vec<u32>> {
        self.values(b"Groups:")?.map(|group| group.parse().ok()).collect()
    }

    /// Returns the effective capabilities, with one bit for each.
    pub(crate) fn capabilities(&self) -> Option<u64> {
        u64::from_str_radix(self.values(b"CapEff:")?.next()?, 16).ok()
    }

    /// Returns the fields of a line.
    fn values(&self, name: &[u8]) -> Option<impl Iterator<Item = &str>> {
        let line = self.0.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(name))?;
        Some(std::str::from_utf8(line).ok()?.split_ascii_whitespace())
    }
}

/// Reads a process's files `stat` and `status`.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let _ = stat::parse(bytes);
    let status = Status(bytes.to_vec());
    let _ = (status.uid(), status.pid_namespaces(), status.file_system_ids());
    let _ = (status.groups(), status.capabilities());
    let _ = parse_bracketed(bytes, b"socket:[");
}

fn open_directory(at: impl AsFd, path: impl Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(at, path, flags, Mode::empty())
}

/// Reads the socket that a descriptor refers to from the link in `fd`. Returns none if it is no socket or was closed
/// meanwhile.
fn read_socket(fds: &OwnedFd, name: impl Arg, target: &mut [u8; 32]) -> io::Result<Option<SocketInode>> {
    match readlinkat_raw(fds, name, &mut target[..]) {
        #[expect(clippy::cast_possible_truncation, reason = "truncated like in sock_diag")]
        Ok(length) => Ok(parse_bracketed(&target[..length], b"socket:[").map(|inode| SocketInode(inode as u32))),
        // It was closed meanwhile; in a recorded tree it is a plain file.
        Err(Errno::NOENT | Errno::INVAL) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

fn failed(error: impl Into<io::Error>) -> io::Error {
    let error = error.into();
    if is_gone(&error) {
        io::ErrorKind::NotFound.into()
    } else {
        error
    }
}

fn none_where_gone<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

fn malformed() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

fn without_suffix(path: &[u8]) -> String {
    lossy(path.strip_suffix(SUFFIX_OF_DELETED).unwrap_or(path))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn parse_pid(name: &CStr) -> Option<Pid> {
    let name = name.to_bytes();
    if !name.first()?.is_ascii_digit() {
        return None;
    }
    std::str::from_utf8(name).ok()?.parse().ok().map(Pid)
}

/// Returns the number in `net:[4026531840]` or `socket:[17]`.
pub(crate) fn parse_bracketed(target: &[u8], prefix: &[u8]) -> Option<u64> {
    let digits = target.strip_prefix(prefix)?.strip_suffix(b"]")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
