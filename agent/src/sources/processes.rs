//! The process table: the processes, with their start time, program and network namespace.
//!
//! A process that ends while it is read is normal and is left out. A read that is refused is unknown and is counted.
//! The files of one process are read by [`ProcessDirectory`].

pub(in crate::sources) mod authority;
mod known;
mod netns;
#[cfg(test)]
mod tests;
mod visibility;

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::model::identity::{NetNs, Pid, ProcessKey, SocketInode};
use crate::model::process::Process;
use crate::model::reading::{Gap, Hides, Reason, Sighting};
use crate::model::workload::Membership;
use crate::sources::kernel::cgroups;
use crate::sources::kernel::process::{MountView, ProcessDirectory, Procfs};
use crate::sources::kernel::refusal::{self, Right};
use crate::sources::kernel::system::read_time_since_boot;
pub(super) use known::is_due;
use known::{Known, ProcessRow};

/// One row of the process table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessEntry {
    /// Pid and start time.
    pub key: ProcessKey,
    /// The parent's pid; 0 for none.
    pub parent: Pid,
    /// `comm`.
    pub name: Arc<str>,
    /// The target of `/proc/<pid>/exe` without ` (deleted)`; none for kernel threads, and if it may not be read.
    pub executable: Option<Arc<str>>,
    /// The network namespace; none if it may not be read.
    pub netns: Option<NetNs>,
}

impl ProcessEntry {
    /// The last component of the executable's path, or the kernel's name for the process if the executable may not be
    /// read.
    pub(crate) fn program(&self) -> &str {
        let file = self.executable.as_deref().and_then(|path| path.rsplit('/').next());
        file.unwrap_or(&self.name)
    }
}

#[cfg(test)]
impl ProcessEntry {
    /// Returns a process of which only the network namespace matters.
    pub(crate) fn in_netns(pid: u32, netns: Option<NetNs>) -> Self {
        Self {
            key: ProcessKey {
                pid: Pid(pid),
                start: 1,
            },
            parent: Pid(0),
            name: "x".into(),
            executable: None,
            netns,
        }
    }
}

/// All processes, by ascending pid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessTable {
    /// The rows.
    pub entries: Vec<ProcessEntry>,
}

impl ProcessTable {
    /// Returns the row of `pid`.
    pub fn get(&self, pid: Pid) -> Option<&ProcessEntry> {
        let at = self.entries.binary_search_by_key(&pid, |entry| entry.key.pid).ok()?;
        self.entries.get(at)
    }
}

/// Reads processes under one procfs, and remembers their rows: see `processes/known.rs`.
#[derive(Debug)]
pub struct ProcessReader {
    proc: PathBuf,
    /// `proc`, open since the last time that the table was read.
    procfs: Option<Procfs>,
    known: Known,
    visibility: visibility::Visibility,
}

impl ProcessReader {
    /// Creates a reader of the procfs that is mounted at `proc`.
    pub fn new(proc: PathBuf) -> Self {
        Self {
            proc,
            procfs: None,
            known: Known::default(),
            visibility: visibility::Visibility::default(),
        }
    }

    /// Reads the table. If a process that is not new has changed its program or its network namespace, the table may
    /// show the old one for up to 20 readings. It never shows another process.
    pub fn read_table(&mut self) -> Sighting<ProcessTable> {
        let mut gaps = Vec::new();
        let entries = match self.read_entries(&mut gaps) {
            Ok(entries) => entries,
            Err(error) => return self.nothing_seen(Reason::of(&error), &error),
        };
        if entries.is_empty() {
            // castoff itself runs: a procfs without any process is no procfs, or belongs to another namespace.
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

    /// Reads the table without using remembered rows.
    pub fn read_table_anew(&mut self) -> Sighting<ProcessTable> {
        self.known.forget();
        self.read_table()
    }

    fn read_entries(&mut self, gaps: &mut Vec<Gap>) -> io::Result<Vec<ProcessEntry>> {
        let procfs = Procfs::open(&self.proc)?;
        let listed = procfs.list()?;
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
                rows.push(ProcessRow { kept: true, ..row });
                continue;
            }
            match read_entry(&procfs, pid, &mut refusals) {
                Ok((entry, is_whole)) => rows.push(ProcessRow {
                    settled: is_whole && self.known.is_old(entry.key.start),
                    kept: false,
                    entry,
                    inode,
                }),
                Err(error) if refusal::is_gone(&error) => {}
                Err(error) => refusals.add_process(pid, &error),
            }
        }
        netns::find_alike(&self.proc, &mut rows, refusals.netns, refusals.gaps);
        let entries = rows.iter().map(|row| row.entry.clone()).collect();
        self.known.end(rows);
        self.procfs = Some(procfs);
        Ok(entries)
    }

    /// True if the row of a process is from an earlier reading.
    pub(crate) fn was_kept(&self, key: ProcessKey) -> bool {
        self.known.get(key).is_some_and(|row| row.kept)
    }

    /// Returns the time since a process started. None if the machine's uptime is unknown.
    pub(crate) fn age(&self, key: ProcessKey) -> Option<Duration> {
        let start = Duration::from_millis(key.start * 1_000 / known::TICKS);
        read_time_since_boot(&self.proc)?.checked_sub(start)
    }

    /// True if a process started at most that many seconds ago. Also false if the machine's uptime is unknown.
    pub(crate) fn is_younger(&self, key: ProcessKey, seconds: u64) -> bool {
        self.known.is_younger(key.start, seconds)
    }

    /// Reads the facts of one process that a finding shows. Returns none if it has ended or its pid was reused.
    pub fn describe(&self, entry: &ProcessEntry) -> Option<Process> {
        let dir = self.open(entry.key).ok()?;
        // If it is refused or malformed, the user is unknown, and an empty membership places the process nowhere.
        let uid = dir.read_status().ok().and_then(|status| status.uid());
        let cgroups = dir.read_cgroups();
        let place = |cgroups: Vec<u8>| cgroups::read_membership(&self.proc, &cgroups);
        let membership = cgroups.map_or_else(|_| Membership::default(), place);
        let executable = dir.read_executable().ok().flatten();
        Some(Process {
            key: entry.key,
            // These may have changed since the row was read: a shell executes another program.
            name: dir.read_name().unwrap_or_else(|_| entry.name.to_string()),
            executable: executable.or_else(|| entry.executable.as_deref().map(str::to_owned)),
            netns: dir.read_netns().ok().flatten().or(entry.netns),
            uid,
            membership,
        })
    }

    /// True if the process with this pid still executes the program in `process`.
    pub(crate) fn still_executes(&self, process: &Process) -> bool {
        let now = self
            .procfs
            .as_ref()
            .and_then(|proc| proc.read_executable(process.key.pid));
        now.is_some() && now == process.executable
    }

    /// Reads the socket that this descriptor of the process with this pid refers to, in one call. Used to check the
    /// last look.
    pub(crate) fn read_socket_at(&self, pid: Pid, descriptor: u32) -> Option<SocketInode> {
        self.procfs.as_ref()?.read_socket(pid, descriptor)
    }

    /// Reads the arguments in the first 64 KiB, with invalid UTF-8 replaced.
    ///
    /// # Errors
    /// Those of [`ProcessReader::open`].
    pub fn read_arguments(&self, key: ProcessKey) -> io::Result<Vec<String>> {
        self.open(key)?.read_arguments()
    }

    /// Reads the variables of `names` from the environment at the start of the process.
    ///
    /// # Errors
    /// Those of [`ProcessReader::read_sockets`], and [`io::ErrorKind::FileTooLarge`] if the environment has more than
    /// 64 KiB.
    pub(crate) fn read_variables(&self, key: ProcessKey, names: &[&str]) -> io::Result<Vec<(String, String)>> {
        self.open(key)?.read_variables(names)
    }

    /// Calls `each` with every descriptor of the process that is a socket, and with the socket.
    ///
    /// # Errors
    /// Those of [`ProcessReader::open`], and [`io::ErrorKind::PermissionDenied`] without `CAP_SYS_PTRACE` and
    /// `CAP_DAC_READ_SEARCH` over the process.
    pub fn read_sockets(&self, key: ProcessKey, each: &mut dyn FnMut(u32, SocketInode)) -> io::Result<()> {
        let dir = self.open_first(key)?;
        if dir.read_sockets(each)? == 0
            && let Some(thread) = dir.living_thread()
        {
            thread.read_sockets(each)?;
        }
        Ok(())
    }

    /// Opens the root directory in a process's own mount namespace.
    ///
    /// # Errors
    /// Those of [`ProcessReader::read_sockets`].
    pub(crate) fn open_root(&self, key: ProcessKey) -> io::Result<OwnedFd> {
        self.open(key)?.open_root()
    }

    /// Reads the control groups of a process.
    ///
    /// # Errors
    /// Those of [`ProcessReader::open`].
    pub(crate) fn read_membership(&self, key: ProcessKey) -> io::Result<Membership> {
        self.membership_of(&self.open(key)?)
    }

    /// Reads the control groups of a process whose directory is open.
    pub(crate) fn membership_of(&self, process: &ProcessDirectory) -> io::Result<Membership> {
        Ok(cgroups::read_membership(&self.proc, &process.read_cgroups()?))
    }

    /// Reads the mount namespace and the root of a process.
    ///
    /// # Errors
    /// Those of [`ProcessReader::read_sockets`].
    pub(crate) fn read_mount_view(&self, key: ProcessKey) -> io::Result<MountView> {
        self.open(key)?.read_mount_view()
    }

    /// True if a process is in the mount namespace of the host's first process. Also false if this may not be read.
    pub(crate) fn shares_mounts_with_init(&self, key: ProcessKey) -> bool {
        let own = self.open(key).and_then(|dir| dir.read_mount_namespace()).ok();
        let of_init = self.open_init().and_then(|init| init.read_mount_namespace());
        own.is_some() && own == of_init.ok()
    }

    /// Reads the mount namespace and the root of the host's first process. Returns none if this may not be read.
    pub(crate) fn read_view_of_init(&self) -> Option<MountView> {
        self.open_init().and_then(|init| init.read_mount_view()).ok()
    }

    /// Reads the path of a process's root directory in its mount namespace. It is empty if the root was not changed.
    pub(crate) fn read_changed_root(&self, process: &ProcessDirectory) -> io::Result<String> {
        let root = process.read_root()?;
        if root == "/" {
            return Ok(String::new());
        }
        // In a recorded procfs the usual root is another one.
        let usual = self.open_init().and_then(|init| init.read_root()).unwrap_or_default();
        let changed = root.strip_prefix(&usual).unwrap_or(&root).trim_matches('/');
        Ok(if changed.is_empty() {
            String::new()
        } else {
            format!("/{changed}")
        })
    }

    /// True if the host's first process is in a container itself, or this may not be read.
    pub(crate) fn is_init_contained(&self) -> bool {
        let membership = self.open_init().and_then(|init| self.membership_of(&init));
        membership.map_or(true, |membership| membership.is_contained())
    }

    fn open_init(&self) -> io::Result<ProcessDirectory> {
        ProcessDirectory::open(&self.proc.join("1"))
    }

    /// True if castoff is in the machine's first PID namespace, in which every process is visible.
    pub fn sees_machine(&self) -> bool {
        visibility::find_init(&self.proc).is_some()
    }

    /// Opens the directory of one process, or of a thread of it that still runs.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if the process has ended or its pid was reused.
    pub(crate) fn open(&self, key: ProcessKey) -> io::Result<ProcessDirectory> {
        self.open_first(key).map(ProcessDirectory::of_living)
    }

    fn open_first(&self, key: ProcessKey) -> io::Result<ProcessDirectory> {
        let dir = match &self.procfs {
            Some(procfs) => procfs.process(key.pid),
            None => ProcessDirectory::open(&self.proc.join(key.pid.to_string())),
        }?;
        // The inode in the table's row identifies the process like its start time does, at a third of the cost.
        if let Some(row) = self.known.get(key)
            && dir.inode()? == row.inode
        {
            return Ok(dir);
        }
        if dir.read_stat()?.start == key.start {
            Ok(dir)
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }
}

/// The refusals while the table was read.
struct Refusals<'g> {
    /// The host's own init, which is not an engine, whatever it executes.
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

/// Reads one row. Also returns false if a part was refused or does not exist (yet).
fn read_entry(procfs: &Procfs, pid: Pid, refusals: &mut Refusals<'_>) -> io::Result<(ProcessEntry, bool)> {
    let dir = procfs.process(pid)?;
    let stat = dir.read_stat()?;
    let dir = if stat.kernel_thread { dir } else { dir.of_living() };
    let netns = dir.read_netns().unwrap_or_else(|error| {
        refusals.netns.push(netns::Refused { pid, error });
        None
    });
    let executable = dir.read_executable().unwrap_or_else(|error| {
        if !stat.kernel_thread {
            refusals.add_executable(pid, &error);
        }
        None
    });
    let is_whole = netns.is_some() && (executable.is_some() || stat.kernel_thread);
    let entry = ProcessEntry {
        key: ProcessKey { pid, start: stat.start },
        parent: stat.parent,
        name: stat.name,
        executable: executable.map(Into::into),
        netns,
    };
    Ok((entry, is_whole))
}

fn refused(pid: Pid, file: &str, hides: Hides, error: &io::Error) -> Gap {
    refusal::gap(error, hides, format_args!("/proc/{pid}/{file}"), Right::Trace)
}
