//! Separates the parts of a name that a program generated, such as a UUID or a hash, from those that a person chose.
//!
//! Decides by form alone: a part is generated if it is longer or stranger than what people write. A short number is not
//! generated: people use such numbers in names.

/// The digits of a number that is not counted by hand: dates and points in time have as many.
const NUMBER: usize = 8;

/// The minimum of hexadecimal digits of an id, one of them a digit: `deadbeef` may be a word.
const HEX: usize = 8;

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

/// True if all of `text` is decimal digits.
pub(in crate::model) fn is_decimal(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Returns the rest of a part that was generated; none if it was not.
fn kept_of(part: &str) -> Option<&str> {
    let is_long = part.len() >= LONG && part.bytes().all(|b| b.is_ascii_alphanumeric()) && has_digit(part);
    if is_long || is_hex_id(&part.to_ascii_lowercase(), HEX) {
        return Some("");
    }
    let word = part.trim_end_matches(|c: char| c.is_ascii_digit());
    (part.len() - word.len() >= NUMBER).then_some(word)
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
