//! The right of a process's user to open a socket: connect(2) needs the right to write to it.
//!
//! Relies on `proc_pid_status(5)`, `user_namespaces(7)` and unix(7). Reports a denial only if access cannot be granted
//! by a capability over the file's owner, the mode, an access list, or a mount that maps users.

use crate::model::exposure::Access;
use crate::model::identity::ProcessKey;
use crate::sources::kernel::process::{ProcessDirectory, Status};
use crate::sources::kernel::rooted::Owner;
use crate::sources::processes::ProcessReader;

/// Bit 1 of a capability set, `CAP_DAC_OVERRIDE` of include/uapi/linux/capability.h.
const CAP_DAC_OVERRIDE: u64 = 1 << 1;

/// Judges the process's right to a socket of `owner`, reached through a mount that does not map users.
pub(super) fn judge(reader: &ProcessReader, key: ProcessKey, owner: &Owner) -> Access {
    let read = |process: ProcessDirectory| Some((process.read_status().ok()?, process.read_id_maps().ok()?));
    let Some((status, [users, groups])) = reader.open(key).ok().and_then(read) else {
        return Access::Unknown;
    };
    match Credentials::of(&status) {
        Some(credentials) => credentials.judge(owner, &users, &groups),
        None => Access::Unknown,
    }
}

/// The identity of a process for file systems.
struct Credentials {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    capabilities: u64,
}

impl Credentials {
    fn of(status: &Status) -> Option<Self> {
        let (uid, gid) = status.file_system_ids()?;
        Some(Self {
            uid,
            gid,
            groups: status.groups()?,
            capabilities: status.capabilities()?,
        })
    }

    fn judge(&self, owner: &Owner, users: &str, groups: &str) -> Access {
        let overrides = self.capabilities & CAP_DAC_OVERRIDE != 0;
        if overrides && is_mapped(users, owner.uid) && is_mapped(groups, owner.gid) {
            return Access::Allowed;
        }
        let bit = if self.uid == owner.uid {
            0o200
        } else if self.gid == owner.gid || self.groups.contains(&owner.gid) {
            0o020
        } else {
            0o002
        };
        match (owner.mode & bit != 0, owner.has_list) {
            (true, false) => Access::Allowed,
            (false, false) => Access::Denied,
            (_, true) => Access::Unknown,
        }
    }
}

/// True if an ID of castoff's user namespace exists in the process's map (`inside outside length`).
fn is_mapped(map: &str, id: u32) -> bool {
    map.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1).map(str::parse::<u64>);
        let (Some(Ok(outside)), Some(Ok(length))) = (fields.next(), fields.next()) else {
            return false;
        };
        (outside..outside.saturating_add(length)).contains(&u64::from(id))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = "         0          0 4294967295\n";
    const SHIFTED: &str = "         0     100000      65536\n";

    fn judge_by(uid: u32, groups: &[u32], capabilities: u64, map: &str, mode: u32) -> Access {
        let owner = Owner {
            uid: 0,
            gid: 998,
            mode,
            names: 1,
            has_list: false,
        };
        let credentials = Credentials {
            uid,
            gid: 1,
            groups: groups.to_vec(),
            capabilities,
        };
        credentials.judge(&owner, map, map)
    }

    #[test]
    fn access_to_the_socket_of_root_and_the_group_docker() {
        const NONE: u64 = 0;
        const USUAL: u64 = 0xa804_25fb;
        for (what, uid, groups, capabilities, map, expected) in [
            ("root", 0, &[][..], USUAL, ALL, Access::Allowed),
            ("root without capabilities owns it", 0, &[], NONE, ALL, Access::Allowed),
            ("a user", 1000, &[1000], NONE, ALL, Access::Denied),
            ("a user of the group", 1000, &[1000, 998], NONE, ALL, Access::Allowed),
            ("a user with the capability", 1000, &[], USUAL, ALL, Access::Allowed),
            ("root of a user namespace", 100_000, &[], USUAL, SHIFTED, Access::Denied),
        ] {
            assert_eq!(judge_by(uid, groups, capabilities, map, 0o140_660), expected, "{what}");
        }
        assert_eq!(
            judge_by(1000, &[], NONE, ALL, 0o140_666),
            Access::Allowed,
            "open to all"
        );
        assert_eq!(
            judge_by(0, &[], NONE, ALL, 0o140_066),
            Access::Denied,
            "the owner's bits count for the owner"
        );
    }
}
