//! One line on standard error about work that takes long, on a terminal only. It is erased when the work is done, so that it does
//! not mix with the output.

use std::io::{self, Write as _};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::terminal::Terminal;

/// The time before the line appears: shorter work needs none.
const AT_FIRST: Duration = Duration::from_millis(500);
/// The time between updates: short enough to show progress, long enough to read.
const THEN: Duration = Duration::from_millis(250);

/// Does `work`; meanwhile a terminal shows `line`, which must not contain names that others chose.
pub(super) async fn beside<T>(work: impl Future<Output = T>, line: impl Fn() -> String) -> T {
    let Some(terminal) = Terminal::of_error() else {
        return work.await;
    };
    let mut ticks = interval_at(Instant::now() + AT_FIRST, THEN);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut shown = false;
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => {
                if shown {
                    say("");
                }
                return done;
            }
            _ = ticks.tick() => {
                // One column stays free: a full line would move the cursor to the next.
                let line: String = line().chars().take(terminal.columns.saturating_sub(1)).collect();
                say(&line);
                shown = true;
            }
        }
    }
}

fn say(line: &str) {
    // An error while progress is shown does not matter.
    let _ = write!(io::stderr(), "\r{line}\x1b[K");
}
