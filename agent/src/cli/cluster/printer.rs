//! Prints concurrently with the look: a slow reader (`castoff cluster
//! less`) must not delay the answers. Progress goes to standard error if that is a terminal, and is erased before anything else
//! is printed.

use std::io::{self, Write as _};
use std::thread::{self, JoinHandle};

use tokio::sync::mpsc;

use crate::cli::terminal::Terminal;

/// The number of texts that may wait to be printed.
const WAITING: usize = 16;

/// The reader of standard output closed the pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PipeClosed;

enum Order {
    Print(String),
    Progress(String),
}

/// Prints on a thread of its own.
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

    /// Queues `text`; waits while the queue is full.
    pub(super) async fn print(&mut self, text: String) -> Result<(), PipeClosed> {
        if text.is_empty() {
            return Ok(());
        }
        self.shown.clear();
        let Some(orders) = &self.orders else {
            return Err(PipeClosed);
        };
        // `finish` returns the reason why the thread has ended.
        orders.send(Order::Print(text)).await.map_err(|_| PipeClosed)
    }

    /// Shows `line` in place of the one before; it must not contain names that others chose.
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

    /// Waits until all is printed. It is no failure if the reader closed the pipe.
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
            // An error while progress is erased does not matter.
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
