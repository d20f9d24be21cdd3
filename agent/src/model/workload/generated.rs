//! Separates the parts of a name that a program generated, such as a UUID or a hash, from those that a person chose.
//!
//! Decides by form alone: a part is generated if it is longer or stranger than what people write. A short number is not
//! generated: people use such numbers in names. A point in time is generated in all the ways in which scripts write it:
//! `20261130-203015`, `2026-11-30`, `2026-11-30T20-21-17`. A date with dots is not, because versions have that form.

/// The digits of a number that is not counted by hand: dates and points in time have as many.
const NUMBER: usize = 8;

/// The minimum of hexadecimal digits of an id, one of them a digit: `deadbeef` may be a word.
const HEX: usize = 8;

/// The digits of a commit's hash as Git cuts it (`core.abbrev`), or CI systems (`CI_COMMIT_SHORT_SHA` has eight).
const COMMIT: usize = 7;

/// The minimum of letters and digits of an id, whatever its alphabet: Docker Swarm's have 25, Drone's 20, a ULID 26.
const LONG: usize = 20;

/// Lengths of the groups of a UUID.
const UUID: [usize; 5] = [8, 4, 4, 4, 12];

/// Digits that may follow a UUID without a separator: buildx numbers its nodes that way.
const AFTER_UUID: usize = 3;

/// Returns the name with every generated part replaced by `mark`, or removed with its separator if `mark` is empty. None if no
/// part of it was generated.
pub(in crate::model) fn fold(name: &str, mark: &str) -> Option<String> {
    let parts = split(name);
    let mut folded = String::with_capacity(name.len());
    let mut found = false;
    let mut at = 0;
    while let Some((separator, part)) = parts.get(at) {
        let (kept, length) = if uuid(&parts[at..]) {
            (Some(""), UUID.len())
        } else if let Some((word, length)) = point_in_time(&parts[at..]) {
            (Some(word), length)
        } else {
            (kept_of(part), 1)
        };
        at += length;
        let Some(kept) = kept else {
            folded.push_str(separator);
            folded.push_str(part);
            continue;
        };
        found = true;
        let repeated = kept.is_empty() && !mark.is_empty() && folded.ends_with(mark);
        if repeated || (kept.is_empty() && mark.is_empty()) {
            continue;
        }
        folded.push_str(separator);
        folded.push_str(kept);
        folded.push_str(mark);
    }
    let folded = if mark.is_empty() {
        folded.trim_start_matches(is_separator)
    } else {
        &folded
    };
    found.then(|| folded.to_owned())
}

/// Applies `lasting` until the name no longer changes. The remembered name of a client is judged again when it is read, and must
/// then stay the same.
pub(in crate::model) fn settle(mut name: String, lasting: fn(&str) -> Option<String>) -> String {
    while let Some(shorter) = lasting(&name) {
        name = shorter;
    }
    name
}

/// True if all of `text` is a hexadecimal id of at least `digits` digits.
pub(in crate::model) fn is_hex_id(text: &str, digits: usize) -> bool {
    let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    text.len() >= digits && text.bytes().all(hex) && has_digit(text)
}

/// True if all of `text` is a UUID in its usual form.
pub(in crate::model) fn is_uuid(text: &str) -> bool {
    let parts = split(text);
    parts.len() == UUID.len()
        && uuid(&parts)
        && parts[1..].iter().all(|(separator, _)| *separator == "-")
        && parts[UUID.len() - 1].1.len() == UUID[UUID.len() - 1]
}

/// True if all of `text` is decimal digits.
pub(in crate::model) fn is_decimal(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Returns the rest of a part that was generated; none if it was not.
fn kept_of(part: &str) -> Option<&str> {
    let is_long = part.len() >= LONG && part.bytes().all(|b| b.is_ascii_alphanumeric()) && has_digit(part);
    if is_long || is_hex_id(&part.to_ascii_lowercase(), HEX) || is_commit(part) {
        return Some("");
    }
    let word = part.trim_end_matches(|c: char| c.is_ascii_digit());
    (part.len() - word.len() >= NUMBER).then_some(word)
}

/// True for a commit's hash. It alternates between letters and digits: a word with a number behind or before it, as
/// `facade1` and the account `c123456`, is a name.
fn is_commit(part: &str) -> bool {
    let bytes = part.as_bytes();
    let changes = bytes
        .windows(2)
        .filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit());
    part.len() == COMMIT && is_hex_id(part, COMMIT) && changes.count() >= 2
}

/// Returns the word before a point in time, and the number of parts that it takes. None if the first part begins none.
fn point_in_time<'a>(parts: &[(&str, &'a str)]) -> Option<(&'a str, usize)> {
    let (date, clock) = at_clock(parts.first()?.1);
    let word = date.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = &date[word.len()..];
    let (word, days, clock) = if digits.len() == 8 && is_date(&digits[..4], &digits[4..6], &digits[6..]) {
        (word, 1, clock)
    } else {
        let [(_, year), (one, month), (other, day), ..] = parts else {
            return None;
        };
        let (day, clock) = at_clock(day);
        if one != other || !matches!(*one, "-" | "_") || !is_date(year, month, day) {
            return None;
        }
        ("", 3, clock)
    };
    let rest = &parts[days..];
    let length = match clock {
        Some(clock) => days - 1 + clock_length([clock].into_iter().chain(rest.iter().map(|(_, part)| *part)))?,
        None => days + clock_length(rest.iter().map(|(_, part)| *part)).unwrap_or(0),
    };
    Some((word, length))
}

/// Splits a part at the `T` between a date and a time of day (ISO 8601).
fn at_clock(part: &str) -> (&str, Option<&str>) {
    let digit = |c: char| c.is_ascii_digit();
    part.rsplit_once(['T', 't'])
        .filter(|(date, clock)| date.ends_with(digit) && clock.starts_with(digit))
        .map_or((part, None), |(date, clock)| (date, Some(clock)))
}

fn is_date(year: &str, month: &str, day: &str) -> bool {
    year.len() == 4
        && is_within(year, 1990, 2099)
        && month.len() == 2
        && is_within(month, 1, 12)
        && day.len() == 2
        && is_within(day, 1, 31)
}

/// Returns the number of parts that are a time of day: `203015`, `2030`, `20-30-15` or `20-30`, perhaps with a `Z`.
fn clock_length<'a>(parts: impl Iterator<Item = &'a str>) -> Option<usize> {
    let mut fields: Vec<&str> = Vec::new();
    let mut length = 0;
    for part in parts.take(3) {
        let digits = part.strip_suffix(['Z', 'z']).unwrap_or(part);
        let whole = fields.is_empty() && matches!(digits.len(), 4 | 6);
        if !is_decimal(digits) || !(whole || digits.len() == 2) {
            break;
        }
        length += 1;
        if whole {
            fields.extend((0..digits.len()).step_by(2).map(|at| &digits[at..at + 2]));
        } else {
            fields.push(digits);
        }
        if whole || digits != part {
            break;
        }
    }
    let (hour, rest) = fields.split_first()?;
    let fits = !rest.is_empty() && is_within(hour, 0, 23) && rest.iter().all(|field| is_within(field, 0, 59));
    fits.then_some(length)
}

fn is_within(digits: &str, from: u16, to: u16) -> bool {
    is_decimal(digits) && digits.parse().is_ok_and(|number: u16| (from..=to).contains(&number))
}

fn has_digit(text: &str) -> bool {
    text.bytes().any(|b| b.is_ascii_digit())
}

const fn is_separator(c: char) -> bool {
    matches!(c, '-' | '_' | '.' | ':')
}

/// Returns the parts of a name, each with the separator before it.
fn split(name: &str) -> Vec<(&str, &str)> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut separator = "";
    for (at, found) in name.match_indices(is_separator) {
        parts.push((separator, &name[start..at]));
        separator = found;
        start = at + found.len();
    }
    parts.push((separator, &name[start..]));
    parts
}

/// True if the first five parts are a UUID's.
fn uuid(parts: &[(&str, &str)]) -> bool {
    let Some(groups) = parts.get(..UUID.len()) else {
        return false;
    };
    let one_kind = groups[1..].iter().all(|(separator, _)| separator == &groups[1].0);
    let hex = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit());
    one_kind
        && groups.iter().zip(UUID).all(|((_, group), length)| {
            let Some((group, rest)) = group.split_at_checked(length) else {
                return false;
            };
            let last = length == UUID[4] && rest.len() <= AFTER_UUID && (rest.is_empty() || is_decimal(rest));
            hex(group) && (rest.is_empty() || last)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_in_time_goes_however_a_script_writes_it() {
        for (name, expected) in [
            ("backup-20261130-203015", "backup-*"),
            ("backup_20261130_2030", "backup_*"),
            ("report20261130-203015", "report*"),
            ("backup-20261130T203015Z-full", "backup-*-full"),
            ("dump-2026-11-30", "dump-*"),
            ("dump_2026-11-30", "dump_*"),
            ("dump_2026_11_30_orders", "dump_*_orders"),
            ("2026-11-30-dump", "*-dump"),
            ("report-2026-11-30T20-21-17", "report-*"),
            ("report-2026-11-30t20:21:17z", "report-*"),
            ("report-2026-11-30T202117", "report-*"),
            ("report-2026-11-30-20-21", "report-*"),
            ("report-2026-11-30_20-21-17-2", "report-*-2"),
            ("dump-2026-11-30-db-01", "dump-*-db-01"),
            ("backup-20261130-6379", "backup-*-6379"),
        ] {
            assert_eq!(fold(name, "*").as_deref(), Some(expected), "{name}");
            assert_eq!(
                fold(expected, "*").filter(|again| again != expected),
                None,
                "{expected} lasts"
            );
        }
        for name in [
            "tool-2024.01.15",
            "ubuntu-2026-11",
            "rack-2026-13-30",
            "rack-2026-11-32",
            "rack-1024-10-12",
            "rack-2026-11_30",
            "rack2026-11-30",
            "web-203015",
            "web-20-30-15",
            "host-2026-1-3",
        ] {
            assert_eq!(fold(name, "*"), None, "{name}");
        }
    }

    #[test]
    fn a_short_commit_goes_and_a_word_of_such_letters_stays() {
        for (name, expected) in [
            ("ci-1a2b3c4", "ci-*"),
            ("0c2ab1c_web", "*_web"),
            ("app.9f8e7d6", "app.*"),
        ] {
            assert_eq!(fold(name, "*").as_deref(), Some(expected), "{name}");
        }
        for name in [
            "web-facade1",
            "web-decade2",
            "user-c123456",
            "ticket-1234567",
            "lab-1000abc",
            "web-1A2B3C4",
            "x-1a2b3c",
            "nginx-1.25",
            "worker-3",
            "facade",
            "defaced",
        ] {
            assert_eq!(fold(name, "*"), None, "{name}");
        }
    }

    #[test]
    fn only_a_whole_uuid_is_one() {
        assert!(is_uuid("0c2ab1c5-7a3e-4f0e-9d3b-1f2e3d4c5b6a"));
        for other in [
            "0c2ab1c5-7a3e-4f0e-9d3b-1f2e3d4c5b6a0",
            "0c2ab1c5_7a3e_4f0e_9d3b_1f2e3d4c5b6a",
            "x-0c2ab1c5-7a3e-4f0e-9d3b-1f2e3d4c5b6a",
            "0c2ab1c5-7a3e-4f0e-9d3b-1f2e3d4c5b6a-x",
            "4f0e9d3b",
        ] {
            assert!(!is_uuid(other), "{other}");
        }
    }

    #[test]
    fn generated_parts_go_and_chosen_ones_stay() {
        let made_up = [
            ("ryuk-0c2ab1c5-7a3e-4f0e-9d3b-1f2e3d4c5b6a", "ryuk-*"),
            ("0c2ab1c5_7a3e_4f0e_9d3b_1f2e3d4c5b6a-ryuk", "*-ryuk"),
            ("b-0C2AB1C5-7A3E-4F0E-9D3B-1F2E3D4C5B6A0", "b-*"),
            ("shop-web-run-4f0e9d3b1f2e", "shop-web-run-*"),
            ("web.1.k3j4h5k2j3h4k5j2h3k4j5h6k", "web.1.*"),
            ("drone-4K2bRZ8fQxVnJ0ujVgCp", "drone-*"),
            ("backup-1712345678-1712345679", "backup-*"),
            ("buildah2814710285", "buildah*"),
            ("4f0e9d3b", "*"),
        ];
        for (name, expected) in made_up {
            assert_eq!(fold(name, "*").as_deref(), Some(expected), "{name}");
        }
        for name in [
            "backup",
            "postgresql-15-main",
            "deadbeef",
            "web_server_2",
            "redis-6379",
            "kind-control-plane",
            "a-b-c-d-e-f",
            "v1.31.4",
            "日本-1",
            "0c2ab1c5x-7a3e-4f0e-9d3b",
            "--",
            "",
        ] {
            assert_eq!(fold(name, "*"), None, "{name}");
        }
        assert_eq!(
            fold("docker-0c2ab1c5-7a3e-4f0e-9d3b-1f2e3d4c5b6a", "").as_deref(),
            Some("docker")
        );
        assert_eq!(fold("4f0e9d3b-web", "").as_deref(), Some("web"));
    }
}
