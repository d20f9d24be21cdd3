//! Makes any text safe inside an element or a quoted attribute of a page. Templates use this escaper by the extension of their
//! files (`askama.toml`), so every value goes through it.

use std::fmt::{self, Write};

use askama::filters::Escaper;

use crate::model::text::is_plain;

/// Escapes the characters with a meaning in HTML and those that are not plainly printable, as [`crate::model::text::visible`]
/// does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Markup;

impl Escaper for Markup {
    fn write_escaped_str<W: Write>(&self, mut dest: W, string: &str) -> fmt::Result {
        string.chars().try_for_each(|c| self.write_escaped_char(&mut dest, c))
    }

    fn write_escaped_char<W: Write>(&self, mut dest: W, c: char) -> fmt::Result {
        match c {
            '&' => dest.write_str("&amp;"),
            '<' => dest.write_str("&lt;"),
            '>' => dest.write_str("&gt;"),
            '"' => dest.write_str("&quot;"),
            '\'' => dest.write_str("&#39;"),
            c if is_plain(c) => dest.write_char(c),
            c => write!(dest, "{}", c.escape_debug()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_control_characters_are_escaped() {
        for (hostile, shown) in [
            (
                "<script>alert('a')</script>",
                "&lt;script&gt;alert(&#39;a&#39;)&lt;/script&gt;",
            ),
            ("\"><img src=x> & more", "&quot;&gt;&lt;img src=x&gt; &amp; more"),
            ("exe\u{202e}gpj\u{0}\n", "exe\\u{202e}gpj\\0\\n"),
            ("größe 日本", "größe 日本"),
        ] {
            let mut text = String::new();
            Markup
                .write_escaped_str(&mut text, hostile)
                .expect("a String takes everything");
            assert_eq!(text, shown);
        }
    }
}
