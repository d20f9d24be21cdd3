//! The words of what stands in the way of an upgrade.

use super::Entry;

pub(super) const UNKNOWN_RELEASE: Entry = Entry {
    title: "castoff's table does not have this release",
    meaning: "A release that was asked for with --for is newer than castoff's dated table of releases, older than everything \
              in it, or not released yet.",
    why: "castoff knows what a release takes away from its table only. What it has found on the node stands; that it found \
          nothing more proves nothing.",
    instead: &["Upgrade castoff, or read the release notes of that version."],
    links: &["https://kubernetes.io/releases/"],
};

pub(super) const KUBELET_END_OF_LIFE: Entry = Entry {
    title: "support of this version of Kubernetes has ended",
    meaning: "The version of the kubelet that was asked for with --for gets no patches any more, by the dated table in this \
              castoff.",
    why: "It keeps nothing from starting. Security fixes no longer reach it.",
    instead: &["Choose a supported version of Kubernetes."],
    links: &["https://kubernetes.io/releases/patch-releases/"],
};

pub(super) const RUNTIME_UPGRADE_PATH: Entry = Entry {
    title: "the runtime cannot be upgraded to this release in one step",
    meaning: "containerd supports upgrades to the next minor release, and from one release with long-term support to the next \
              of its kind (1.7 to 2.3). castoff compares the release that was asked for with --for with the one that answers.",
    why: "Nobody tests other jumps: running containers may be lost, or the daemon may not read its own state.",
    instead: &["Upgrade release by release, as the finding lists them; drain the node before each step."],
    links: &["https://github.com/containerd/containerd/blob/main/RELEASES.md"],
};
