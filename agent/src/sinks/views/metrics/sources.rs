//! Metrics of each source of the agent.

use super::catalogue as c;
use super::cycles::CycleCounters;
use super::family::{Family, number};
use crate::findings::report::Report;
use crate::model::connect::{ConnectEvents, ConnectMethod, RequestEvents};
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
    let mut families = vec![up, duration, gaps, last_success, failures];
    let events = report.and_then(|report| report.connect_events.known());
    if let Some(events) = events {
        families.extend(connect_events(events));
        families.extend(request_events(&events.requests));
    }
    families
}

fn connect_events(events: &ConnectEvents) -> [Family; 6] {
    let method = method_of(&c::CONNECT_METHOD, events.method);
    let mut listeners = Family::new(&c::CONNECT_LISTENERS);
    listeners.add([], f64::from(events.listeners));
    let mut recorded = Family::new(&c::CONNECT_RECORDED);
    recorded.add([], number(events.recorded));
    let mut lost = Family::new(&c::CONNECT_LOST);
    lost.add([], number(events.lost));
    let mut attributed = Family::new(&c::CONNECT_ATTRIBUTED);
    for (source, connects) in events.attributed.by_source() {
        attributed.add([source], number(connects));
    }
    let mut passed = Family::new(&c::CONNECT_SELF_TEST);
    if let Some(test) = &events.self_test {
        passed.add([], f64::from(u8::from(test.failure.is_none())));
    }
    [method, listeners, recorded, lost, attributed, passed]
}

fn request_events(events: &RequestEvents) -> [Family; 3] {
    let method = method_of(&c::REQUEST_METHOD, events.method);
    let mut recorded = Family::new(&c::REQUEST_RECORDED);
    recorded.add([], number(events.recorded));
    let mut lost = Family::new(&c::REQUEST_LOST);
    lost.add([], number(events.lost));
    [method, recorded, lost]
}

fn method_of(description: &'static c::Description, running: Option<ConnectMethod>) -> Family {
    let mut family = Family::new(description);
    for method in ConnectMethod::ALL {
        family.add([method.code()], f64::from(u8::from(running == Some(*method))));
    }
    family
}
