//! The report as JUnit XML, for CI: one test case for the verdict, one for each finding, and one for each target of `--for`. The
//! suite fails exactly when the exit code is not 0: if the verdict passes, findings are shown as skipped, with their full text.
//!
//! Relies on the dialect of Jenkins' xUnit plugin (`junit-10.xsd`), which GitLab and others read too.

use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesText, Event};

use super::style::Style;
use super::table::render_table;
use crate::findings::readiness::answer::{Answer, Obstacle, Readiness};
use crate::findings::report::{Code, Finding, Report, Severity};
use crate::sinks::text::visible;

/// The result of comparing the verdict with that of `--fail-on`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is milder.
    Passed,
    /// It is equal or worse.
    Failed,
    /// It is not known.
    CannotTell,
}

/// The result element of one test case.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Passed,
    Skipped,
    Failure,
    Error,
}

struct Case {
    class: String,
    name: String,
    end: End,
    message: String,
    advice: String,
}

/// Renders the report as one test suite.
///
/// # Errors
/// None: it is written to memory.
pub fn render_junit(report: &Report, outcome: Outcome) -> io::Result<String> {
    let cases: Vec<Case> = cases(report, outcome);
    let counted = |end: End| cases.iter().filter(|case| case.end == end).count().to_string();
    let (tests, failures) = (cases.len().to_string(), counted(End::Failure));
    let (errors, skipped) = (counted(End::Error), counted(End::Skipped));
    let counts = [("tests", &*tests), ("failures", &*failures), ("errors", &*errors)];
    let node = visible(report.node.as_deref().unwrap_or("unknown"));
    let time = report.time.to_string();
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
    xml.create_element("testsuites")
        .with_attribute(("name", "castoff"))
        .with_attributes(counts)
        .write_inner_content(|xml| {
            xml.create_element("testsuite")
                .with_attribute(("name", "castoff check"))
                .with_attributes(counts)
                .with_attribute(("skipped", &*skipped))
                .with_attribute(("time", "0"))
                .with_attribute(("timestamp", time.trim_end_matches('Z'))) // the dialect has no time zone
                .with_attribute(("hostname", &*node))
                .write_inner_content(|xml| {
                    cases.iter().try_for_each(|case| write(xml, case))?;
                    let table = render_table(report, &Style::default());
                    xml.create_element("system-out")
                        .write_text_content(BytesText::new(&table))?;
                    Ok(())
                })?;
            Ok(())
        })?;
    xml.write_event(Event::Eof)?;
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    text.push_str(&String::from_utf8_lossy(&xml.into_inner()));
    text.push('\n');
    Ok(text)
}

/// Returns the test cases. If targets were given, readiness alone decides.
fn cases(report: &Report, outcome: Outcome) -> Vec<Case> {
    let targets: Vec<Case> = report.readiness.iter().map(target).collect();
    let of_rest = if targets.is_empty() { outcome } else { Outcome::Passed };
    let findings = report.findings.iter().map(|finding| case(finding, of_rest));
    std::iter::once(verdict(report, of_rest))
        .chain(targets)
        .chain(findings)
        .collect()
}

fn target(ready: &Readiness) -> Case {
    let described = |obstacle: &Obstacle| {
        let Obstacle {
            effect,
            code,
            message,
            rule_source,
            ..
        } = obstacle;
        format!("{effect}: {code}: {message} ({rule_source})")
    };
    let obstacles: Vec<String> = ready.obstacles.iter().map(described).collect();
    Case {
        class: "castoff.readiness".to_owned(),
        name: ready.target.to_string(),
        end: match ready.answer {
            Answer::Ready => End::Passed,
            Answer::NotReady => End::Failure,
            Answer::CannotTell => End::Error,
        },
        message: visible(&obstacles.join("; ")).into_owned(),
        advice: ready
            .obstacles
            .first()
            .map_or_else(String::new, |first| visible(&first.advice).into_owned()),
    }
}

fn verdict(report: &Report, outcome: Outcome) -> Case {
    Case {
        class: "castoff".to_owned(),
        name: "verdict".to_owned(),
        end: match outcome {
            Outcome::Passed => End::Passed,
            Outcome::Failed => End::Failure,
            Outcome::CannotTell => End::Error,
        },
        message: format!("{}: {}", report.verdict, visible(&report.verdict_reason)),
        advice: String::new(),
    }
}

fn case(finding: &Finding, outcome: Outcome) -> Case {
    Case {
        class: format!("castoff.{}", finding.code),
        name: visible(&finding.subject).into_owned(),
        end: match (outcome, finding.severity, finding.code) {
            (Outcome::Passed, ..) | (_, Severity::Info, _) => End::Skipped,
            (Outcome::CannotTell, _, Code::BlindSpot) => End::Error,
            _ => End::Failure,
        },
        message: visible(&finding.message).into_owned(),
        advice: visible(&finding.advice).into_owned(),
    }
}

fn write(xml: &mut Writer<Vec<u8>>, case: &Case) -> io::Result<()> {
    let element = xml
        .create_element("testcase")
        .with_attribute(("classname", &*case.class))
        .with_attribute(("name", &*case.name))
        .with_attribute(("time", "0"));
    let kind = match case.end {
        End::Passed => return element.write_empty().map(|_| ()),
        End::Skipped => "skipped",
        End::Failure => "failure",
        End::Error => "error",
    };
    element
        .write_inner_content(|xml| {
            let said = xml
                .create_element(kind)
                .with_attribute(("type", &*case.class))
                .with_attribute(("message", &*case.message));
            said.write_text_content(BytesText::new(&case.advice)).map(|_| ())
        })
        .map(|_| ())
}

#[cfg(test)]
mod tests {
    use quick_xml::Reader;

    use super::*;
    use crate::sinks::{golden, sample};

    fn junit(report: &Report, outcome: Outcome) -> String {
        render_junit(report, outcome).expect("it is written to memory")
    }

    /// Names that would end an element, an attribute or the document, and characters that XML 1.0 does not allow.
    fn hostile() -> Report {
        let mut report = sample::report();
        report.node = Some("\"><x a='\u{0}\u{1b}\u{fffe}\u{ffff}".to_owned());
        report.findings[0].subject = "]]></failure><!-- & \u{202e}\t\r\n".to_owned();
        report.findings[0].advice = "]]> <!DOCTYPE x>".to_owned();
        report
    }

    fn count(xml: &str, element: &str) -> usize {
        let mut reader = Reader::from_str(xml);
        let mut count = 0;
        loop {
            match reader.read_event().expect("what was written is XML") {
                Event::Eof => return count,
                Event::Start(e) | Event::Empty(e) if e.name().as_ref() == element => count += 1,
                _ => {}
            }
        }
    }

    /// `tests/run cli` validates these files with the published schema.
    #[test]
    fn suites_match_the_golden_files() {
        for (name, report, outcome) in [
            ("report", sample::report(), Outcome::Failed),
            ("clear", sample::clear(), Outcome::Passed),
            ("blind", sample::blind(), Outcome::CannotTell),
            ("hostile", hostile(), Outcome::Failed),
            ("asked", sample::asked(), Outcome::Failed),
        ] {
            golden::hold(
                &format!("src/sinks/views/golden/{name}.junit.xml"),
                &junit(&report, outcome),
            );
        }
    }

    #[test]
    fn the_suite_fails_exactly_if_the_exit_code_is_not_0() {
        let report = sample::report();
        let passed = junit(&report, Outcome::Passed);
        assert_eq!((count(&passed, "failure"), count(&passed, "error")), (0, 0));
        assert_eq!(count(&passed, "skipped"), report.findings.len());
        let failed = junit(&report, Outcome::Failed);
        let serious = report.findings.iter().filter(|f| f.severity != Severity::Info).count();
        assert_eq!((count(&failed, "failure"), count(&failed, "error")), (1 + serious, 0));
        let blind = junit(&sample::blind(), Outcome::CannotTell);
        assert_eq!((count(&blind, "failure"), count(&blind, "error")), (0, 1));
        assert!(
            blind.contains("unknown: the engines could not be looked for"),
            "{blind}"
        );
    }

    #[test]
    fn readiness_alone_decides_if_targets_are_given() {
        let mut report = sample::asked();
        report.findings = sample::report().findings;
        let all = junit(&report, Outcome::Failed);
        assert_eq!((count(&all, "failure"), count(&all, "error")), (1, 1));
        report.readiness.retain(|ready| ready.answer == Answer::Ready);
        let passed = junit(&report, Outcome::Passed);
        assert_eq!((count(&passed, "failure"), count(&passed, "error")), (0, 0));
    }

    #[test]
    fn a_name_is_neither_markup_nor_an_escape_sequence() {
        let xml = junit(&hostile(), Outcome::Failed);
        assert_eq!(count(&xml, "testcase"), 1 + sample::report().findings.len());
        assert_eq!(count(&xml, "x"), 0);
        assert!(xml.chars().all(|c| c == '\n' || !c.is_control()), "{xml}");
        assert!(
            !xml.contains("<!--") && !xml.contains("<!DOCTYPE") && !xml.contains("]]>"),
            "{xml}"
        );
    }
}
