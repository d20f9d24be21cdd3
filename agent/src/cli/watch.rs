//! `castoff check --watch`: repeats looks until a signal. A terminal shows the latest, on its alternate screen, and keeps the
//! last one in full; any other output gets all of them.
//!
//! In any case, on a signal, an error or a panic, the terminal is restored.

use std::io::{self, Write as _};
use std::panic;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Signal as Number, getpid, kill_process};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::terminal::Terminal;
use super::{Printed, print};
use crate::agent::Agent;
use crate::findings::report::Report;

/// The escape sequences that enter the alternate screen, without a cursor and with lines cut at the edge, and that leave it.
const ENTER: &str = "\x1b[?1049h\x1b[?7l\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?7h\x1b[?1049l";

/// Looks and prints until a signal, or until the reader closes the pipe; returns the last report.
pub(super) async fn watch(
    mut agent: Agent,
    interval: Duration,
    render: &dyn Fn(&Report) -> anyhow::Result<String>,
    redraws: bool,
) -> anyhow::Result<Report> {
    let mut report = agent.look().await;
    // Until now there was nothing to show, so a signal ended castoff.
    let mut signals = Signals::listen(redraws).context("waiting for signals")?;
    if redraws {
        leave_on_panic();
    }
    let mut screen = redraws
        .then(Screen::enter)
        .transpose()
        .context("writing to the terminal")?;
    'looks: loop {
        if show(redraws, &render(&report)?)? == Printed::PipeClosed {
            break;
        }
        let next = async {
            tokio::time::sleep(interval).await;
            agent.look().await
        };
        tokio::pin!(next);
        report = loop {
            tokio::select! {
                biased;
                asked = signals.next() => match asked {
                    Asked::End => break 'looks,
                    Asked::Redraw => {}
                    Asked::Suspend => {
                        drop(screen.take());
                        kill_process(getpid(), Number::STOP).context("stopping as asked")?;
                        screen = Some(Screen::enter().context("writing to the terminal")?);
                    }
                },
                seen = &mut next => break seen,
            }
            show(redraws, &render(&report)?)?;
        };
    }
    if screen.take().is_some() {
        print(&render(&report)?)?;
    }
    Ok(report)
}

fn show(redraws: bool, text: &str) -> anyhow::Result<Printed> {
    if !redraws {
        return print(text);
    }
    let rows = Terminal::of_output().map_or(24, |terminal| terminal.rows);
    write(&frame(text.trim_end(), rows)).context("writing to the terminal")?;
    Ok(Printed::Whole)
}

/// The request of a signal.
enum Asked {
    End,
    Redraw,
    Suspend,
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// The signals of a terminal that is redrawn.
    drawn: Option<(Signal, Signal)>,
}

impl Signals {
    fn listen(redraws: bool) -> io::Result<Self> {
        let both = || Ok::<_, io::Error>((signal(SignalKind::window_change())?, signal(suspend())?));
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            drawn: redraws.then(both).transpose()?,
        })
    }

    async fn next(&mut self) -> Asked {
        let Self {
            interrupt,
            terminate,
            drawn,
        } = self;
        let Some((resized, suspended)) = drawn else {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            return Asked::End;
        };
        tokio::select! {
            _ = interrupt.recv() => Asked::End,
            _ = terminate.recv() => Asked::End,
            _ = resized.recv() => Asked::Redraw,
            _ = suspended.recv() => Asked::Suspend,
        }
    }
}

/// Ctrl-Z.
const fn suspend() -> SignalKind {
    SignalKind::from_raw(Number::TSTP.as_raw())
}

/// The terminal's alternate screen, left on drop.
struct Screen;

impl Screen {
    fn enter() -> io::Result<Self> {
        let screen = Self; // created first, so that a partial write is undone too
        write(ENTER)?;
        Ok(screen)
    }
}

/// Leaves the screen in a panic: a release build does not unwind, so nothing is dropped.
fn leave_on_panic() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let _ = write(LEAVE);
        before(info);
    }));
}

impl Drop for Screen {
    fn drop(&mut self) {
        // If the terminal is gone, there is nothing to restore.
        let _ = write(LEAVE);
    }
}

/// Cuts `text` to the available rows and adds the number of rows that are left out. Overwrites the frame before without clearing
/// it, so that it does not flicker.
fn frame(text: &str, rows: usize) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if lines.len() > rows {
        let more = lines.split_off(rows.saturating_sub(1)).len();
        lines.push(format!("… {more} more lines"));
    }
    format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\r\n"))
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_never_higher_than_the_terminal() {
        let text = "one\ntwo\nthree\nfour";
        for rows in 1..6 {
            let frame = frame(text, rows);
            assert!(frame.lines().count() <= rows, "{rows}: {frame:?}");
            assert!(frame.starts_with("\x1b[H") && frame.ends_with("\x1b[J"));
        }
        assert!(frame(text, 3).contains("one\x1b[K\r\ntwo\x1b[K\r\n… 2 more lines"));
        assert!(frame(text, 4).contains("four") && !frame(text, 4).contains("more"));
    }
}
