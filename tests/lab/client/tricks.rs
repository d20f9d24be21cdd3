//! Ways of a client to avoid being seen, one per mode. Each prints `ready` like every client, once it is ready:
//!
//! - `tcp ADDRESS`: connects over TCP and holds
//! - `via relative|descriptor|removed PATH`: names the socket by a relative path, by a descriptor of its file, or by one
//!   of its file that it has removed
//! - `ring connect|registered PATH`: connects through io_uring; or keeps the connection in a ring's table of files alone
//! - `compat PATH`: connects by the system calls of 32-bit programs
//! - `called NAME PATH`: sets its own name, then connects
//! - `unlinked PATH`: removes its own program, then connects
//! - `memory NAME PATH`: executes a copy of itself that is in no file system, then connects
//! - `stolen PID`: takes a connected socket out of another process, and holds it
//! - `flight PATH`: sends the connection to itself, never receives it, and closes its own descriptor
//! - `table PATH`: connects in a process that shares the descriptor table with one that exits
//! - `deep PATH`: connects in user, process, mount and network namespaces of its own
//! - `away FILE PATH`: connects in a network namespace that it leaves; a mount on the file keeps that
//! - `moved PATH FOLDER…`: connects, then moves to other control groups
//! - `half PATH`: connects and shuts down one direction
//! - `wrong PATH`: connects as a socket of the wrong kinds, which the kernel refuses
//! - `wiped PATH`: connects, closes, and resets the times of the socket's file
//! - `handed PATH`: listens; the listener is passed to a child, and the process that bound it exits
//! - `relay FROM PATH`: serves on a path, or on an abstract name `@…`, and forwards everything to the socket at the
//!   path

use std::ffi::{CString, c_char, c_int, c_long, c_void};
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::process::{self, exit};
use std::thread;
use std::time::Duration;

use super::{send_descriptor, split, stand, stay, unshare};

const CLONE_FILES: c_long = 0x400;
pub const CLONE_NEWNS: c_int = 0x2_0000;
pub const CLONE_NEWUSER: c_int = 0x1000_0000;
const CLONE_NEWPID: c_int = 0x2000_0000;
const CLONE_NEWNET: c_int = 0x4000_0000;
const SIGCHLD: c_long = 17;
pub const PR_SET_NAME: c_int = 15;
const O_PATH: c_int = 0o10_000_000;
pub const MS_BIND: u64 = 4096;
const AF_UNIX: u16 = 1;
pub const AT_FDCWD: c_int = -100;
const SOCK_DGRAM: c_int = 2;
const SOCK_SEQPACKET: c_int = 5;
const SYS_CLONE: c_long = if cfg!(target_arch = "x86_64") { 56 } else { 220 };
pub const SYS_PIDFD_OPEN: c_long = 434;
pub const SYS_PIDFD_GETFD: c_long = 438;

/// `struct sockaddr_un`.
#[repr(C)]
pub struct Address {
    family: u16,
    path: [u8; 108],
}

unsafe extern "C" {
    pub fn syscall(number: c_long, ...) -> c_long;
    pub fn prctl(option: c_int, ...) -> c_int;
    pub fn setns(descriptor: c_int, kind: c_int) -> c_int;
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    pub fn mount(from: *const c_char, to: *const c_char, kind: *const c_char, flags: u64, data: *const c_void)
    -> c_int;
    fn memfd_create(name: *const c_char, flags: u32) -> c_int;
    pub fn execv(path: *const c_char, arguments: *const *const c_char) -> c_int;
    fn socket(family: c_int, kind: c_int, protocol: c_int) -> c_int;
    fn connect(socket: c_int, address: *const Address, len: u32) -> c_int;
    fn utimensat(folder: c_int, path: *const c_char, times: *const [i64; 2], flags: c_int) -> c_int;
}

pub fn run(args: &[&str], until_eof: bool) -> io::Result<()> {
    let stand = |_held: &dyn AsRawFd| stand(until_eof, process::id());
    match *args {
        ["tcp", address] => stand(&TcpStream::connect(address)?),
        ["via", how, path] => stand(&via(how, Path::new(path))?),
        ["ring", how, path] => stand(&super::ring::connect(path, how == "registered")?),
        ["compat", path] => stand(&super::ring::connect_as_32_bit(path)?),
        ["called", name, path] => {
            let name = text(name)?;
            // SAFETY: the kernel copies the name.
            check(unsafe { prctl(PR_SET_NAME, name.as_ptr()) })?;
            stand(&UnixStream::connect(path)?)
        }
        ["unlinked", path] => {
            fs::remove_file(std::env::current_exe()?)?;
            stand(&UnixStream::connect(path)?)
        }
        ["memory", name, path] => execute_from_memory(name, path, until_eof),
        ["stolen", pid] => stand(&steal(pid)?),
        ["flight", path] => {
            let (near, far) = UnixStream::pair()?;
            send_descriptor(&near, UnixStream::connect(path)?.as_raw_fd())?;
            let _both = far;
            stand(&near)
        }
        ["table", path] => hold_in_a_shared_table(path, until_eof),
        ["deep", path] => hold_in_own_namespaces(path, until_eof),
        ["away", file, path] => stand(&connect_and_leave_the_network(file, path)?),
        ["moved", path, ref folders @ ..] => {
            // A process that connects in the clock tick of its start is also known by its first control groups.
            thread::sleep(Duration::from_millis(20));
            let connection = UnixStream::connect(path)?;
            for folder in folders {
                fs::write(Path::new(folder).join("cgroup.procs"), process::id().to_string())?;
            }
            stand(&connection)
        }
        ["half", path] => {
            let connection = UnixStream::connect(path)?;
            connection.shutdown(Shutdown::Read)?;
            stand(&connection)
        }
        ["wrong", path] => {
            for kind in [SOCK_DGRAM, SOCK_SEQPACKET] {
                let refused = connect_as(kind, path).err();
                refused.ok_or_else(|| io::Error::other("a socket of the wrong kind is connected"))?;
            }
            stand(&io::stdin())
        }
        ["wiped", path] => {
            drop(UnixStream::connect(path)?);
            let (path, long_ago) = (text(path)?, [[0_i64; 2]; 2]);
            // SAFETY: the kernel reads the path and both times.
            check(unsafe { utimensat(AT_FDCWD, path.as_ptr(), long_ago.as_ptr(), 0) })?;
            stand(&io::stdin())
        }
        ["handed", path] => hand_a_listener_over(path, until_eof),
        ["relay", from, path] => {
            let listener = match from.strip_prefix('@') {
                Some(name) => UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?,
                None => UnixListener::bind(from)?,
            };
            relay(&listener, path);
            stand(&listener)
        }
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "unknown mode or wrong number of arguments",
        )),
    }
}

fn via(how: &str, path: &Path) -> io::Result<UnixStream> {
    if how != "relative" {
        let name = text(&path.to_string_lossy())?;
        // SAFETY: the name outlives the call.
        let file = check(unsafe { open(name.as_ptr(), O_PATH) })?;
        if how == "removed" {
            fs::remove_file(path)?;
        }
        return UnixStream::connect(format!("/proc/self/fd/{file}"));
    }
    let (folder, name) = (path.parent(), path.file_name());
    std::env::set_current_dir(folder.ok_or(io::ErrorKind::InvalidInput)?)?;
    UnixStream::connect(name.ok_or(io::ErrorKind::InvalidInput)?)
}

fn execute_from_memory(name: &str, path: &str, until_eof: bool) -> io::Result<()> {
    let called = text(name)?;
    // SAFETY: the name outlives the call.
    let copy = check(unsafe { memfd_create(called.as_ptr(), 0) })?;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .open(format!("/proc/self/fd/{copy}"))?;
    io::copy(&mut fs::File::open("/proc/self/exe")?, &mut file)?;
    drop(file);
    let program = text(&format!("/proc/self/fd/{copy}"))?;
    let mut words = vec![called];
    if until_eof {
        words.push(text("--until-eof")?);
    }
    words.extend([text("hold")?, text(path)?]);
    let mut words: Vec<*const c_char> = words.iter().map(|word| word.as_ptr()).collect();
    words.push(std::ptr::null());
    // SAFETY: all words and the list end with a null and live until the program is another one.
    check(unsafe { execv(program.as_ptr(), words.as_ptr()) }).map(drop)
}

fn steal(pid: &str) -> io::Result<OwnedFd> {
    let pid: c_long = pid.parse().map_err(io::Error::other)?;
    let descriptor = fs::read_dir(format!("/proc/{pid}/fd"))?.flatten().find(|entry| {
        let link = fs::read_link(entry.path()).unwrap_or_default();
        link.to_string_lossy().starts_with("socket:")
    });
    let descriptor = descriptor.ok_or_else(|| io::Error::other("it has no socket"))?;
    let descriptor: c_long = descriptor
        .file_name()
        .to_string_lossy()
        .parse()
        .map_err(io::Error::other)?;
    // SAFETY: neither call takes a pointer.
    let stolen = unsafe {
        let process = check(syscall(SYS_PIDFD_OPEN, pid, 0_i64) as c_int)?;
        check(syscall(SYS_PIDFD_GETFD, c_long::from(process), descriptor, 0_i64) as c_int)?
    };
    // SAFETY: the kernel has just installed it, and nothing else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(stolen) })
}

fn hold_in_a_shared_table(path: &str, until_eof: bool) -> io::Result<()> {
    let none = 0_i64;
    // SAFETY: like fork(2), except for the descriptor table; no thread runs yet.
    match unsafe { syscall(SYS_CLONE, CLONE_FILES | SIGCHLD, none, none, none, none) } {
        0 => {
            let held = UnixStream::connect(path).and_then(|_connection| stand(until_eof, process::id()));
            exit(i32::from(held.is_err()))
        }
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn hold_in_own_namespaces(path: &str, until_eof: bool) -> io::Result<()> {
    // SAFETY: no thread runs yet.
    check(unsafe { unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET) })?;
    split(|| {
        let _connection = UnixStream::connect(path)?;
        stand(until_eof, process::id())
    })?;
    stay(until_eof)
}

fn connect_and_leave_the_network(file: &str, path: &str) -> io::Result<UnixStream> {
    let home = fs::File::open("/proc/self/ns/net")?;
    // SAFETY: no thread runs yet.
    check(unsafe { unshare(CLONE_NEWNET) })?;
    fs::write(file, "")?;
    let (from, to) = (text("/proc/self/ns/net")?, text(file)?);
    // SAFETY: both names outlive the call; a bind mount reads neither a kind nor data.
    check(unsafe { mount(from.as_ptr(), to.as_ptr(), std::ptr::null(), MS_BIND, std::ptr::null()) })?;
    let connection = UnixStream::connect(path)?;
    // SAFETY: the descriptor is open.
    check(unsafe { setns(home.as_raw_fd(), CLONE_NEWNET) })?;
    Ok(connection)
}

fn hand_a_listener_over(path: &str, until_eof: bool) -> io::Result<()> {
    let listener = UnixListener::bind(path)?;
    let (near, mut far) = UnixStream::pair()?;
    let mut near = Some(near);
    let binder = process::id();
    split(|| {
        drop(near.take());
        let listener = listener.try_clone()?;
        while far.read(&mut [0; 8])? > 0 {}
        thread::spawn(move || listener.incoming().flatten().for_each(std::mem::forget));
        println!("ready {binder} {}", process::id());
        io::stdout().flush()?;
        stay(until_eof)
    })?;
    // The child must not see the end before the process itself has ended.
    std::mem::forget(near);
    Ok(())
}

fn relay(listener: &UnixListener, path: &str) {
    let (listener, path) = (listener.try_clone(), path.to_owned());
    thread::spawn(move || {
        let Ok(listener) = listener else { return };
        for client in listener.incoming().flatten() {
            let Ok(server) = UnixStream::connect(&path) else {
                continue;
            };
            for (from, to) in [(client.try_clone(), server.try_clone()), (Ok(server), Ok(client))] {
                thread::spawn(move || io::copy(&mut from?, &mut to?));
            }
        }
    });
}

/// Returns a socket of this kind that is connected to the path.
pub fn connect_as(kind: c_int, path: &str) -> io::Result<OwnedFd> {
    let address = address(path)?;
    // SAFETY: the address outlives the calls, and has the length that is stated.
    unsafe {
        let made = check(socket(c_int::from(AF_UNIX), kind, 0))?;
        let made = OwnedFd::from_raw_fd(made);
        check(connect(
            made.as_raw_fd(),
            &raw const address,
            size_of::<Address>() as u32,
        ))?;
        Ok(made)
    }
}

pub fn address(path: &str) -> io::Result<Address> {
    let mut address = Address {
        family: AF_UNIX,
        path: [0; 108],
    };
    let bytes = address.path.get_mut(..path.len()).ok_or(io::ErrorKind::InvalidInput)?;
    bytes.copy_from_slice(path.as_bytes());
    Ok(address)
}

pub fn text(text: &str) -> io::Result<CString> {
    CString::new(text).map_err(io::Error::other)
}

pub fn check(answer: c_int) -> io::Result<c_int> {
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(answer)
}
