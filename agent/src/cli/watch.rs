//! `castoff check --watch`: look after look until somebody ends it. A terminal shows the latest, on its second screen, and
//! keeps the last one whole; anything else gets one after the other.
//!
//! However it ends, by a signal, an error or a panic, the terminal is left as it was found.

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

/// The second screen, without a cursor, its lines cut at the edge; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?7l\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?7h\x1b[?1049l";

/// Looks and shows until a signal, or until nobody reads any more; gives the last report.
pub(super) async fn watch(
    mut agent: Agent,
    interval: Duration,
    render: &dyn Fn(&Report) -> anyhow::Result<String>,
    redraws: bool,
) -> anyhow::Result<Report> {
    let mut report = agent.look().await;
    // Until now there was nothing to show, and a signal simply ended castoff.
    let mut signals = Signals::listen(redraws).context("waiting for signals")?;
    if redraws {
        leave_on_panic();
    }
    let mut screen = redraws
        .then(Screen::enter)
        .transpose()
        .context("writing to the terminal")?;
    'looks: loop {
        if show(redraws, &render(&report)?)? == Printed::ReaderLeft {
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
    /// Of a terminal that is drawn on.
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

/// The terminal's second screen, left when this goes.
struct Screen;

impl Screen {
    fn enter() -> io::Result<Self> {
        let screen = Self; // what is written in part is undone too
        write(ENTER)?;
        Ok(screen)
    }
}

/// A release does not unwind, so nothing is dropped.
fn leave_on_panic() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let _ = write(LEAVE);
        before(info);
    }));
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing undone.
        let _ = write(LEAVE);
    }
}

/// As much of `text` as there is room for, and how much there was not. Written over the frame before, without a moment of emptiness between.
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
