//! The report for people: one screen, worst first. Always distinguishes "none" from "unknown", and never prints an
//! unescaped name.

pub(in crate::sinks::views) mod clients;
mod engines;
mod facts;
mod findings;
mod others;
mod readiness;
mod relays;
pub(in crate::sinks::views) mod settings;
pub(in crate::sinks::views) mod unseen;
pub(in crate::sinks::views) mod words;

use super::grid::write_paragraph;
use super::style::{Style, Tone};
use crate::findings::report::Report;

/// Writes one section, or nothing if the report has no content for it.
type Section = fn(&Report, Style, &mut String);

/// Renders the report as text; each line ends in a line feed, none in a blank.
pub fn render_table(report: &Report, style: &Style) -> String {
    let style = *style;
    let mut out = String::with_capacity(4096);
    facts::write(report, style, &mut out);
    let sections: [(&str, Section); 12] = [
        ("READY FOR", readiness::write),
        ("ENGINES", engines::write),
        ("CLIENTS", clients::write),
        ("RELAYS", relays::write),
        ("EXPOSURES", others::write_exposures),
        ("CLIENTS OF THE RUNTIME", clients::write_runtime),
        ("EXPOSURES OF THE RUNTIME", others::write_runtime_exposures),
        ("SHADOW CONTAINERS", others::write_shadow_containers),
        ("SETTINGS OF DOCKER AND OF THE RUNTIME", settings::write),
        ("FINDINGS", findings::write),
        ("NOT SEEN", unseen::write_gaps),
        ("RUNTIME ENDPOINTS THAT DID NOT ANSWER", unseen::write_refused),
    ];
    for (heading, write) in sections {
        let mut section = String::new();
        write(report, style, &mut section);
        if !section.is_empty() {
            out.push('\n');
            write_paragraph(heading, Tone::Strong, 0, 2, style, &mut out);
            out.push_str(&section);
        }
    }
    out
}

#[cfg(test)]
mod tests;
