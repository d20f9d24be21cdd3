//! The page as text; the browser tier tests its appearance and behaviour.

use serde_json::Value;

use super::*;
use crate::findings::report::{Code, Finding, Severity};
use crate::model::reading::Reading;
use crate::model::text::visible;
use crate::sinks::sample;
use crate::sinks::views::json::render_json_line;

fn page_at(report: Option<&Report>, now: Timestamp, refresh: Option<u32>, stalled: Option<Stalled>) -> String {
    let standing = sample::standing();
    let data = PageData {
        report,
        standing: &standing,
        stalled,
        now,
        refresh,
    };
    render(&data).expect("a String takes everything")
}

fn page(report: &Report) -> String {
    page_at(Some(report), report.time, None, None)
}

/// The text that a person reads: without tags, with entities decoded.
fn text(page: &str) -> String {
    let mut text = String::new();
    let (_, body) = page.split_once("<body>").expect("it has a body");
    for piece in body.split('<') {
        text.push_str(piece.split_once('>').map_or(piece, |(_, words)| words));
    }
    let entities = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ];
    entities.iter().fold(text, |text, (entity, c)| text.replace(entity, c))
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

/// Puts a hostile text into every text of the report's JSON, and finds the places where the page contains it raw.
#[test]
fn no_text_of_the_report_is_on_the_page_unescaped() {
    const HOSTILE: &str = "\"'><img src=x onerror=alert(1)>{{7*7}}\u{202e}\u{1b}[31m";
    let mut report = sample::report();
    let mut findings = Vec::new();
    for &code in Code::ALL {
        findings.push(Finding {
            code,
            severity: Severity::Warning,
            subject: HOSTILE.to_owned(),
            message: HOSTILE.to_owned(),
            advice: HOSTILE.to_owned(),
        });
    }
    report.findings = findings;
    report.node = Some(HOSTILE.to_owned());
    report.verdict_reason = HOSTILE.to_owned();
    if let Reading::Known(clients) = &mut report.clients {
        clients.push(sample::host_client(None, HOSTILE, None, 1));
        clients.push(sample::pod_client(HOSTILE, Some(HOSTILE), 1));
    }
    if let Reading::Known(runtime) = &mut report.runtime {
        runtime.name = HOSTILE.to_owned();
        runtime.version = HOSTILE.to_owned();
        runtime.endpoint.path = HOSTILE.to_owned();
    }
    if let Reading::Known(shadows) = &mut report.shadow_containers {
        shadows[0].name = Some(HOSTILE.to_owned());
        shadows[0].image = Some(HOSTILE.to_owned());
    }
    if let Reading::Known(compared) = &mut report.daemon_config {
        compared.docker.push(HOSTILE.to_owned());
        compared.runtime_files.push(HOSTILE.to_owned());
        compared.not_compared.push(HOSTILE.to_owned());
        compared.settings[0].docker = HOSTILE.to_owned();
        compared.settings[0].runtime = Some(HOSTILE.to_owned());
        compared.settings[0].advice = HOSTILE.to_owned();
    }
    if let Reading::Known(exposures) = &mut report.exposures {
        exposures[0].host_path = HOSTILE.to_owned();
        exposures[0].container_path = HOSTILE.to_owned();
    }
    for source in &mut report.sources {
        source.gaps = vec![Gap {
            asked: HOSTILE.to_owned(),
            ..sample_gap()
        }];
    }
    let page = page(&report);
    for raw in ["<img", "\u{202e}", "\u{1b}", "\"'>"] {
        assert!(!page.contains(raw), "{raw:?} is in the page");
    }
    let shown = page
        .matches("&lt;img src=x onerror=alert(1)&gt;{{7*7}}\\u{202e}\\u{1b}[31m")
        .count();
    assert!(shown >= 36 + 14 + 6, "{shown} of them are in the page");
}

fn sample_gap() -> Gap {
    let blind = sample::blind();
    blind.engines.gap().expect("it is unknown").clone()
}

/// Leaves of a JSON value, with their paths.
fn leaves(path: &str, value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => fields
            .iter()
            .for_each(|(name, v)| leaves(&format!("{path}/{name}"), v, found)),
        Value::Array(items) => items.iter().for_each(|v| leaves(path, v, found)),
        Value::String(text) => found.push((path.to_owned(), visible(text).into_owned())),
        Value::Number(number) => found.push((path.to_owned(), number.to_string())),
        Value::Bool(_) | Value::Null => {}
    }
}

/// Fields that the page shows in other words.
const OTHERWISE: &[&str] = &[
    "/apiVersion",
    "/kind",
    "/state",
    "/from",
    "/hours",
    "/durationMicros",
    "/hides",
    "/access",
    "/began",
    "/by",
];

#[test]
fn the_page_has_everything_in_the_report() {
    let mut full = sample::report();
    // Each text is unique: one that is elsewhere too would hide that it is missing here.
    if let Reading::Known(exposures) = &mut full.exposures {
        exposures[0].host_path = "/only/on/the/host".to_owned();
        exposures[0].container_path = "/only/in/the/container".to_owned();
    }
    if let Reading::Known(runtime) = &mut full.runtime {
        runtime.canonical_path = "/only/canonical.sock".to_owned();
    }
    for report in [full, sample::clear(), sample::blind()] {
        let json = render_json_line(&report, &sample::standing()).expect("a report serializes");
        let mut all = Vec::new();
        leaves("", &serde_json::from_str(&json).expect("it is JSON"), &mut all);
        assert!(all.len() > 30);
        let text = text(&page(&report));
        let shown = |(path, leaf): &&(String, String)| {
            text.contains(leaf.as_str()) || OTHERWISE.iter().any(|field| path.ends_with(field))
        };
        let missing: Vec<_> = all.iter().filter(|leaf| !shown(leaf)).collect();
        assert!(missing.is_empty(), "{missing:#?}");
    }
}

#[test]
fn each_target_has_its_answer_and_its_obstacles() {
    let report = sample::asked();
    let text = text(&page(&report));
    for ready in &report.readiness {
        let line = format!("Ready for {}{}", ready.target, words::answer(ready.answer));
        assert!(text.contains(&line), "{line}");
        for obstacle in &ready.obstacles {
            assert!(text.contains(&*visible(&obstacle.message)), "{}", obstacle.message);
        }
    }
    assert!(!self::text(&page(&sample::report())).contains("Ready for"));
}

#[test]
fn rows_beyond_the_limit_are_counted() {
    let mut report = sample::clear();
    report.clients = Reading::Known(
        (0..1_048)
            .map(|n| sample::pod_client(&format!("p{n}"), None, 0))
            .collect(),
    );
    let whole = page(&report);
    assert_eq!(whole.matches("<span class=\"who\">").count(), 1_000);
    assert!(whole.contains("48 more are not shown here"));
    assert!(whole.contains("<span class=\"number\">1048</span> clients, 0 now"));
    report.clients = Reading::Known(
        (0..500)
            .map(|n| sample::pod_client(&format!("p{n}"), None, 0))
            .collect(),
    );
    let many = page(&report);
    assert_eq!(many.matches("<span class=\"who\">").count(), 500);
    assert!(!many.contains("more are not shown here"));
    report.clients = Reading::Known(vec![sample::pod_client("p", None, 0)]);
    assert!(page(&report).contains("<span class=\"number\">1</span> client, 0 now"));
}

#[test]
fn none_and_unknown_are_shown_differently() {
    let clear = text(&page(&sample::clear()));
    assert!(clear.contains("None: no client used an engine"));
    assert!(!clear.contains("not everything could be seen:"));
    let blind = text(&page(&sample::blind()));
    assert!(!blind.contains("None: "), "{blind}");
    assert!(blind.contains("unknown for 168 h"));
    let mut partial = sample::clear();
    partial.sources[0].gaps = vec![sample_gap()];
    let partial = text(&page(&partial));
    assert_eq!(
        partial.matches("None seen, but not everything could be seen").count(),
        3
    );
    assert!(partial.contains("There are no findings. Not everything could be seen"));
}

#[test]
fn connections_to_an_engine_inside_a_pod_do_not_count_for_the_node() {
    let mut report = sample::report();
    let Reading::Known(clients) = &mut report.clients else {
        panic!("the sample has clients")
    };
    for client in clients {
        client.connections = u32::from(!client.key.scope.is_of_node());
        client.pending = 0;
    }
    let page = text(&page(&report));
    assert!(page.contains(", 0 now; 1 of engines inside pods"), "{page}");
}

#[test]
fn only_an_old_report_is_marked_as_old() {
    let (report, seconds) = (sample::report(), std::time::Duration::from_secs);
    let later = Timestamp::from_unix(sample::NOW + 400);
    let stalled = Stalled {
        age: seconds(400),
        bound: seconds(60),
    };
    let old = text(&page_at(Some(&report), later, None, Some(stalled)));
    assert!(
        old.contains("This report is old: no look at the processes has ended for 400 s; the bound is 60 s"),
        "{old}"
    );
    assert!(old.contains("Seen \n6m ago"), "{old}");
    assert!(!page(&report).contains("This report is old"));
}

#[test]
fn the_page_reloads_only_on_request_and_shows_how_to_stop() {
    let report = sample::report();
    let still = page(&report);
    assert!(still.contains("<a href=\"?refresh=15\">") && !still.contains("Stop"));
    let moving = page_at(Some(&report), report.time, Some(30), None);
    assert!(text(&moving).contains("automatically every 30 s") && moving.contains("<a href=\"./\">Stop</a>"));
    for page in [still, moving] {
        assert!(!page.contains("http-equiv"));
    }
}

#[test]
fn before_the_first_report_the_page_says_so() {
    let page = page_at(None, sample::ago(0), None, None);
    assert!(page.contains("<h1>No report yet</h1>") && !page.contains("Verdict"));
}
