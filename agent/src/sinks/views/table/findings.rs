//! The findings, each with its advice, except blind spots, which have a section of their own. Advice that several findings of one
//! code share is written once, after the last.

use super::words;
use crate::findings::report::{Code, Finding, Report};
use crate::sinks::text::visible;
use crate::sinks::views::grid::write_paragraph;
use crate::sinks::views::style::{Style, Tone};

/// The width from which codes are aligned in a column.
const ROOMY: usize = 60;

pub(super) fn write(report: &Report, style: Style, out: &mut String) {
    let roomy = style.columns().is_none_or(|c| c >= ROOMY);
    let severities = if roomy {
        widest(report, |f| f.severity.code())
    } else {
        0
    };
    let codes = if roomy { widest(report, |f| f.code.code()) } else { 0 };
    let findings: Vec<&Finding> = shown(report).collect();
    let mut rest = &findings[..];
    while let [first, ..] = rest {
        let alike = |f: &&&Finding| (f.severity, f.code, &f.advice) == (first.severity, first.code, &first.advice);
        let (group, after) = rest.split_at(rest.iter().take_while(alike).count());
        rest = after;
        let head = |subject: &str, out: &mut String| {
            let severity = first.severity.code();
            let line = format!("{severity:severities$}  {:codes$}  {subject}", first.code);
            let mut head = String::new();
            write_paragraph(&line, Tone::Strong, 2, 4, Style { colour: false, ..style }, &mut head);
            paint_head(&head, severity, words::severity_tone(first.severity), style, out);
        };
        match section_of(first.code) {
            Some(section) if group.len() > 1 && !style.wide => head(&format!("{}, see {section}", group.len()), out),
            _ => {
                for finding in group {
                    head(&visible(&finding.subject), out);
                    write_paragraph(&visible(&finding.message), Tone::Plain, 4, 4, style, out);
                }
            }
        }
        if !first.advice.is_empty() {
            write_paragraph(&format!("→ {}", visible(&first.advice)), Tone::Plain, 4, 6, style, out);
        }
    }
}

/// The section of the table that lists the subjects of findings of this code: if there are several, they are not repeated here.
const fn section_of(code: Code) -> Option<&'static str> {
    match code {
        Code::SocketClient => Some("CLIENTS"),
        Code::SocketExposure => Some("EXPOSURES"),
        Code::RuntimeSocketClient => Some("CLIENTS OF THE RUNTIME"),
        Code::RuntimeSocketExposure => Some("EXPOSURES OF THE RUNTIME"),
        _ => None,
    }
}

/// The findings that this section shows.
pub(super) fn shown(report: &Report) -> impl Iterator<Item = &Finding> {
    report.findings.iter().filter(|f| f.code != Code::BlindSpot)
}

fn widest(report: &Report, code: impl Fn(&Finding) -> &'static str) -> usize {
    shown(report).map(|f| code(f).len()).max().unwrap_or(0)
}

/// The severity comes first on the first line; only it is coloured.
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
