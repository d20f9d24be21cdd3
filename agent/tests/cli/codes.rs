//! The exit codes, which are a contract, and the messages for wrong use.

use std::process::Stdio;

use crate::{castoff, folder, text};

#[test]
fn every_use_has_its_exit_code() {
    let folder = folder();
    for (code, arguments) in [
        (0, &["--help"][..]),
        (0, &["--version"]),
        (0, &["help", "check"]),
        (0, &["check", "-h"]),
        (0, &["explain"]),
        (0, &["explain", "socket-client"]),
        (0, &["explain", "agents", "datadog", "agent"]),
        (0, &["man"]),
        (0, &["man", "run"]),
        (0, &["completions", "zsh"]),
        (0, &["completion", "fish"]),
        (2, &["check"]),
        (2, &["check", "--fail-on", "runtime"]),
        (2, &["check", "-o", "wide", "--sample", "0s"]),
        (2, &["check", "-o", "json"]),
        (2, &["check", "-o", "sarif"]),
        (2, &["check", "-o", "junit"]),
        (64, &[]),
        (64, &["chek"]),
        (64, &["check", "--nothing"]),
        (64, &["check", "stray"]),
        (64, &["check", "-o", "yaml"]),
        (64, &["check", "--fail-on", "unknown"]),
        (64, &["check", "--sample", "-1s"]),
        (64, &["check", "--sample", "1s", "--watch"]),
        (64, &["check", "--interval", "1s"]),
        (64, &["check", "--watch", "--interval", "1ms"]),
        (64, &["check", "--watch", "-o", "sarif"]),
        (64, &["check", "--watch", "-o", "junit"]),
        (64, &["check", "--proc", "/nowhere"]),
        (64, &["run", "--listen", "nowhere"]),
        (64, &["labels", "--remove", "--labels", "off"]),
        (64, &["explain", "nothing"]),
        (64, &["explain", "agents", "nothing"]),
        (64, &["explain", "socket-client", "portainer"]),
        (64, &["completions"]),
        (64, &["completions", "tcsh"]),
        (64, &["man", "nothing"]),
    ] {
        let output = castoff(arguments, &folder)
            .stdin(Stdio::null())
            .output()
            .expect("it ends");
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
        let (answer, words) = (!output.stdout.is_empty(), !output.stderr.is_empty());
        assert_eq!(answer, code != 64, "{arguments:?} answers on standard output");
        assert!(
            code != 64 || words,
            "{arguments:?} says what is wrong on standard error"
        );
    }
}

#[test]
fn a_closed_pipe_changes_no_exit_code() {
    let folder = folder();
    for (code, arguments) in [
        (0, &["explain"][..]),
        (0, &["--help"]),
        (0, &["man", "check"]),
        (0, &["completions", "bash"]),
        (2, &["check", "-o", "json"]),
        (2, &["check", "-o", "junit"]),
        (2, &["check", "--watch"]),
    ] {
        let mut child = castoff(arguments, &folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(
            !said.contains("ipe") && !said.contains("panic"),
            "{arguments:?}: {said}"
        );
    }
}

#[test]
fn formats_for_ci_print_a_sentence_for_the_log() {
    let folder = folder();
    for (format, begins) in [("sarif", "{"), ("junit", "<?xml")] {
        let output = castoff(&["check", "-o", format], &folder).output().expect("it ends");
        assert!(text(&output.stdout).starts_with(begins));
        let said = text(&output.stderr);
        assert!(
            said.starts_with("castoff: unknown: ") && said.lines().count() == 1,
            "{said}"
        );
    }
}
