//! Dates of support and the cuts of the kubelet, as known on [`AS_OF`]. The one dated table of castoff; a newer castoff
//! has a newer one.

use crate::model::time::Timestamp;

/// When this table was made: 2026-11-24. Sources: containerd RELEASES.md, cri-o README (a release ends with the
/// Kubernetes minor of its number), the Kubernetes release calendar, Docker's branches.
pub const AS_OF: &str = "2026-11-24";

/// The newest kubelet 1.x that starts on a runtime with CRI v1alpha2 only (kubernetes/kubernetes#110618).
pub const LAST_MINOR_WITH_V1ALPHA2: u32 = 25;
/// The newest kubelet 1.x with dockershim (KEP-2221).
pub const LAST_MINOR_WITH_DOCKERSHIM: u32 = 23;
/// The newest kubelet 1.x that starts on a runtime without `RuntimeConfig` (kubernetes/kubernetes#139121).
pub const LAST_MINOR_WITHOUT_RUNTIME_CONFIG: u32 = 37;
/// The first kubelet 1.x that refuses cgroup v1 unless told otherwise (`failCgroupV1`, KEP-5573).
pub const FIRST_MINOR_THAT_REFUSES_CGROUP_V1: u32 = 35;

/// The end of support of a line: product, major, minor, and the day (year, month, day).
type Line = (&'static str, u32, u32, (u64, u64, u64));

const LINES: &[Line] = &[
    ("containerd", 1, 4, (2022, 3, 3)),
    ("containerd", 1, 5, (2023, 2, 28)),
    ("containerd", 1, 6, (2025, 8, 23)),
    ("containerd", 1, 7, (2026, 9, 30)),
    ("containerd", 2, 0, (2027, 3, 31)),
    ("containerd", 2, 1, (2026, 7, 3)),
    ("containerd", 2, 2, (2026, 11, 6)),
    ("containerd", 2, 3, (2028, 4, 30)),
    ("cri-o", 1, 23, (2023, 2, 28)),
    ("cri-o", 1, 24, (2023, 7, 28)),
    ("cri-o", 1, 25, (2023, 10, 27)),
    ("cri-o", 1, 33, (2026, 6, 28)),
    ("cri-o", 1, 34, (2026, 10, 27)),
    ("cri-o", 1, 35, (2027, 2, 28)),
    ("cri-o", 1, 36, (2027, 6, 28)),
    ("docker", 20, 10, (2023, 12, 10)),
    ("docker", 23, 0, (2025, 5, 19)),
    ("docker", 24, 0, (2024, 6, 8)),
    ("docker", 25, 0, (2026, 12, 4)),
    ("docker", 27, 0, (2025, 5, 3)),
    ("docker", 28, 0, (2026, 5, 13)),
];

/// What is known of a line's support.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It ended at this time.
    EndedOn(Timestamp),
    /// It ended; the line is older than the oldest in the table, or stands between two that ended before.
    Ended,
    /// It ends at this time.
    EndsOn(Timestamp),
}

/// What is known of the support of `version` of `product` (`runtime_name` of CRI `Version`) at `now`. None: a line
/// that this table does not know, or a version that no line can be read from.
pub fn support(product: &str, version: &str, now: Timestamp) -> Option<Support> {
    let (major, minor) = line(version)?;
    // Docker counts its lines by the major number alone since 23.0.
    let minor = if product == "docker" && major >= 23 { 0 } else { minor };
    let ends = |l: &Line| midnight_after(l.3);
    let of_product = || LINES.iter().filter(|l| l.0 == product);
    if let Some(known) = of_product().find(|l| (l.1, l.2) == (major, minor)) {
        return Some(if ends(known) <= now {
            Support::EndedOn(ends(known))
        } else {
            Support::EndsOn(ends(known))
        });
    }
    // A line that the table leaves out is over once the next newer known one is: support ends in order of release
    // for every product here, but for lines that one vendor keeps longer, which are all listed.
    let newer = of_product()
        .filter(|l| (l.1, l.2) > (major, minor))
        .min_by_key(|l| (l.1, l.2))?;
    (ends(newer) <= now).then_some(Support::Ended)
}

/// The release line of a version as runtimes spell them: `1.6.20~ds1`, `v2.0.1`, `1.7.2-k3s1`, `1.3.7+unknown`.
pub fn line(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim().trim_start_matches('v').split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?;
    let digits = minor.find(|c: char| !c.is_ascii_digit()).unwrap_or(minor.len());
    Some((major, minor[..digits].parse().ok()?))
}

/// The end of a day in UTC, by Howard Hinnant's days-from-civil.
const fn midnight_after((year, month, day): (u64, u64, u64)) -> Timestamp {
    let y = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (y / 400, y % 400);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Timestamp::from_unix((era * 146_097 + day_of_era - 719_468 + 1) * 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_795_521_600); // 2026-11-24T12:00:00Z

    #[test]
    fn a_day_ends_at_the_next_midnight() {
        assert_eq!(midnight_after((2026, 11, 24)).to_string(), "2026-11-25T00:00:00Z");
        assert_eq!(midnight_after((2028, 2, 29)).to_string(), "2028-03-01T00:00:00Z");
    }

    #[test]
    fn versions_as_runtimes_spell_them() {
        for (version, expected) in [
            ("1.6.20~ds1", Some((1, 6))),
            ("v2.0.1", Some((2, 0))),
            ("1.7.2-k3s1", Some((1, 7))),
            ("1.3.7+unknown", Some((1, 3))),
            ("1.7", Some((1, 7))),
            ("2.1-rc.0", Some((2, 1))),
            ("20.10.24+dfsg1", Some((20, 10))),
            ("", None),
            ("unknown", None),
            ("1", None),
            ("1.", None),
            ("99999999999.1", None),
        ] {
            assert_eq!(line(version), expected, "{version}");
        }
    }

    #[test]
    fn support_by_line() {
        let ended = |text: &str| {
            matches!(
                support("containerd", text, NOW),
                Some(Support::EndedOn(_) | Support::Ended)
            )
        };
        assert!(ended("1.3.7+unknown"), "older than the table");
        assert!(ended("1.6.20~ds1"));
        assert!(ended("1.7.34"));
        assert!(!ended("2.3.4"));
        assert!(matches!(support("containerd", "2.0.6", NOW), Some(Support::EndsOn(_))));
        assert_eq!(
            support("containerd", "2.4.0", NOW),
            None,
            "newer than the table: not known"
        );
        assert_eq!(support("cri-o", "1.30.2", NOW), Some(Support::Ended));
        assert!(matches!(support("docker", "25.0.6", NOW), Some(Support::EndsOn(_))));
        assert!(matches!(support("docker", "28.5.2", NOW), Some(Support::EndedOn(_))));
        assert_eq!(support("docker", "29.1.0", NOW), None);
        assert_eq!(support("frakti", "1.0.0", NOW), None);
    }
}
