//! Loads for measurements, one per mode, and the clock that measures other programs. The bench compiles this file by
//! itself (std only). Everything that it creates ends with its standard input.
//!
//! - `serve PATH`: binds, accepts and keeps every connection, and never answers
//! - `close PATH`: binds, accepts, and closes every connection at once
//! - `crowd PROCESSES SOCKETS FILES CLIENTS PATH`: this many processes that together hold this many Unix sockets and
//!   other files; the first CLIENTS of them hold one connection to the path each
//! - `rooms PROCESSES CLIENTS PATH`: this many processes, each in a network namespace of its own, the first CLIENTS of
//!   them with a connection; without the right to create namespaces it reports that and ends
//! - `churn RATE PATH`: starts this many processes each second, as far as the machine can, which exit at once; the path
//!   is not used
//! - `time COMMAND…`: runs the command with its output discarded and prints `WALL_MICROS CPU_MICROS PEAK_KIB STATUS`
//!
//! The loads print `ready` and then the IDs of the processes that hold a connection, one line.

use std::ffi::c_int;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio, exit};
use std::thread;
use std::time::{Duration, Instant};

const CLONE_NEWNET: c_int = 0x4000_0000;
const RLIMIT_NOFILE: c_int = 7;
const PR_SET_PDEATHSIG: c_int = 1;
const SIGKILL: c_int = 9;
/// The steps of a second in which processes are started.
const STEPS: usize = 50;

/// `struct rusage` of 64-bit Linux: two `timeval`, `ru_maxrss`, and thirteen more.
#[repr(C)]
#[derive(Default)]
struct Usage {
    user: [i64; 2],
    system: [i64; 2],
    peak_kib: i64,
    rest: [i64; 13],
}

unsafe extern "C" {
    fn fork() -> c_int;
    fn unshare(flags: c_int) -> c_int;
    fn wait4(pid: c_int, status: *mut c_int, options: c_int, usage: *mut Usage) -> c_int;
    fn setrlimit(resource: c_int, limits: *const [u64; 2]) -> c_int;
    fn prctl(option: c_int, argument: u64) -> c_int;
    fn dup(descriptor: c_int) -> c_int;
    fn _exit(status: c_int) -> !;
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match *args.as_slice() {
        ["serve", path] => serve(path, true),
        ["close", path] => serve(path, false),
        ["crowd", processes, sockets, files, clients, path] => number(processes).and_then(|processes| {
            let per = |total: &str| {
                number(total).map(|total| move |at: usize| total * (at + 1) / processes - total * at / processes)
            };
            let (sockets, files, clients) = (per(sockets)?, per(files)?, number(clients)?);
            stand(processes, |at| {
                hold(sockets(at), files(at), (at < clients).then_some(path))
            })
        }),
        ["rooms", processes, clients, path] => number(processes).and_then(|processes| {
            let clients = number(clients)?;
            stand(processes, |at| {
                // SAFETY: unshare takes a number and changes this process only.
                if unsafe { unshare(CLONE_NEWNET) } != 0 {
                    return Err(io::Error::last_os_error());
                }
                hold(2, 4, (at < clients).then_some(path))
            })
        }),
        ["churn", rate, _] => number(rate).and_then(churn),
        ["time", ..] => time(&args[1..]),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "unknown mode")),
    };
    if let Err(error) = done {
        eprintln!("load {args:?}: {error}");
        exit(1);
    }
}

fn number(text: &str) -> io::Result<usize> {
    text.parse()
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "not a number"))
}

fn wait_for_the_end() {
    let mut rest = [0; 64];
    while io::stdin().read(&mut rest).is_ok_and(|n| n > 0) {}
}

fn serve(path: &str, keep: bool) -> io::Result<()> {
    raise_the_limit();
    let listener = UnixListener::bind(path)?;
    thread::spawn(move || {
        let mut kept = Vec::new();
        for connection in listener.incoming() {
            kept.extend(connection.ok().filter(|_| keep));
        }
    });
    println!("ready");
    io::stdout().flush()?;
    wait_for_the_end();
    Ok(())
}

/// The descriptors that one process of a crowd holds.
struct Held {
    _pairs: Vec<(UnixStream, UnixStream)>,
    _files: Vec<OwnedFd>,
    connection: Option<UnixStream>,
}

fn hold(sockets: usize, files: usize, path: Option<&str>) -> io::Result<Held> {
    let null = File::open("/dev/null")?;
    let copy = |_| {
        // SAFETY: dup takes a descriptor that is open and gives a new one, or -1.
        let copied = unsafe { dup(null.as_raw_fd()) };
        if copied < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it was just made, and nothing else has it.
        Ok(unsafe { OwnedFd::from_raw_fd(copied) })
    };
    Ok(Held {
        _pairs: (0..sockets / 2)
            .map(|_| UnixStream::pair())
            .collect::<io::Result<_>>()?,
        _files: (0..files).map(copy).collect::<io::Result<_>>()?,
        connection: path.map(UnixStream::connect).transpose()?,
    })
}

/// Starts the processes, waits until each has its descriptors, reports it, and stays until the end of standard input.
/// The kernel ends them with this one.
fn stand(processes: usize, make: impl Fn(usize) -> io::Result<Held>) -> io::Result<()> {
    raise_the_limit();
    let (mut near, far) = UnixStream::pair()?;
    let mut far = Some(far);
    for at in 0..processes {
        // SAFETY: this program has one thread, so the child's copy is whole.
        match unsafe { fork() } {
            0 => {
                // SAFETY: prctl takes numbers; the child dies with this process.
                unsafe { prctl(PR_SET_PDEATHSIG, SIGKILL as u64) };
                let held = make(at);
                let answer = match &held {
                    Ok(held) if held.connection.is_some() => std::process::id(),
                    Ok(_) => 0,
                    Err(error) => {
                        eprintln!("load: {error}");
                        u32::MAX
                    }
                };
                if let Some(mut far) = far.take() {
                    let _ = far.write_all(&answer.to_ne_bytes());
                }
                loop {
                    thread::park();
                }
            }
            -1 => return Err(io::Error::last_os_error()),
            _ => {}
        }
    }
    drop(far);
    let mut holders = Vec::new();
    for _ in 0..processes {
        let mut answer = [0; 4];
        near.read_exact(&mut answer)?;
        match u32::from_ne_bytes(answer) {
            0 => {}
            u32::MAX => return Err(io::Error::other("a process could not get what it should hold")),
            pid => holders.push(pid.to_string()),
        }
    }
    println!("ready {}", holders.join(" "));
    io::stdout().flush()?;
    wait_for_the_end();
    Ok(())
}

/// Starts processes at an even rate until the end of standard input. If the machine is too slow, the processes that
/// were not started are not made up for.
fn churn(rate: usize) -> io::Result<()> {
    let in_a_step = rate.div_ceil(STEPS).max(1);
    thread::spawn(move || {
        loop {
            let start = Instant::now();
            for _ in 0..in_a_step {
                // SAFETY: the child calls only _exit, which is safe in the copy of a program with several threads.
                if unsafe { fork() } == 0 {
                    // SAFETY: it does not return.
                    unsafe { _exit(0) };
                }
            }
            let mut status = 0;
            // SAFETY: the pointers are to values that live beyond the call; -1 is any child of this process.
            while unsafe { wait4(-1, &mut status, 0, &mut Usage::default()) } > 0 {}
            thread::sleep((Duration::from_secs(1) / STEPS as u32).saturating_sub(start.elapsed()));
        }
    });
    println!("ready");
    io::stdout().flush()?;
    wait_for_the_end();
    Ok(())
}

/// Raises the limit of descriptors: a server of thousands of connections needs as many. If this is refused, the
/// operation that needs them fails.
fn raise_the_limit() {
    for most in [1 << 20, 1 << 16, 4096] {
        // SAFETY: the pointer is to two numbers that live beyond the call.
        if unsafe { setrlimit(RLIMIT_NOFILE, &[most, most]) } == 0 {
            break;
        }
    }
}

fn time(command: &[&str]) -> io::Result<()> {
    let [program, arguments @ ..] = command else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no command"));
    };
    let start = Instant::now();
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let (mut status, mut usage) = (0, Usage::default());
    // SAFETY: both pointers are to values that live beyond the call; the child is this process's own.
    let waited = unsafe { wait4(child.id() as c_int, &mut status, 0, &mut usage) };
    let wall = start.elapsed().as_micros();
    if waited < 0 {
        return Err(io::Error::last_os_error());
    }
    let micros = |[seconds, micros]: [i64; 2]| seconds * 1_000_000 + micros;
    let cpu = micros(usage.user) + micros(usage.system);
    println!("{wall} {cpu} {} {}", usage.peak_kib, (status >> 8) & 0xff);
    Ok(())
}
