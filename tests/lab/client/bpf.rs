//! Does to the kernel programs of another process what its own code never does. Prints `ready` once it is done:
//!
//! - `bpf detach PID`: replaces the descriptors of its links by others, in its name: the kernel detaches its programs
//! - `bpf forget PID`: deletes everything from its map of watched listeners
//! - `bpf fill PID`: fills that map

use std::ffi::{c_int, c_long};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process;

use super::stand;
use super::tricks::{SYS_PIDFD_GETFD, SYS_PIDFD_OPEN, check, syscall};

const SYS_BPF: c_long = if cfg!(target_arch = "x86_64") { 321 } else { 280 };
const BPF_MAP_UPDATE_ELEM: c_long = 2;
const BPF_MAP_DELETE_ELEM: c_long = 3;
const BPF_MAP_GET_NEXT_KEY: c_long = 4;
/// The map of listeners is the only one with values of this size; see `struct counts` of `agent/bpf/connects.bpf.c`.
const COUNTS: &str = "value_size:\t32\n";
/// The error of a map that is full.
const E2BIG: i32 = 7;

/// The part of `union bpf_attr` that is for the elements of maps.
#[repr(C)]
struct Element {
    map: u32,
    zero: u32,
    key: u64,
    value_or_next_key: u64,
    flags: u64,
}

/// Runs a mode of this file. Returns none for any other.
pub fn run(args: &[&str], until_eof: bool) -> Option<io::Result<()>> {
    let done = match *args {
        ["bpf", "detach", pid] => detach(pid),
        ["bpf", "forget", pid] => forget(pid),
        ["bpf", "fill", pid] => fill(pid),
        _ => return None,
    };
    Some(done.and_then(|()| stand(until_eof, process::id())))
}

/// Returns the descriptors of a process whose link contains `kind` and whose `fdinfo` contains `detail`.
fn find(pid: &str, kind: &str, detail: &str) -> io::Result<Vec<c_int>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let information = fs::read_to_string(format!("/proc/{pid}/fdinfo/{name}")).unwrap_or_default();
        let is_kind = fs::read_link(entry.path()).is_ok_and(|link| link.to_string_lossy().contains(kind));
        if is_kind && information.contains(detail) {
            found.push(name.parse().map_err(io::Error::other)?);
        }
    }
    if found.is_empty() {
        return Err(io::Error::other(format!("process {pid} has no {kind}")));
    }
    Ok(found)
}

/// Returns a descriptor of its own for the map of listeners.
fn map_of(pid: &str) -> io::Result<OwnedFd> {
    let [descriptor] = find(pid, "bpf-map", COUNTS)?[..] else {
        return Err(io::Error::other("there are several such maps"));
    };
    let pid: c_long = pid.parse().map_err(io::Error::other)?;
    // SAFETY: neither call takes a pointer, and both make a descriptor.
    unsafe {
        let process = OwnedFd::from_raw_fd(check(syscall(SYS_PIDFD_OPEN, pid, 0_i64) as c_int)?);
        let (process, descriptor) = (c_long::from(process.as_raw_fd()), c_long::from(descriptor));
        let map = check(syscall(SYS_PIDFD_GETFD, process, descriptor, 0_i64) as c_int)?;
        Ok(OwnedFd::from_raw_fd(map))
    }
}

fn element(operation: c_long, map: &OwnedFd, key: *const [u32; 2], other: u64) -> io::Result<()> {
    let element = Element {
        map: map.as_raw_fd() as u32,
        zero: 0,
        key: key as u64,
        value_or_next_key: other,
        flags: 0,
    };
    // SAFETY: the key and the other part have the sizes of the map, and outlive the call.
    let answer = unsafe { syscall(SYS_BPF, operation, &raw const element, size_of::<Element>()) };
    check(answer as c_int).map(drop)
}

fn forget(pid: &str) -> io::Result<()> {
    let map = map_of(pid)?;
    let mut key = [0_u32; 2];
    while element(BPF_MAP_GET_NEXT_KEY, &map, std::ptr::null(), (&raw mut key) as u64).is_ok() {
        element(BPF_MAP_DELETE_ELEM, &map, &raw const key, 0)?;
    }
    Ok(())
}

fn fill(pid: &str) -> io::Result<()> {
    let map = map_of(pid)?;
    let counts = [0_u64; 4];
    for number in 1.. {
        let key = [u32::MAX, number];
        match element(BPF_MAP_UPDATE_ELEM, &map, &raw const key, (&raw const counts) as u64) {
            Err(error) if error.raw_os_error() == Some(E2BIG) => break,
            added => added?,
        }
    }
    Ok(())
}

fn detach(pid: &str) -> io::Result<()> {
    let links = find(pid, "bpf", "link_type")?;
    let pid = pid.parse().map_err(io::Error::other)?;
    links.into_iter().try_for_each(|link| strange::replace(pid, link))
}

#[cfg(not(target_arch = "x86_64"))]
mod strange {
    pub fn replace(_pid: i32, _descriptor: i32) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

/// System calls in the name of another process.
#[cfg(target_arch = "x86_64")]
mod strange {
    use std::ffi::{c_int, c_long};
    use std::io;
    use std::thread;
    use std::time::Duration;

    use super::super::wait;

    const PEEK: c_int = 1;
    const STEP: c_int = 9;
    const GET_REGISTERS: c_int = 12;
    const SET_REGISTERS: c_int = 13;
    const ATTACH: c_int = 16;
    const DETACH: c_int = 17;
    /// `__WALL`
    const EVERY_CHILD: c_int = 0x4000_0000;
    const SYS_DUP2: u64 = 33;
    /// The instruction `syscall`.
    const CALL: c_long = 0x050f;
    // Places in `struct user_regs_struct`.
    const RAX: usize = 10;
    const RSI: usize = 13;
    const RDI: usize = 14;
    const ORIG_RAX: usize = 15;
    const RIP: usize = 16;

    type Registers = [u64; 27];

    unsafe extern "C" {
        fn ptrace(request: c_int, pid: c_int, address: u64, data: u64) -> c_long;
    }

    fn trace(request: c_int, pid: c_int, address: u64, data: u64) -> io::Result<c_long> {
        // SAFETY: the registers, where there are any, have the kernel's size and outlive the call.
        match unsafe { ptrace(request, pid, address, data) } {
            -1 => Err(io::Error::last_os_error()),
            answer => Ok(answer),
        }
    }

    /// Makes a descriptor of the process the same as its standard input. Its first thread waits in a system call.
    pub fn replace(pid: c_int, descriptor: c_int) -> io::Result<()> {
        for _ in 0..200 {
            trace(ATTACH, pid, 0, 0)?;
            wait(pid, EVERY_CHILD);
            let done = replace_stopped(pid, descriptor);
            trace(DETACH, pid, 0, 0)?;
            if done? {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Does so in a stopped process. Returns false if it is in no system call.
    fn replace_stopped(pid: c_int, descriptor: c_int) -> io::Result<bool> {
        let mut before: Registers = [0; 27];
        trace(GET_REGISTERS, pid, 0, (&raw mut before) as u64)?;
        if trace(PEEK, pid, before[RIP] - 2, 0)? & 0xffff != CALL {
            return Ok(false);
        }
        let mut registers = before;
        registers[RAX] = SYS_DUP2;
        registers[RDI] = 0;
        registers[RSI] = descriptor as u64;
        registers[RIP] -= 2;
        // Or else the kernel would begin the interrupted call again.
        registers[ORIG_RAX] = u64::MAX;
        trace(SET_REGISTERS, pid, 0, (&raw const registers) as u64)?;
        trace(STEP, pid, 0, 0)?;
        wait(pid, EVERY_CHILD);
        trace(GET_REGISTERS, pid, 0, (&raw mut registers) as u64)?;
        trace(SET_REGISTERS, pid, 0, (&raw const before) as u64)?;
        match registers[RAX] as c_int {
            0.. => Ok(true),
            error => Err(io::Error::from_raw_os_error(-error)),
        }
    }
}
