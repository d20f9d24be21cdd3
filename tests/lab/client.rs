//! The clients of a socket, with one behaviour per mode. The lab compiles this file by itself (std only, static, so
//! that it runs in a scratch image) and starts it on the host, in pods and in containers.
//!
//! `client [--until-eof] MODE …` prints `ready CONNECTOR HOLDER` (process IDs as seen from inside) once it is ready:
//!
//! - `hold PATH`: connects and holds the connection
//! - `keep PATH`: connects, and connects again whenever the server has ended, until it answers again
//! - `say PATH LINE`: connects, sends the line, holds
//! - `ask PATH write|parts|message|cut LINE…`: connects, and sends the lines repeatedly over this one connection
//! - `blink PATH HOLD_MS PAUSE_MS`: starts a new process repeatedly that connects, holds for the given time, and exits
//! - `burst PATH TIMES`: starts this many processes, one after the other, that connect and exit at once; then it is
//!   ready and ends
//! - `time PATH TIMES`: binds, connects to it this many times, ten rounds, prints the nanoseconds of one connect in the
//!   fastest round, and ends
//! - `fork PATH stay|leave`: connects, a child inherits the descriptor; the connector stays without it, or exits
//! - `pass PATH stay|leave`: the same, but the descriptor is sent to a process that already runs, by `SCM_RIGHTS`
//! - `share PATH AFTER_MS`: connects and holds; after the given time a process that already runs receives the
//!   descriptor too
//! - `thread PATH`: connects in a thread with a descriptor table of its own, and holds
//! - `abstract NAME`: connects to an abstract name and holds
//! - `listen PATH`: binds and never accepts
//! - `mute PATH`: binds, accepts, reads until the end and never answers
//! - `pause`: holds a sandbox; also when the program is called `pause`
//!
//! and the modes of [`tricks`], [`processes`], [`mounts`] and [`bpf`].
//!
//! SIGTERM ends it at once, also as PID 1. With `--until-eof` the end of standard input does too, in every process that
//! it has created, so that the starter need not know their IDs.

#[path = "client/bpf.rs"]
mod bpf;
#[path = "client/mounts.rs"]
mod mounts;
#[path = "client/processes.rs"]
mod processes;
#[path = "client/ring.rs"]
mod ring;
#[path = "client/tricks.rs"]
mod tricks;

use std::ffi::{c_int, c_void};
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process::exit;
use std::thread;
use std::time::{Duration, Instant};

const SIGTERM: c_int = 15;
const CLONE_FILES: c_int = 0x400;
const SOL_SOCKET: c_int = 1;
const SCM_RIGHTS: c_int = 1;

/// `struct msghdr` of 64-bit Linux (glibc's bits/types/struct_msghdr.h).
#[repr(C)]
struct MessageHeader {
    name: *mut c_void,
    name_len: u32,
    parts: *mut Part,
    parts_len: usize,
    control: *mut c_void,
    control_len: usize,
    flags: c_int,
}

/// `struct iovec`.
#[repr(C)]
struct Part {
    base: *mut c_void,
    len: usize,
}

/// One `struct cmsghdr` and its descriptor, padded like `CMSG_SPACE(sizeof(int))`.
#[repr(C)]
struct Rights {
    len: usize,
    level: c_int,
    kind: c_int,
    descriptor: c_int,
    padding: c_int,
}

unsafe extern "C" {
    fn fork() -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn signal(number: c_int, handler: extern "C" fn(c_int)) -> usize;
    fn _exit(status: c_int) -> !;
    fn unshare(flags: c_int) -> c_int;
    fn sendmsg(socket: c_int, message: *const MessageHeader, flags: c_int) -> isize;
    fn recvmsg(socket: c_int, message: *mut MessageHeader, flags: c_int) -> isize;
}

extern "C" fn leave(_: c_int) {
    // SAFETY: _exit is safe to call in a signal handler and does not return.
    unsafe { _exit(0) }
}

fn main() {
    // SAFETY: the handler only calls _exit, which is safe in a signal handler.
    unsafe { signal(SIGTERM, leave) };
    let mut args: Vec<String> = std::env::args().collect();
    let called = args.remove(0);
    let until_eof = args.first().is_some_and(|arg| arg == "--until-eof");
    if until_eof {
        args.remove(0);
    }
    if called.ends_with("pause") && args.is_empty() {
        args.push("pause".into());
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    if let Err(error) = run(&args, until_eof) {
        eprintln!("client {args:?}: {error}");
        exit(1);
    }
}

fn run(args: &[&str], until_eof: bool) -> io::Result<()> {
    match *args {
        ["hold", path] => {
            let _connection = UnixStream::connect(path)?;
            stand(until_eof, std::process::id())
        }
        ["keep", path] => keep(path, until_eof),
        ["say", path, line] => {
            let mut connection = UnixStream::connect(path)?;
            connection.write_all(format!("{line}\r\n").as_bytes())?;
            stand(until_eof, std::process::id())
        }
        ["thread", path] => hold_in_a_thread(path, until_eof),
        ["ask", path, how, ref lines @ ..] => ask(path, how, lines, until_eof),
        ["abstract", name] => {
            let address = SocketAddr::from_abstract_name(name)?;
            let _connection = UnixStream::connect_addr(&address)?;
            stand(until_eof, std::process::id())
        }
        ["listen", path] => {
            let _listener = UnixListener::bind(path)?;
            stand(until_eof, std::process::id())
        }
        ["mute", path] => mute(path, until_eof),
        ["blink", path, hold, pause] => blink(path, millis(hold)?, millis(pause)?, until_eof),
        ["burst", path, times] => burst(path, times),
        ["time", path, times] => time(path, times),
        ["fork", path, connector] => hand_by_fork(path, connector == "leave", until_eof),
        ["pass", path, connector] => hand_by_message(path, connector == "leave", until_eof),
        ["share", path, after] => share(path, millis(after)?, until_eof),
        ["pause"] => stand(until_eof, std::process::id()),
        _ => processes::run(args, until_eof)
            .or_else(|| mounts::run(args, until_eof))
            .or_else(|| bpf::run(args, until_eof))
            .unwrap_or_else(|| tricks::run(args, until_eof)),
    }
}

/// Prints that it is ready and stays.
fn stand(until_eof: bool, holder: u32) -> io::Result<()> {
    println!("ready {} {holder}", std::process::id());
    io::stdout().flush()?;
    stay(until_eof)
}

/// Stays until a signal, or until the end of standard input.
fn stay(until_eof: bool) -> io::Result<()> {
    if until_eof {
        let mut rest = [0; 64];
        while io::stdin().read(&mut rest)? > 0 {}
        return Ok(());
    }
    loop {
        thread::park();
    }
}

fn keep(path: &str, until_eof: bool) -> io::Result<()> {
    let mut connection = UnixStream::connect(path)?;
    let path = path.to_owned();
    thread::spawn(move || {
        loop {
            // It ends with the server.
            let _ = io::copy(&mut connection, &mut io::sink());
            match UnixStream::connect(&path) {
                Ok(again) => connection = again,
                Err(_) => thread::sleep(Duration::from_millis(50)),
            }
        }
    });
    stand(until_eof, std::process::id())
}

fn mute(path: &str, until_eof: bool) -> io::Result<()> {
    let listener = UnixListener::bind(path)?;
    thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            thread::spawn(move || io::copy(&mut connection, &mut io::sink()));
        }
    });
    stand(until_eof, std::process::id())
}

fn ask(path: &str, how: &str, lines: &[&str], until_eof: bool) -> io::Result<()> {
    let connection = UnixStream::connect(path)?;
    let how = how.to_owned();
    let lines: Vec<String> = lines.iter().map(|line| format!("{line} HTTP/1.1\r\n\r\n")).collect();
    thread::spawn(move || {
        while lines
            .iter()
            .try_for_each(|line| send(&connection, &how, line.as_bytes()))
            .is_ok()
        {
            thread::sleep(Duration::from_millis(20));
        }
    });
    stand(until_eof, std::process::id())
}

fn send(mut connection: &UnixStream, how: &str, line: &[u8]) -> io::Result<()> {
    let (first, rest) = line.split_at(6);
    match how {
        "parts" => connection
            .write_vectored(&[IoSlice::new(first), IoSlice::new(rest)])
            .map(drop),
        "message" => send_parts(connection, &[first, rest]),
        "cut" => connection.write_all(first).and_then(|()| connection.write_all(rest)),
        _ => connection.write_all(line),
    }
}

fn send_parts(connection: &UnixStream, parts: &[&[u8]]) -> io::Result<()> {
    let as_part = |part: &&[u8]| Part {
        base: part.as_ptr().cast_mut().cast(),
        len: part.len(),
    };
    let mut parts: Vec<Part> = parts.iter().map(as_part).collect();
    let message = MessageHeader {
        name: std::ptr::null_mut(),
        name_len: 0,
        parts: parts.as_mut_ptr(),
        parts_len: parts.len(),
        control: std::ptr::null_mut(),
        control_len: 0,
        flags: 0,
    };
    // SAFETY: what the message points to outlives the call, which only reads it.
    match unsafe { sendmsg(connection.as_raw_fd(), &raw const message, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn blink(path: &str, hold: Duration, pause: Duration, until_eof: bool) -> io::Result<()> {
    println!("ready {} {0}", std::process::id());
    io::stdout().flush()?;
    let mut eof = until_eof.then(|| split(|| stay(true))).transpose()?;
    loop {
        let child = split(|| {
            let _connection = UnixStream::connect(path)?;
            thread::sleep(hold);
            Ok(())
        })?;
        wait(child, 0);
        thread::sleep(pause);
        // The watcher of standard input has ended, and so does this process.
        if eof.is_some_and(|watcher| wait(watcher, 1) == watcher) {
            eof = None;
        }
        if until_eof && eof.is_none() {
            return Ok(());
        }
    }
}

fn burst(path: &str, times: &str) -> io::Result<()> {
    let times: u32 = times.parse().map_err(io::Error::other)?;
    for _ in 0..times {
        let child = split(|| UnixStream::connect(path).map(drop))?;
        wait(child, 0);
    }
    println!("ready {} {0}", std::process::id());
    Ok(())
}

fn time(path: &str, times: &str) -> io::Result<()> {
    let times: u32 = times.parse().map_err(io::Error::other)?;
    let listener = UnixListener::bind(path)?;
    thread::spawn(move || listener.incoming().for_each(drop));
    // The machine's other work only adds to a round.
    let mut least = u128::MAX;
    for _ in 0..10 {
        let start = Instant::now();
        for _ in 0..times {
            drop(UnixStream::connect(path)?);
        }
        least = least.min(start.elapsed().as_nanos() / u128::from(times.max(1)));
    }
    println!("{least}");
    Ok(())
}

fn hold_in_a_thread(path: &str, until_eof: bool) -> io::Result<()> {
    let path = path.to_owned();
    let (tell, connected) = std::sync::mpsc::channel();
    thread::spawn(move || {
        // SAFETY: it concerns this thread's descriptor table alone.
        let alone = match unsafe { unshare(CLONE_FILES) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        };
        let connection = alone.and_then(|()| UnixStream::connect(path));
        let (held, told) = match connection {
            Ok(connection) => (Some(connection), Ok(())),
            Err(error) => (None, Err(error)),
        };
        let _ = tell.send(told);
        while held.is_some() {
            thread::park();
        }
    });
    connected.recv().map_err(io::Error::other)??;
    stand(until_eof, std::process::id())
}

fn hand_by_fork(path: &str, connector_leaves: bool, until_eof: bool) -> io::Result<()> {
    let connection = UnixStream::connect(path)?;
    let (near, far) = UnixStream::pair()?;
    let connector = std::process::id();
    // In an Option, so that the child can close its copy.
    let mut near = Some(near);
    split(|| {
        drop(near.take());
        hold_alone(far, connector, until_eof)
    })?;
    drop(connection);
    part(near, connector_leaves, until_eof)
}

fn hand_by_message(path: &str, connector_leaves: bool, until_eof: bool) -> io::Result<()> {
    let (near, far) = UnixStream::pair()?;
    let connector = std::process::id();
    let mut near = Some(near);
    split(|| {
        drop(near.take());
        let _connection = receive_descriptor(&far)?;
        hold_alone(far, connector, until_eof)
    })?;
    let connection = UnixStream::connect(path)?;
    if let Some(near) = &near {
        send_descriptor(near, connection.as_raw_fd())?;
    }
    drop(connection);
    part(near, connector_leaves, until_eof)
}

fn share(path: &str, after: Duration, until_eof: bool) -> io::Result<()> {
    let (near, far) = UnixStream::pair()?;
    let child = split(|| {
        let _connection = receive_descriptor(&far)?;
        stay(until_eof)
    })?;
    let connection = UnixStream::connect(path)?;
    println!("ready {} {child}", std::process::id());
    io::stdout().flush()?;
    thread::sleep(after);
    send_descriptor(&near, connection.as_raw_fd())?;
    stay(until_eof)
}

/// The holder's side: ready once the connector has closed its descriptor, which it sees by the end of their common
/// stream.
fn hold_alone(mut far: UnixStream, connector: u32, until_eof: bool) -> io::Result<()> {
    while far.read(&mut [0; 8])? > 0 {}
    println!("ready {connector} {}", std::process::id());
    io::stdout().flush()?;
    stay(until_eof)
}

/// The connector's side, after it has closed its descriptor.
fn part(near: Option<UnixStream>, leaves: bool, until_eof: bool) -> io::Result<()> {
    if leaves {
        // The holder must not see the end before the process itself has ended.
        std::mem::forget(near);
        return Ok(());
    }
    drop(near);
    stay(until_eof)
}

/// Runs `work` in a child process, which ends afterwards.
fn split(work: impl FnOnce() -> io::Result<()>) -> io::Result<c_int> {
    // SAFETY: every mode forks before it has started a thread, so the child may go on using std.
    match unsafe { fork() } {
        0 => exit(i32::from(work().is_err())),
        -1 => Err(io::Error::last_os_error()),
        child => Ok(child),
    }
}

fn wait(child: c_int, options: c_int) -> c_int {
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    unsafe { waitpid(child, &raw mut status, options) }
}

fn send_descriptor(over: &UnixStream, descriptor: RawFd) -> io::Result<()> {
    let mut rights = rights(descriptor);
    let mut byte = 0_u8;
    let mut part = Part {
        base: (&raw mut byte).cast(),
        len: 1,
    };
    let message = message(&mut part, &mut rights);
    // SAFETY: the message points to one byte and one control record, both alive and of the lengths it states.
    match unsafe { sendmsg(over.as_raw_fd(), &raw const message, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn receive_descriptor(over: &UnixStream) -> io::Result<OwnedFd> {
    let mut rights = rights(-1);
    let mut byte = 0_u8;
    let mut part = Part {
        base: (&raw mut byte).cast(),
        len: 1,
    };
    let mut message = message(&mut part, &mut rights);
    // SAFETY: as in send_descriptor; the kernel writes no more than the lengths stated.
    match unsafe { recvmsg(over.as_raw_fd(), &raw mut message, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ if rights.descriptor < 0 => Err(io::Error::other("no descriptor came")),
        // SAFETY: the kernel has just installed this descriptor for this process, and nothing else knows it.
        _ => Ok(unsafe { OwnedFd::from_raw_fd(rights.descriptor) }),
    }
}

fn rights(descriptor: RawFd) -> Rights {
    // CMSG_LEN(sizeof(int)): the header's 16 bytes and the descriptor's 4, without the padding.
    Rights {
        len: 20,
        level: SOL_SOCKET,
        kind: SCM_RIGHTS,
        descriptor,
        padding: 0,
    }
}

fn message(part: &mut Part, rights: &mut Rights) -> MessageHeader {
    MessageHeader {
        name: std::ptr::null_mut(),
        name_len: 0,
        parts: part,
        parts_len: 1,
        control: (rights as *mut Rights).cast(),
        control_len: size_of::<Rights>(),
        flags: 0,
    }
}

fn millis(text: &str) -> io::Result<Duration> {
    text.parse()
        .map(Duration::from_millis)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, format!("{text}: {error}")))
}
