//! Makes any text a legal label value: at most 63 of `[A-Za-z0-9._-]`, a letter or a digit at both ends.
//!
//! Relies on the syntax that the API server checks (k8s.io/apimachinery, `IsValidLabelValue`).

/// The maximum number of characters in a label value.
pub const LIMIT: usize = 63;

/// Returns `text` as a label value; none if no character of it is allowed.
///
/// Every character that is not allowed becomes `_`, as Helm's charts do with the `+` of a version: `1.6.20~ds1` → `1.6.20_ds1`.
/// It is for selectors; the exact text is in the report.
pub fn legal(text: &str) -> Option<String> {
    let is_edge = |c: char| c.is_ascii_alphanumeric();
    let replaced: String = text
        .chars()
        .skip_while(|c| !is_edge(*c))
        .take(LIMIT)
        .map(|c| {
            if is_edge(c) || matches!(c, '.' | '-' | '_') {
                c
            } else {
                '_'
            }
        })
        .collect();
    let value = replaced.trim_end_matches(|c| !is_edge(c));
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_keep_their_legal_characters() {
        let cases = [
            ("1.7.27", Some("1.7.27")),
            ("v1.6.20", Some("v1.6.20")),
            ("1.6.20~ds1", Some("1.6.20_ds1")),
            ("1.7.11-k3s2+build.5", Some("1.7.11-k3s2_build.5")),
            ("  1.0 ", Some("1.0")),
            ("~~~", None),
            ("", None),
            ("版本", None),
            ("1.0-版", Some("1.0")),
            ("1.0\u{1b}[31m2", Some("1.0__31m2")),
            ("-rc1-", Some("rc1")),
        ];
        for (text, value) in cases {
            assert_eq!(legal(text).as_deref(), value, "{text:?}");
        }
    }

    #[test]
    fn every_result_is_legal() {
        let alphabet = [
            'a', 'Z', '7', '.', '-', '_', '+', '~', '/', ' ', '\0', 'é', '日', '\u{202e}',
        ];
        let mut state = 7_u64;
        for length in 0..400 {
            let text: String = (0..length)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    alphabet[usize::try_from(state >> 33).expect("31 bits") % alphabet.len()]
                })
                .collect();
            let Some(value) = legal(&text) else { continue };
            assert!((1..=LIMIT).contains(&value.len()), "{value}");
            assert!(
                value.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)),
                "{value}"
            );
            let ends = [value.chars().next(), value.chars().last()];
            assert!(
                ends.iter().all(|c| c.is_some_and(|c| c.is_ascii_alphanumeric())),
                "{value}"
            );
        }
    }
}
