//! Tokens for castoff's agents only. The API server's pod proxy takes `Authorization` away from a request, so such a token
//! travels in a header of its own; no other service accepts it, because its audience is castoff.

use http::HeaderName;

/// The audience of such a token.
pub const AUDIENCE: &str = "castoff";
/// The header that carries it.
pub const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-castoff-token");
