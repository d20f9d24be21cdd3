//! What the kubelet and its distributions are told, for the fuzzer.

use super::flags::Flags;
use super::{embedded, files};

/// Reads a configuration.
pub(crate) fn configuration(text: &str) {
    files::fuzz(text);
}

/// Reads a file of flags.
pub(crate) fn flags(text: &str) {
    let mut flags = Flags::parse_file(text);
    flags.hand_on(text);
    let _ = flags.evidence_of_dockershim();
    flags.lay_over(Flags::parse(text.split('\n')));
    let handed_on = flags.of_kubelet.expect("something was handed on");
    assert_eq!(handed_on.of_kubelet, None, "a kubelet hands nothing on");
    let _ = embedded::expand(text);
}
