//! The page for a person: the report, readable. Works without scripts and fetches nothing but its style.

use askama::Template;

use crate::findings::report::Report;

/// The page for `report`, or for an agent that has none yet.
pub(super) fn render_index(report: Option<&Report>) -> Result<String, askama::Error> {
    Page { report }.render()
}

// Links are relative, so that they hold behind the API server's pod proxy.
#[derive(Template)]
#[template(path = "http/page/page.html")]
struct Page<'a> {
    report: Option<&'a Report>,
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
        let page = render_index(Some(&report)).expect("a String takes everything");
        assert!(page.contains("&lt;script&gt;alert(&#39;a&#39;)&lt;/script&gt;\\u{202e}"));
        assert!(page.contains("&quot;&gt;&lt;img src=x&gt; &amp; more"));
        assert!(!page.contains("<script") && !page.contains("<img"));
    }
}
