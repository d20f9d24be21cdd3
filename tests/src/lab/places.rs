//! The place of a process on the machine: its user, its namespaces and its cgroup.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::Result;

use super::cgroups::UnitCgroup;

/// The UID and GID that the lab uses for an ordinary user; Debian assigns it to no user.
pub const ORDINARY_UID: u32 = 61_234;

/// The place in which a process of the host is started. The default adds nothing.
#[derive(Debug, Clone, Default)]
pub struct Place {
    ordinary_user: bool,
    user_namespace: bool,
    network_namespace: bool,
    cgroup: Option<Arc<UnitCgroup>>,
}

impl Place {
    /// Root, in the namespaces and the cgroup of the test.
    pub fn host() -> Self {
        Self::default()
    }

    /// The cgroup of a systemd unit, `/system.slice/<unit>`.
    pub fn unit(unit: &str) -> Result<Self> {
        Ok(Self::host().cgroup(UnitCgroup::make(Path::new("/system.slice").join(unit))?))
    }

    /// An ordinary user in a user namespace of its own, like a rootless client.
    pub fn rootless() -> Self {
        Self {
            ordinary_user: true,
            user_namespace: true,
            ..Self::default()
        }
    }

    /// Sets the cgroup, which lives as long as the place, its clones and the clients in them.
    #[must_use]
    pub fn cgroup(mut self, cgroup: UnitCgroup) -> Self {
        self.cgroup = Some(Arc::new(cgroup));
        self
    }

    /// Sets an ordinary user, [`ORDINARY_UID`].
    #[must_use]
    pub fn ordinary_user(mut self) -> Self {
        self.ordinary_user = true;
        self
    }

    /// Adds a user namespace of its own.
    #[must_use]
    pub fn user_namespace(mut self) -> Self {
        self.user_namespace = true;
        self
    }

    /// Adds a network namespace of its own.
    #[must_use]
    pub fn network_namespace(mut self) -> Self {
        self.network_namespace = true;
        self
    }

    /// Returns a command that runs `program` there as the process that is started: each step executes the next.
    pub fn command(&self, program: &Path) -> Command {
        let mut words: Vec<OsString> = Vec::new();
        let mut add = |more: &[&str]| words.extend(more.iter().map(OsString::from));
        if self.cgroup.is_some() {
            // The arguments before the lone dash are the cgroup directories that the process joins.
            let join = r#"while [ "$1" != - ]; do echo $$ > "$1/cgroup.procs"; shift; done; shift; exec "$@""#;
            add(&["/bin/sh", "-ec", join, "sh"]);
            for folder in self.cgroup.iter().flat_map(|cgroup| cgroup.folders()) {
                add(&[&folder.to_string_lossy()]);
            }
            add(&["-"]);
        }
        if self.network_namespace {
            // Before the user is changed, because it needs a right.
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
