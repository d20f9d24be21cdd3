//! Where on the machine a process is started: as whom, in which namespaces, in which cgroup.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::Result;

use super::cgroups::UnitCgroup;

/// The uid (and gid) that the lab uses for an ordinary user; Debian gives it to nobody.
pub const ORDINARY_UID: u32 = 61_234;

/// Where a process of the host is started; plain by default.
#[derive(Debug, Clone, Default)]
pub struct Place {
    ordinary_user: bool,
    user_namespace: bool,
    network_namespace: bool,
    cgroup: Option<Arc<UnitCgroup>>,
}

impl Place {
    /// As root, in the namespaces and the cgroup of the test.
    pub fn host() -> Self {
        Self::default()
    }

    /// In the cgroup of a systemd unit, `/system.slice/<unit>`.
    pub fn unit(unit: &str) -> Result<Self> {
        Ok(Self::host().cgroup(UnitCgroup::make(Path::new("/system.slice").join(unit))?))
    }

    /// As an ordinary user in a user namespace of its own, as a rootless client runs.
    pub fn rootless() -> Self {
        Self {
            ordinary_user: true,
            user_namespace: true,
            ..Self::default()
        }
    }

    /// In this cgroup, which lives as long as the place, its clones and the clients in them.
    #[must_use]
    pub fn cgroup(mut self, cgroup: UnitCgroup) -> Self {
        self.cgroup = Some(Arc::new(cgroup));
        self
    }

    /// As an ordinary user, [`ORDINARY_UID`].
    #[must_use]
    pub fn ordinary_user(mut self) -> Self {
        self.ordinary_user = true;
        self
    }

    /// In a user namespace of its own.
    #[must_use]
    pub fn user_namespace(mut self) -> Self {
        self.user_namespace = true;
        self
    }

    /// In a network namespace of its own.
    #[must_use]
    pub fn network_namespace(mut self) -> Self {
        self.network_namespace = true;
        self
    }

    /// A command that runs `program` there, as the very process that is started: every step executes the next.
    pub fn command(&self, program: &Path) -> Command {
        let mut words: Vec<OsString> = Vec::new();
        let mut add = |more: &[&str]| words.extend(more.iter().map(OsString::from));
        if self.cgroup.is_some() {
            // Up to the lone dash come the folders whose cgroup the process joins.
            let join = r#"while [ "$1" != - ]; do echo $$ > "$1/cgroup.procs"; shift; done; shift; exec "$@""#;
            add(&["/bin/sh", "-ec", join, "sh"]);
            for folder in self.cgroup.iter().flat_map(|cgroup| cgroup.folders()) {
                add(&[&folder.to_string_lossy()]);
            }
            add(&["-"]);
        }
        if self.network_namespace {
            // Before the user is changed, for it takes a right.
            add(&["unshare", "--net", "--"]);
        }
        if self.ordinary_user {
            let (uid, gid) = (format!("--reuid={ORDINARY_UID}"), format!("--regid={ORDINARY_UID}"));
            add(&["setpriv", &uid, &gid, "--clear-groups", "--"]);
        }
        if self.user_namespace {
            add(&["unshare", "--user", "--map-root-user", "--"]);
        }
        words.push(program.into());
        let mut words = words.into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_place_adds_nothing() {
        let command = Place::host().command(Path::new("/client"));
        assert_eq!(command.get_program(), "/client");
        assert_eq!(command.get_args().count(), 0);
    }

    #[test]
    fn rights_are_dropped_after_they_are_needed() {
        let command = Place::rootless().network_namespace().command(Path::new("/client"));
        let words: Vec<_> = command
            .get_args()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        assert_eq!(command.get_program(), "unshare");
        assert_eq!(
            words,
            [
                "--net",
                "--",
                "setpriv",
                "--reuid=61234",
                "--regid=61234",
                "--clear-groups",
                "--",
                "unshare",
                "--user",
                "--map-root-user",
                "--",
                "/client"
            ],
        );
    }
}
