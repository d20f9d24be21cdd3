//! The decoders of untrusted bytes, each as one function of bytes, for `tests/fuzz`. Each panics if the decoder panics or breaks
//! a rule of its own. The corpora are checked in, and a unit test runs them too.

use crate::fleet::fuzzing as fleet;
use crate::model::client::ClientIdentity;
use crate::model::text::{cut_bytes, visible};
use crate::model::workload::container_name;
use crate::model::workload::{Membership, Unit};
use crate::sinks::store::fuzzing as store;
use crate::sources::kernel::diag::{Envelope, Message, Messages};
use crate::sources::kernel::{mountinfo, process, unix_table};
use crate::sources::{connects, engines, host_files, kubelet, runtime, runtime_settings};

/// A decoder: its name, which is also that of its corpus, and the function.
pub type Decoder = (&'static str, fn(&[u8]));

/// All decoders.
pub const DECODERS: [Decoder; 18] = [
    ("sock-diag", sock_diag),
    ("kernel-event", connects::fuzzing::record),
    ("request-line", connects::fuzzing::request_line),
    ("process-files", process::fuzz),
    ("unix-table", unix_table),
    ("mountinfo", mountinfo),
    ("cgroups", cgroups),
    ("names", |bytes| as_text(bytes, names)),
    ("cri-status", runtime::fuzzing::status),
    ("daemon-json", engines::fuzzing::configuration),
    ("containerd-config", runtime_settings::fuzzing::containerd_config),
    ("hosts-toml", runtime_settings::fuzzing::hosts_toml),
    ("registries-conf", runtime_settings::fuzzing::registries_conf),
    ("kubelet-yaml", |bytes| as_text(bytes, kubelet::fuzzing::configuration)),
    ("kubelet-flags", |bytes| as_text(bytes, kubelet::fuzzing::flags)),
    ("socket-unit", |bytes| as_text(bytes, host_files::fuzzing::socket_unit)),
    ("state", store::state),
    ("report", fleet::report),
];

/// Files that are not text are refused before they are decoded.
fn as_text(bytes: &[u8], decode: fn(&str)) {
    if let Ok(text) = str::from_utf8(bytes) {
        decode(text);
    }
}

/// A datagram of `sock_diag`, of Unix and of TCP sockets.
fn sock_diag(bytes: &[u8]) {
    let Some(envelope) = Envelope::of(bytes) else { return };
    let mut messages = Messages::new(bytes, envelope);
    while let Some(message) = messages.next() {
        match message {
            Ok(Message::SocketRow(row)) => {
                assert_ne!(row.inode.0, 0, "a row has an inode");
                let _ = row.icons().count();
            }
            Ok(_) => {}
            Err(_) => assert!(messages.next().is_none(), "nothing is read after an error"),
        }
    }
}

fn unix_table(bytes: &[u8]) {
    for line in bytes.split(|byte| *byte == b'\n') {
        let _ = unix_table::parse_line(line);
    }
}

fn mountinfo(bytes: &[u8]) {
    let read = mountinfo::read_mounts_from(bytes, |mount| {
        let _ = (mount.option(b"hidepid"), mountinfo::unescaped(mount.root));
        assert!(mountinfo::unescaped(mount.point).len() <= mount.point.len());
        true
    });
    read.expect("bytes in memory can be read");
}

/// Decodes control groups, also below a group that an ordinary user owns.
fn cgroups(bytes: &[u8]) {
    let _ = Membership::from_names(bytes);
    let path = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let delegated = [b"0::/delegated.service/", path].concat();
    let claimed = Membership::from_cgroups(&delegated, &|_, _| Some(1000));
    assert_eq!(claimed.pod_uid, None, "a user's group frames no pod");
    assert!(claimed.containers.iter().all(|container| container.user.is_some()));
}

/// Removes the generated parts of names. The rest is remembered, so it must stay the same when it is processed again.
fn names(text: &str) {
    let _ = container_name::lasting(Some(text), Some(text));
    let client = ClientIdentity::Host {
        unit: Some(Unit::System { name: text.to_owned() }),
        executable: text.to_owned(),
        uid: None,
    };
    let lasting = client.lasting();
    assert_eq!(lasting.clone().lasting(), lasting);
    let shown = visible(text);
    assert!(
        !shown.contains(char::is_control),
        "nothing that a terminal obeys is left"
    );
    let limit = text.len() / 2;
    assert!(cut_bytes(shown, limit).len() <= limit.max("…".len()));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_input_of_the_corpora_is_decoded() {
        let corpora = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fuzz/corpus"));
        let mut left: BTreeSet<_> = fs::read_dir(corpora)
            .expect("the corpora are checked in")
            .map(|folder| folder.expect("it can be listed").file_name())
            .collect();
        for (name, decode) in DECODERS {
            assert!(left.remove(name.as_ref() as &std::ffi::OsStr), "{name} has no corpus");
            for input in fs::read_dir(corpora.join(name)).expect("it is there") {
                let input = input.expect("it can be listed").path();
                println!("{}", input.display());
                decode(&fs::read(&input).expect("it can be read"));
            }
        }
        assert!(left.is_empty(), "corpora of no decoder: {left:?}");
    }
}
