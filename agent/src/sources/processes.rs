//! The process table: who runs, since when, what, and in which network namespace.
//!
//! Relies on procfs (proc(5), Documentation/filesystems/proc.rst). A process that vanishes mid-read is normal and is
//! left out; a read that is refused is unknown and is counted. Never reads an environment.

mod known;
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
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, RawDir, fstat, openat, readlinkat, readlinkat_raw};
use rustix::io::{Errno, read};

use crate::model::identity::{NetNs, Pid, ProcessKey, SocketInode};
use crate::model::process::Process;
use crate::model::reading::{Gap, Hides, Reason, Sighting};
use crate::model::workload::Membership;
pub(super) use known::is_due;
use known::{Known, Row};
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
    pub name: Arc<str>,
    /// The target of `/proc/<pid>/exe` without ` (deleted)`; none for kernel threads and where it may not be read.
    pub executable: Option<Arc<str>>,
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

/// Reads processes under one procfs. Keeps what it read: see `processes/known.rs`.
#[derive(Debug)]
pub struct ProcessReader {
    proc: PathBuf,
    /// `proc`, open since the last reading of the table.
    directory: Option<OwnedFd>,
    known: Known,
    visibility: visibility::Visibility,
}

impl ProcessReader {
    /// A reader of the procfs mounted at `proc`.
    pub fn new(proc: PathBuf) -> Self {
        Self {
            proc,
            directory: None,
            known: Known::default(),
            visibility: visibility::Visibility::default(),
        }
    }

    /// Reads the table. A process that has long been there may be shown as it was up to 20 readings ago, where it has changed
    /// its program or its network namespace since; never as another process.
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
        for gap in self.visibility.find_gaps(&self.proc, &table) {
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

    /// Reads the table anew, whatever is known.
    pub fn read_table_anew(&mut self) -> Sighting<ProcessTable> {
        self.known.forget();
        self.read_table()
    }

    fn read_entries(&mut self, gaps: &mut Vec<Gap>) -> io::Result<Vec<ProcessEntry>> {
        let proc = open_directory(CWD, &self.proc)?;
        let listed = list_processes(&proc)?;
        let mut last = self.known.begin(&self.proc).into_iter().peekable();
        let mut rows = Vec::with_capacity(listed.len());
        let mut refusals = Refusals {
            init: visibility::find_init(&self.proc),
            netns: Vec::new(),
            gaps,
        };
        for (pid, inode) in listed {
            while last.next_if(|row| row.entry.key.pid < pid).is_some() {}
            if let Some(row) = last.next_if(|row| row.entry.key.pid == pid)
                && self.known.holds(&row, inode)
            {
                rows.push(Row { kept: true, ..row });
                continue;
            }
            match read_entry(proc.as_fd(), pid, &mut refusals) {
                Ok((entry, is_whole)) => rows.push(Row {
                    settled: is_whole && self.known.is_grown(entry.key.start),
                    kept: false,
                    entry,
                    inode,
                }),
                Err(error) if is_gone(&error) => {}
                Err(error) => refusals.add_process(pid, &error),
            }
        }
        netns::find_alike(&self.proc, &mut rows, refusals.netns, refusals.gaps);
        let entries = rows.iter().map(|row| row.entry.clone()).collect();
        self.known.end(rows);
        self.directory = Some(proc);
        Ok(entries)
    }

    /// Whether the row of a process is the one of an earlier reading.
    pub(crate) fn was_kept(&self, key: ProcessKey) -> bool {
        self.known.get(key).is_some_and(|row| row.kept)
    }

    /// Everything that a finding says of one process, as it is now. None: it is gone (or its pid is another process now).
    pub fn describe(&self, entry: &ProcessEntry) -> Option<Process> {
        let dir = self.open(entry.key).ok()?;
        let mut file = Vec::new();
        // Refused or malformed: the field says that it is not known, and an empty membership places nobody.
        let uid = read_file(dir.as_fd(), c"status", ARGUMENT_BYTES, &mut file)
            .ok()
            .and_then(|_| parse_uid(&file));
        let membership = read_file(dir.as_fd(), c"cgroup", CGROUP_BYTES, &mut file)
            .map_or_else(|_| Membership::default(), |_| Membership::from_cgroups(&file));
        let process = Process {
            key: entry.key,
            name: entry.name.to_string(),
            executable: entry.executable.as_deref().map(str::to_owned),
            uid,
            netns: entry.netns,
            membership,
        };
        Some(if self.was_kept(entry.key) {
            look_again(&dir, process)
        } else {
            process
        })
    }

    /// Whether whoever has the pid now still executes what `process` says.
    pub(crate) fn still_executes(&self, process: &Process) -> bool {
        let mut link = [0; LINK_BYTES];
        let Some(proc) = &self.directory else { return false };
        let target = readlinkat_raw(proc, format!("{}/exe", process.key.pid), &mut link[..]);
        target.is_ok_and(|length| Some(without_suffix(&link[..length])) == process.executable)
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

    /// Calls `each` with every descriptor of the process that is a socket, and with that socket.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] where the process is gone, or its pid is another process now;
    /// [`io::ErrorKind::PermissionDenied`] without `CAP_SYS_PTRACE` and `CAP_DAC_READ_SEARCH` over it.
    pub fn read_sockets(&self, key: ProcessKey, each: &mut dyn FnMut(u32, SocketInode)) -> io::Result<()> {
        let dir = self.open(key)?;
        let fds = open_directory(&dir, c"fd").map_err(gone_as_not_found)?;
        let mut buffer = [MaybeUninit::uninit(); DIRECTORY_BYTES];
        let mut list = RawDir::new(&fds, &mut buffer);
        let mut target = [0; 32]; // `socket:[4294967295]` fits; a longer one is no socket
        while let Some(item) = list.next() {
            let item = item.map_err(gone_as_not_found)?;
            let Some(Pid(descriptor)) = parse_pid(item.file_name()) else {
                continue;
            };
            if let Some(socket) = read_socket(&fds, item.file_name(), &mut target)? {
                each(descriptor, socket);
            }
        }
        Ok(())
    }

    /// The socket that this descriptor of whoever has this pid now is: one call, for what is known from the last look. None
    /// where it is none, or there is no such process any more.
    pub(crate) fn read_socket_at(&self, pid: Pid, descriptor: u32) -> Option<SocketInode> {
        let proc = self.directory.as_ref()?;
        read_socket(proc, format!("{pid}/fd/{descriptor}"), &mut [0; 32])
            .ok()
            .flatten()
    }

    /// Opens one of the process's files in procfs for reading.
    ///
    /// # Errors
    /// As [`ProcessReader::read_sockets`].
    pub(crate) fn open_file(&self, key: ProcessKey, name: &CStr) -> io::Result<File> {
        let dir = self.open(key)?;
        let file = openat(&dir, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(gone_as_not_found)?;
        Ok(File::from(file))
    }

    /// The target of one of the process's links in procfs.
    ///
    /// # Errors
    /// As [`ProcessReader::read_sockets`].
    pub(crate) fn read_link(&self, key: ProcessKey, name: &CStr) -> io::Result<String> {
        let dir = self.open(key)?;
        let target = readlinkat(&dir, name, Vec::new()).map_err(gone_as_not_found)?;
        Ok(target.to_string_lossy().into_owned())
    }

    /// Whether a process is in the mount namespace of the host's first. False also where that may not be read.
    pub(crate) fn shares_mounts_with_init(&self, key: ProcessKey) -> bool {
        let of_init = std::fs::read_link(self.proc.join("1/ns/mnt")).ok();
        let own = self.read_link(key, c"ns/mnt").ok();
        own.is_some() && own == of_init.map(|target| target.to_string_lossy().into_owned())
    }

    /// Whether castoff is in the machine's first PID namespace, from which every process is seen.
    pub fn sees_machine(&self) -> bool {
        visibility::find_init(&self.proc).is_some()
    }

    /// The control groups of a process.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] where the process is gone, or its pid is another process now.
    pub(crate) fn read_membership(&self, key: ProcessKey) -> io::Result<Membership> {
        let mut file = Vec::new();
        let opened = self.open_file(key, c"cgroup")?;
        opened.take(CGROUP_BYTES as u64).read_to_end(&mut file)?;
        Ok(Membership::from_cgroups(&file))
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
        self.read_link(key, c"cwd")
    }

    /// Opens the directory of one process. It stays that process's, whoever gets the pid afterwards.
    fn open(&self, key: ProcessKey) -> io::Result<OwnedFd> {
        let path = key.pid.to_string();
        let dir = match &self.directory {
            Some(proc) => open_process(proc, path),
            None => open_process(CWD, self.proc.join(path)),
        };
        let dir = dir.map_err(gone_as_not_found)?;
        // The inode that the table's row was read through tells the process as its start time does, for a third of the cost.
        if let Some(row) = self.known.get(key)
            && fstat(&dir)?.st_ino == row.inode
        {
            return Ok(dir);
        }
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

/// The processes that a procfs lists, by ascending pid, each with the inode of its directory.
fn list_processes(proc: &OwnedFd) -> io::Result<Vec<(Pid, u64)>> {
    let mut buffer = [MaybeUninit::uninit(); DIRECTORY_BYTES];
    let mut list = RawDir::new(proc, &mut buffer);
    let mut listed = Vec::new();
    while let Some(item) = list.next() {
        let item = item?;
        listed.extend(parse_pid(item.file_name()).map(|pid| (pid, item.ino())));
    }
    listed.sort_unstable(); // procfs lists in order, a recorded tree does not
    Ok(listed)
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

/// Reads one row. False beside it where a part was refused or is not there (yet).
fn read_entry(proc: BorrowedFd<'_>, pid: Pid, refusals: &mut Refusals<'_>) -> io::Result<(ProcessEntry, bool)> {
    let dir = open_process(proc, pid.to_string())?;
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
    let is_whole = netns.is_some() && (executable.is_some() || stat.kernel_thread);
    let entry = ProcessEntry {
        key: ProcessKey { pid, start: stat.start },
        parent: stat.parent,
        name: String::from_utf8_lossy(stat.name).into(),
        executable: executable.map(|path| without_suffix(path).into()),
        netns: netns.map(NetNs),
    };
    Ok((entry, is_whole))
}

/// Reads again what a process may have changed since its row was read.
fn look_again(dir: &OwnedFd, process: Process) -> Process {
    let mut link = [0; LINK_BYTES];
    let executable = read_link(dir, c"exe", &mut link).ok().flatten().map(without_suffix);
    let netns = read_link(dir, c"ns/net", &mut link).ok().flatten();
    let netns = netns.and_then(|target| parse_bracketed(target, b"net:[")).map(NetNs);
    let mut name = Vec::new();
    let named = read_file(dir.as_fd(), c"comm", STAT_BYTES, &mut name).is_ok();
    let name = name.strip_suffix(b"\n").unwrap_or(&name);
    Process {
        name: if named {
            String::from_utf8_lossy(name).into_owned()
        } else {
            process.name
        },
        executable: executable.or(process.executable),
        netns: netns.or(process.netns),
        ..process
    }
}

fn without_suffix(path: &[u8]) -> String {
    let path = path.strip_suffix(SUFFIX_OF_DELETED).unwrap_or(path);
    String::from_utf8_lossy(path).into_owned()
}

/// The socket that a descriptor is, by the link in `fd`. None where it is none, or was closed meanwhile.
fn read_socket<P: rustix::path::Arg>(fds: &OwnedFd, name: P, target: &mut [u8; 32]) -> io::Result<Option<SocketInode>> {
    match readlinkat_raw(fds, name, &mut target[..]) {
        #[expect(clippy::cast_possible_truncation, reason = "cut as sock_diag cuts it")]
        Ok(length) => Ok(parse_bracketed(&target[..length], b"socket:[").map(|inode| SocketInode(inode as u32))),
        // Closed meanwhile, and in recorded trees a plain file.
        Err(Errno::NOENT | Errno::INVAL) => Ok(None),
        Err(error) => Err(gone_as_not_found(error)),
    }
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

fn open_process<P: rustix::path::Arg, D: AsFd>(at: D, path: P) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(at, path, flags, Mode::empty())
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
