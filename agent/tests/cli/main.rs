//! The command line's contract, tested with the program itself: its output streams and its exit codes.

mod codes;
mod pseudo;
mod terminals;
mod watching;

use std::fs::{File, OpenOptions};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// castoff on a host of which nothing can be seen, so that the answer is the same on every machine: 2, cannot tell.
fn castoff(arguments: &[&str], folder: &tempfile::TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_castoff"));
    command.args(arguments).env_clear();
    command.env("CASTOFF_PROC", folder.path());
    command.env("CASTOFF_HOST_ROOT", folder.path());
    command
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn send(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, signal).expect("it runs");
}

/// Waits for `what`, with time for a busy machine.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "{what} did not happen within 20 s");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_closed_pipe_does_not_change_the_answer() {
    let folder = folder();
    let mut child = castoff(&["check"], &folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(2));
}

#[test]
fn a_failed_print_is_a_failure_with_its_reason() {
    let folder = folder();
    for arguments in [
        &["check"][..],
        &["check", "-o", "json"],
        &["check", "-o", "sarif"],
        &["check", "-o", "junit"],
        &["check", "--watch"],
        &["explain"],
        &["man"],
        &["completions", "bash"],
        &["--help"],
    ] {
        let full: File = OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .expect("the full device");
        let output: Output = castoff(arguments, &folder).stdout(full).output().expect("it ends");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(70), "{arguments:?} {said}");
        assert!(said.contains("No space left"), "{arguments:?} {said}");
    }
}

#[test]
fn all_wrong_values_are_reported_at_once() {
    let folder = folder();
    let arguments = [
        "run",
        "--period",
        "-1s",
        "--window",
        "",
        "--listen",
        "here",
        "--log",
        "castoff=loud",
        "--node-name",
        "",
    ];
    let output = castoff(&arguments, &folder)
        .envs([
            ("CASTOFF_STATE", ""),
            ("CASTOFF_PROC", ""),
            ("CASTOFF_HOST_ROOT", "/nowhere"),
        ])
        .envs([
            ("CASTOFF_RUNTIME_ENDPOINT", ""),
            ("CASTOFF_RUNTIME_TIMEOUT", "0s"),
            ("CASTOFF_GRACE", "soon"),
        ])
        .output()
        .expect("it ends");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{said}");
    for flag in [
        "11 mistakes",
        "--period",
        "--window",
        "--listen",
        "--log",
        "--node-name",
        "--state",
        "--proc",
        "--host-root",
        "--runtime-endpoint",
        "--runtime-timeout",
        "--grace",
    ] {
        assert!(said.contains(flag), "{flag} in {said}");
    }
}

#[test]
fn an_interrupt_ends_a_sample_at_once_with_its_report() {
    let folder = folder();
    let mute = folder.path().join("mute.sock");
    // The socket accepts and never answers: castoff is nearly always in the middle of a look.
    let _listener = UnixListener::bind(&mute).expect("a socket");
    let endpoint = mute.to_str().expect("UTF-8");
    let arguments = [
        "check",
        "--sample",
        "60s",
        "--runtime-timeout",
        "300ms",
        "--runtime-endpoint",
        endpoint,
    ];
    let child = castoff(&arguments, &folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    while !catches_interrupts(child.id()) {
        thread::sleep(Duration::from_millis(20));
    }
    let start = Instant::now();
    send(&child, Signal::INT);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stdout).starts_with("unknown"), "{}", text(&output.stdout));
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

/// True if the process has a handler for SIGINT (`SigCgt` of `proc_pid_status(5)`): before that, the signal ends it.
fn catches_interrupts(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    caught.expect("a set of signals") & 0b10 != 0
}
