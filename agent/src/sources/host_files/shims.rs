//! Containers whose shim is no longer on the disk.
//!
//! Relies on containerd@v1.6 to v2.4 `core/runtime/v2`: the bundle of each container and sandbox has a file with the
//! path of its shim, and containerd executes that file when it loads the container again.

use std::collections::BTreeMap;
use std::io;

use crate::model::host::OrphanedShim;
use crate::model::reading::{Gap, Hides, Reading, Reason};
use crate::sources::kernel::refusal::{self, Right, is_missing};
use crate::sources::kernel::rooted::Rooted;

/// The directories of containerd's state: in its own packages, k3s and rke2, k0s, microk8s.
const STATES: [&str; 4] = [
    "/run/containerd",
    "/run/k3s/containerd",
    "/run/k0s/containerd",
    "/var/snap/microk8s/common/run/containerd",
];

/// The directory of the bundles of the kubelet's containers, below a state.
const BUNDLES: &str = "io.containerd.runtime.v2.task/k8s.io";

/// The file of a bundle with the path of the shim.
const SHIM: &str = "shim-binary-path";

/// The most bundles that are read. The kubelet's default is 110 pods.
const BUNDLES_MAX: usize = 4096;

/// The limit of a path in Linux, in bytes.
const PATH_MAX: u64 = 4096;

/// Finds such containers. Absent if no containerd has its state here.
pub(super) fn find_orphaned(root: &Rooted) -> Reading<Vec<OrphanedShim>> {
    let mut shims: BTreeMap<String, u32> = BTreeMap::new();
    let mut is_there = false;
    for state in STATES {
        let directory = format!("{state}/{BUNDLES}");
        match add_shims(root, &directory, &mut shims) {
            Ok(there) => is_there |= there,
            Err(gap) => return Reading::Unknown(gap),
        }
    }
    if !is_there {
        return Reading::Absent;
    }
    let mut orphaned = Vec::new();
    for (path, bundles) in shims {
        match root.read_identity(&path) {
            Ok(_) => {}
            Err(error) if is_missing(&error) => orphaned.push(OrphanedShim { path, bundles }),
            Err(error) => return Reading::Unknown(gap_of(&error, &path)),
        }
    }
    Reading::Known(orphaned)
}

/// Counts the bundles of one directory by their shims. Returns false if there is no such directory.
fn add_shims(root: &Rooted, directory: &str, shims: &mut BTreeMap<String, u32>) -> Result<bool, Gap> {
    let mut bundles = Vec::new();
    let read = root.read_names(directory, |name| {
        bundles.push(name.to_owned());
        bundles.len() <= BUNDLES_MAX
    });
    match read {
        Ok(()) if bundles.len() > BUNDLES_MAX => {
            let answer = format!("more than {BUNDLES_MAX} containers");
            return Err(Gap::new(Reason::LimitReached, Hides::Detail, directory, answer));
        }
        Ok(()) => {}
        Err(error) if is_missing(&error) => return Ok(false),
        Err(error) => return Err(gap_of(&error, directory)),
    }
    for bundle in bundles {
        let path = format!("{directory}/{bundle}/{SHIM}");
        match root.read_file(&path, PATH_MAX) {
            Ok(shim) => {
                let shim = String::from_utf8_lossy(&shim).trim().to_owned();
                if shim.starts_with('/') {
                    *shims.entry(shim).or_default() += 1;
                }
            }
            // The bundle is gone, or its containerd does not write the file.
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(gap_of(&error, &path)),
        }
    }
    Ok(true)
}

fn gap_of(error: &io::Error, asked: &str) -> Gap {
    refusal::gap(error, Hides::Detail, asked, Right::Root)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_missing_shim_is_found_with_its_containers() {
        let host = tempfile::tempdir().expect("a directory");
        let root = Rooted::open(host.path()).expect("opened");
        assert_eq!(find_orphaned(&root), Reading::Absent);
        let bundle = |state: &str, id: &str, shim: &str| {
            let bundle = host.path().join(state).join(BUNDLES).join(id);
            fs::create_dir_all(&bundle).expect("made");
            fs::write(bundle.join(SHIM), shim).expect("written");
        };
        fs::create_dir_all(host.path().join("opt/bin")).expect("made");
        fs::write(host.path().join("opt/bin/shim"), "").expect("written");
        bundle("run/containerd", "aa", "/opt/bin/shim");
        bundle("run/containerd", "bb", "shim");
        assert_eq!(find_orphaned(&root), Reading::Known(Vec::new()));
        bundle("run/k3s/containerd", "cc", "/var/lib/rancher/rke2/data/v1.30/bin/shim");
        bundle(
            "run/k3s/containerd",
            "dd",
            "/var/lib/rancher/rke2/data/v1.30/bin/shim\n",
        );
        fs::create_dir_all(host.path().join("run/k3s/containerd").join(BUNDLES).join("ee")).expect("made");
        let orphaned = OrphanedShim {
            path: "/var/lib/rancher/rke2/data/v1.30/bin/shim".to_owned(),
            bundles: 2,
        };
        assert_eq!(find_orphaned(&root), Reading::Known(vec![orphaned]));
        fs::create_dir_all(host.path().join("run/containerd").join(BUNDLES).join("ff").join(SHIM)).expect("made");
        assert!(
            matches!(find_orphaned(&root), Reading::Unknown(_)),
            "a directory tells nothing"
        );
    }
}
