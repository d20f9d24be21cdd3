//! The reports of agents, for the fuzzer.

use super::report::Report;

/// Reads a report.
pub(crate) fn report(bytes: &[u8]) {
    let _ = Report::read(bytes);
}
