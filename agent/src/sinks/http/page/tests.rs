//! The page as text; how it looks and behaves is the browser tier's.

use super::*;
use crate::sinks::sample;

fn page(report: &Report) -> String {
    render(&Looked {
        report: Some(report),
        stalled: None,
        now: report.time,
        refresh: None,
    })
    .expect("a String takes everything")
}

#[test]
fn a_name_cannot_become_markup() {
    let mut report = sample::report();
    report.node = Some("<script>alert('a')</script>\u{202e}".to_owned());
    report.verdict_reason = "\"><img src=x> & more".to_owned();
    let page = page(&report);
    assert!(page.contains("&lt;script&gt;alert(&#39;a&#39;)&lt;/script&gt;\\u{202e}"));
    assert!(page.contains("&quot;&gt;&lt;img src=x&gt; &amp; more"));
    assert!(!page.contains("<script") && !page.contains("<img"));
}

#[test]
fn write_samples() {
    for (name, report) in [
        ("sample", sample::report()),
        ("clear", sample::clear()),
        ("blind", sample::blind()),
    ] {
        std::fs::write(format!("/tmp/chr/{name}.html"), page(&report)).unwrap();
    }
    std::fs::write("/tmp/chr/style.css", STYLE).unwrap();
}
