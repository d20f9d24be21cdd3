use super::*;

#[test]
fn text_is_bounded_and_can_be_printed() {
    for (bytes, text) in [
        (b"plain".to_vec(), "plain".to_owned()),
        (b"a\x1b[2J\nb\0".to_vec(), "a\u{fffd}[2J\u{fffd}b\u{fffd}".to_owned()),
        (b"\xff\xfe".to_vec(), "\u{fffd}\u{fffd}".to_owned()),
        (vec![b'x'; 1 << 20], "x".repeat(TEXT_MAX)),
        // 512 bytes end in the middle of a three-byte character.
        ("€".repeat(1000).into_bytes(), "€".repeat(TEXT_MAX / 3)),
        (Vec::new(), String::new()),
    ] {
        assert_eq!(printable(&bytes), text);
    }
}

#[test]
fn only_valid_ids_are_kept() {
    for (bytes, is_id) in [
        (b"3f0a".to_vec(), true),
        (b"".to_vec(), false),
        (b"a b".to_vec(), false),
        (b"a\n".to_vec(), false),
        (b"\xff".to_vec(), false),
        (vec![b'a'; TEXT_MAX + 1], false),
    ] {
        assert_eq!(id(bytes.clone()).is_some(), is_id, "{bytes:?}");
    }
}

fn with_mounts(paths: impl IntoIterator<Item = Vec<u8>>) -> v1::ContainerStatusResponse {
    let mounts = paths.into_iter().map(|host_path| v1::Mount {
        host_path,
        container_path: b"/x".to_vec(),
        readonly: true,
    });
    v1::ContainerStatusResponse {
        status: Some(v1::ContainerStatus {
            id: b"c".to_vec(),
            mounts: mounts.collect(),
        }),
    }
}

#[test]
fn one_bad_mount_makes_all_mounts_unknown() {
    let paths = [b"/run".to_vec(), Vec::new(), b"/with\nline".to_vec()];
    let Reading::Known(kept) = mounts(with_mounts(paths)) else {
        panic!("these paths can be");
    };
    let kept: Vec<_> = kept.iter().map(|m| m.host_path.as_str()).collect();
    assert_eq!(
        kept,
        ["/run", "/with\nline"],
        "an image's mount has no path on the host"
    );
    for (answer, reason) in [
        (with_mounts([b"/run".to_vec(), b"/\xff".to_vec()]), Reason::Malformed),
        (with_mounts([vec![b'/'; PATH_MAX + 1]]), Reason::Malformed),
        (with_mounts(vec![b"/run".to_vec(); PARTS_MAX + 1]), Reason::LimitReached),
        (v1::ContainerStatusResponse::default(), Reason::ProtocolError),
    ] {
        assert_eq!(
            mounts(answer).gap().map(|g| (g.reason, g.hides)),
            Some((reason, Hides::Exposure))
        );
    }
}

#[test]
fn a_long_list_is_truncated_with_a_gap() {
    let items = (0..LISTED_MAX + 10).map(|nth| v1::PodSandbox {
        id: format!("{nth}").into_bytes(),
        metadata: Some(v1::PodSandboxMetadata {
            name: b"pod".to_vec(),
            uid: Vec::new(),
            namespace: b"ns".to_vec(),
        }),
        state: v1::PodSandboxState::SandboxNotready as i32,
        ..v1::PodSandbox::default()
    });
    let seen = pods(v1::ListPodSandboxResponse { items: items.collect() }, None);
    let kept = seen.reading.known().expect("a list");
    assert!(kept.len() == LISTED_MAX && kept.iter().all(|p| !p.ready));
    assert_eq!(
        seen.gaps.iter().map(|g| g.reason).collect::<Vec<_>>(),
        [Reason::LimitReached]
    );
}

#[test]
fn a_driver_that_castoff_does_not_know_is_unknown() {
    for (driver, expected) in [
        (0, Some(CgroupDriver::Systemd)),
        (1, Some(CgroupDriver::Cgroupfs)),
        (7, None),
    ] {
        let linux = Some(v1::LinuxRuntimeConfiguration { cgroup_driver: driver });
        let reading = cgroup_driver(v1::RuntimeConfigResponse { linux });
        assert_eq!(reading.known().copied(), expected);
        assert_ne!(reading, Reading::Absent);
    }
}

#[test]
fn only_containers_that_run_are_listed_as_running() {
    use v1::ContainerState as S;
    let states = [
        S::ContainerCreated,
        S::ContainerRunning,
        S::ContainerExited,
        S::ContainerUnknown,
    ];
    let all = states.map(|state| v1::Container {
        id: state.as_str_name().into(),
        state: state.into(),
        ..v1::Container::default()
    });
    let answer = v1::ListContainersResponse { containers: all.into() };
    let (seen, _) = containers(answer, &Sighting::full(Vec::new()));
    let kept: Vec<_> = seen
        .reading
        .known()
        .expect("a list")
        .iter()
        .map(|c| c.id.0.as_str())
        .collect();
    assert_eq!(
        (kept, seen.gaps.len()),
        (vec!["CONTAINER_RUNNING"], 0),
        "what does not run is no gap"
    );
}

#[test]
fn silenced_deprecations_are_named_in_a_gap() {
    let gap_for = |config: &str| {
        let entry = v1::status_response::InfoEntry {
            key: b"config".to_vec(),
            value: config.as_bytes().to_vec(),
        };
        let answer = v1::StatusResponse {
            info: vec![entry],
            ..v1::StatusResponse::default()
        };
        gap_of_silenced(&silenced_deprecations(&answer))
    };
    let ids = r#"["io.containerd.deprecation/a","io.containerd.deprecation/b"]"#;
    let gap = gap_for(&format!(r#"{{"registry":{{}},"ignoreDeprecationWarnings":{ids}}}"#)).expect("they are silenced");
    assert_eq!((gap.reason, gap.hides), (Reason::DependsOnAnother, Hides::Detail));
    let said = gap.to_string();
    assert!(
        said.contains("io.containerd.deprecation/a, io.containerd.deprecation/b"),
        "{said}"
    );
    for none in [
        "{}",
        r#"{"ignoreDeprecationWarnings":null}"#,
        r#"{"ignoreDeprecationWarnings":[]}"#,
        "[crio]",
    ] {
        assert_eq!(gap_for(none), None, "{none}");
    }
}
