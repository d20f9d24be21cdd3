//! Properties of standard output and standard error: whether they are terminals, their width and their colours.

use std::env;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd;

use super::args::Colour;
use crate::sinks::views::style::Style;

/// A terminal that interprets escape sequences: every one whose `$TERM` is not `dumb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terminal {
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl Terminal {
    /// Returns the current properties of standard output, if it is a terminal.
    pub(super) fn of_output() -> Option<Self> {
        Self::of(&io::stdout())
    }

    /// Returns those of standard error, if it is a terminal.
    pub(super) fn of_error() -> Option<Self> {
        Self::of(&io::stderr())
    }

    fn of(stream: &impl AsFd) -> Option<Self> {
        if !stream.as_fd().is_terminal() || env::var_os("TERM").is_some_and(|term| term == "dumb") {
            return None;
        }
        let size = rustix::termios::tcgetwinsize(stream).ok();
        let known = |cells: u16, usual: usize| if cells == 0 { usual } else { usize::from(cells) };
        Some(Self {
            // A serial line does not know its size.
            rows: known(size.map_or(0, |s| s.ws_row), 24),
            columns: known(size.map_or(0, |s| s.ws_col), 80),
        })
    }
}

/// The style of a report on standard output.
pub(super) fn style(colour: Colour, wide: bool) -> Style {
    let terminal = Terminal::of_output();
    Style {
        colour: match colour {
            Colour::Always => true,
            Colour::Never => false,
            // https://no-color.org
            Colour::Auto => terminal.is_some() && env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
        },
        wide,
        width: terminal.map(|t| t.columns),
    }
}
