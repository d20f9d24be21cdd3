//! Runs one of castoff's decoders in libFuzzer: the one in `CASTOFF_FUZZ`. `tests/tiers/fuzz` runs it for each.

#![no_main]

use std::sync::OnceLock;

use castoff::fuzzing::DECODERS;
use libfuzzer_sys::fuzz_target;

static DECODE: OnceLock<fn(&[u8])> = OnceLock::new();

fuzz_target!(init: {
    let wanted = std::env::var("CASTOFF_FUZZ").unwrap_or_default();
    let decoder = DECODERS.iter().find(|(name, _)| *name == wanted);
    let known: Vec<_> = DECODERS.iter().map(|(name, _)| *name).collect();
    let (_, decode) = decoder.unwrap_or_else(|| panic!("CASTOFF_FUZZ names none of {}", known.join(" ")));
    DECODE.get_or_init(|| *decode);
}, |bytes: &[u8]| {
    if let Some(decode) = DECODE.get() {
        decode(bytes);
    }
});
