//! Output on a terminal, as opposed to a pipe, and on a small one.

use std::process::Stdio;

use crate::pseudo::terminal;
use crate::{castoff, eventually, folder, text};

/// Returns the text that `castoff` with `arguments` and `variables` shows on a terminal of `columns`, once it has ended.
fn on_a_terminal(arguments: &[&str], variables: &[(&str, &str)], columns: u16) -> String {
    let folder = folder();
    let (stream, seen) = terminal(columns, 24);
    let mut command = castoff(arguments, &folder);
    let status = command
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(stream)
        .status()
        .expect("it ends");
    drop(command); // closes the copy of the terminal on this side
    assert_eq!(status.code(), Some(2), "nothing can be seen on this host");
    eventually("the whole report", || seen.text().contains("NOT SEEN"));
    seen.text()
}

#[test]
fn colours_are_used_on_terminals_unless_disabled() {
    let coloured = |text: &str| text.contains("\u{1b}[");
    assert!(coloured(&on_a_terminal(&["check"], &[("TERM", "xterm")], 100)));
    assert!(coloured(&on_a_terminal(&["check"], &[("NO_COLOR", "")], 100)));
    for (arguments, variable) in [
        (&["check"][..], ("NO_COLOR", "1")),
        (&["check"], ("TERM", "dumb")),
        (&["check", "--color", "never"], ("TERM", "xterm")),
    ] {
        let seen = on_a_terminal(arguments, &[variable], 100);
        assert!(!coloured(&seen), "{arguments:?} {variable:?} {seen}");
    }
    let folder = folder();
    for (arguments, wanted) in [
        (&["check"][..], false),
        (&["check", "-o", "wide"], false),
        (&["check", "--colour=always"], true),
    ] {
        let output = castoff(arguments, &folder)
            .env("TERM", "xterm")
            .output()
            .expect("it ends");
        assert_eq!(coloured(&text(&output.stdout)), wanted, "{arguments:?}");
    }
}

#[test]
fn a_terminal_of_20_columns_gets_no_longer_line() {
    let seen = on_a_terminal(&["check", "--colour", "never"], &[], 20);
    let wide: Vec<&str> = seen
        .lines()
        .filter(|line| line.trim_end().chars().count() > 20)
        .collect();
    assert!(wide.is_empty(), "{wide:#?}");
}

#[test]
fn the_text_is_the_same_without_locale_terminal_and_input() {
    let folder = folder();
    let said = |locale: Option<&str>| {
        let mut command = castoff(&["check"], &folder);
        let output = command
            .envs(locale.map(|l| ("LC_ALL", l)))
            .stdin(Stdio::null())
            .output();
        let output = output.expect("it ends");
        assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
        let said = String::from_utf8(output.stdout).expect("UTF-8");
        said.lines()
            .filter(|line| !line.starts_with("Node "))
            .collect::<String>()
    };
    let none = said(None);
    assert!(none.contains("→"), "{none}");
    for locale in ["C", "POSIX", "de_DE.ISO-8859-1", "nonsense"] {
        assert_eq!(said(Some(locale)), none, "{locale}");
    }
}

#[test]
fn progress_is_shown_on_terminals_and_erased_at_the_end() {
    let folder = folder();
    let arguments = ["check", "--sample", "1500ms"];
    let (stream, seen) = terminal(20, 24);
    let mut command = castoff(&arguments, &folder);
    let output = command.stdout(Stdio::piped()).stderr(stream).spawn();
    let output = output.and_then(std::process::Child::wait_with_output).expect("it ends");
    drop(command);
    assert!(text(&output.stdout).starts_with("unknown"));
    eventually("the last line's end", || seen.text().ends_with("\r\u{1b}[K"));
    let shown = seen.text();
    assert!(shown.contains("s of 1s, ") && shown.contains("look"), "{shown:?}");
    for line in shown.split('\r') {
        assert!(line.trim_end_matches("\u{1b}[K").chars().count() < 20, "{line:?}");
    }
    let piped = castoff(&arguments, &folder).output().expect("it ends");
    assert!(piped.stderr.is_empty(), "{}", text(&piped.stderr));
}
