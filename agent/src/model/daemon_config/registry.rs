//! Registries and their endpoints.

/// The name under which runtimes configure Docker Hub.
pub const DOCKER_HUB: &str = "docker.io";

/// A server that a runtime asks for the images of one registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `SCHEME://HOST[:PORT][/PATH]`, or without the scheme where the runtime chooses it.
    pub url: String,
    /// True if the runtime uses plain HTTP, or does not check the certificate.
    pub unverified: bool,
}

impl Endpoint {
    /// Makes an endpoint from a URL of a configuration, without user and password.
    pub fn new(url: &str, skips_check: bool) -> Self {
        let url = without_user(url);
        Self {
            unverified: skips_check || url.starts_with("http://"),
            url,
        }
    }

    /// True if this is the server at `url`. The scheme counts if both have one.
    pub fn is_at(&self, url: &str) -> bool {
        let [(own, own_rest), (other, other_rest)] = [split(&self.url), split(url)];
        own_rest == other_rest && (own.is_none() || other.is_none() || own == other)
    }

    /// True if this is a server of the registry `host`, which may have a port.
    pub fn is_of(&self, host: &str) -> bool {
        let (_, rest) = split(&self.url);
        rest.split('/').next() == Some(host.to_ascii_lowercase().as_str())
    }
}

/// Returns the URL without user, password and query. If a character that is not allowed in them makes it unclear where the
/// host begins, the host and the path are left out too.
pub fn without_user(url: &str) -> String {
    let is_scheme = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => (format!("{scheme}://"), rest),
        Some(_) if url.contains('@') => return String::new(),
        _ => (String::new(), url),
    };
    let (authority, after) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if after.contains('@') {
        return scheme;
    }
    let (_, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let path = after.split(['?', '#']).next().unwrap_or_default();
    format!("{scheme}{host}{path}")
}

/// Splits a URL in its scheme and the rest, in lower case and without what all registries have at the end.
fn split(url: &str) -> (Option<String>, String) {
    let url = url.to_ascii_lowercase();
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (Some(scheme.to_owned()), rest),
        None => (None, url.as_str()),
    };
    let rest = rest.trim_end_matches('/');
    let rest = rest.strip_suffix("/v2").unwrap_or(rest);
    let usual = match scheme.as_deref() {
        Some("http") => ":80",
        Some("https") => ":443",
        _ => "",
    };
    (scheme, rest.strip_suffix(usual).unwrap_or(rest).to_owned())
}

/// True if a registry is a range of addresses, which only Docker knows.
pub fn is_range(registry: &str) -> bool {
    registry.contains('/')
}

/// True for a registry on the machine itself.
pub fn is_local(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    host == "localhost" || host.starts_with("127.") || registry.starts_with("[::1]") || registry == "::1"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_user_nor_password_nor_token_is_kept() {
        for (given, kept) in [
            ("https://mirror.test", "https://mirror.test"),
            ("https://user:p@ss@mirror.test:5000/hub", "https://mirror.test:5000/hub"),
            ("user:secret@mirror.test/v2", "mirror.test/v2"),
            ("https://mirror.test/v2/?token=secret", "https://mirror.test/v2/"),
            ("https://mirror.test/a@b", "https://"),
            ("https://mirror.test?token=secret", "https://mirror.test"),
            ("https://user:pass?word@mirror.test", "https://"),
            ("https://mirror.test?token=sec@ret", "https://"),
            ("https://user:pass?wo/rd@mirror.test", "https://"),
            ("https://mirror.test?token=sec/ret", "https://mirror.test"),
            ("http:?to//ken@mirror.test", ""),
            ("https://user:pass/word@mirror.test", "https://"),
            ("user:pass://word@mirror.test", ""),
            ("https://[::1]:5000/hub", "https://[::1]:5000/hub"),
            ("ht@tps://user:secret@mirror.test", ""),
            ("htt[ps://mirror.test", "htt[ps://mirror.test"),
            ("", ""),
        ] {
            assert_eq!(without_user(given), kept, "{given}");
        }
    }

    #[test]
    fn one_server_is_spelt_in_several_ways() {
        for (of_runtime, of_docker, same) in [
            ("https://mirror.test", "https://mirror.test/", true),
            ("https://Mirror.test:443/v2", "https://mirror.test", true),
            ("http://mirror.test:80", "http://mirror.test", true),
            ("mirror.test", "http://mirror.test", true),
            ("http://mirror.test", "https://mirror.test", false),
            ("https://mirror.test:5000", "https://mirror.test", false),
            ("https://mirror.test/hub", "https://mirror.test", false),
        ] {
            assert_eq!(
                Endpoint::new(of_runtime, false).is_at(of_docker),
                same,
                "{of_runtime} {of_docker}"
            );
        }
    }

    #[test]
    fn plain_http_and_a_skipped_check_are_unverified() {
        assert!(Endpoint::new("http://a.test:5000", false).unverified);
        assert!(Endpoint::new("https://a.test", true).unverified);
        assert!(!Endpoint::new("https://a.test", false).unverified);
        assert!(Endpoint::new("http://a.test:5000/v2", false).is_of("A.test:5000"));
        assert!(!Endpoint::new("http://a.test:5000", false).is_of("a.test"));
    }

    #[test]
    fn local_registries_and_ranges_are_known() {
        for (registry, local, range) in [
            ("localhost:5000", true, false),
            ("127.0.0.1", true, false),
            ("[::1]:5000", true, false),
            ("localhost.test", false, false),
            ("10.0.0.0/8", false, true),
        ] {
            assert_eq!((is_local(registry), is_range(registry)), (local, range), "{registry}");
        }
    }
}
