//! The systemd unit that a control group path names.
//!
//! Relies on systemd's layout: slices lead to a service or scope, which is the unit; the unit itself made the groups below it,
//! except below `user@N.service`, where a user's own manager uses the same layout again.
//!
//! The names below a group that an ordinary user owns are his, so the system's unit ends there.

use crate::model::workload::Unit;

/// The owner of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Root, or castoff does not see the group.
    Root,
    /// An ordinary user.
    User,
    /// The group was removed, and may have been an ordinary user's.
    Gone,
}

/// Returns the unit along `segments`. None if they are not systemd's, or belong to a session without its user.
/// `owner_of` returns the owner of the group at the end of that many segments.
pub(super) fn find<'s>(
    segments: impl Iterator<Item = &'s [u8]>,
    mut owner_of: impl FnMut(usize) -> Owner,
) -> Option<Unit> {
    let mut slice = None;
    let mut uid = None;
    let mut is_gone = false;
    let mut segments = segments.enumerate();
    while let Some((above, segment)) = segments.next() {
        let is_slice = segment.ends_with(b".slice");
        if !(is_slice || is_unit(segment)) {
            break;
        }
        let owner = if above > 0 { owner_of(above) } else { Owner::Root };
        if owner == Owner::User {
            break;
        }
        is_gone |= owner == Owner::Gone;
        let manager = enclosed_uid(segment, b"user@", b".service");
        let is_session = segment.starts_with(b"session-") && segment.ends_with(b".scope");
        // The slice of a user goes with his last session. What was in it is his, not the system's.
        if is_gone && !(uid.is_some() && (is_session || manager == uid)) {
            break;
        }
        if is_slice {
            slice = Some(segment);
            uid = uid.or_else(|| enclosed_uid(segment, b"user-", b".slice"));
        } else if let Some(uid) = manager {
            // The groups of an ordinary user's manager are his anyway.
            let is_of_another = |above| uid == 0 && owner_of(above) != Owner::Root;
            return Some(find_of_user(uid, segments, is_of_another).unwrap_or_else(|| system(segment)));
        } else if is_session {
            return uid.map(|uid| Unit::Session { uid });
        } else {
            return Some(system(segment));
        }
    }
    slice.map(system)
}

fn find_of_user<'s>(
    uid: u32,
    segments: impl Iterator<Item = (usize, &'s [u8])>,
    mut is_of_another: impl FnMut(usize) -> bool,
) -> Option<Unit> {
    let mut slice = None;
    for (above, segment) in segments {
        let is_slice = segment.ends_with(b".slice");
        if !(is_slice || is_unit(segment)) || is_of_another(above) {
            break;
        } else if is_slice {
            slice = Some(segment);
        } else {
            return Some(user(uid, segment));
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
