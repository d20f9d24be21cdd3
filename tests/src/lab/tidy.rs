//! The keeper's own process: starts a daemon, waits until its input ends, and removes everything.

use std::fs::{self, File};
use std::io::{self, BufRead, ErrorKind};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use rustix::process::{Pid, Signal, WaitOptions};

use super::cgroups;
use super::keeper::{ENDED, LOG, Task};

/// The timeout of killed processes, busy mounts and cgroups.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

static DAEMON_ENDED: AtomicBool = AtomicBool::new(false);

/// Keeps `room` until standard input ends. Returns what could not be removed, one line each.
pub(crate) fn keep(room: &Path, grace: Duration, daemon: Option<Command>) -> Result<Vec<String>> {
    let this = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(this)).context("become a subreaper")?;
    let daemon = daemon.map(|command| start(room, command)).transpose()?;
    let folder = room.to_path_buf();
    thread::spawn(move || reap(&folder, daemon));
    println!("keeping {}", Pid::as_raw(daemon));
    let tasks = io::stdin()
        .lock()
        .lines()
        .map(|line| Task::parse(&line?))
        .collect::<Result<Vec<_>>>()?;

    let mut left = Vec::new();
    if let Some(daemon) = daemon {
        end(daemon, grace);
    }
    left.extend(kill_descendants(this).map(|pid| format!("process {pid}")));
    left.extend(
        unmount_below(room)
            .into_iter()
            .map(|mount| format!("mount {}", mount.display())),
    );
    for task in tasks.iter().rev() {
        if let Err(error) = take_away(task) {
            left.push(format!("{task}: {error:#}"));
        }
    }
    // Removing a directory reaches through mounts: if one is left under it, the room stays.
    if !mounts_below(room)?.is_empty() {
        left.push(format!("{}", room.display()));
    } else if let Err(error) = until_done(|| gone(fs::remove_dir_all(room))) {
        left.push(format!("{}: {error}", room.display()));
    }
    Ok(left)
}

fn start(room: &Path, mut command: Command) -> Result<Pid> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(room.join(LOG))
        .context("open the daemon's log")?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let child = command
        .spawn()
        .with_context(|| format!("start {}", command.get_program().display()))?;
    let raw = i32::try_from(child.id()).context("a process id of the kernel is an i32")?;
    Pid::from_raw(raw).context("no process has id 0")
}

/// Reaps every child, including adopted ones, for as long as this process lives.
fn reap(room: &Path, daemon: Option<Pid>) {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if Some(pid) == daemon => {
                DAEMON_ENDED.store(true, Ordering::Release);
                let how = match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => format!("exit status {code}"),
                    (None, Some(signal)) => format!("signal {signal}"),
                    (None, None) => "an unknown status".to_owned(),
                };
                // A waiter for the daemon sees this file. If the room is gone, no process waits.
                let _ = fs::write(room.join(ENDED), how);
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

fn end(daemon: Pid, grace: Duration) {
    if DAEMON_ENDED.load(Ordering::Acquire) || rustix::process::kill_process(daemon, Signal::TERM).is_err() {
        return;
    }
    let deadline = Instant::now() + grace;
    while !DAEMON_ENDED.load(Ordering::Acquire) && Instant::now() < deadline {
        thread::sleep(PAUSE);
    }
}

/// Kills all descendants of this process, repeatedly as orphans are adopted. Returns those that do not end.
fn kill_descendants(this: Pid) -> impl Iterator<Item = i32> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let alive = descendants(this.as_raw_pid());
        if alive.is_empty() || Instant::now() > deadline {
            return alive.into_iter();
        }
        for pid in alive.into_iter().filter_map(Pid::from_raw) {
            // A process that is gone meanwhile is fine.
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        thread::sleep(PAUSE);
    }
}

fn descendants(of: i32) -> Vec<i32> {
    let parents: Vec<(i32, i32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, parent(&stat)?))
        })
        .collect();
    let mut found = vec![of];
    let mut next = 0;
    while let Some(&ancestor) = found.get(next) {
        found.extend(
            parents
                .iter()
                .filter(|(_, parent)| *parent == ancestor)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    found.split_off(1)
}

/// Returns the fourth field of `/proc/PID/stat`. The second is a name in parentheses and may contain anything.
fn parent(stat: &str) -> Option<i32> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn unmount_below(room: &Path) -> Vec<PathBuf> {
    // A lazy unmount takes effect for all processes at once; files that are still open end with the killed processes.
    let _ = until_done(|| {
        let mounts = mounts_below(room)?;
        for mount in mounts.iter().rev() {
            rustix::mount::unmount(mount, UnmountFlags::DETACH)?;
        }
        if mounts.is_empty() {
            Ok(())
        } else {
            Err(ErrorKind::ResourceBusy.into())
        }
    });
    mounts_below(room).unwrap_or_default()
}

fn mounts_below(room: &Path) -> io::Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from)
        .filter(|mount| mount.starts_with(room))
        .collect())
}

fn take_away(task: &Task) -> io::Result<()> {
    match task {
        Task::Cgroup(path) => until_done(|| cgroups::remove(path)),
        Task::SharedCgroup(path) => cgroups::remove_if_empty(path),
        Task::Link(name) => until_done(|| remove_link(name)),
        Task::File(path) => gone(fs::remove_file(path)),
        Task::SharedFolder(path) => match fs::remove_dir(path) {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
            result => gone(result),
        },
        Task::DeadSockets(folder) => remove_dead_sockets(folder),
        Task::Starting(prefix) => remove_starting(prefix),
    }
}

fn remove_link(name: &str) -> io::Result<()> {
    if !Path::new("/sys/class/net").join(name).exists() {
        return Ok(());
    }
    // It may be reaped elsewhere first, so the interface itself is checked instead of the exit status.
    let _ = Command::new("ip").args(["link", "delete", name]).status();
    if Path::new("/sys/class/net").join(name).exists() {
        return Err(ErrorKind::ResourceBusy.into());
    }
    Ok(())
}

fn remove_dead_sockets(folder: &Path) -> io::Result<()> {
    for entry in entries(folder)? {
        let refused = UnixStream::connect(&entry).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
        if refused {
            gone(fs::remove_file(&entry))?;
        }
    }
    Ok(())
}

fn remove_starting(prefix: &Path) -> io::Result<()> {
    let (Some(folder), Some(start)) = (prefix.parent(), prefix.file_name()) else {
        return Err(ErrorKind::InvalidInput.into());
    };
    for entry in entries(folder)? {
        let name = entry.file_name().unwrap_or_default();
        if name.as_encoded_bytes().starts_with(start.as_encoded_bytes()) {
            gone(fs::remove_file(&entry))?;
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Treats a thing that is gone already as removed.
fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn until_done(mut attempt: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Err(_) if Instant::now() < deadline => thread::sleep(PAUSE),
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_read_after_any_name() {
        assert_eq!(parent("42 (a) b) R (c) S 7 42 42 0"), Some(7));
        assert_eq!(parent("42 (sh) S 1 42 42 0"), Some(1));
        assert_eq!(parent("42"), None);
    }
}
