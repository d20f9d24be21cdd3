//! Dates of support and the cuts of the kubelet, from castoff's one dated table, `agent/data/releases.json`. Its README documents
//! each field; a newer castoff has a newer table.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::LazyLock;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::readiness::answer::Certainty;
use crate::model::time::Timestamp;

/// The table as it is in the source tree.
const TEXT: &str = include_str!("../../data/releases.json");

static TABLE: LazyLock<Table> = LazyLock::new(|| read(TEXT).expect("a test reads the table"));

/// The table.
pub fn table() -> &'static Table {
    &TABLE
}

fn read(text: &'static str) -> serde_json::Result<Table> {
    serde_json::from_str(text)
}

/// The data that castoff has about releases.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Table {
    /// The day on which it was last checked.
    pub as_of: &'static str,
    /// The products by their name.
    products: BTreeMap<&'static str, Product>,
    /// The versions of Kubernetes whose kubelet needs more than some runtimes provide.
    pub cuts: Cuts,
    /// The deprecated uses that a release of containerd removes.
    pub containerd_removals: Vec<Removal>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Product {
    source: &'static str,
    lines: Vec<Line>,
}

/// A release line.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, bound(deserialize = "'de: 'static"))]
struct Line {
    #[serde(rename = "line")]
    version: Version,
    #[serde(default)]
    lts: bool,
    #[serde(default)]
    pre_release: bool,
    /// The last day of its project's support; none if no end is known.
    project_ends: Option<Day>,
    vendor: Option<Vendor>,
}

/// A vendor that continues support after the project.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vendor {
    whom: &'static str,
    until: Day,
}

/// The cuts, by the feature that newer kubelets drop or need.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, bound(deserialize = "'de: 'static"))]
pub struct Cuts {
    /// Without dockershim.
    pub without_dockershim: Cut,
    /// Without CRI v1alpha2.
    #[serde(rename = "withoutV1alpha2")]
    pub without_v1alpha2: Cut,
    /// With `RuntimeConfig` only.
    pub with_runtime_config: Cut,
    /// Without cgroup v1, unless `failCgroupV1` is set to false.
    #[serde(rename = "withoutCgroupV1")]
    pub without_cgroup_v1: Cut,
    /// With `getsubids` where the host has a user `kubelet`; a kubelet of `without_last_id` no longer needs it.
    pub with_getsubids: Cut,
    /// Without ranges of ids that reach 4294967295.
    pub without_last_id: Cut,
}

/// A version of Kubernetes whose kubelet needs more than some runtimes provide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cut {
    /// The first Kubernetes 1.x minor whose kubelet does not start.
    pub first_minor: u32,
    /// Enforced, announced, or stated.
    pub certainty: Certainty,
    /// The day on which that version came out; for an announcement, the day on which it was last read.
    pub date: &'static str,
    /// A short name of the source.
    pub name: &'static str,
    /// The address of the source.
    pub source: &'static str,
}

impl Cut {
    /// The newest Kubernetes 1.x minor whose kubelet starts.
    pub const fn last_minor(&self) -> u32 {
        self.first_minor - 1
    }
}

/// A deprecated use that a release of containerd removes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Removal {
    /// containerd's id for it, without `io.containerd.deprecation/`.
    pub id: &'static str,
    /// The release line.
    pub removed_in: Version,
    /// Enforced or announced.
    pub certainty: Certainty,
    /// The day on which that release came out; for an announcement, the day on which it was last read.
    pub date: &'static str,
}

/// The lowest minor of the Docker API that Docker Engine 29.0 accepts by default. Source: its release notes.
pub const DOCKER_29_0_API: u8 = 44;
/// The lowest minor that later releases of Docker Engine 29 accept by default. Source: their release notes.
pub const DOCKER_29_API: u8 = 40;

/// A release line: major and minor number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "&str")]
pub struct Version(pub u32, pub u32);

impl TryFrom<&str> for Version {
    type Error = String;

    fn try_from(text: &str) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Version {
    type Err = String;

    /// Parses `1.38`, `v2.4.1`; `29` is `29.0`.
    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Option<Vec<u32>> = text
            .strip_prefix('v')
            .unwrap_or(text)
            .split('.')
            .map(|part| part.parse().ok().filter(|_| part.bytes().all(|b| b.is_ascii_digit())))
            .collect();
        match numbers.as_deref() {
            Some([major]) => Ok(Self(*major, 0)),
            Some([major, minor] | [major, minor, _]) => Ok(Self(*major, *minor)),
            _ => Err(format!("{text:?} is not a version")),
        }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// A day, including its last second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "&str")]
pub(super) struct Day(Timestamp);

impl TryFrom<&str> for Day {
    type Error = String;

    fn try_from(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(day) => Ok(Self(end_of(day))),
            Err(_) => Err(format!("{text:?} is not a day")),
        }
    }
}

/// The support of a release line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// The project ended it at this time.
    EndedOn(Timestamp),
    /// The project ended it at this time, and a vendor continues: its customers, and the end.
    VendorOnly(Timestamp, &'static str, Timestamp),
    /// It ended; the line is older than the oldest in the table, or lies between two that ended before.
    Ended,
    /// It ends at this time; none if no end is known yet.
    Goes(Option<Timestamp>),
    /// It is newer than every line in the table.
    Newer,
}

/// Returns the support of `version` of `product` (`runtime_name` of CRI `Version`) at `now`. None for a product that this table
/// does not have, or a version without a line.
pub fn support(product: &str, version: &str, now: Timestamp) -> Option<Support> {
    support_of(product, line(product, version)?, now)
}

/// Returns the same for a release line.
pub fn support_of(product: &str, version: Version, now: Timestamp) -> Option<Support> {
    let lines = &TABLE.products.get(product)?.lines;
    let ended = |line: &Line| line.project_ends.map(|end| end.0).filter(|end| *end <= now);
    if let Some(known) = lines.iter().find(|known| known.version == version) {
        let vendor = known.vendor.as_ref().filter(|vendor| vendor.until.0 > now);
        return Some(match (ended(known), vendor) {
            (None, _) => Support::Goes(known.project_ends.map(|end| end.0)),
            (Some(end), Some(vendor)) => Support::VendorOnly(end, vendor.whom, vendor.until.0),
            (Some(end), None) => Support::EndedOn(end),
        });
    }
    // A line that the table leaves out has ended if the next newer known line has ended. For every product here,
    // support ends in the order of release, except for lines that one vendor maintains for longer, and the table lists
    // all of those.
    match lines
        .iter()
        .filter(|known| known.version > version)
        .min_by_key(|l| l.version)
    {
        None => Some(Support::Newer),
        Some(newer) => ended(newer).map(|_| Support::Ended),
    }
}

/// The place of a version in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Among the lines that are released.
    Released,
    /// Not released yet.
    PreRelease,
    /// Newer than all of them.
    Newer,
    /// Older than all of them.
    Older,
}

/// Finds the place of `version` among the lines of `product`.
pub fn place(product: &str, version: Version) -> Place {
    let lines = lines(product);
    let (first, last) = (
        lines.iter().map(|l| l.version).min(),
        lines.iter().map(|l| l.version).max(),
    );
    match lines.iter().find(|known| known.version == version) {
        Some(known) if known.pre_release => Place::PreRelease,
        _ if last < Some(version) => Place::Newer,
        _ if first > Some(version) => Place::Older,
        _ => Place::Released,
    }
}

/// The release lines of a product; empty for one that the table does not have.
fn lines(product: &str) -> &'static [Line] {
    TABLE.products.get(product).map_or(&[], |product| &product.lines)
}

/// The source of the dates of a product's lines.
pub fn source(product: &str) -> &'static str {
    TABLE.products.get(product).map_or("", |product| product.source)
}

/// The shortest path of containerd upgrades from one line to a newer one, each step to the next line, or from one with long-term
/// support to the next such line. Empty where a line is not in the table.
pub fn hops(from: Version, to: Version) -> Vec<Version> {
    let lines = lines("containerd");
    let at = |version| lines.iter().position(|known| known.version == version);
    let (Some(mut here), Some(end)) = (at(from), at(to)) else {
        return Vec::new();
    };
    let mut hops = Vec::new();
    while here < end {
        let next_lts = (here + 1..=end)
            .find(|next| lines[*next].lts)
            .filter(|_| lines[here].lts);
        here = next_lts.unwrap_or(here + 1);
        hops.push(lines[here].version);
    }
    hops
}

/// Returns the release line of a version as runtimes write them: `1.6.20~ds1`, `v2.0.1`, `1.7.2-k3s1`, `1.3.7+unknown`.
pub fn line(product: &str, version: &str) -> Option<Version> {
    let mut parts = version.trim().trim_start_matches('v').split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?;
    let digits = minor.find(|c: char| !c.is_ascii_digit()).unwrap_or(minor.len());
    let minor = minor[..digits].parse().ok()?;
    // Since 23.0 Docker's lines have a major number only.
    let counted = if product == "docker" && major >= 23 { 0 } else { minor };
    Some(Version(major, counted))
}

/// The last second of a day in UTC.
fn end_of(day: Date) -> Timestamp {
    let end = TimeZone::UTC.to_timestamp(day.at(23, 59, 59, 0));
    let second = end.ok().and_then(|end| u64::try_from(end.as_second()).ok());
    Timestamp::from_unix(second.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_795_521_600); // 2026-11-24T12:00:00Z

    #[test]
    fn a_day_ends_at_its_last_second() {
        assert_eq!(end_of(date(2026, 11, 24)).to_string(), "2026-11-24T23:59:59Z");
        assert_eq!(end_of(date(2028, 2, 29)).to_string(), "2028-02-29T23:59:59Z");
    }

    #[test]
    fn versions_as_runtimes_spell_them() {
        for (version, expected) in [
            ("1.6.20~ds1", Some(Version(1, 6))),
            ("v2.0.1", Some(Version(2, 0))),
            ("1.7.2-k3s1", Some(Version(1, 7))),
            ("1.3.7+unknown", Some(Version(1, 3))),
            ("1.7", Some(Version(1, 7))),
            ("2.1-rc.0", Some(Version(2, 1))),
            ("20.10.24+dfsg1", Some(Version(20, 10))),
            ("", None),
            ("unknown", None),
            ("1", None),
            ("1.", None),
            ("99999999999.1", None),
        ] {
            assert_eq!(line("containerd", version), expected, "{version}");
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
        assert!(matches!(of("containerd", "2.4.0"), Some(Support::Goes(_))));
        assert_eq!(of("cri-o", "1.30.2"), Some(Support::Ended));
        assert!(matches!(of("cri-o", "1.37.0"), Some(Support::Goes(_))));
        assert!(matches!(of("docker", "25.0.6"), Some(Support::Goes(_))));
        assert!(matches!(of("docker", "28.5.2"), Some(Support::EndedOn(_))));
        assert!(matches!(of("docker", "29.7.2"), Some(Support::Goes(_))));
        assert_eq!(of("frakti", "1.0.0"), None);
    }

    #[test]
    fn a_line_that_only_a_vendor_maintains_is_not_supported() {
        let day = |(year, month, day)| end_of(date(year, month, day));
        let project = day((2025, 11, 7));
        let vendor = Support::VendorOnly(project, "GKE's Kubernetes 1.33", day((2027, 3, 31)));
        for (now, expected) in [
            (day((2025, 11, 6)), Support::Goes(Some(project))),
            (day((2025, 11, 7)), vendor),
            (NOW, vendor),
            (day((2027, 3, 31)), Support::EndedOn(project)),
        ] {
            assert_eq!(support("containerd", "2.0.6", now), Some(expected), "{now}");
        }
    }

    #[test]
    fn a_version_newer_than_the_table_is_reported_as_newer() {
        for (product, version) in [("containerd", "2.5.0"), ("cri-o", "1.38.0"), ("docker", "30.0.0")] {
            assert_eq!(support(product, version, NOW), Some(Support::Newer), "{product}");
        }
    }

    #[test]
    fn the_table_is_read_whole_and_in_order() {
        let table = read(TEXT).expect("it is read");
        assert!(Day::try_from(table.as_of).is_ok());
        for (name, product) in &table.products {
            assert!(product.source.starts_with("https://"), "{name}");
            assert!(product.lines.is_sorted_by_key(|line| line.version), "{name}");
            for line in product.lines.iter().filter(|line| line.vendor.is_some()) {
                let until = line.vendor.as_ref().map(|vendor| vendor.until.0);
                assert!(until > line.project_ends.map(|end| end.0), "{name} {}", line.version);
            }
        }
        let ids: Vec<&str> = table.containerd_removals.iter().map(|removal| removal.id).collect();
        assert!(!ids.is_empty() && table.containerd_removals.iter().all(|r| Day::try_from(r.date).is_ok()));
        for cut in [
            table.cuts.without_dockershim,
            table.cuts.without_v1alpha2,
            table.cuts.with_runtime_config,
            table.cuts.without_cgroup_v1,
            table.cuts.with_getsubids,
            table.cuts.without_last_id,
        ] {
            assert!(
                cut.source.starts_with("https://") && Day::try_from(cut.date).is_ok(),
                "{cut:?}"
            );
        }
    }

    #[test]
    fn a_table_with_a_misspelt_field_is_refused() {
        for (right, wrong) in [
            ("projectEnds", "projectEnd"),
            ("2022-03-03", "2022-13-03"),
            ("\"1.4\"", "\"1.x\""),
        ] {
            let text = TEXT.replacen(right, wrong, 1).leak();
            assert!(read(text).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_version_has_a_place_in_the_table() {
        for (product, version, place_of) in [
            ("kubernetes", Version(1, 37), Place::Released),
            ("kubernetes", Version(1, 38), Place::PreRelease),
            ("kubernetes", Version(1, 39), Place::Newer),
            ("kubernetes", Version(2, 0), Place::Newer),
            ("kubernetes", Version(0, 1), Place::Older),
            ("kubernetes", Version(1, 30), Place::Released),
            ("containerd", Version(2, 4), Place::Released),
            ("cri-o", Version(1, 37), Place::Released),
            ("docker", Version(29, 0), Place::Released),
            ("docker", Version(30, 0), Place::Newer),
        ] {
            assert_eq!(place(product, version), place_of, "{product} {version}");
        }
    }

    #[test]
    fn containerd_is_upgraded_line_by_line_or_between_long_term_lines() {
        for (from, to, expected) in [
            (Version(1, 7), Version(2, 3), vec![Version(2, 3)]),
            (Version(1, 7), Version(2, 4), vec![Version(2, 3), Version(2, 4)]),
            (Version(1, 7), Version(2, 0), vec![Version(2, 0)]),
            (Version(2, 0), Version(2, 2), vec![Version(2, 1), Version(2, 2)]),
            (
                Version(2, 0),
                Version(2, 3),
                vec![Version(2, 1), Version(2, 2), Version(2, 3)],
            ),
            (Version(1, 6), Version(2, 3), vec![Version(1, 7), Version(2, 3)]),
            (Version(2, 3), Version(2, 4), vec![Version(2, 4)]),
            (Version(2, 3), Version(2, 3), vec![]),
            (Version(2, 3), Version(9, 9), vec![]),
        ] {
            assert_eq!(hops(from, to), expected, "{from} to {to}");
        }
    }
}
