//! The systemd unit that a control group path names.
//!
//! Relies on systemd's layout: slices lead to a service or scope, which is the unit; the unit itself made the groups below it,
//! except below `user@N.service`, where a user's own manager uses the same layout again.

use crate::model::workload::Unit;

/// Returns the unit along `segments`. None if they are not systemd's, or belong to a session without its user.
pub(super) fn find<'s>(mut segments: impl Iterator<Item = &'s [u8]>) -> Option<Unit> {
    let mut slice = None;
    let mut uid = None;
    while let Some(segment) = segments.next() {
        if segment.ends_with(b".slice") {
            slice = Some(segment);
            uid = enclosed_uid(segment, b"user-", b".slice").or(uid);
        } else if let Some(uid) = enclosed_uid(segment, b"user@", b".service") {
            return Some(find_of_user(uid, segments).unwrap_or_else(|| system(segment)));
        } else if segment.starts_with(b"session-") && segment.ends_with(b".scope") {
            return uid.map(|uid| Unit::Session { uid });
        } else if is_unit(segment) {
            return Some(system(segment));
        } else {
            break;
        }
    }
    slice.map(system)
}

fn find_of_user<'s>(uid: u32, segments: impl Iterator<Item = &'s [u8]>) -> Option<Unit> {
    let mut slice = None;
    for segment in segments {
        if segment.ends_with(b".slice") {
            slice = Some(segment);
        } else if is_unit(segment) {
            return Some(user(uid, segment));
        } else {
            break;
        }
    }
    slice.map(|segment| user(uid, segment))
}

/// True for the kinds of units that contain processes. Not `.mount`: those groups are named after a mount, often of a container.
/// Not the scope of a container's monitor, whose name differs for every container.
fn is_unit(segment: &[u8]) -> bool {
    let kind = segment.ends_with(b".service") || segment.ends_with(b".scope") || segment.ends_with(b".socket");
    let monitor = segment.windows(8).any(|w| w == b"-conmon-");
    kind && !monitor
}

/// Returns the ordinary user whose part of the hierarchy begins with `segment`.
pub(super) fn owner_of(segment: &[u8]) -> Option<u32> {
    enclosed_uid(segment, b"user-", b".slice")
        .or_else(|| enclosed_uid(segment, b"user@", b".service"))
        .filter(|uid| *uid != 0)
}

fn enclosed_uid(segment: &[u8], prefix: &[u8], suffix: &[u8]) -> Option<u32> {
    let digits = segment.strip_prefix(prefix)?.strip_suffix(suffix)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn system(segment: &[u8]) -> Unit {
    Unit::System {
        name: String::from_utf8_lossy(segment).into_owned(),
    }
}

fn user(uid: u32, segment: &[u8]) -> Unit {
    Unit::User {
        uid,
        name: String::from_utf8_lossy(segment).into_owned(),
    }
}
