//! What each source did: castoff's own sight, as seen from outside.

use super::catalogue as c;
use super::cycles::CycleCounters;
use super::family::{Family, number};
use crate::findings::report::Report;
use crate::model::reading::{Reason, Source};

pub(super) fn families(report: Option<&Report>, cycles: &CycleCounters) -> Vec<Family> {
    let mut up = Family::new(&c::SOURCE_UP);
    let mut duration = Family::new(&c::SOURCE_DURATION);
    let mut gaps = Family::new(&c::SOURCE_GAPS);
    for status in report.into_iter().flat_map(|r| &r.sources) {
        let source = status.source.code();
        up.raise([source], if status.up { 1.0 } else { 0.0 });
        duration.raise([source], number(status.duration_micros) / 1e6);
        for gap in &status.gaps {
            gaps.add([source, gap.reason.code()], f64::from(gap.count));
        }
    }
    let mut last_success = Family::new(&c::SOURCE_LAST_SUCCESS);
    let mut failures = Family::new(&c::SOURCE_FAILURES);
    for source in Source::ALL {
        if let Some(time) = cycles.last_success(*source) {
            last_success.raise([source.code()], number(time.as_unix()));
        }
        for reason in Reason::ALL {
            failures.add(
                [source.code(), reason.code()],
                number(cycles.failures(*source, *reason)),
            );
        }
    }
    vec![up, duration, gaps, last_success, failures]
}
