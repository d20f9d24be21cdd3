//! Decides which rows of the last reading are still valid, so that reading the table of a quiet node costs one listing
//! of `/proc`.
//!
//! A process is distinguished from a later one with the same pid by the inode of `/proc/<pid>`. The kernel creates a
//! new inode for each process, drops it with the process (`proc_flush_pid` of `kernel/exit.c`), and returns it in the
//! listing (`proc_fill_cache` of `fs/proc/base.c`), so no process has to be opened. The inode numbers repeat after 2³².
//! If the kernel drops an inode earlier, the process is only read again.
//!
//! The properties that a process may change (the program by execve(2), the namespace by setns(2)) are read again once
//! in [`ROUNDS`] readings, and in each reading while the process is new: between fork(2) and execve(2) it looks like
//! its parent.

use std::mem;
use std::path::Path;

use super::ProcessEntry;
use crate::model::identity::{Pid, ProcessKey};
use crate::sources::kernel::system::read_uptime;

/// Each process is read again once in this many readings: in 5 minutes, if the period is 15 seconds.
pub(crate) const ROUNDS: u32 = 20;

/// Clock ticks of proc(5) in a second: `USER_HZ` on every architecture that Kubernetes runs on.
pub(super) const TICKS: u64 = 100;

/// The seconds for which a process counts as new.
const NEW_SECONDS: u64 = 5;

/// A row, with the conditions of its validity.
#[derive(Debug)]
pub(super) struct ProcessRow {
    pub(super) entry: ProcessEntry,
    /// The inode of `/proc/<pid>` in the listing.
    pub(super) inode: u64,
    /// True if it may be reused: everything was read, and the process was not new.
    pub(super) settled: bool,
    /// True if it was reused in the last reading.
    pub(super) kept: bool,
}

/// The rows of the last reading, by ascending pid.
#[derive(Debug, Default)]
pub(super) struct Known {
    rows: Vec<ProcessRow>,
    round: u32,
    /// Seconds since boot at this reading. If it is not known, no row is reused.
    uptime: Option<u64>,
}

impl Known {
    /// Starts a reading, and returns the rows of the last one.
    pub(super) fn begin(&mut self, proc: &Path) -> Vec<ProcessRow> {
        self.round = self.round.wrapping_add(1);
        self.uptime = read_uptime(proc);
        mem::take(&mut self.rows)
    }

    /// Ends a reading with the new rows.
    pub(super) fn end(&mut self, rows: Vec<ProcessRow>) {
        self.rows = rows;
    }

    /// True if `row` is of the process that is listed with `inode`, and need not be read again.
    pub(super) fn holds(&self, row: &ProcessRow, inode: u64) -> bool {
        row.settled && row.inode == inode && !is_due(row.entry.key.pid, self.round)
    }

    /// True if a process that started at `start` is no longer new.
    pub(super) fn is_old(&self, start: u64) -> bool {
        self.uptime.is_some_and(|uptime| uptime >= start / TICKS + NEW_SECONDS)
    }

    /// True if a process that started at `start` is at most that old. Also false if the uptime is unknown.
    pub(super) fn is_younger(&self, start: u64, seconds: u64) -> bool {
        self.uptime.is_some_and(|uptime| uptime < start / TICKS + seconds)
    }

    /// Returns the row of a process.
    pub(super) fn get(&self, key: ProcessKey) -> Option<&ProcessRow> {
        let at = self.rows.binary_search_by_key(&key.pid, |row| row.entry.key.pid).ok()?;
        self.rows.get(at).filter(|row| row.entry.key == key)
    }

    /// Invalidates all rows.
    pub(super) fn forget(&mut self) {
        self.rows.iter_mut().for_each(|row| row.settled = false);
    }
}

/// True if it is this process's turn in this round.
pub(crate) const fn is_due(pid: Pid, round: u32) -> bool {
    pid.0 % ROUNDS == round % ROUNDS
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::*;
    use super::*;
    use crate::sources::recorded::RecordedHost;

    const UPTIME: &str = "1000.25 2000.00\n";

    /// Returns the pids with their executables, and whether the row was reused.
    fn read(reader: &mut ProcessReader) -> Vec<(u32, String, bool)> {
        let table = reader.read_table();
        let entries = table.reading.known().expect("processes are recorded").entries.iter();
        let row = |entry: &ProcessEntry| {
            let program = entry.executable.as_deref().unwrap_or_default().to_owned();
            (entry.key.pid.0, program, reader.was_kept(entry.key))
        };
        entries.map(row).collect()
    }

    fn host(uptime: Option<&str>) -> RecordedHost {
        let host = RecordedHost::new();
        host.process(40, 1, "sh").exe("/bin/sh");
        if let Some(uptime) = uptime {
            fs::write(host.paths().proc.join("uptime"), uptime).expect("a file");
        }
        host
    }

    #[test]
    fn a_row_is_kept_until_its_turn_and_then_read_again() {
        let host = host(Some(UPTIME));
        let mut reader = host.reader();
        let row = |program: &str, kept| vec![(40, program.to_owned(), kept)];
        assert_eq!(read(&mut reader), row("/bin/sh", false));
        assert_eq!(read(&mut reader), row("/bin/sh", true));
        let changed = host.paths().proc.join("40/exe");
        fs::remove_file(&changed).expect("it is there");
        std::os::unix::fs::symlink("/bin/dockerd", &changed).expect("a link can be made");
        let readings: Vec<_> = (0..ROUNDS).map(|_| read(&mut reader)).collect();
        assert_eq!(
            readings
                .iter()
                .filter(|rows| **rows == row("/bin/dockerd", false))
                .count(),
            1
        );
        assert_eq!(read(&mut reader), row("/bin/dockerd", true));
    }

    #[test]
    fn rows_that_may_not_be_kept_are_read_each_time() {
        // Process 40 started 4 seconds after boot.
        for uptime in [None, Some("8.99 1.00\n"), Some("0.50 0.00\n"), Some("x\n"), Some("")] {
            let host = host(uptime);
            let mut reader = host.reader();
            for _ in 0..2 {
                assert_eq!(read(&mut reader), [(40, "/bin/sh".to_owned(), false)], "{uptime:?}");
            }
        }
        let host = host(Some("9.00 1.00\n"));
        host.process(41, 1, "refused"); // its program cannot be read
        let mut reader = host.reader();
        let kept = |rows: Vec<(u32, String, bool)>| rows.into_iter().map(|row| row.2).collect::<Vec<_>>();
        assert_eq!(kept(read(&mut reader)), [false, false]);
        assert_eq!(kept(read(&mut reader)), [true, false]);
        reader.read_table_anew();
        assert!(!reader.was_kept(ProcessKey {
            pid: Pid(40),
            start: 400
        }));
    }

    #[test]
    fn a_pid_with_another_inode_is_another_process() {
        let host = host(Some(UPTIME));
        let mut reader = host.reader();
        let first = read(&mut reader);
        fs::rename(host.paths().proc.join("40"), host.folder().join("ended")).expect("it is there");
        host.process(40, 1, "heir").exe("/bin/heir");
        assert_eq!(first, [(40, "/bin/sh".to_owned(), false)]);
        assert_eq!(read(&mut reader), [(40, "/bin/heir".to_owned(), false)]);
    }
}
