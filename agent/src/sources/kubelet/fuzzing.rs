//! The settings of the kubelet and its distributions, for the fuzzer.

use super::flags::Flags;
use super::{embedded, files};

/// Reads a configuration.
pub(crate) fn configuration(text: &str) {
    files::fuzz(text);
}

/// Reads a file of flags.
pub(crate) fn flags(text: &str) {
    let mut flags = Flags::parse_file(text);
    flags.pass_on(text);
    let _ = flags.evidence_of_dockershim();
    flags.apply(Flags::parse(text.split('\n')));
    let passed_on = flags.of_kubelet.expect("something was passed on");
    assert_eq!(passed_on.of_kubelet, None, "a kubelet passes nothing on");
    let _ = embedded::expand(text);
}
