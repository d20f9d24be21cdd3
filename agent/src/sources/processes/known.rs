//! Which rows of the last reading still hold, so that a quiet node's table costs one listing of `/proc`.
//!
//! A process is told from a later one with its pid by the inode of `/proc/<pid>`: the kernel makes a new one for each
//! process, drops it with the process (`proc_flush_pid` of `kernel/exit.c`), and gives it with the listing
//! (`proc_fill_cache` of `fs/proc/base.c`), so no process has to be opened for it. The number counts 2³² inodes before it
//! comes again. Where the kernel forgets one earlier the process is only read anew.
//!
//! What a process may change while it lives (the program by execve(2), the namespace by setns(2)) is read anew once in
//! [`ROUNDS`] readings, and at each while the process is young: between fork(2) and execve(2) it looks like its parent.

use std::mem;
use std::path::Path;

use super::ProcessEntry;
use crate::model::identity::{Pid, ProcessKey};
use crate::sources::kernel::system::read_uptime;

/// Each process is read anew once in so many readings, whatever it looks like: 5 minutes at a period of 15 seconds.
pub(crate) const ROUNDS: u32 = 20;

/// Clock ticks of proc(5) in a second: `USER_HZ` of every architecture that Kubernetes runs on.
const TICKS: u64 = 100;

/// Seconds for which a process is young.
const YOUTH: u64 = 5;

/// A row, and what makes it hold.
#[derive(Debug)]
pub(super) struct ProcessRow {
    pub(super) entry: ProcessEntry,
    /// The inode of `/proc/<pid>` in the listing that led to it.
    pub(super) inode: u64,
    /// True if it may be taken again: everything was read of a process that is not young.
    pub(super) settled: bool,
    /// True if it was taken again in the last reading.
    pub(super) kept: bool,
}

/// The rows of the last reading, by ascending pid.
#[derive(Debug, Default)]
pub(super) struct Known {
    rows: Vec<ProcessRow>,
    round: u32,
    /// Seconds since boot as of this reading; none where that is not told, and nothing is taken again.
    uptime: Option<u64>,
}

impl Known {
    /// Begins a reading: gives out the last one's rows.
    pub(super) fn begin(&mut self, proc: &Path) -> Vec<ProcessRow> {
        self.round = self.round.wrapping_add(1);
        self.uptime = read_uptime(proc);
        mem::take(&mut self.rows)
    }

    /// Ends it: these are the rows now.
    pub(super) fn end(&mut self, rows: Vec<ProcessRow>) {
        self.rows = rows;
    }

    /// True if `row` is a row of the process that is now listed with `inode`, and need not be read anew.
    pub(super) fn holds(&self, row: &ProcessRow, inode: u64) -> bool {
        row.settled && row.inode == inode && !is_due(row.entry.key.pid, self.round)
    }

    /// True if a process that started at `start` is past its youth.
    pub(super) fn is_grown(&self, start: u64) -> bool {
        self.uptime.is_some_and(|uptime| uptime >= start / TICKS + YOUTH)
    }

    /// The row of a process.
    pub(super) fn get(&self, key: ProcessKey) -> Option<&ProcessRow> {
        let at = self.rows.binary_search_by_key(&key.pid, |row| row.entry.key.pid).ok()?;
        self.rows.get(at).filter(|row| row.entry.key == key)
    }

    /// Nothing of what is known holds any longer.
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

    /// Its executables as the table says, and whether the row was kept.
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
    fn a_row_is_kept_until_its_turn_and_shows_then_what_has_changed() {
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
    fn what_may_not_be_kept_is_read_each_time() {
        // Process 40 started 4 seconds after boot.
        for uptime in [None, Some("8.99 1.00\n"), Some("0.50 0.00\n"), Some("x\n"), Some("")] {
            let host = host(uptime);
            let mut reader = host.reader();
            for _ in 0..2 {
                assert_eq!(read(&mut reader), [(40, "/bin/sh".to_owned(), false)], "{uptime:?}");
            }
        }
        let host = host(Some("9.00 1.00\n"));
        host.process(41, 1, "refused"); // nothing tells its program
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
