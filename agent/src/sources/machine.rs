//! The identity of this machine, by the same identifiers that its kubelet reports.
//!
//! Relies on machine-id(5). If a file cannot be read or has no ID, that ID is not known, and nothing is concluded from
//! this.

use std::io;

use super::HostPaths;
use super::kernel::rooted::Rooted;
use super::kernel::system::{read_boot_id, read_uptime};
use crate::model::disuse::BootClock;
use crate::model::machine::Machine;

/// The most bytes of either file, which has a UUID or 32 digits.
const LIMIT: u64 = 128;

/// Reads both IDs.
pub fn read_machine(host: &HostPaths) -> Machine {
    let machine_id = Rooted::open(&host.root).and_then(|root| root.read_file("/etc/machine-id", LIMIT));
    Machine {
        machine_id: identity(machine_id),
        ..read_boot(host)
    }
}

/// Reads the boot ID, which comes from the kernel, so that no disk can delay it.
pub fn read_boot(host: &HostPaths) -> Machine {
    Machine {
        boot_id: identity(read_boot_id(&host.proc, LIMIT)),
        machine_id: None,
    }
}

/// Reads the kernel's own clock; none if the boot's id or its time cannot be read.
pub fn read_clock(host: &HostPaths) -> Option<BootClock> {
    Some(BootClock {
        boot: read_boot(host).boot_id?,
        uptime: read_uptime(&host.proc)?,
    })
}

/// Parses an ID. Before the first boot machine-id(5) has `uninitialized`.
fn identity(content: io::Result<Vec<u8>>) -> Option<String> {
    let text = String::from_utf8(content.ok()?).ok()?;
    let text = text.trim();
    (!text.is_empty() && text != "uninitialized").then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_an_id_is_unknown() {
        let cases = [
            (Ok(b"4f1c6d\n".to_vec()), Some("4f1c6d")),
            (Ok(b"uninitialized\n".to_vec()), None),
            (Ok(b"\n".to_vec()), None),
            (Ok(b"\xff\xfe".to_vec()), None),
            (Err(io::ErrorKind::NotFound.into()), None),
        ];
        for (content, expected) in cases {
            assert_eq!(identity(content).as_deref(), expected);
        }
    }
}
