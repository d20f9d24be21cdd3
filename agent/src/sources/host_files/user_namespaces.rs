//! The settings of the kernel on which builds of images without root depend.
//!
//! Relies on namespaces(7) and `proc_sys_kernel(5)`, on the switches that Debian's and Ubuntu's kernels add, and on the
//! parameters of the module `apparmor`.

use std::fs;
use std::path::Path;

use crate::model::host::UserNamespaces;
use crate::model::reading::{Gap, Hides, Reading, Reason};
use crate::sources::HostPaths;
use crate::sources::kernel::refusal::{self, Right, is_missing};
use crate::sources::kernel::rooted::Rooted;

/// The file with `Y` if AppArmor is on, below the host's root.
const APPARMOR: &str = "/sys/module/apparmor/parameters/enabled";

/// The list of a filter's actions, which a kernel without filters does not have.
const SECCOMP: &str = "sys/kernel/seccomp/actions_avail";

/// Reads the settings.
pub(super) fn read(host: &HostPaths) -> UserNamespaces {
    UserNamespaces {
        limit: read_number(&host.proc, "sys/user/max_user_namespaces"),
        unprivileged: read_number(&host.proc, "sys/kernel/unprivileged_userns_clone"),
        restricted: read_number(&host.proc, "sys/kernel/apparmor_restrict_unprivileged_userns"),
        apparmor: read_apparmor(host),
        seccomp: read_text(&host.proc, SECCOMP).map(|actions| !actions.trim().is_empty()),
    }
}

fn read_number(proc: &Path, name: &str) -> Reading<u64> {
    read_text(proc, name).and_then(|text| match text.trim().parse() {
        Ok(number) => Reading::Known(number),
        Err(error) => Reading::Unknown(Gap::new(Reason::Malformed, Hides::Detail, name, error)),
    })
}

/// Reads a setting. Absent if the kernel has none of that name.
fn read_text(proc: &Path, name: &str) -> Reading<String> {
    match fs::read_to_string(proc.join(name)) {
        Ok(text) => Reading::Known(text),
        Err(error) if is_missing(&error) => Reading::Absent,
        Err(error) => Reading::Unknown(refusal::gap(&error, Hides::Detail, name, Right::Root)),
    }
}

fn read_apparmor(host: &HostPaths) -> Reading<bool> {
    match Rooted::open(&host.root).and_then(|root| root.read_file(APPARMOR, 16)) {
        Ok(content) => Reading::Known(content.starts_with(b"Y")),
        Err(error) if is_missing(&error) => Reading::Absent,
        Err(error) => Reading::Unknown(refusal::gap(&error, Hides::Detail, APPARMOR, Right::Root)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::sources::recorded::RecordedHost;

    fn set(host: &RecordedHost, name: &str, content: &str) {
        let path = host.paths().proc.join("sys").join(name);
        fs::create_dir_all(path.parent().expect("it is below procfs")).expect("directories can be made");
        fs::write(path, content).expect("a file can be written");
    }

    #[test]
    fn each_setting_is_read_and_a_missing_one_is_absent() {
        let host = RecordedHost::new();
        let none = UserNamespaces {
            limit: Reading::Absent,
            unprivileged: Reading::Absent,
            restricted: Reading::Absent,
            apparmor: Reading::Absent,
            seccomp: Reading::Absent,
        };
        assert_eq!(read(&host.paths()), none);
        set(&host, "user/max_user_namespaces", "63542\n");
        set(&host, "kernel/unprivileged_userns_clone", "0\n");
        set(&host, "kernel/apparmor_restrict_unprivileged_userns", "1\n");
        set(&host, "kernel/seccomp/actions_avail", "kill_process allow\n");
        host.file(APPARMOR, "Y\n");
        let all = UserNamespaces {
            limit: Reading::Known(63_542),
            unprivileged: Reading::Known(0),
            restricted: Reading::Known(1),
            apparmor: Reading::Known(true),
            seccomp: Reading::Known(true),
        };
        assert_eq!(read(&host.paths()), all);
        host.file(APPARMOR, "N\n");
        assert_eq!(read(&host.paths()).apparmor, Reading::Known(false));
    }

    #[test]
    fn a_setting_that_cannot_be_understood_is_unknown() {
        let host = RecordedHost::new();
        set(&host, "user/max_user_namespaces", "many\n");
        set(&host, "kernel/unprivileged_userns_clone/file", "");
        let read = read(&host.paths());
        assert_eq!(read.limit.gap().map(|gap| gap.reason), Some(Reason::Malformed));
        assert!(matches!(read.unprivileged, Reading::Unknown(_)), "{read:?}");
    }
}
