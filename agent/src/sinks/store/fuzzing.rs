//! The state file, for the fuzzer.

use super::document::{decode, encode};

/// Reads a state file. Its history must be the same after it is written and read again.
pub(crate) fn state(bytes: &[u8]) {
    let Ok(history) = decode(bytes) else { return };
    let written = encode(&history).expect("what was read is no larger than what may be written");
    let again = decode(&written).expect("castoff reads what it writes");
    assert_eq!(encode(&again).expect("it was written before"), written);
}
