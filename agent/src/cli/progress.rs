//! One line on standard error about work that takes long, where somebody can see it: on a terminal. It is gone when the
//! work is done, so that what is printed then stands alone.

use std::io::{self, Write as _};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::terminal::Terminal;

/// Work that takes no longer needs no line.
const AT_FIRST: Duration = Duration::from_millis(500);
/// Often enough to be seen moving, rarely enough to be read.
const THEN: Duration = Duration::from_millis(250);

/// Does `work`; meanwhile a terminal shows `line`, of which nothing may be a name that others chose.
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
    // Progress that cannot be shown is nobody's loss.
    let _ = write!(io::stderr(), "\r{line}\x1b[K");
}
