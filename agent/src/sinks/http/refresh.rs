//! The page's reload interval. It never reloads unasked: that takes a reader's place and a screen reader's voice away.

use thiserror::Error;

/// Seconds between two loads that may be asked for.
const LEAST: u32 = 5;
const MOST: u32 = 3_600;

/// The requested interval makes no sense.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("refresh takes whole seconds from {LEAST} to {MOST}: ?refresh=15")]
pub(super) struct RefreshError;

/// The seconds that a query asks for, `refresh=15`; none where it does not name it.
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
    fn only_what_was_asked_and_only_what_makes_sense() {
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
