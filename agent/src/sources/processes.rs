//! The process table: who runs, since when, what, and in which network namespace.
//!
//! Relies on procfs (proc(5), Documentation/filesystems/proc.rst). A process that vanishes mid-read is normal and is
//! left out; a read that is refused is unknown and is counted. Never reads an environment.

mod netns;
mod stat;
#[cfg(test)]
mod tests;
mod visibility;

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{CWD, Mode, OFlags, RawDir, openat, readlinkat, readlinkat_raw};
use rustix::io::{Errno, read};

use crate::model::identity::{NetNs, Pid, ProcessKey, SocketInode};
use crate::model::process::Process;
use crate::model::reading::{Gap, Hides, Reason, Sighting};
use crate::model::workload::Membership;
use stat::Stat;

/// Bytes of `stat` that are read: the kernel's name of at most 64 and the 22 numbers that follow end before 600.
const STAT_BYTES: usize = 1024;

/// Bytes of a link's target that are read: `d_path` gives at most a page.
const LINK_BYTES: usize = 4096 + 64;

/// Bytes of directory entries that one call fetches.
const DIRECTORY_BYTES: usize = 16 * 1024;

/// Bytes of arguments that are read: longer command lines exist (1 MiB of class path); what matters stands in front.
const ARGUMENT_BYTES: usize = 64 * 1024;

/// Bytes of `cgroup` that are read: 14 hierarchies with a path of `PATH_MAX` each.
const CGROUP_BYTES: usize = 64 * 1024;

const SUFFIX_OF_DELETED: &[u8] = b" (deleted)"; // proc_pid_exe(5)

/// One row of the process table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessEntry {
    /// Pid and start time.
    pub key: ProcessKey,
    /// The parent's pid; 0 for none.
    pub parent: Pid,
    /// `comm`.
    pub name: String,
    /// The target of `/proc/<pid>/exe` without ` (deleted)`; none for kernel threads and where it may not be read.
    pub executable: Option<String>,
    /// The network namespace; none where it may not be read.
    pub netns: Option<NetNs>,
}

/// All processes, by ascending pid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessTable {
    /// The rows.
    pub entries: Vec<ProcessEntry>,
}

impl ProcessTable {
    /// The row of `pid`.
    pub fn get(&self, pid: Pid) -> Option<&ProcessEntry> {
        let at = self.entries.binary_search_by_key(&pid, |entry| entry.key.pid).ok()?;
        self.entries.get(at)
    }
}

/// Reads processes under one procfs.
#[derive(Debug)]
pub struct ProcessReader {
    proc: PathBuf,
}

impl ProcessReader {
    /// A reader of the procfs mounted at `proc`.
    pub const fn new(proc: PathBuf) -> Self {
        Self { proc }
    }

    /// Reads the table.
    pub fn read_table(&mut self) -> Sighting<ProcessTable> {
        let mut gaps = Vec::new();
        let entries = match self.read_entries(&mut gaps) {
            Ok(entries) => entries,
            Err(error) => return self.nothing_seen(Reason::of(&error), &error),
        };
        if entries.is_empty() {
            // castoff itself runs: a procfs without a process is none, or shows another namespace's.
            return self.nothing_seen(Reason::NotFound, &"no process is listed here");
        }
        let table = ProcessTable { entries };
        for gap in visibility::find_gaps(&self.proc, &table) {
            gap.fold_into(&mut gaps);
        }
        Sighting::partial(table, gaps)
    }

    fn nothing_seen(&self, reason: Reason, answer: &dyn std::fmt::Display) -> Sighting<ProcessTable> {
        let gap = |hides| Gap::new(reason, hides, self.proc.display(), answer);
        Sighting {
            gaps: vec![gap(Hides::Engine)],
            ..Sighting::unknown(gap(Hides::Client))
        }
    }

    fn read_entries(&self, gaps: &mut Vec<Gap>) -> io::Result<Vec<ProcessEntry>> {
        let proc = open_directory(CWD, &self.proc)?;
        let mut buffer = [MaybeUninit::uninit(); DIRECTORY_BYTES];
        let mut list = RawDir::new(&proc, &mut buffer);
        let mut entries = Vec::new();
        let mut refusals = Refusals {
            init: visibility::find_init(&self.proc),
            netns: Vec::new(),
            gaps,
        };
        while let Some(item) = list.next() {
            let item = item?;
            let Some(pid) = parse_pid(item.file_name()) else {
                continue;
            };
            match read_entry(proc.as_fd(), item.file_name(), pid, &mut refusals) {
                Ok(entry) => entries.push(entry),
                Err(error) if is_gone(&error) => {}
                Err(error) => refusals.add_process(pid, &error),
            }
        }
        entries.sort_unstable_by_key(|entry| entry.key.pid); // procfs lists in order, a recorded tree does not
        netns::find_alike(&self.proc, &mut entries, refusals.netns, refusals.gaps);
        Ok(entries)
    }

    /// Everything that a finding says of one process. None: it is gone (or its pid is another process now).
    pub fn describe(&self, entry: &ProcessEntry) -> Option<Process> {
        let dir = self.open(entry.key).ok()?;
        let mut file = Vec::new();
        // Refused or malformed: the field says that it is not known, and an empty membership places nobody.
        let uid = read_file(dir.as_fd(), c"status", ARGUMENT_BYTES, &mut file)
            .ok()
            .and_then(|_| parse_uid(&file));
        let membership = read_file(dir.as_fd(), c"cgroup", CGROUP_BYTES, &mut file)
            .map_or_else(|_| Membership::default(), |_| Membership::from_cgroups(&file));
        Some(Process {
            key: entry.key,
            name: entry.name.clone(),
            executable: entry.executable.clone(),
            uid,
            netns: entry.netns,
            membership,
        })
    }

    /// The arguments, lossily decoded, of the first 64 KiB at most.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] where the process is gone, or its pid is another process now.
    pub fn read_arguments(&self, key: ProcessKey) -> io::Result<Vec<String>> {
        let dir = self.open(key)?;
        let mut file = Vec::new();
        read_file(dir.as_fd(), c"cmdline", ARGUMENT_BYTES, &mut file)?;
        let line = file.strip_suffix(b"\0").unwrap_or(&file);
        if line.is_empty() {
            return Ok(Vec::new());
        }
        let arguments = line.split(|b| *b == 0);
        Ok(arguments.map(|a| String::from_utf8_lossy(a).into_owned()).collect())
    }

    /// Calls `each` with every socket that the process holds a descriptor of.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] where the process is gone, or its pid is another process now;
    /// [`io::ErrorKind::PermissionDenied`] without `CAP_SYS_PTRACE` and `CAP_DAC_READ_SEARCH` over it.
    pub fn read_sockets(&self, key: ProcessKey, each: &mut dyn FnMut(SocketInode)) -> io::Result<()> {
        let dir = self.open(key)?;
        let fds = open_directory(&dir, c"fd").map_err(gone_as_not_found)?;
        let mut buffer = [MaybeUninit::uninit(); DIRECTORY_BYTES];
        let mut list = RawDir::new(&fds, &mut buffer);
        let mut target = [0; 32]; // `socket:[4294967295]` fits; a longer one is no socket
        while let Some(item) = list.next() {
            let item = item.map_err(gone_as_not_found)?;
            if item.file_name().to_bytes().starts_with(b".") {
                continue;
            }
            match readlinkat_raw(&fds, item.file_name(), &mut target[..]) {
                Ok(length) => {
                    if let Some(inode) = parse_bracketed(&target[..length], b"socket:[") {
                        #[expect(clippy::cast_possible_truncation, reason = "cut as sock_diag cuts it")]
                        each(SocketInode(inode as u32));
                    }
                }
                // A descriptor that was closed meanwhile, and in recorded trees a plain file.
                Err(Errno::NOENT | Errno::INVAL) => {}
                Err(error) => return Err(gone_as_not_found(error)),
            }
        }
        Ok(())
    }

    /// Opens the root directory of a process's own mount namespace.
    ///
    /// # Errors
    /// As [`ProcessReader::read_sockets`].
    pub(crate) fn open_root(&self, key: ProcessKey) -> io::Result<OwnedFd> {
        let dir = self.open(key)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(&dir, c"root", flags, Mode::empty()).map_err(gone_as_not_found)
    }

    /// The working directory of a process, as its own mount namespace names it.
    ///
    /// # Errors
    /// As [`ProcessReader::read_sockets`].
    pub(crate) fn read_working_directory(&self, key: ProcessKey) -> io::Result<String> {
        let dir = self.open(key)?;
        let target = readlinkat(&dir, c"cwd", Vec::new()).map_err(gone_as_not_found)?;
        Ok(target.to_string_lossy().into_owned())
    }

    /// Opens the directory of one process. It stays that process's, whoever gets the pid afterwards.
    fn open(&self, key: ProcessKey) -> io::Result<OwnedFd> {
        let dir = open_directory(CWD, self.proc.join(key.pid.to_string())).map_err(gone_as_not_found)?;
        let mut buffer = [0; STAT_BYTES];
        let stat = read_stat(dir.as_fd(), &mut buffer).map_err(|error| {
            if is_gone(&error) {
                io::ErrorKind::NotFound.into()
            } else {
                error
            }
        })?;
        if stat.start == key.start {
            Ok(dir)
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }
}

/// What was refused while the table was read.
struct Refusals<'g> {
    /// The host's own init, which is no engine whatever it executes.
    init: Option<Pid>,
    netns: Vec<netns::Refused>,
    gaps: &'g mut Vec<Gap>,
}

impl Refusals<'_> {
    fn add_process(&mut self, pid: Pid, error: &io::Error) {
        for hides in [Hides::Engine, Hides::Client] {
            refused(pid, "stat", hides, error).fold_into(self.gaps);
        }
    }

    fn add_executable(&mut self, pid: Pid, error: &io::Error) {
        let hides = if self.init == Some(pid) {
            Hides::Detail
        } else {
            Hides::Engine
        };
        refused(pid, "exe", hides, error).fold_into(self.gaps);
    }
}

fn read_entry(proc: BorrowedFd<'_>, name: &CStr, pid: Pid, refusals: &mut Refusals<'_>) -> io::Result<ProcessEntry> {
    let dir = openat(
        proc,
        name,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let mut buffer = [0; STAT_BYTES];
    let stat = read_stat(dir.as_fd(), &mut buffer)?;
    let mut link = [0; LINK_BYTES];
    let netns = read_link(&dir, c"ns/net", &mut link)
        .and_then(|target| {
            target
                .map(|t| parse_bracketed(t, b"net:[").ok_or(malformed()))
                .transpose()
        })
        .unwrap_or_else(|error| {
            refusals.netns.push(netns::Refused { pid, error });
            None
        });
    let executable = read_link(&dir, c"exe", &mut link).unwrap_or_else(|error| {
        if !stat.kernel_thread {
            refusals.add_executable(pid, &error);
        }
        None
    });
    Ok(ProcessEntry {
        key: ProcessKey { pid, start: stat.start },
        parent: stat.parent,
        name: String::from_utf8_lossy(stat.name).into_owned(),
        executable: executable.map(|path| {
            let path = path.strip_suffix(SUFFIX_OF_DELETED).unwrap_or(path);
            String::from_utf8_lossy(path).into_owned()
        }),
        netns: netns.map(NetNs),
    })
}

/// The target of a link. None where there is none: a kernel thread, a zombie, or the process is gone by now.
fn read_link<'b>(dir: &OwnedFd, name: &CStr, buffer: &'b mut [u8; LINK_BYTES]) -> io::Result<Option<&'b [u8]>> {
    match readlinkat_raw(dir, name, &mut buffer[..]) {
        Ok(length) => Ok(Some(&buffer[..length])),
        Err(Errno::NOENT | Errno::SRCH) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn read_stat<'b>(dir: BorrowedFd<'_>, buffer: &'b mut [u8; STAT_BYTES]) -> io::Result<Stat<'b>> {
    let file = openat(dir, c"stat", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let length = read(&file, &mut buffer[..])?; // the kernel writes it in one piece
    stat::parse(&buffer[..length]).ok_or_else(malformed)
}

/// Reads the first `limit` bytes of a file into `content`.
fn read_file(dir: BorrowedFd<'_>, name: &CStr, limit: usize, content: &mut Vec<u8>) -> io::Result<usize> {
    content.clear();
    let file = openat(dir, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(gone_as_not_found)?;
    File::from(file).take(limit as u64).read_to_end(content)
}

fn open_directory<P: rustix::path::Arg, D: AsFd>(at: D, path: P) -> rustix::io::Result<OwnedFd> {
    openat(
        at,
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// ESRCH is how procfs says that the process behind an open directory is gone.
fn is_gone(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::SRCH))
}

fn gone_as_not_found(error: Errno) -> io::Error {
    if error == Errno::SRCH {
        io::ErrorKind::NotFound.into()
    } else {
        error.into()
    }
}

fn malformed() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

fn refused(pid: Pid, file: &str, hides: Hides, error: &io::Error) -> Gap {
    let reason = Reason::of(error);
    let remedy = if reason == Reason::PermissionDenied {
        "; CAP_SYS_PTRACE would show it"
    } else {
        ""
    };
    Gap::new(
        reason,
        hides,
        format_args!("/proc/{pid}/{file}"),
        format_args!("{error}{remedy}"),
    )
}

fn parse_pid(name: &CStr) -> Option<Pid> {
    let name = name.to_bytes();
    if !name.first()?.is_ascii_digit() {
        return None;
    }
    std::str::from_utf8(name).ok()?.parse().ok().map(Pid)
}

/// The number in `net:[4026531840]` or `socket:[17]`.
fn parse_bracketed(target: &[u8], prefix: &[u8]) -> Option<u64> {
    let digits = target.strip_prefix(prefix)?.strip_suffix(b"]")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The real user id: the first number of the line `Uid:` (`proc_pid_status(5)`).
fn parse_uid(status: &[u8]) -> Option<u32> {
    let line = status
        .split(|b| *b == b'\n')
        .find_map(|line| line.strip_prefix(b"Uid:"))?;
    let first = line.split(u8::is_ascii_whitespace).find(|f| !f.is_empty())?;
    std::str::from_utf8(first).ok()?.parse().ok()
}
