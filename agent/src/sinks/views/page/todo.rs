//! The findings of one code and severity, grouped with the catalogue's text and advice.

use super::class;
use super::rows::LIMIT;
use crate::findings::catalogue::{Entry, entry};
use crate::findings::report::{Code, Finding, Report, Severity};
use crate::sinks::views::table::words;

/// The number of a group's findings that are shown at once.
const FIRST: usize = 8;

/// Findings with the same text.
#[derive(Debug)]
pub(super) struct Group<'a> {
    pub(super) code: Code,
    pub(super) severity: Severity,
    pub(super) tone: &'static str,
    pub(super) entry: &'static Entry,
    /// The findings that are shown at once.
    pub(super) first: &'a [Finding],
    /// The findings that a reader has to unfold.
    pub(super) rest: &'a [Finding],
    /// The number of findings that are not shown.
    pub(super) more: usize,
}

impl Group<'_> {
    /// A finding's own advice, if it differs from the catalogue's first.
    pub(super) fn own<'f>(&self, finding: &'f Finding) -> Option<&'f str> {
        Some(finding.advice.as_str()).filter(|advice| !self.entry.instead.contains(advice))
    }
}

/// Groups the report's findings, in its order.
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
