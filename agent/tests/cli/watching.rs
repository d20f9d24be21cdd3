//! `check --watch`: the output on a terminal and on a pipe, and every way in which it ends.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use rustix::process::Signal;

use crate::pseudo::{Seen, terminal};
use crate::{castoff, eventually, folder, send, text};

const ENTERED: &str = "\u{1b}[?1049h";
const LEFT: &str = "\u{1b}[?1049l";
/// The start of each frame.
const HOME: &str = "\u{1b}[H";

fn watch_on_a_terminal(folder: &tempfile::TempDir) -> (Child, Seen) {
    let (stream, seen) = terminal(60, 10);
    let child = castoff(&["check", "--watch", "--interval", "100ms"], folder)
        .env("TERM", "xterm")
        .stdout(stream)
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    (child, seen)
}

#[test]
fn a_terminal_shows_the_latest_report_and_keeps_the_last_one() {
    for signal in [Signal::INT, Signal::TERM] {
        let folder = folder();
        let (child, seen) = watch_on_a_terminal(&folder);
        eventually("three frames", || seen.text().matches(HOME).count() >= 3);
        send(&child, signal);
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(text(&output.stderr), "");
        eventually("the report after the screen", || {
            let seen = seen.text();
            seen.rsplit_once(LEFT)
                .is_some_and(|(_, last)| last.contains("NOT SEEN"))
        });
        let seen = seen.text();
        let (frames, _) = seen.rsplit_once(LEFT).expect("it was left");
        assert!(frames.starts_with(ENTERED), "{frames:?}");
        for frame in frames.split(HOME).skip(1) {
            assert!(frame.lines().count() <= 10, "{frame:?}");
            assert!(frame.contains("more lines"), "{frame:?}");
        }
    }
}

#[test]
fn a_stop_restores_the_terminal_until_it_continues() {
    let folder = folder();
    let (child, seen) = watch_on_a_terminal(&folder);
    eventually("a frame", || seen.text().contains(HOME));
    send(&child, Signal::TSTP);
    eventually("the stop", || state(&child) == "T");
    eventually("the terminal given back", || seen.text().ends_with(LEFT));
    send(&child, Signal::CONT);
    eventually("the terminal taken again", || seen.text().matches(ENTERED).count() == 2);
    send(&child, Signal::INT);
    assert_eq!(child.wait_with_output().expect("it ends").status.code(), Some(2));
}

fn state(child: &Child) -> String {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it is there");
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state.expect("a state").trim().chars().take(1).collect()
}

#[test]
fn a_pipe_gets_one_report_after_the_other() {
    let folder = folder();
    for (format, begins) in [("json", "{\"apiVersion\""), ("table", "unknown: ")] {
        let arguments = ["check", "-w", "--interval", "100ms", "-o", format];
        let mut child = castoff(&arguments, &folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut seen = 0;
        while seen < 3 {
            let line = lines.next().expect("it goes on").expect("text");
            assert!(!line.contains('\u{1b}'), "{line}");
            seen += usize::from(line.starts_with(begins));
        }
        send(&child, Signal::INT);
        assert_eq!(lines.filter(Result::is_err).count(), 0);
        assert_eq!(child.wait().expect("it ends").code(), Some(2));
    }
}

#[test]
fn it_ends_when_the_pipe_is_closed() {
    let folder = folder();
    let mut child = castoff(&["check", "-w", "--interval", "100ms"], &folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    let mut reader = BufReader::new(child.stdout.take().expect("piped"));
    reader.read_line(&mut line).expect("a line");
    drop(reader);
    eventually("its end", || child.try_wait().expect("it is ours").is_some());
    assert_eq!(child.wait().expect("it ended").code(), Some(2));
}
