use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use super::*;
use crate::model::identity::{Pid, ProcessKey};

fn named(path: &str, origin: EndpointOrigin) -> EndpointCandidate {
    EndpointCandidate {
        path: path.to_owned(),
        origin,
    }
}

fn kubelet(endpoints: Vec<EndpointCandidate>) -> Kubelet {
    Kubelet {
        program: Some("kubelet".to_owned()),
        dockershim: None,
        endpoints,
        fail_cgroup_v1: crate::model::reading::Reading::Absent,
        subordinate_ids: crate::model::reading::Reading::Absent,
        process: None,
    }
}

#[test]
fn the_first_setting_of_an_endpoint_wins() {
    let own = named("/own", EndpointOrigin::Configured);
    let flag = named(
        "/flag",
        EndpointOrigin::KubeletFlag {
            flag: "--container-runtime-endpoint".to_owned(),
        },
    );
    let file = named(
        "/file",
        EndpointOrigin::KubeletFile {
            path: "/etc/x".to_owned(),
        },
    );
    let k3s = named(K3S_CONTAINERD, EndpointOrigin::WellKnown { of: "k3s".to_owned() });
    for (configured, endpoints, expected) in [
        (Some(&own), vec![flag.clone()], Candidates::Named(own.clone())),
        (None, vec![flag.clone(), file.clone()], Candidates::Named(flag.clone())),
        (None, vec![file.clone(), k3s.clone()], Candidates::Named(file.clone())),
        (None, vec![k3s.clone()], Candidates::Known(vec![k3s.clone()])),
        (None, vec![], Candidates::Known(well_known())),
    ] {
        assert_eq!(candidates(configured, &Sighting::full(kubelet(endpoints))), expected);
    }
    assert_eq!(candidates(None, &Sighting::absent()), Candidates::Known(well_known()));
}

#[test]
fn a_kubelet_that_was_wholly_read_and_names_no_endpoint_uses_its_default() {
    let own = named("/own", EndpointOrigin::Configured);
    let seen = || Kubelet {
        process: Some(ProcessKey { pid: Pid(1), start: 1 }),
        ..kubelet(Vec::new())
    };
    let gap = Gap::new(Reason::PermissionDenied, Hides::Runtime, "a file", "EACCES");
    let cautious = Candidates::Known(well_known());
    for (what, configured, kubelet, expected) in [
        ("it is", None, Sighting::full(seen()), Candidates::Default),
        (
            "castoff's own setting",
            Some(&own),
            Sighting::full(seen()),
            Candidates::Named(own.clone()),
        ),
        (
            "it is not seen",
            None,
            Sighting::full(kubelet(Vec::new())),
            cautious.clone(),
        ),
        (
            "a file was not read",
            None,
            Sighting::partial(seen(), vec![gap]),
            cautious.clone(),
        ),
        (
            "dockershim",
            None,
            Sighting::full(Kubelet {
                dockershim: Some(true),
                ..seen()
            }),
            cautious.clone(),
        ),
        (
            "within another program",
            None,
            Sighting::full(Kubelet {
                program: Some("kubelite".to_owned()),
                ..seen()
            }),
            cautious,
        ),
    ] {
        assert_eq!(candidates(configured, &kubelet), expected, "{what}");
    }
}

#[test]
fn endpoints_are_read_in_every_notation() {
    for (endpoint, path) in [
        ("unix:///run/x.sock", "/run/x.sock"),
        ("unix:/run/x.sock", "/run/x.sock"),
        ("/run/x.sock", "/run/x.sock"),
        ("unix://run/x.sock", "unix://run/x.sock"),
        ("unix://", "unix://"),
        ("tcp://127.0.0.1:1234", "tcp://127.0.0.1:1234"),
        ("npipe:////./pipe/x", "npipe:////./pipe/x"),
        ("", ""),
    ] {
        assert_eq!(path_of(endpoint), path, "{endpoint}");
    }
}

/// Returns a host whose `/var/run` is a link to `/run`, like on most hosts.
fn host() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a temporary directory");
    for dir in ["run/containerd", "run/crio/crio.sock", "var"] {
        fs::create_dir_all(root.path().join(dir)).expect("a directory");
    }
    symlink("/run", root.path().join("var/run")).expect("a link");
    root
}

#[test]
fn a_path_that_leads_to_no_socket_gives_the_reason() {
    let root = host();
    fs::write(root.path().join("run/file"), "").expect("a file");
    symlink("gone", root.path().join("run/dangling")).expect("a link");
    for (path, reason) in [
        ("/run/crio/crio.sock", Reason::NotASocket),
        ("/run/file", Reason::NotASocket),
        ("/run/dangling", Reason::NotASocket),
        ("/run/none", Reason::NotFound),
        ("/", Reason::NotASocket),
        ("tcp://10.0.0.1:2375", Reason::NotASocket),
        ("npipe:////./pipe/containerd-containerd", Reason::NotASocket),
        ("relative/x.sock", Reason::NotASocket),
        ("", Reason::NotASocket),
    ] {
        let refused = find_socket(root.path(), named(path, EndpointOrigin::Configured)).expect_err(path);
        assert_eq!(refused.refusal.reason, reason, "{path}: {}", refused.refusal);
        assert_eq!(refused.refusal.hides, Hides::Runtime);
    }
}

#[test]
fn a_socket_with_three_names_is_asked_once_under_its_resolved_name() {
    let root = host();
    let _listener = UnixListener::bind(root.path().join("run/containerd/containerd.sock")).expect("a socket");
    symlink(
        "/run/containerd/containerd.sock",
        root.path().join("run/dockershim.sock"),
    )
    .expect("a link");
    let mut known = well_known();
    known.reverse();
    let (found, refused) = find_known(root.path(), known);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].candidate.path, "/run/containerd/containerd.sock");
    assert_eq!(found[0].canonical, Path::new("/run/containerd/containerd.sock"));
    assert_eq!(found[0].connect, root.path().join("run/containerd/containerd.sock"));
    assert!(!refused.is_empty(), "the directory at CRI-O's path is named");
}

#[test]
fn a_file_that_is_not_a_socket_is_refused_once() {
    let root = host();
    let (found, refused) = find_known(root.path(), well_known());
    assert_eq!(found, []);
    let refused: Vec<_> = refused
        .iter()
        .map(|r| (r.candidate.path.as_str(), r.refusal.reason))
        .collect();
    assert_eq!(refused, [("/run/crio/crio.sock", Reason::NotASocket)]);
}
