//! Processes that change who they seem to be, one per mode. Each prints `ready` like every client, once it is ready:
//!
//! - `reused PATH gone|passed FOLDER…`: a child connects and exits, and a process in other control groups gets its ID at
//!   once; the connection is closed, or passed to this process first
//! - `vforked PATH`: a child by vfork(2) connects, and executes a copy of this program called `executed`
//! - `holding DESCRIPTOR`: holds a descriptor that it was started with
//! - `sibling PATH`: connects in a process that shares its memory (`CLONE_VM`)
//! - `leaderless PATH`: connects in a thread, and its first thread ends
//! - `disguised PATH`: takes the name and the arguments of a kubelet, then connects
//! - `undumpable PATH`: gives its files in procfs to root (`PR_SET_DUMPABLE`), then connects

use std::ffi::{c_char, c_int, c_long, c_void};
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{self, exit};
use std::thread;
use std::time::Duration;

use super::tricks::{PR_SET_NAME, check, connect_as, execv, prctl, syscall, text};
use super::{_exit, receive_descriptor, send_descriptor, split, stand, stay, wait};

const CLONE_VM: c_int = 0x100;
const CLONE_VFORK: c_int = 0x4000;
const SIGCHLD: c_int = 17;
const SOCK_STREAM: c_int = 1;
const PR_SET_DUMPABLE: c_int = 4;
const SYS_CLONE3: c_long = 435;
const SYS_EXIT: c_long = if cfg!(target_arch = "x86_64") { 60 } else { 93 };
/// The bytes of a child's stack where it shares its parent's memory.
const STACK: usize = 256 << 10;

/// `struct clone_args`.
#[repr(C)]
#[derive(Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

unsafe extern "C" {
    fn clone(
        work: extern "C" fn(*mut c_void) -> c_int,
        stack: *mut c_void,
        flags: c_int,
        of: *mut c_void,
        ...
    ) -> c_int;
}

/// Runs a mode of this file. Returns none for any other.
pub fn run(args: &[&str], until_eof: bool) -> Option<io::Result<()>> {
    let stand = |_held: &UnixStream| stand(until_eof, process::id());
    Some(match *args {
        ["reused", path, how, ref folders @ ..] => reuse(path, how == "passed", folders, until_eof),
        ["vforked", path] => share_memory(path, CLONE_VM | CLONE_VFORK, until_eof),
        ["sibling", path] => share_memory(path, CLONE_VM, until_eof),
        // The descriptor is open, and stays so until the process ends.
        ["holding", _descriptor] => super::stand(until_eof, process::id()),
        ["leaderless", path] => hold_without_a_leader(path, until_eof),
        ["disguised", path] => disguise().and_then(|()| stand(&UnixStream::connect(path)?)),
        ["undumpable", path] => {
            // SAFETY: the call takes no pointer.
            let set = check(unsafe { prctl(PR_SET_DUMPABLE, 0_i64) });
            set.and_then(|_| stand(&UnixStream::connect(path)?))
        }
        _ => return None,
    })
}

fn reuse(path: &str, passes: bool, folders: &[&str], until_eof: bool) -> io::Result<()> {
    let (mut near, far) = UnixStream::pair()?;
    let mut far = Some(far);
    split(|| {
        let mut far = far.take().ok_or(io::ErrorKind::NotFound)?;
        for folder in folders {
            fs::write(Path::new(folder).join("cgroup.procs"), process::id().to_string())?;
        }
        far.write_all(b"moved")?;
        let mut pid = [0; 4];
        far.read_exact(&mut pid)?;
        let later = start_as(i32::from_ne_bytes(pid), until_eof)?;
        far.write_all(b"taken")?;
        wait(later, 0);
        Ok(())
    })?;
    drop(far);
    let mut answer = [0; 5];
    near.read_exact(&mut answer)?;
    let (give, take) = UnixStream::pair()?;
    let first = split(|| {
        let connection = UnixStream::connect(path)?;
        if passes {
            send_descriptor(&give, connection.as_raw_fd())
        } else {
            Ok(())
        }
    })?;
    let _held = passes.then(|| receive_descriptor(&take)).transpose()?;
    wait(first, 0);
    near.write_all(&first.to_ne_bytes())?;
    near.read_exact(&mut answer)?;
    stand(until_eof, process::id())
}

/// Starts a process with this ID, which nobody has. It stays.
fn start_as(pid: c_int, until_eof: bool) -> io::Result<c_int> {
    let arguments = CloneArguments {
        exit_signal: SIGCHLD as u64,
        set_tid: (&raw const pid) as u64,
        set_tid_size: 1,
        ..CloneArguments::default()
    };
    // SAFETY: like fork(2), but for the ID; no thread runs.
    match unsafe { syscall(SYS_CLONE3, &raw const arguments, size_of::<CloneArguments>()) } {
        0 => exit(i32::from(stay(until_eof).is_err())),
        -1 => Err(io::Error::last_os_error()),
        started => Ok(started as c_int),
    }
}

/// The work of a process that shares its parent's memory.
struct Shared<'a> {
    path: &'a str,
    executes: bool,
    until_eof: bool,
}

fn share_memory(path: &str, flags: c_int, until_eof: bool) -> io::Result<()> {
    let executes = flags & CLONE_VFORK != 0;
    if executes {
        fs::copy(std::env::current_exe()?, executed()?)?;
    }
    let mut work = Shared {
        path,
        executes,
        until_eof,
    };
    let mut stack = vec![0_u128; STACK / size_of::<u128>()];
    let top = stack.as_mut_ptr_range().end;
    // SAFETY: the stack and the work outlive the child, because this process waits for its end and does nothing
    // meanwhile. No thread runs.
    let child = check(unsafe {
        clone(
            work_in_shared_memory,
            top.cast(),
            flags | SIGCHLD,
            (&raw mut work).cast(),
        )
    })?;
    wait(child, 0);
    Ok(())
}

fn executed() -> io::Result<std::path::PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("executed"))
}

extern "C" fn work_in_shared_memory(work: *mut c_void) -> c_int {
    // SAFETY: share_memory passes this.
    let work = unsafe { &*work.cast::<Shared<'_>>() };
    let done = connect_as(SOCK_STREAM, work.path).and_then(|connection| {
        if work.executes {
            return execute_with(connection.as_raw_fd(), work.until_eof);
        }
        stand(work.until_eof, process::id())
    });
    // SAFETY: it ends this process alone, without the parent's exit handlers.
    unsafe { _exit(i32::from(done.is_err())) }
}

fn execute_with(descriptor: c_int, until_eof: bool) -> io::Result<()> {
    let program = text(&executed()?.to_string_lossy())?;
    let mut words = vec![program.clone()];
    if until_eof {
        words.push(text("--until-eof")?);
    }
    words.extend([text("holding")?, text(&descriptor.to_string())?]);
    let mut words: Vec<*const c_char> = words.iter().map(|word| word.as_ptr()).collect();
    words.push(std::ptr::null());
    // SAFETY: all words and the list end with a null and live until the program is another one.
    check(unsafe { execv(program.as_ptr(), words.as_ptr()) }).map(drop)
}

fn hold_without_a_leader(path: &str, until_eof: bool) -> io::Result<()> {
    let path = path.to_owned();
    thread::spawn(move || {
        let held = UnixStream::connect(path).and_then(|_connection| {
            while !stat_of_self()?.starts_with(" Z ") {
                thread::sleep(Duration::from_millis(5));
            }
            stand(until_eof, process::id())
        });
        exit(i32::from(held.is_err()))
    });
    // SAFETY: it ends this thread alone. The other one needs nothing of its stack.
    unsafe { syscall(SYS_EXIT, 0_i64) };
    Ok(())
}

/// Returns the fields of the process's own `stat` after its name.
fn stat_of_self() -> io::Result<String> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process::id()))?;
    let (_, fields) = stat.rsplit_once(')').ok_or(io::ErrorKind::InvalidData)?;
    Ok(fields.to_owned())
}

fn disguise() -> io::Result<()> {
    let name = text("kubelet")?;
    // SAFETY: the kernel copies the name.
    check(unsafe { prctl(PR_SET_NAME, name.as_ptr()) })?;
    let stat = stat_of_self()?;
    // The fields 48 and 49 of proc_pid_stat(5); the first after the name is 3.
    let mut places = stat.split_ascii_whitespace().skip(45).map(str::parse::<usize>);
    let mut next = || places.next().and_then(Result::ok).ok_or(io::ErrorKind::InvalidData);
    let (start, end) = (next()?, next()?);
    let mut fake = b"/usr/bin/kubelet\0--config=/var/lib/kubelet/config.yaml\0".to_vec();
    fake.resize(end - start, 0);
    // SAFETY: these are the bytes of this process's own arguments, of which main has made copies.
    unsafe { std::ptr::copy_nonoverlapping(fake.as_ptr(), std::ptr::with_exposed_provenance_mut(start), fake.len()) };
    Ok(())
}
