//! The part of a label's key before the name, which identifies the owner of the labels.

use std::fmt;

/// A DNS subdomain and a slash: `castoff.dev/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(String);

/// The reason why a text is not a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// It does not have the form that the API server accepts.
    #[error("not a DNS subdomain of at most 253 characters such as castoff.dev/")]
    NotASubdomain,
    /// It is reserved for Kubernetes.
    #[error("kubernetes.io and k8s.io belong to Kubernetes (other than node-restriction.kubernetes.io)")]
    Reserved,
}

impl Prefix {
    /// Parses a prefix, with or without the slash.
    pub fn parse(text: &str) -> Result<Self, PrefixError> {
        let domain = text.strip_suffix('/').unwrap_or(text);
        if domain.len() > 253 || !domain.split('.').all(is_dns_label) {
            return Err(PrefixError::NotASubdomain);
        }
        let under = |parent: &str| {
            domain
                .strip_suffix(parent)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        // The one domain there that administrators may use, and that a kubelet may not: it cannot forge these labels.
        let restricted = under("node-restriction.kubernetes.io");
        if !restricted && (under("kubernetes.io") || under("k8s.io")) {
            return Err(PrefixError::Reserved);
        }
        Ok(Self(format!("{domain}/")))
    }

    /// The full key of `name`.
    pub fn key(&self, name: &str) -> String {
        format!("{}{name}", self.0)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// RFC 1123.
fn is_dns_label(part: &str) -> bool {
    let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
    (1..=63).contains(&part.len())
        && part.as_bytes().iter().all(inner)
        && !part.starts_with('-')
        && !part.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_that_the_api_server_would_refuse_is_refused() {
        let long = format!("{}.dev/", "a".repeat(250));
        let deep = format!("{}dev", "a.".repeat(126));
        let cases = [
            ("castoff.dev/", Ok("castoff.dev/")),
            ("castoff.dev", Ok("castoff.dev/")),
            ("docker.platform-9.example", Ok("docker.platform-9.example/")),
            ("node-restriction.kubernetes.io/", Ok("node-restriction.kubernetes.io/")),
            (
                "castoff.node-restriction.kubernetes.io",
                Ok("castoff.node-restriction.kubernetes.io/"),
            ),
            ("notkubernetes.io", Ok("notkubernetes.io/")),
            ("kubernetes.io/", Err(PrefixError::Reserved)),
            ("feature.node.kubernetes.io", Err(PrefixError::Reserved)),
            ("k8s.io", Err(PrefixError::Reserved)),
            ("castoff.k8s.io", Err(PrefixError::Reserved)),
            ("", Err(PrefixError::NotASubdomain)),
            ("/", Err(PrefixError::NotASubdomain)),
            ("Castoff.dev", Err(PrefixError::NotASubdomain)),
            ("castoff.dev//", Err(PrefixError::NotASubdomain)),
            ("castoff.dev/x", Err(PrefixError::NotASubdomain)),
            ("castoff..dev", Err(PrefixError::NotASubdomain)),
            ("-castoff.dev", Err(PrefixError::NotASubdomain)),
            ("cast off.dev", Err(PrefixError::NotASubdomain)),
            ("castöff.dev", Err(PrefixError::NotASubdomain)),
            (&long, Err(PrefixError::NotASubdomain)),
            (&deep, Err(PrefixError::NotASubdomain)),
        ];
        for (text, prefix) in cases {
            assert_eq!(
                Prefix::parse(text).map(|p| p.to_string()),
                prefix.map(str::to_owned),
                "{text}"
            );
        }
    }
}
