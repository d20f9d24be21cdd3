use std::path::PathBuf;

use super::*;
use crate::model::engine::EngineKind;
use crate::model::identity::{FileIdentity, SocketInode};
use crate::model::kubelet::{EndpointCandidate, EndpointOrigin};
use crate::model::socket::ListeningFile;

fn socket(named: &str, canonical: &str, inode: u64, has_other_names: bool) -> FoundSocket {
    FoundSocket {
        candidate: EndpointCandidate {
            path: named.to_owned(),
            origin: EndpointOrigin::Configured,
        },
        canonical: PathBuf::from(canonical),
        connect: PathBuf::from(canonical),
        identity: FileIdentity::from_stat(25, inode),
        has_other_names,
    }
}

fn seen(whole: bool) -> ListeningFiles {
    let file = |inode, name: &str, engine| ListeningFile {
        file: FileIdentity::from_stat(25, inode),
        socket: SocketInode(70),
        name: name.to_owned(),
        engine,
    };
    ListeningFiles {
        files: vec![
            file(1, "engine.sock", Some(EngineKind::Dockerd)),
            file(2, "containerd.sock", None),
            file(3, "custom.sock", None),
            file(4, "api.sock", Some(EngineKind::Podman)),
        ],
        whole,
    }
}

#[test]
fn a_socket_that_may_be_an_engines_is_not_opened() {
    const CONTAINERD: &str = "/run/containerd/containerd.sock";
    for (named, canonical, inode, whole, reason) in [
        (CONTAINERD, CONTAINERD, 2, true, None),
        ("/run/custom.sock", "/run/custom.sock", 3, true, None),
        // the engine's file under another name: a hard link or a bind mount
        (CONTAINERD, CONTAINERD, 1, true, Some(Reason::ProtocolError)),
        (CONTAINERD, CONTAINERD, 4, false, Some(Reason::ProtocolError)),
        // by name, whatever program listens, and through a link
        (
            "/run/docker.sock",
            "/run/docker.sock",
            3,
            true,
            Some(Reason::ProtocolError),
        ),
        (
            "/run/cri.sock",
            "/run/podman/podman.sock",
            3,
            true,
            Some(Reason::ProtocolError),
        ),
        (
            "/run/docker.sock",
            "/srv/custom.sock",
            3,
            true,
            Some(Reason::ProtocolError),
        ),
        // no program was seen to listen: it may have started a moment later, or run on another machine
        (CONTAINERD, CONTAINERD, 9, true, Some(Reason::ConnectionRefused)),
        // listeners that could not be seen
        (CONTAINERD, CONTAINERD, 9, false, None),
        (
            "/run/custom.sock",
            "/run/custom.sock",
            9,
            false,
            Some(Reason::DependsOnAnother),
        ),
        (
            "/run/custom.sock",
            "/run/custom.sock",
            3,
            false,
            Some(Reason::DependsOnAnother),
        ),
    ] {
        let refused = refuse(&socket(named, canonical, inode, false), &seen(whole)).map(|(reason, _)| reason);
        assert_eq!(refused, reason, "{named} {canonical} {inode} {whole}");
    }
    let hard_link = socket(CONTAINERD, CONTAINERD, 9, true);
    assert_eq!(
        refuse(&hard_link, &seen(false)).map(|(reason, _)| reason),
        Some(Reason::DependsOnAnother)
    );
}

#[test]
fn a_file_is_matched_if_the_kernel_reports_another_device_than_stat() {
    let mut found = socket("/srv/engine.sock", "/srv/engine.sock", 1, false);
    found.identity = FileIdentity::from_stat(99, 1);
    assert!(refuse(&found, &seen(true)).is_some());
    found.canonical = PathBuf::from("/srv/other.sock");
    found.identity = FileIdentity::from_stat(99, 3);
    assert_eq!(
        refuse(&found, &seen(true)).map(|(reason, _)| reason),
        Some(Reason::ConnectionRefused),
        "the inode alone tells nothing"
    );
}
