//! What may become part of a request's path or query.

use std::fmt::Write as _;

/// Whether `name` can be the name of an object (RFC 1123 subdomain): what makes a path is never taken from elsewhere.
pub fn is_name(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    name.len() <= 253
        && name.bytes().all(legal)
        && ends(name.as_bytes().first())
        && ends(name.as_bytes().last())
        && !name.contains("..")
}

/// `text` as a value in a query.
pub fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        // Writing to a String cannot fail.
        let _ = write!(encoded, "%{byte:02X}");
    }
    encoded
}
