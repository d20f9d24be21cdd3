//! Whole screens. The golden files are the output for a person; read them after a change.

use super::*;
use crate::model::container::ShadowContainer;
use crate::model::engine::{EngineKind, Scope};
use crate::model::identity::ContainerId;
use crate::model::reading::{Gap, Hides, Reading, Reason};
use crate::sinks::text::is_plain;
use crate::sinks::views::prose::columns;
use crate::sinks::{golden, sample};

fn style(width: Option<usize>, wide: bool) -> Style {
    Style {
        colour: false,
        width,
        wide,
    }
}

#[test]
fn the_sample_matches_the_golden_file() {
    let report = sample::report();
    for (name, width, wide) in [
        ("80", Some(80), false),
        ("120", Some(120), false),
        ("40", Some(40), false),
        ("20", Some(20), false),
        ("wide", None, true),
    ] {
        let path = format!("src/sinks/views/table/golden/{name}.txt");
        golden::hold(&path, &render_table(&report, &style(width, wide)));
    }
    golden::hold(
        "src/sinks/views/table/golden/clear.txt",
        &render_table(&sample::clear(), &style(Some(80), false)),
    );
    golden::hold(
        "src/sinks/views/table/golden/asked.txt",
        &render_table(&sample::asked(), &style(Some(80), false)),
    );
    golden::hold(
        "src/sinks/views/table/golden/blind.txt",
        &render_table(&sample::blind(), &style(Some(80), false)),
    );
}

#[test]
fn lines_fit_the_terminal_and_have_no_trailing_blank_or_raw_character() {
    let mut ragged = sample::clear();
    ragged.verdict_reason = "ends in blanks   ".to_owned();
    ragged.node = Some("node  ".to_owned());
    ragged.shadow_containers = Reading::Known(vec![ShadowContainer {
        id: ContainerId("4c5f8a2b9d1e".to_owned()),
        engine: EngineKind::Dockerd,
        scope: Scope::Host,
        name: Some("  ".to_owned()),
        image: Some("image  ".to_owned()),
    }]);
    for report in [sample::report(), sample::clear(), sample::blind(), ragged] {
        for width in 16..140 {
            let text = render_table(&report, &style(Some(width), false));
            for line in text.lines() {
                assert!(columns(line) <= width, "{} columns of {width}: {line}", columns(line));
                assert_eq!(line.trim_end(), line, "at {width}");
                assert!(line.chars().all(is_plain), "{line:?}");
            }
        }
    }
}

#[test]
fn colours_change_nothing_but_colours() {
    for width in [Some(20), Some(80), None] {
        let plain = style(width, false);
        let coloured = render_table(&sample::report(), &Style { colour: true, ..plain });
        let mut stripped = String::new();
        let mut rest = coloured.as_str();
        while let Some((before, after)) = rest.split_once('\u{1b}') {
            stripped.push_str(before);
            rest = after.split_once('m').expect("a colour ends in m").1;
        }
        stripped.push_str(rest);
        assert_eq!(stripped, render_table(&sample::report(), &plain));
        assert!(
            coloured.starts_with("\u{1b}[1m\u{1b}[31min-use\u{1b}[0m: "),
            "{coloured:?}"
        );
    }
}

#[test]
fn a_wide_table_shortens_nothing() {
    let text = render_table(&sample::report(), &style(Some(40), true));
    assert!(!text.contains('…'), "{text}");
    for whole in [
        "4c5f8a2b9d1e0f3a6b7c8d9e0f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c",
        "/home/ada/.vscode/extensions/ms-azuretools.vscode-docker/bin/docker",
        "4711,4712",
        "2026-11-21T12:00:00Z",
        "0:25 inode 1281",
    ] {
        assert!(text.contains(whole), "{whole} is missing");
    }
}

/// "None", "none seen but something hidden" and "not looked at" are three different states.
#[test]
fn none_and_unknown_are_shown_differently_for_every_count() {
    let line = |report: &Report, label: &str| {
        render_table(report, &style(None, false))
            .lines()
            .find(|l| l.starts_with(label))
            .expect("the head names it")[11..]
            .to_owned()
    };
    let gap = |hides| Gap::new(Reason::DeadlineExceeded, hides, "netns 7", "timed out");
    for (label, hides) in [
        ("Engines", Hides::Engine),
        ("Clients", Hides::Client),
        ("Clients", Hides::Engine),
        ("Exposures", Hides::Exposure),
        ("Shadow", Hides::ShadowContainer),
    ] {
        let none = sample::clear();
        assert_eq!(line(&none, label), "none");

        let mut partial = sample::clear();
        partial.sources[0].gaps = vec![gap(hides)];
        assert_eq!(line(&partial, label), "none seen, but not everything could be seen");

        let mut some = sample::report();
        some.sources[0].gaps = vec![gap(hides)];
        assert!(line(&some, label).starts_with("at least "), "{label}");

        let mut unknown = sample::clear();
        unknown.engines = Reading::Unknown(gap(hides));
        unknown.clients = Reading::Unknown(gap(hides));
        unknown.exposures = Reading::Unknown(gap(hides));
        unknown.shadow_containers = Reading::Unknown(gap(hides));
        assert_eq!(line(&unknown, label), "unknown: deadline-exceeded (netns 7)");

        let mut absent = sample::clear();
        absent.engines = Reading::Absent;
        absent.clients = Reading::Absent;
        absent.exposures = Reading::Absent;
        absent.shadow_containers = Reading::Absent;
        assert_eq!(line(&absent, label), "none");
    }
}

#[test]
fn every_gap_is_shown_with_its_effect_and_its_fix() {
    for reason in Reason::ALL {
        for hides in Hides::ALL {
            let mut report = sample::clear();
            report.sources[2].gaps = vec![Gap::new(*reason, *hides, "asked\u{1b}c", "answered")];
            let text = render_table(&report, &style(None, false));
            let section = text.split_once("NOT SEEN\n").expect("there is a gap").1;
            assert_eq!(
                section,
                format!(
                    "  runtime: {reason}\n    asked\\u{{1b}}c: answered\n    hides {}\n    → {}\n",
                    words::hides(*hides),
                    reason.remedy()
                )
            );
        }
    }
}
