//! Runs one of castoff's decoders in libFuzzer: the one in `CASTOFF_FUZZ`. `tests/tiers/fuzz` runs it for each.

// `main` is libFuzzer's own there. Any other build has no libFuzzer.
#![cfg_attr(fuzzing, no_main)]

#[cfg(not(fuzzing))]
use std::process::ExitCode;
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

/// Says how to get a program that fuzzes.
#[cfg(not(fuzzing))]
fn main() -> ExitCode {
    eprintln!("castoff-fuzz was built without libFuzzer; `tests/run fuzz` builds it with that and runs it");
    ExitCode::FAILURE
}
