//! What may become part of a request's path or query.

use std::fmt::Write as _;

pub use crate::model::name::is_name;

/// `text` as a value in a query.
pub fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        // Writing to a String cannot fail.
        let _ = write!(encoded, "%{byte:02X}");
    }
    encoded
}
