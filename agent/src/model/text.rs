//! Makes names that others chose safe to show. Process names, pod names and socket paths can hold escape sequences,
//! line breaks and characters that turn the writing direction; none of them may reach a terminal, a page or a metric raw.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Returns `text` with every character that is not plainly printable written as an escape: `\u{1b}`, `\n`, `\u{202e}`.
///
/// The standard library decides which characters those are (`char::escape_debug`: control, format, unassigned and combining
/// characters). Backslashes and quotes stay as they are: systemd's unit names are full of them.
pub fn visible(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_plain(c) {
            shown.push(c);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(shown, "{}", c.escape_debug());
        }
    }
    Cow::Owned(shown)
}

/// Returns `text` cut to at most `limit` bytes, at a character; a cut text ends in `…` (three bytes, counted).
pub fn cut_bytes(text: Cow<'_, str>, limit: usize) -> Cow<'_, str> {
    const MARK: char = '…';
    if text.len() <= limit {
        return text;
    }
    let mut end = limit.saturating_sub(MARK.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut cut = text.into_owned();
    cut.truncate(end);
    cut.push(MARK);
    Cow::Owned(cut)
}

/// True if a character may be shown as it is.
pub(crate) fn is_plain(c: char) -> bool {
    matches!(c, ' '..='~') || (!c.is_ascii() && c.escape_debug().len() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        let cases = [
            ("docker.service", "docker.service"),
            (
                "dev-disk-by\\x2duuid.mount \"it's\"",
                "dev-disk-by\\x2duuid.mount \"it's\"",
            ),
            ("\u{1b}[2Jclean", "\\u{1b}[2Jclean"),
            ("a\nb\tc\r", "a\\nb\\tc\\r"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{7f}", "\\u{7f}"),
            ("exe\u{202e}gpj", "exe\\u{202e}gpj"),
            ("zero\u{200b}width", "zero\\u{200b}width"),
            ("e\u{301}", "e\\u{301}"),
            ("größe 日本", "größe 日本"),
            ("bytes \u{fffd}", "bytes \u{fffd}"),
            ("", ""),
        ];
        for (hostile, shown) in cases {
            assert_eq!(visible(hostile), shown, "{hostile:?}");
        }
    }

    #[test]
    fn cut_at_a_character_and_never_over_the_limit() {
        for limit in 3..40 {
            let cut = cut_bytes(Cow::Borrowed("日本語日本語日本語日本語"), limit);
            assert!(cut.len() <= limit, "{cut} has {} bytes", cut.len());
        }
        assert_eq!(cut_bytes(Cow::Borrowed("short"), 5), "short");
        assert_eq!(cut_bytes(Cow::Borrowed("longer"), 5), "lo…");
    }
}
