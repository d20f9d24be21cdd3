//! Waits for a condition: the one loop of all tests and of the lab.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Repeats `attempt` until it succeeds, with a timeout of `patience`.
///
/// # Errors
/// That of the last attempt, with the description `what`.
pub fn until<T>(what: &str, patience: Duration, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    until_or_hopeless(what, patience, || attempt().map(Ok))
}

/// Repeats `attempt` until it succeeds, or returns an error within `Ok`, after which waiting is useless.
///
/// # Errors
/// That error; or else that of the last attempt, with the description `what`.
pub fn until_or_hopeless<T>(
    what: &str,
    patience: Duration,
    mut attempt: impl FnMut() -> Result<Result<T>>,
) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        match attempt() {
            Ok(outcome) => return outcome,
            Err(refusal) if Instant::now() > deadline => {
                return Err(refusal.context(format!("waited {patience:?} for {what}")));
            }
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{bail, ensure};

    use super::*;

    #[test]
    fn an_attempt_is_repeated_until_it_succeeds() {
        let mut attempts = 0;
        let answer = until("the third", Duration::from_secs(60), || {
            attempts += 1;
            ensure!(attempts == 3, "only {attempts}");
            Ok(attempts)
        });
        assert_eq!(answer.expect("within a minute"), 3);
    }

    #[test]
    fn the_last_error_is_reported() {
        let refused: Result<()> = until("a miracle", Duration::ZERO, || bail!("no wonder"));
        let error = format!("{:#}", refused.expect_err("it never succeeds"));
        assert_eq!(error, "waited 0ns for a miracle: no wonder");
    }

    #[test]
    fn a_hopeless_wait_ends_at_once() {
        let hopeless: Result<()> = until_or_hopeless("a dead daemon", Duration::from_secs(60), || Ok(bail_out()));
        assert_eq!(hopeless.expect_err("it is hopeless").to_string(), "it is dead");
    }

    fn bail_out() -> Result<()> {
        bail!("it is dead")
    }
}
