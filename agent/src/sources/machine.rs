//! Which machine this is, in the words that its kubelet uses as well.
//!
//! Relies on machine-id(5). A file that cannot be read or says nothing makes an
//! identity that is not known; nothing is concluded from that.

use std::io;

use super::HostPaths;
use super::kernel::rooted::Rooted;
use super::kernel::system::read_boot_id;
use crate::model::machine::Machine;

/// Bytes of either file at most: a UUID, 32 digits.
const LIMIT: u64 = 128;

/// Reads both identities.
pub fn read_machine(host: &HostPaths) -> Machine {
    let machine_id = Rooted::open(&host.root).and_then(|root| root.read_file("/etc/machine-id", LIMIT));
    Machine {
        machine_id: identity(machine_id),
        ..read_boot(host)
    }
}

/// Reads the one that the kernel tells, which no disk holds up.
pub fn read_boot(host: &HostPaths) -> Machine {
    Machine {
        boot_id: identity(read_boot_id(&host.proc, LIMIT)),
        machine_id: None,
    }
}

/// `uninitialized` is what machine-id(5) has before the first boot.
fn identity(content: io::Result<Vec<u8>>) -> Option<String> {
    let text = String::from_utf8(content.ok()?).ok()?;
    let text = text.trim();
    (!text.is_empty() && text != "uninitialized").then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_nothing_is_not_known() {
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
