//! The answers of a runtime, for the fuzzer.

use castoff_cri::v1;

use super::convert::{deprecations, gap_of_silenced, printable, silenced_deprecations};

/// Reads the verbose part of a status, which is JSON: the deprecated uses, and the configuration that leaves some out.
pub(crate) fn status(bytes: &[u8]) {
    let condition = v1::RuntimeCondition {
        r#type: b"ContainerdHasNoDeprecationWarnings".to_vec(),
        status: false,
        reason: bytes.to_vec(),
        message: bytes.to_vec(),
    };
    let config = v1::status_response::InfoEntry {
        key: b"config".to_vec(),
        value: bytes.to_vec(),
    };
    let answer = v1::StatusResponse {
        status: Some(v1::RuntimeStatus {
            conditions: vec![condition],
        }),
        info: vec![config],
    };
    let _ = deprecations(&answer);
    let _ = gap_of_silenced(&silenced_deprecations(&answer));
    assert!(
        !printable(bytes).contains(char::is_control),
        "a runtime's text reaches no terminal raw"
    );
}
