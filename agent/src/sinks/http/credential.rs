//! The token that a request carries: a bearer token (RFC 6750), or one that is for agents only, in a header of its own.

use axum::http::{HeaderMap, HeaderName, header};
use ring::digest::{Context, SHA256};
use serde_json::{Value, json};

use crate::apiserver::audience::{AUDIENCE, TOKEN_HEADER};

/// The maximum size of a token in bytes, as large as the head of a request.
const TOKEN: usize = 8 << 10;

/// A token, and the audience that it must have; none: the API server's own.
#[derive(Clone, Copy)]
pub(super) struct Credential<'a> {
    token: &'a str,
    audience: Option<&'static str>,
}

impl<'a> Credential<'a> {
    /// Reads the token of a request. A request that has the header for agents is judged by it alone.
    pub(super) fn of(headers: &'a HeaderMap) -> Option<Self> {
        let (text, audience) = if headers.contains_key(TOKEN_HEADER) {
            (only(headers, &TOKEN_HEADER)?, Some(AUDIENCE))
        } else {
            let (scheme, token) = only(headers, &header::AUTHORIZATION)?.split_once(' ')?;
            (scheme.eq_ignore_ascii_case("bearer").then_some(token)?, None)
        };
        let token = text.trim();
        is_plausible(token).then_some(Self { token, audience })
    }

    /// Returns a digest that differs between the headers: the same token may be accepted in one and not in the other.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        context.update(self.audience.unwrap_or_default().as_bytes());
        context.update(b"\n");
        context.update(self.token.as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        bytes
    }

    /// Returns the `TokenReview` to create.
    pub(super) fn review(&self) -> Value {
        let mut spec = json!({ "token": self.token });
        if let Some(audience) = self.audience {
            spec["audiences"] = json!([audience]);
        }
        json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec })
    }

    /// True if the token has the required audience. An API server that does not know audiences names none.
    pub(super) fn is_for(&self, audiences: &[String]) -> bool {
        self.audience
            .is_none_or(|wanted| audiences.iter().any(|audience| audience == wanted))
    }
}

/// Returns the value of the header, if there is exactly one.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut given = headers.get_all(name).iter();
    let (one, None) = (given.next()?, given.next()) else {
        return None;
    };
    one.to_str().ok()
}

/// A text that cannot be a token is not sent to the API server.
fn is_plausible(token: &str) -> bool {
    let plausible = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=:".contains(&b);
    (1..=TOKEN).contains(&token.len()) && token.bytes().all(plausible)
}
