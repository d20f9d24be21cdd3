//! Whether and when to ask the same thing again.

use std::time::Duration;

use super::refusal::Refusal;
use crate::model::publishing::Outcome;

/// The first wait between attempts; each is twice the one before.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest, whatever the server asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// True if the same request may fare better in a while.
pub fn passes(refusal: &Refusal) -> bool {
    match refusal.outcome {
        Outcome::Unreachable
        | Outcome::DeadlineExceeded
        | Outcome::Conflict
        | Outcome::Throttled
        | Outcome::ServerError
        | Outcome::BadAnswer => true,
        Outcome::Succeeded
        | Outcome::Unconfigured
        | Outcome::TlsFailed
        | Outcome::Unauthenticated
        | Outcome::Forbidden
        | Outcome::NotFound
        | Outcome::Rejected
        | Outcome::WrongNode
        | Outcome::HostError => false,
    }
}

/// Waits before the next attempt, as long as the server asks for, or longer each time.
pub async fn rest(refusal: &Refusal, attempt: &mut u32) {
    let doubled = FIRST_WAIT * (1 << (*attempt).min(5));
    *attempt += 1;
    tokio::time::sleep(refusal.retry_after.unwrap_or(doubled).min(LONGEST_WAIT)).await;
}
