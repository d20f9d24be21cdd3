//! The findings of one code and severity together, with the catalogue's words and advice.

use super::class;
use super::rows::LIMIT;
use crate::findings::catalogue::{Entry, entry};
use crate::findings::report::{Code, Finding, Report, Severity};
use crate::sinks::views::table::words;

/// Findings of a group that are shown at once.
const FIRST: usize = 8;

/// Findings that the same words belong to.
#[derive(Debug)]
pub(super) struct Group<'a> {
    pub(super) code: Code,
    pub(super) severity: Severity,
    pub(super) tone: &'static str,
    pub(super) entry: &'static Entry,
    /// Those that are shown at once.
    pub(super) first: &'a [Finding],
    /// Those that a reader has to unfold.
    pub(super) rest: &'a [Finding],
    /// The number of findings that are not shown.
    pub(super) more: usize,
}

impl Group<'_> {
    /// A finding's own advice, where it is another than the catalogue's first.
    pub(super) fn own<'f>(&self, finding: &'f Finding) -> Option<&'f str> {
        Some(finding.advice.as_str()).filter(|advice| !self.entry.instead.contains(advice))
    }
}

/// The report's findings, in its order.
pub(super) fn groups(report: &Report) -> Vec<Group<'_>> {
    report
        .findings
        .chunk_by(|a, b| (a.severity, a.code) == (b.severity, b.code))
        .map(|alike| Group {
            code: alike[0].code,
            severity: alike[0].severity,
            tone: class(words::severity_tone(alike[0].severity)),
            entry: entry(alike[0].code),
            first: &alike[..alike.len().min(FIRST)],
            rest: &alike[alike.len().min(FIRST)..alike.len().min(LIMIT)],
            more: alike.len().saturating_sub(LIMIT),
        })
        .collect()
}
