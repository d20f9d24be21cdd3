//! The landing page: what this is, what holds, where to go. Works without scripts and fetches nothing.

use std::fmt::Write as _;

use crate::findings::report::Report;
use crate::sinks::text::visible;

/// The page for `report`, or for an agent that has none yet.
pub(super) fn render_index(report: Option<&Report>) -> String {
    let mut page = String::from(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>castoff</title>\n</head>\n<body>\n\
         <h1>castoff</h1>\n<p>What on this node still depends on Docker.</p>\n",
    );
    // Writing to a String cannot fail.
    let _ = match report {
        Some(report) => writeln!(
            page,
            "<p>Node {}: <strong>{}</strong>. {}</p>\n<p>Seen at {}.</p>",
            escaped(report.node.as_deref().unwrap_or("without a known name")),
            report.verdict,
            escaped(&report.verdict_reason),
            report.time,
        ),
        None => writeln!(
            page,
            "<p>No report yet: the first look at the node is not finished.</p>"
        ),
    };
    page.push_str("<ul>\n");
    for (path, what) in [
        ("api/v1/report", "The report as JSON"),
        ("metrics", "Metrics"),
        ("livez", "Whether the cycle moves"),
        ("readyz", "Whether there is a report"),
    ] {
        // Relative, so that the links hold behind the API server's pod proxy.
        let _ = writeln!(page, "<li><a href=\"{path}\">{what}</a></li>");
    }
    let _ = writeln!(
        page,
        "</ul>\n<p>castoff {}</p>\n</body>\n</html>",
        env!("CARGO_PKG_VERSION")
    );
    page
}

/// `text` as the content of an element.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 16);
    for c in visible(text).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::sample;

    #[test]
    fn a_name_cannot_become_markup() {
        let mut report = sample::report();
        report.node = Some("<script>alert('a')</script>\u{202e}".to_owned());
        report.verdict_reason = "\"><img src=x> & more".to_owned();
        let page = render_index(Some(&report));
        assert!(page.contains("&lt;script&gt;alert(&#39;a&#39;)&lt;/script&gt;\\u{202e}"));
        assert!(page.contains("&quot;&gt;&lt;img src=x&gt; &amp; more"));
        assert!(!page.contains("<script") && !page.contains("<img"));
    }
}
