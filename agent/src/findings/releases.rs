//! Dates of support and the cuts of the kubelet, as known on [`AS_OF`]. The one dated table of castoff; a newer castoff
//! has a newer one.

use crate::model::time::Timestamp;

/// When this table was last checked. Sources: containerd RELEASES.md, cri-o README (a release ends with the Kubernetes minor
/// of its number), the Kubernetes release calendar, Docker's branches.
pub const AS_OF: &str = "2026-11-28";

/// How certain it is that newer kubelets do without something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// A release does without it.
    Enforced,
    /// Kubernetes says that a release will. It can still move.
    Announced,
}

/// A version of Kubernetes whose kubelet needs more than some runtimes have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The first Kubernetes 1.x minor whose kubelet does not start.
    pub first_minor: u32,
    /// Whether that is so, or is said to come.
    pub certainty: Certainty,
    /// When that version came out; for an announcement, when it was last read.
    pub date: &'static str,
    /// Where it is said.
    pub source: &'static str,
}

impl Cut {
    /// The newest Kubernetes 1.x minor whose kubelet starts.
    pub const fn last_minor(&self) -> u32 {
        self.first_minor - 1
    }
}

/// Without dockershim.
pub const WITHOUT_DOCKERSHIM: Cut = Cut {
    first_minor: 24,
    certainty: Certainty::Enforced,
    date: "2022-05-03",
    source: "KEP-2221",
};
/// Without CRI v1alpha2.
pub const WITHOUT_V1ALPHA2: Cut = Cut {
    first_minor: 26,
    certainty: Certainty::Enforced,
    date: "2022-12-09",
    source: "kubernetes/kubernetes#110618",
};
/// With `RuntimeConfig` only. The removal itself (kubernetes/kubernetes#136731) was still open.
pub const WITH_RUNTIME_CONFIG: Cut = Cut {
    first_minor: 38,
    certainty: Certainty::Announced,
    date: "2026-11-28",
    source: "KEP-4033",
};
/// Without cgroup v1, unless `failCgroupV1` is set to false.
pub const WITHOUT_CGROUP_V1: Cut = Cut {
    first_minor: 35,
    certainty: Certainty::Enforced,
    date: "2025-12-17",
    source: "KEP-5573",
};

/// The lowest minor of the Docker API that Docker Engine 29.0 takes by default. Source: its release notes.
pub const DOCKER_29_0_API: u8 = 44;
/// The lowest minor that later releases of Docker Engine 29 take by default. Source: their release notes.
pub const DOCKER_29_API: u8 = 40;

type Day = (u64, u64, u64);

/// A release line: product, major, minor, and the last day of its project's support (year, month, day).
type Line = (&'static str, u32, u32, Day);

const LINES: &[Line] = &[
    ("containerd", 1, 4, (2022, 3, 3)),
    ("containerd", 1, 5, (2023, 2, 28)),
    ("containerd", 1, 6, (2025, 8, 23)),
    ("containerd", 1, 7, (2026, 3, 10)),
    ("containerd", 2, 0, (2025, 11, 7)),
    ("containerd", 2, 1, (2026, 7, 3)),
    ("containerd", 2, 2, (2026, 11, 6)),
    ("containerd", 2, 3, (2028, 4, 30)),
    ("containerd", 2, 4, (2027, 4, 26)),
    ("cri-o", 1, 23, (2023, 2, 28)),
    ("cri-o", 1, 24, (2023, 7, 28)),
    ("cri-o", 1, 25, (2023, 10, 27)),
    ("cri-o", 1, 33, (2026, 6, 28)),
    ("cri-o", 1, 34, (2026, 10, 27)),
    ("cri-o", 1, 35, (2027, 2, 28)),
    ("cri-o", 1, 36, (2027, 6, 28)),
    ("cri-o", 1, 37, (2027, 10, 28)),
    ("docker", 20, 10, (2023, 12, 10)),
    ("docker", 23, 0, (2025, 5, 19)),
    ("docker", 24, 0, (2024, 6, 8)),
    ("docker", 25, 0, (2026, 12, 4)),
    ("docker", 27, 0, (2025, 5, 3)),
    ("docker", 28, 0, (2026, 5, 13)),
    // The current line: it has no end yet.
    ("docker", 29, 0, NO_END),
];

const NO_END: Day = (9999, 12, 31);

/// A vendor that goes on where the project has ended: product, major, minor, for whom, and until when.
const VENDORS: &[(&str, u32, u32, &str, Day)] = &[
    ("containerd", 1, 7, "GKE's Kubernetes 1.30 to 1.32", (2026, 9, 30)),
    ("containerd", 2, 0, "GKE's Kubernetes 1.33", (2027, 3, 31)),
];

/// What is known of a line's support.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// The project ended it at this time.
    EndedOn(Timestamp),
    /// The project ended it at this time, and a vendor goes on: for whom, and until when.
    VendorOnly(Timestamp, &'static str, Timestamp),
    /// It ended; the line is older than the oldest in the table, or stands between two that ended before.
    Ended,
    /// It ends at this time.
    EndsOn(Timestamp),
    /// It is newer than every line in the table.
    Newer,
}

/// What is known of the support of `version` of `product` (`runtime_name` of CRI `Version`) at `now`. None: a product
/// that this table does not have, or a version that no line can be read from.
pub fn support(product: &str, version: &str, now: Timestamp) -> Option<Support> {
    let (major, minor) = line(version)?;
    // Docker counts its lines by the major number alone since 23.0.
    let minor = if product == "docker" && major >= 23 { 0 } else { minor };
    let ends = |l: &Line| end_of(l.3);
    let of_product = || LINES.iter().filter(|l| l.0 == product);
    if let Some(known) = of_product().find(|l| (l.1, l.2) == (major, minor)) {
        let end = ends(known);
        let vendor = VENDORS
            .iter()
            .find(|v| (v.0, v.1, v.2) == (product, major, minor) && end_of(v.4) > now);
        return Some(match vendor {
            _ if end > now => Support::EndsOn(end),
            Some(vendor) => Support::VendorOnly(end, vendor.3, end_of(vendor.4)),
            None => Support::EndedOn(end),
        });
    }
    let newest = of_product().max_by_key(|l| (l.1, l.2))?;
    if (major, minor) > (newest.1, newest.2) {
        return Some(Support::Newer);
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

/// The last second of a day in UTC, by Howard Hinnant's days-from-civil.
const fn end_of((year, month, day): (u64, u64, u64)) -> Timestamp {
    let y = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (y / 400, y % 400);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Timestamp::from_unix((era * 146_097 + day_of_era - 719_468 + 1) * 86_400 - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_795_521_600); // 2026-11-24T12:00:00Z

    #[test]
    fn a_day_ends_at_its_last_second() {
        assert_eq!(end_of((2026, 11, 24)).to_string(), "2026-11-24T23:59:59Z");
        assert_eq!(end_of((2028, 2, 29)).to_string(), "2028-02-29T23:59:59Z");
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
        let of = |product, version| support(product, version, NOW);
        for (version, ended) in [
            ("1.3.7+unknown", true),
            ("1.6.20~ds1", true),
            ("1.7.34", true),
            ("2.3.4", false),
        ] {
            let over = matches!(of("containerd", version), Some(Support::EndedOn(_) | Support::Ended));
            assert_eq!(over, ended, "{version}");
        }
        assert!(matches!(of("containerd", "2.4.0"), Some(Support::EndsOn(_))));
        assert_eq!(of("cri-o", "1.30.2"), Some(Support::Ended));
        assert!(matches!(of("cri-o", "1.37.0"), Some(Support::EndsOn(_))));
        assert!(matches!(of("docker", "25.0.6"), Some(Support::EndsOn(_))));
        assert!(matches!(of("docker", "28.5.2"), Some(Support::EndedOn(_))));
        assert!(matches!(of("docker", "29.7.2"), Some(Support::EndsOn(_))));
        assert_eq!(of("frakti", "1.0.0"), None);
    }

    #[test]
    fn a_line_that_only_a_vendor_maintains_is_no_supported_one() {
        let day = |day| end_of(day);
        let project = day((2025, 11, 7));
        let vendor = Support::VendorOnly(project, "GKE's Kubernetes 1.33", day((2027, 3, 31)));
        for (now, expected) in [
            (day((2025, 11, 6)), Support::EndsOn(project)),
            (day((2025, 11, 7)), vendor),
            (NOW, vendor),
            (day((2027, 3, 31)), Support::EndedOn(project)),
        ] {
            assert_eq!(support("containerd", "2.0.6", now), Some(expected), "{now}");
        }
    }

    #[test]
    fn a_version_newer_than_the_table_is_said_to_be_that() {
        for (product, version) in [("containerd", "2.5.0"), ("cri-o", "1.38.0"), ("docker", "30.0.0")] {
            assert_eq!(support(product, version, NOW), Some(Support::Newer), "{product}");
        }
    }
}
