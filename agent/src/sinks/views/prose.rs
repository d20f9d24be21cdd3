//! Wraps and shortens text by its width on a terminal, which is neither its bytes nor its characters.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The width of `text` in columns.
pub(super) fn columns(text: &str) -> usize {
    text.width()
}

/// Breaks `text` into lines of at most `width` columns, the first of at most `first`; at spaces, and within a word only if the
/// word is longer than a line. Never empty.
pub(super) fn wrap(text: &str, first: usize, width: usize) -> Vec<String> {
    if columns(text) <= first {
        return vec![text.to_owned()];
    }
    let width = width.max(2); // Room for any one character, so that every step makes progress.
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut room = first;
    for word in text.split(' ').filter(|w| !w.is_empty()) {
        let mut rest = word;
        let space = usize::from(!line.is_empty());
        if columns(rest) + space <= room {
            line.push_str(&" ".repeat(space));
            line.push_str(rest);
            room -= columns(rest) + space;
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
            room = width;
        }
        if columns(rest) > room && columns(rest) <= width {
            lines.push(String::new()); // Only the first line can be too short for a word that fits the others.
            room = width;
        }
        while columns(rest) > room {
            let (head, tail) = rest.split_at(fitting(rest, room));
            lines.push(head.to_owned());
            rest = tail;
            room = width;
        }
        line.push_str(rest);
        room -= columns(rest);
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// Returns the start of `text` in `width` columns, with `…` for the rest.
pub(super) fn keep_start(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    format!("{}…", &text[..fitting(text, width.saturating_sub(1))])
}

/// Returns the end of `text` in `width` columns, with `…` for the rest: for paths, which differ at their ends.
pub(super) fn keep_end(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut room = width.saturating_sub(1);
    let mut start = text.len();
    for (at, c) in text.char_indices().rev() {
        let needs = c.width().unwrap_or(0);
        if needs > room {
            break;
        }
        room -= needs;
        start = at;
    }
    format!("…{}", &text[start..])
}

/// Returns the start of `text` in two thirds of `width` columns, and its end in the others, with `…` between.
pub(super) fn keep_ends(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let end = width.saturating_sub(1) / 3;
    let start = keep_start(text, width.saturating_sub(end));
    let end = keep_end(text, end + 1);
    format!("{start}{}", end.trim_start_matches('…'))
}

/// The number of bytes of `text` that fit into `width` columns.
fn fitting(text: &str, width: usize) -> usize {
    let mut room = width;
    for (at, c) in text.char_indices() {
        let needs = c.width().unwrap_or(0);
        if needs > room {
            return at;
        }
        room -= needs;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_at_spaces_and_breaks_only_words_that_are_longer_than_a_line() {
        let cases: [(&str, usize, usize, &[&str]); 8] = [
            ("one two three", 8, 8, &["one two", "three"]),
            ("one two three", 3, 8, &["one", "two", "three"]),
            ("one two three", 13, 8, &["one two three"]),
            ("one two", 1, 8, &["", "one two"]),
            ("/var/run/docker.sock", 8, 8, &["/var/run", "/docker.", "sock"]),
            ("at /var/run/docker.sock", 8, 8, &["at", "/var/run", "/docker.", "sock"]),
            ("日本語日本語", 5, 5, &["日本", "語日", "本語"]),
            ("", 8, 8, &[""]),
        ];
        for (text, first, width, lines) in cases {
            assert_eq!(wrap(text, first, width), lines, "{text:?} in {first}, {width}");
        }
    }

    #[test]
    fn shortened_text_takes_no_more_columns_than_it_was_given() {
        for width in 1..30 {
            for text in ["pod ci/builder-0 (build)", "日本語日本語日本語", "/run/docker.sock"] {
                assert!(columns(&keep_start(text, width)) <= width, "{text} in {width}");
                assert!(columns(&keep_end(text, width)) <= width, "{text} in {width}");
                assert!(columns(&keep_ends(text, width)) <= width, "{text} in {width}");
            }
        }
        assert_eq!(keep_start("pod ci/builder-0", 10), "pod ci/bu…");
        assert_eq!(keep_ends("ip-10-2-0-5.eu-west-1.internal", 20), "ip-10-2-0-5.e…ternal");
        assert_eq!(keep_ends("gke-prod-pool-1a2b3c4d-x7k2", 20), "gke-prod-pool…d-x7k2");
        assert_eq!(keep_end("/run/docker.sock", 12), "…docker.sock");
        assert_eq!(keep_end("/run/docker.sock", 16), "/run/docker.sock");
    }
}
