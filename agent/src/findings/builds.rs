//! The advice for builds of images: what this node allows.

use crate::model::host::UserNamespaces;
use crate::model::reading::Reading;

/// Returns the advice for a node with these settings; none if they were not read.
///
/// Rootless BuildKit makes a user namespace, and so does Buildah without `CAP_SYS_ADMIN`, with every driver and isolation
/// (containers/storage `pkg/unshare`). Both also need system calls and mounts that the default profiles of seccomp and AppArmor
/// deny. A pod with `hostUsers: false` gets its user namespace from the runtime, so the limits of ordinary users do not apply.
pub(super) fn advice(settings: Option<&UserNamespaces>) -> String {
    let Some(settings) = settings else {
        return unknown();
    };
    if settings.limit == Reading::Known(0) {
        return "Build images with Buildah (`--storage-driver vfs --isolation chroot`) and CAP_SYS_ADMIN, or with the fork \
                osscontainertools/kaniko (kaniko is archived since June 2025). Rootless BuildKit needs user namespaces, and \
                user.max_user_namespaces is 0 on this node."
            .to_owned();
    }
    let denied = denied(settings);
    if !denied.is_empty() {
        return format!(
            "Build images with BuildKit or Buildah in a pod with `hostUsers: false`. Without it, rootless BuildKit and Buildah \
             do not work on this node while {}.",
            denied.join(" and ")
        );
    }
    let is_unread = |switch: &Reading<u64>| matches!(switch, Reading::Unknown(_));
    if settings.limit.known().is_none() || is_unread(&settings.unprivileged) || is_unread(&settings.restricted) {
        return unknown();
    }
    format!("{TOOLS}, which this node allows.{}", profiles(settings))
}

/// The tools that build without root, and their need.
const TOOLS: &str = "Build images in a pod with rootless BuildKit or Buildah (`--storage-driver vfs --isolation chroot`): they \
                     need user namespaces";

fn unknown() -> String {
    format!("{TOOLS}, and castoff could not read if this node allows them.")
}

/// Lists the switches by which ordinary users may make no user namespace.
fn denied(settings: &UserNamespaces) -> Vec<&'static str> {
    let switches = [
        (
            settings.unprivileged == Reading::Known(0),
            "kernel.unprivileged_userns_clone is 0",
        ),
        (
            matches!(settings.restricted, Reading::Known(1..)),
            "kernel.apparmor_restrict_unprivileged_userns is 1",
        ),
    ];
    let denying = switches.into_iter().filter(|(denies, _)| *denies);
    denying.map(|(_, text)| text).collect()
}

/// Names the profiles that such a pod may not have.
fn profiles(settings: &UserNamespaces) -> &'static str {
    let may_be_on = |reading: &Reading<bool>| !matches!(reading, Reading::Absent | Reading::Known(false));
    match (may_be_on(&settings.seccomp), may_be_on(&settings.apparmor)) {
        (true, true) => " Set the pod's seccomp and AppArmor profiles to Unconfined.",
        (true, false) => " Set the pod's seccomp profile to Unconfined.",
        (false, true) => " Set the pod's AppArmor profile to Unconfined.",
        (false, false) => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reading::Hides;
    use crate::model::sample::{gap, user_namespaces};

    fn unread<T>() -> Reading<T> {
        Reading::Unknown(gap(Hides::Detail))
    }

    #[test]
    fn the_advice_names_the_setting_that_stops_a_build_without_root() {
        type Change = fn(&mut UserNamespaces);
        let allowed = "which this node allows.";
        let table: [(&str, Change, &[&str]); 10] = [
            (
                "allowed",
                |_| (),
                &[allowed, "Set the pod's seccomp and AppArmor profiles to"],
            ),
            (
                "the switches are open",
                |s| (s.unprivileged, s.restricted) = (Reading::Known(1), Reading::Known(0)),
                &[allowed],
            ),
            (
                "no AppArmor",
                |s| s.apparmor = Reading::Absent,
                &[allowed, "seccomp profile to"],
            ),
            (
                "AppArmor is off",
                |s| s.apparmor = Reading::Known(false),
                &[allowed, "seccomp profile to"],
            ),
            (
                "no seccomp",
                |s| s.seccomp = Reading::Absent,
                &[allowed, "AppArmor profile to"],
            ),
            (
                "Debian's switch",
                |s| s.unprivileged = Reading::Known(0),
                &["`hostUsers: false`", "while kernel.unprivileged_userns_clone is 0."],
            ),
            (
                "Ubuntu's switch",
                |s| s.restricted = Reading::Known(1),
                &[
                    "`hostUsers: false`",
                    "while kernel.apparmor_restrict_unprivileged_userns is 1.",
                ],
            ),
            (
                "both switches",
                |s| (s.unprivileged, s.restricted) = (Reading::Known(0), Reading::Known(1)),
                &["is 0 and kernel.apparmor_restrict_unprivileged_userns is 1."],
            ),
            (
                "no namespaces",
                |s| s.limit = Reading::Known(0),
                &["CAP_SYS_ADMIN", "kaniko is archived", "user.max_user_namespaces is 0"],
            ),
            (
                "no namespaces, and the switches were not read",
                |s| (s.limit, s.unprivileged, s.restricted) = (Reading::Known(0), unread(), unread()),
                &["user.max_user_namespaces is 0"],
            ),
        ];
        for (what, change, expected) in table {
            let mut settings = user_namespaces();
            change(&mut settings);
            let advice = advice(Some(&settings));
            assert!(expected.iter().all(|part| advice.contains(part)), "{what}: {advice}");
            assert_eq!(
                advice.contains(allowed),
                expected.contains(&allowed),
                "{what}: {advice}"
            );
        }
    }

    #[test]
    fn a_setting_that_was_not_read_is_not_claimed_to_be_open() {
        let hide: [fn(&mut UserNamespaces); 4] = [
            |s| s.limit = unread(),
            |s| s.limit = Reading::Absent,
            |s| s.unprivileged = unread(),
            |s| s.restricted = unread(),
        ];
        for hide in hide {
            let mut settings = user_namespaces();
            hide(&mut settings);
            let advice = advice(Some(&settings));
            assert!(advice.contains("could not read"), "{advice}");
        }
        assert!(advice(None).contains("could not read"));
        let mut settings = user_namespaces();
        (settings.apparmor, settings.seccomp) = (unread(), unread());
        assert!(advice(Some(&settings)).contains("seccomp and AppArmor profiles"));
    }
}
