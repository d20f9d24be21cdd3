//! The records of the kernel program and the lines of requests, for the fuzzer.

use super::lines::Lines;
use super::operation::{LINE, Line, judge};
use super::record::{Record, Sent};

/// Reads a connect and a request.
pub(crate) fn record(bytes: &[u8]) {
    let sent = Sent::parse(bytes);
    let record = sent
        .as_ref()
        .map_or_else(|| Record::parse(bytes), |sent| Some(sent.sender.clone()));
    if let Some(record) = record {
        let process = record.describe(record.membership());
        assert!(!process.name.contains('\0'), "a name ends at its zero byte");
    }
    if let Some(sent) = sent {
        assert!(
            sent.line.len() <= LINE,
            "no more of a request than the kernel program looks at"
        );
        request_line(sent.line);
    }
}

/// Judges the first bytes of a request, whole and in two pieces.
pub(crate) fn request_line(sent: &[u8]) {
    let Line::Request(whole) = judge(sent) else { return };
    for cut in 1..sent.len().min(LINE) {
        if matches!(judge(&sent[..cut]), Line::Request(_)) {
            // The first piece has the whole line already.
            return;
        }
        let mut lines = Lines::default();
        assert_eq!(lines.add(1, &sent[..cut]), None);
        assert_eq!(lines.add(1, &sent[cut..]), Some(whole), "cut after {cut} bytes");
    }
}
