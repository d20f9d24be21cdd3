//! Decides if and when a failed request is retried.

use std::time::Duration;

use super::refusal::Refusal;
use crate::model::publishing::Outcome;

/// The first wait between attempts; each wait is twice the one before.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait, whatever the server requests.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// True if the same request may succeed later.
pub fn is_temporary(refusal: &Refusal) -> bool {
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

/// Waits before the next attempt: as long as the server requests, else longer each time.
pub async fn wait(refusal: &Refusal, attempt: &mut u32) {
    let doubled = FIRST_WAIT * (1 << (*attempt).min(5));
    *attempt += 1;
    tokio::time::sleep(refusal.retry_after.unwrap_or(doubled).min(LONGEST_WAIT)).await;
}
