//! Prints beside the looking: a reader that takes its time (`castoff cluster | less`) must not hold up answers until they
//! are late. Progress goes to standard error, where that is a terminal, and is gone before anything else is printed.

use std::io::{self, Write as _};
use std::thread::{self, JoinHandle};

use tokio::sync::mpsc;

use crate::cli::terminal::Terminal;

/// The number of texts that may wait to be printed.
const WAITING: usize = 16;

/// The reader of standard output has seen enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReaderLeft;

enum Order {
    Print(String),
    Progress(String),
}

/// Somebody who prints.
pub(super) struct Printer {
    orders: Option<mpsc::Sender<Order>>,
    thread: Option<JoinHandle<io::Result<()>>>,
    /// The columns of the terminal that shows progress.
    columns: Option<usize>,
    shown: String,
}

impl Printer {
    pub(super) fn start() -> io::Result<Self> {
        let (orders, taken) = mpsc::channel(WAITING);
        let thread = thread::Builder::new()
            .name("printer".to_owned())
            .spawn(|| obey(taken))?;
        Ok(Self {
            orders: Some(orders),
            thread: Some(thread),
            columns: Terminal::of_error().map(|terminal| terminal.columns),
            shown: String::new(),
        })
    }

    /// Hands `text` over; waits while much waits to be printed.
    pub(super) async fn print(&mut self, text: String) -> Result<(), ReaderLeft> {
        if text.is_empty() {
            return Ok(());
        }
        self.shown.clear();
        let Some(orders) = &self.orders else {
            return Err(ReaderLeft);
        };
        // Why the thread has ended, `finish` tells.
        orders.send(Order::Print(text)).await.map_err(|_| ReaderLeft)
    }

    /// Shows `line` in place of the one before; nothing of it may be a name that others chose.
    pub(super) async fn progress(&mut self, line: String) {
        let (Some(columns), Some(orders)) = (self.columns, &self.orders) else {
            return;
        };
        // One column stays free: a full line would move the cursor to the next.
        let line: String = line.chars().take(columns.saturating_sub(1)).collect();
        if line != self.shown {
            self.shown.clone_from(&line);
            let _ = orders.send(Order::Progress(line)).await;
        }
    }

    /// Waits until all is printed. That the reader left is no failure.
    pub(super) fn finish(mut self) -> io::Result<()> {
        drop(self.orders.take());
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        match thread.join() {
            Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Ok(printed) => printed,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

fn obey(mut orders: mpsc::Receiver<Order>) -> io::Result<()> {
    let mut shown = false;
    let clear = |shown: &mut bool| {
        if std::mem::take(shown) {
            // Progress that cannot be taken back is nobody's loss.
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    };
    let mut out = io::stdout();
    while let Some(order) = orders.blocking_recv() {
        match order {
            Order::Print(text) => {
                clear(&mut shown);
                out.write_all(text.as_bytes()).and_then(|()| out.flush())?;
            }
            Order::Progress(line) => {
                let _ = write!(io::stderr(), "\r{line}\x1b[K");
                shown = true;
            }
        }
    }
    clear(&mut shown);
    Ok(())
}
