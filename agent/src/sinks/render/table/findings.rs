//! The conclusions, each with its advice. Advice that several findings of one code share is written once, after the last.

use super::words;
use crate::findings::report::{Finding, Report};
use crate::sinks::render::grid::write_paragraph;
use crate::sinks::render::style::{Style, Tone};
use crate::sinks::text::visible;

/// From here on, codes stand under each other.
const ROOMY: usize = 60;

pub(super) fn write(report: &Report, style: Style, out: &mut String) {
    let roomy = style.columns().is_none_or(|c| c >= ROOMY);
    let severities = if roomy {
        widest(report, |f| f.severity.code())
    } else {
        0
    };
    let codes = if roomy { widest(report, |f| f.code.code()) } else { 0 };
    for (at, finding) in report.findings.iter().enumerate() {
        let severity = finding.severity.code();
        let mut head = String::new();
        let line = format!(
            "{severity:severities$}  {:codes$}  {}",
            finding.code,
            visible(&finding.subject)
        );
        write_paragraph(&line, Tone::Strong, 2, 4, Style { colour: false, ..style }, &mut head);
        paint_head(&head, severity, words::severity_tone(finding.severity), style, out);
        write_paragraph(&visible(&finding.message), Tone::Plain, 4, 4, style, out);
        let next = report.findings.get(at + 1);
        let repeated = next.is_some_and(|n| n.code == finding.code && n.advice == finding.advice);
        if !repeated && !finding.advice.is_empty() {
            write_paragraph(
                &format!("→ {}", visible(&finding.advice)),
                Tone::Plain,
                4,
                6,
                style,
                out,
            );
        }
    }
}

fn widest(report: &Report, code: impl Fn(&Finding) -> &'static str) -> usize {
    report.findings.iter().map(|f| code(f).len()).max().unwrap_or(0)
}

/// The severity stands first on the first line; only it is coloured.
fn paint_head(head: &str, severity: &str, tone: Tone, style: Style, out: &mut String) {
    match head.split_once(severity) {
        Some((indent, rest)) => {
            out.push_str(indent);
            out.push_str(&style.paint(tone, severity));
            out.push_str(rest);
        }
        None => out.push_str(head),
    }
}
