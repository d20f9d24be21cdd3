//! Files of the host, for the fuzzer.

use super::units;

/// Reads a socket unit.
pub(crate) fn socket_unit(text: &str) {
    units::fuzz(text);
}
