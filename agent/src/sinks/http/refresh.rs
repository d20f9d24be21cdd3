//! The page's reload interval. The page never reloads unless requested: a reload loses a reader's position and interrupts a
//! screen reader.

use thiserror::Error;

/// The minimum and the maximum interval in seconds.
const LEAST: u32 = 5;
const MOST: u32 = 3_600;

/// The requested interval is invalid.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("refresh takes whole seconds from {LEAST} to {MOST}: ?refresh=15")]
pub(super) struct RefreshError;

/// Returns the seconds in a query `refresh=15`; none if the query does not contain it.
pub(super) fn asked(query: Option<&str>) -> Result<Option<u32>, RefreshError> {
    let mut pairs = query.unwrap_or_default().split('&');
    let Some(seconds) = pairs.find_map(|pair| match pair.split_once('=') {
        Some((name, value)) => (name == "refresh").then_some(value),
        None => (pair == "refresh").then_some(""),
    }) else {
        return Ok(None);
    };
    let digits = !seconds.is_empty() && seconds.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = seconds.parse().ok().filter(|s| digits && (LEAST..=MOST).contains(s));
    seconds.map(Some).ok_or(RefreshError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_valid_intervals_are_accepted() {
        for (query, seconds) in [
            (None, Ok(None)),
            (Some(""), Ok(None)),
            (Some("other=1&x"), Ok(None)),
            (Some("refresh=15"), Ok(Some(15))),
            (Some("a=b&refresh=3600"), Ok(Some(3_600))),
            (Some("refresh=4"), Err(RefreshError)),
            (Some("refresh=3601"), Err(RefreshError)),
            (Some("refresh=99999999999"), Err(RefreshError)),
            (Some("refresh"), Err(RefreshError)),
            (Some("refresh="), Err(RefreshError)),
            (Some("refresh=+15"), Err(RefreshError)),
            (Some("refresh=15;url=//evil"), Err(RefreshError)),
            (Some("refresh=%31%35"), Err(RefreshError)),
        ] {
            assert_eq!(asked(query), seconds, "{query:?}");
        }
    }
}
