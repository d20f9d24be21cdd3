//! The configuration of an engine, for the fuzzer.

use super::settings;

/// Reads a `daemon.json` and the hosts in it.
pub(crate) fn configuration(bytes: &[u8]) {
    settings::fuzz(bytes);
}
