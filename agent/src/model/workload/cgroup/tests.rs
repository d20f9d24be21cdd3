use super::parse as parse_owned;
use super::*;
use crate::model::workload::Unit;

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa0a";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb1b";
const DASHES: &str = "0c2ab1c5-7a3e-4f0e-9d3b-1f2e3d4c5b6a";
const UNDERSCORES: &str = "0c2ab1c5_7a3e_4f0e_9d3b_1f2e3d4c5b6a";
const STATIC: &str = "7a2c1e0f9b8d4c6e5f3a2b1c0d9e8f7a";

/// Parses a file whose groups are all root's.
fn parse(file: &[u8]) -> Membership {
    parse_owned(file, &|_, _| Some(0), None)
}

/// The expected result of a path, in short: `manager:A manager:B pod <uid>` or a unit.
fn said(membership: &Membership) -> String {
    let mut words: Vec<String> = membership
        .containers
        .iter()
        .map(|c| {
            let id = match c.id.0.as_str() {
                A => "A",
                B => "B",
                other => other,
            };
            let user = c.user.map(|uid| format!(" of {uid}")).unwrap_or_default();
            format!("{}:{id}{user}", c.manager)
        })
        .collect();
    if let Some(uid) = &membership.pod_uid {
        let uid = match uid.as_str() {
            DASHES => "U",
            STATIC => "S",
            other => other,
        };
        words.push(format!("pod {uid}"));
    }
    if let Some(unit) = &membership.unit {
        words.push(match unit {
            Unit::System { name } => format!("system {name}"),
            Unit::User { uid, name } => format!("user {uid} {}", name.replace(A, "{A}")),
            Unit::Session { uid } => format!("session {uid}"),
        });
    }
    words.join(" ")
}

/// Expands a path: `{A}` and `{B}` are container ids, `{U}` and `{_}` a pod's uid with dashes and underscores, `{S}` a static
/// pod's hash.
fn path(short: &str) -> String {
    short
        .replace("{A}", A)
        .replace("{B}", B)
        .replace("{U}", DASHES)
        .replace("{_}", UNDERSCORES)
        .replace("{S}", STATIC)
}

#[test]
fn every_form_of_path() {
    #[rustfmt::skip]
    let table = [
        // containerd, CRI-O and Docker below a kubelet with systemd's driver, each class of service
        ("/kubepods.slice/kubepods-pod{_}.slice/cri-containerd-{A}.scope", "cri-containerd:A pod U"),
        ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{_}.slice/cri-containerd-{A}.scope", "cri-containerd:A pod U"),
        ("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{_}.slice/crio-{A}.scope", "cri-o:A pod U"),
        ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{_}.slice/docker-{A}.scope", "docker:A pod U"),
        ("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{S}.slice/cri-containerd-{A}.scope", "cri-containerd:A pod S"),
        // the same with the cgroupfs driver
        ("/kubepods/pod{U}/{A}", "unnamed:A pod U"),
        ("/kubepods/burstable/pod{U}/{A}", "unnamed:A pod U"),
        ("/kubepods/besteffort/pod{S}/{A}", "unnamed:A pod S"),
        ("/kubepods/burstable/pod{U}/crio-{A}", "cri-o:A pod U"),
        ("/custom-root/kubepods/burstable/pod{U}/{A}", "unnamed:A pod U"),
        // the pod's own group, which holds no container yet
        ("/kubepods/burstable/pod{U}", "pod U"),
        // CRI-O: a sandbox's group has no .scope; a monitor is no container; crun's child group
        ("/kubepods.slice/kubepods-pod{_}.slice/crio-{A}", "cri-o:A pod U"),
        ("/kubepods.slice/kubepods-pod{_}.slice/crio-conmon-{A}.scope", "pod U"),
        ("/kubepods.slice/kubepods-pod{_}.slice/crio-{A}.scope/container", "cri-o:A pod U"),
        ("/system.slice/crio-conmon-{A}.scope", "system system.slice"),
        // the kubelet uses systemd's driver, the runtime cgroupfs
        ("/system.slice/containerd.service/kubepods-burstable-pod{_}.slice:cri-containerd:{A}", "cri-containerd:A pod U"),
        ("/kubepods-besteffort-pod{_}.slice:crio:{A}", "cri-o:A pod U"),
        ("/system.slice:docker:{A}", "docker:A"),
        ("/kubepods-pod{_}.slice:crio-conmon:{A}", "pod U"),
        // engines outside Kubernetes
        ("/system.slice/docker-{A}.scope", "docker:A"),
        ("/docker/{A}", "docker:A"),
        ("/docker/{A}/init", "docker:A"),
        ("/my-parent/{A}", "unnamed:A"),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{A}.scope", "docker:A of 1000 user 1000 docker-{A}.scope"),
        ("/machine.slice/libpod-{A}.scope", "podman:A"),
        ("/machine.slice/libpod-{A}.scope/container", "podman:A"),
        ("/machine.slice/libpod-{A}.scope/libpod-payload-{A}", "podman:A"),
        ("/system.slice/web.service/libpod-payload-{A}", "podman:A"),
        ("/machine.slice/libpod-conmon-{A}.scope", "system machine.slice"),
        ("/machine.slice/machine-libpod_pod_{B}.slice/libpod-{A}.scope/container", "podman:A"),
        ("/libpod_parent/{B}/libpod-{A}", "podman:A"),
        ("/libpod_parent/libpod-{A}", "podman:A"),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{A}.scope/container", "podman:A of 1000 user 1000 libpod-{A}.scope"),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-conmon-{A}.scope", "user 1000 user.slice"),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/nerdctl-{A}.scope", "nerdctl:A of 1000 user 1000 nerdctl-{A}.scope"),
        ("/system.slice/nerdctl-{A}.scope", "nerdctl:A"),
        // names that an ordinary user gave to groups of his own; root's own manager is root's
        ("/user.slice/user-1000.slice/user@1000.service/cri-containerd-{A}.scope", "cri-containerd:A of 1000 user 1000 cri-containerd-{A}.scope"),
        ("/user.slice/user-1000.slice/user@1000.service/kubepods.slice/kubepods-pod{_}.slice/cri-containerd-{A}.scope", "cri-containerd:A of 1000 user 1000 cri-containerd-{A}.scope"),
        ("/user.slice/user-1000.slice/user@1000.service/kubepods/burstable/pod{U}/{A}", "unnamed:A of 1000 system user@1000.service"),
        ("/user.slice/user-1000.slice/user@1000.service/kubepods-pod{_}.slice:cri-containerd:{A}", "cri-containerd:A of 1000 system user@1000.service"),
        ("/user.slice/user-1000.slice/user@1000.service/kubepods/pod{U}", "system user@1000.service"),
        ("/../../user@1000.service/docker/{A}/docker/{B}", "docker:A of 1000 docker:B of 1000 system user@1000.service"),
        ("/user.slice/user-0.slice/user@0.service/user.slice/libpod-{A}.scope", "podman:A"),
        ("/kubepods/pod{U}/{A}/user.slice/user-1000.slice/user@1000.service/docker-{B}.scope", "unnamed:A docker:B pod U"),
        ("/default/{A}", "unnamed:A"),
        ("/ecs/7a2c1e0f9b8d4c6e5f3a2b1c0d9e8f7a/7a2c1e0f9b8d4c6e5f3a2b1c0d9e8f7a-2531612879", "unnamed:7a2c1e0f9b8d4c6e5f3a2b1c0d9e8f7a-2531612879"),
        ("/garden/0c2ab1c5-7a3e-4f0e-9d3b-1f2e", "unnamed:0c2ab1c5-7a3e-4f0e-9d3b-1f2e"),
        // nested: kind, Docker in a pod, k3d in a pod; outermost first
        ("/docker/{A}/kubelet/kubepods/besteffort/pod{U}/{B}", "docker:A unnamed:B pod U"),
        ("/docker/{A}/docker/{A}/kubelet/kubepods/pod{U}/{B}", "docker:A unnamed:B pod U"),
        ("/system.slice/docker-{A}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{_}.slice/cri-containerd-{B}.scope", "docker:A cri-containerd:B pod U"),
        ("/kubepods.slice/kubepods-pod{_}.slice/cri-containerd-{A}.scope/docker/{B}", "cri-containerd:A docker:B pod U"),
        ("/kubepods/burstable/pod{U}/{A}/k3s/kubepods/pod{S}/{B}", "unnamed:A unnamed:B pod U"),
        // systemd inside a container: its units are not the host's
        ("/system.slice/docker-{A}.scope/init.scope", "docker:A"),
        ("/system.slice/docker-{A}.scope/system.slice/sshd.service", "docker:A"),
        ("/kubepods/pod{U}/{A}/user.slice/user-0.slice/session-3.scope", "unnamed:A pod U"),
        ("/lxc.payload.web/system.slice/nginx.service", ""),
        ("/lxc/web/init.scope", ""),
        ("/machine.slice/systemd-nspawn@web.service/payload/system.slice/nginx.service", "system systemd-nspawn@web.service"),
        // seen from another control group namespace
        ("/../../kubepods-burstable.slice/kubepods-burstable-pod{_}.slice/cri-containerd-{A}.scope", "cri-containerd:A pod U"),
        ("/../cri-containerd-{A}.scope", "cri-containerd:A"),
        ("/../../../system.slice/docker.service", "system docker.service"),
        ("/../../../../user.slice/user-1000.slice/session-4.scope", "session 1000"),
        ("/../session-4.scope", ""),
        ("/../../../..", ""),
        ("/..", ""),
        // units
        ("/", ""),
        ("", ""),
        ("/init.scope", "system init.scope"),
        ("/system.slice/docker.service", "system docker.service"),
        ("/system.slice/k3s.service", "system k3s.service"),
        ("/system.slice/ssh.service (deleted)", "system ssh.service"),
        ("/system.slice/system-getty.slice/getty@tty1.service", "system getty@tty1.service"),
        (r"/system.slice/system-my\x2dagent.slice/my\x2dagent@a\x2db.service", r"system my\x2dagent@a\x2db.service"),
        ("/system.slice/foo.service/worker.scope", "system foo.service"),
        ("/system.slice/docker.socket", "system docker.socket"),
        ("/system.slice", "system system.slice"),
        ("/system.slice/var-lib-docker-overlay2-{A}-merged.mount", "system system.slice"),
        ("/system.slice/var-lib-docker-containers-{A}.mount", "system system.slice"),
        ("/user.slice/user-1000.slice/session-3.scope", "session 1000"),
        ("/user.slice/user-0.slice/session-c1.scope", "session 0"),
        ("/user.slice/user-1000.slice/user-runtime-dir@1000.service", "system user-runtime-dir@1000.service"),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/docker.service", "user 1000 docker.service"),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/app-a.slice/app-a-b@c.service", "user 1000 app-a-b@c.service"),
        ("/user.slice/user-1000.slice/user@1000.service/init.scope", "user 1000 init.scope"),
        ("/user.slice/user-1000.slice/user@1000.service/session.slice", "user 1000 session.slice"),
        ("/user.slice/user-1000.slice/user@1000.service", "system user@1000.service"),
        ("/user.slice/user-1000.slice", "system user-1000.slice"),
        // of no container, pod or unit
        ("/process_api/b8f5c9f5956fc1e8cab458cef1c8cf6f", ""),
        ("/kubepods/podinfo/web", ""),
        ("/system.slice/foo-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA0A.scope", "system foo-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA0A.scope"),
        ("/docker/{A}0", ""),
        ("/docker/zaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa0a", ""),
    ];
    for (short, expected) in table {
        let file = format!("0::{}\n", path(short));
        assert_eq!(said(&parse(file.as_bytes())), expected, "{short}");
    }
}

#[test]
fn the_line_that_names_a_container_is_chosen() {
    #[rustfmt::skip]
    let table: [(&[&str], &str); 10] = [
        // version 1
        (&["12:memory:/kubepods/pod{U}/{A}", "3:cpu,cpuacct:/kubepods/pod{U}/{A}", "1:name=systemd:/kubepods/pod{U}/{A}"], "unnamed:A pod U"),
        (&["4:memory:/system.slice", "1:name=systemd:/system.slice/foo.service", "0::/"], "system foo.service"),
        // hybrid: the unified line may be the root, or mirror systemd's
        (&["9:name=systemd:/docker/{A}", "0::/"], "docker:A"),
        (&["9:name=systemd:/user.slice/user-7.slice/session-1.scope", "4:memory:/user.slice", "0::/user.slice/user-7.slice/session-1.scope"], "session 7"),
        (&["4:memory:/docker/{A}", "0::/system.slice/containerd.service"], "docker:A"),
        // Docker in Docker on version 1: the inner engine has no systemd hierarchy to make its group in
        (&["4:memory:/docker/{A}/docker/{B}", "1:name=systemd:/docker/{A}", "0::/docker/{A}"], "docker:A docker:B"),
        // beside hierarchies of other programs
        (&["9:name=systemd:/", "4:memory:/process_api/b8f5c9f5956fc1e8cab458cef1c8cf6f", "0::/"], ""),
        (&["9:name=systemd:/", "4:memory:/kubepods/pod{U}/{A}", "1:cpu:/", "0::/"], "unnamed:A pod U"),
        // a user's own part of one hierarchy, however deep, and a container that the user could not make
        (&["1:name=systemd:/user.slice/user-7.slice/user@7.service/docker/{B}/docker/{A}", "4:memory:/docker/{A}"], "docker:A"),
        // no systemd hierarchy at all: any line
        (&["4:memory:/", "2:pids:/system.slice/foo.service"], "system foo.service"),
    ];
    for (lines, expected) in table {
        assert_eq!(said(&parse(path(&lines.join("\n")).as_bytes())), expected, "{lines:?}");
    }
}

/// A service with `User=` and `Delegate=` owns its group, and names the groups below it.
#[test]
fn a_group_that_a_user_owns_frames_neither_a_pod_nor_another_user() {
    #[rustfmt::skip]
    let table: [(&[&str], &str); 9] = [
        (&["0::/system.slice/ci.service/kubepods/pod{U}/{A}"], "unnamed:A of 1001 system ci.service"),
        (&["0::/system.slice/ci.service/kubepods.slice/kubepods-pod{_}.slice/cri-containerd-{A}.scope"], "cri-containerd:A of 1001 system ci.service"),
        (&["0::/system.slice/ci.service/pod{U}"], "system ci.service"),
        (&["0::/system.slice/ci.service/user-1000.slice/docker-{A}.scope"], "docker:A of 1001 system ci.service"),
        (&["0::/../../system.slice/ci.service/kubepods/pod{U}/{A}"], "unnamed:A of 1001 system ci.service"),
        // each hierarchy has owners of its own, and a group outside the user's part outweighs one inside
        (&["4:memory:/docker/{B}", "1:name=systemd:/system.slice/ci.service/docker/{A}"], "docker:B"),
        (&["4:memory:/system.slice/ci.service/docker/{A}"], "docker:A"),
        // root's service, and what is within a container
        (&["0::/system.slice/containerd.service/kubepods-pod{_}.slice:cri-containerd:{A}"], "cri-containerd:A pod U"),
        (&["0::/kubepods/pod{U}/{A}/docker/{B}"], "unnamed:A docker:B pod U"),
    ];
    let owner = |controllers: &[u8], group: &[u8]| {
        let group = String::from_utf8_lossy(group);
        let is_his = controllers != b"memory" && group.starts_with("/system.slice/ci.service");
        let is_mapped = group.starts_with(&path("/kubepods/pod{U}/{A}"));
        Some(if is_his {
            1001
        } else if is_mapped {
            100_000
        } else {
            0
        })
    };
    for (lines, expected) in table {
        let file = path(&lines.join("\n"));
        assert_eq!(said(&parse_owned(file.as_bytes(), &owner, None)), expected, "{lines:?}");
    }
}

/// A user may own a slice, and its groups then have the names that he likes.
#[test]
fn the_systems_unit_ends_at_the_outermost_group_that_a_user_owns() {
    #[rustfmt::skip]
    let table = [
        ("/ci.slice/kubelet.service", "system ci.slice"),
        ("/root.slice/ci.slice/kubelet.service", "system ci.slice"),
        ("/ci.slice/ci-a.slice/kubelet.service", "system ci.slice"),
        ("/ci.slice/user-1000.slice/session-3.scope", "system ci.slice"),
        ("/ci.slice/user@1000.service/app.slice/docker.service", "system ci.slice"),
        ("/ci.slice/kubepods/pod{U}/{A}", "unnamed:A of 1001 system ci.slice"),
        ("/../../ci.slice/kubelet.service", "system ci.slice"),
        // a slice of his below root's own manager
        ("/user.slice/user-0.slice/user@0.service/ci.slice/kubelet.service", "user 0 ci.slice"),
        // the name of the group itself is root's, whoever owns it
        ("/root.slice/ci.service/kubelet.service", "system ci.service"),
        ("/root.slice/kubelet.service", "system kubelet.service"),
        ("/ci.slice", "system ci.slice"),
        // a group that systemd gives to the manager of a user
        ("/user.slice/user-1001.slice/user@1001.service/app.slice/docker.service", "user 1001 docker.service"),
        ("/user.slice/user-0.slice/user@0.service/app.slice/docker.service", "user 0 docker.service"),
    ];
    let his = [
        "/ci.slice",
        "/root.slice/ci.",
        "/user.slice/user-1001.slice/user@",
        "/user.slice/user-0.slice/user@0.service/ci.slice",
    ];
    let owner = |_: &[u8], group: &[u8]| {
        let group = String::from_utf8_lossy(group);
        Some(if his.iter().any(|at| group.starts_with(at)) {
            1001
        } else {
            0
        })
    };
    for (short, expected) in table {
        let file = format!("0::{}\n", path(short));
        assert_eq!(said(&parse_owned(file.as_bytes(), &owner, None)), expected, "{short}");
    }
}

/// The user may have removed his groups since the kernel recorded them.
#[test]
fn a_group_that_is_gone_gives_a_process_that_has_ended_no_unit_below_it() {
    #[rustfmt::skip]
    let table = [
        ("/root.slice/ci.slice/kubelet.service", "system kubelet.service", "system ci.slice"),
        ("/root.slice/ci.service", "system ci.service", "system ci.service"),
        // the slice of a user goes with his last session
        ("/user.slice/user-1001.slice/session-3.scope", "session 1001", "session 1001"),
        ("/user.slice/user-1001.slice/user@1001.service/a.service", "user 1001 a.service", "user 1001 a.service"),
        ("/user.slice/user-1001.slice/user-0.slice/session-3.scope", "session 1001", "system user-1001.slice"),
        ("/user.slice/user-1001.slice/user@0.service/a.service", "user 0 a.service", "system user-1001.slice"),
        ("/user.slice/user-1001.slice/kubelet.service", "system kubelet.service", "system user-1001.slice"),
    ];
    let gone = ["/root.slice/ci.", "/user.slice/user-1001.slice"];
    let owner = |_: &[u8], group: &[u8]| {
        let group = String::from_utf8_lossy(group);
        (!gone.iter().any(|at| group.starts_with(at))).then_some(0)
    };
    for (path, live, ended) in table {
        let file = format!("0::{path}");
        assert_eq!(said(&parse_owned(file.as_bytes(), &owner, None)), live, "{path}");
        assert_eq!(said(&parse_owned(file.as_bytes(), &owner, Some(1001))), ended, "{path}");
    }
}

#[test]
fn few_owners_are_read_for_a_unit() {
    let read = std::cell::RefCell::new(Vec::new());
    let owner = |_: &[u8], group: &[u8]| {
        read.borrow_mut().push(String::from_utf8_lossy(group).into_owned());
        Some(0)
    };
    for (path, groups) in [
        ("/init.scope", &[][..]),
        ("/system.slice/docker.service/a/b", &["/system.slice"]),
        ("/lxc/web/init.scope", &[]),
        ("/system.slice/a/b", &[]),
        (
            "/user.slice/user-7.slice/user@7.service/app.slice/a.service",
            &["/user.slice", "/user.slice/user-7.slice"],
        ),
    ] {
        parse_owned(format!("0::{path}").as_bytes(), &owner, None);
        assert_eq!(read.take(), groups, "{path}");
    }
}

#[test]
fn a_user_names_no_slice_of_another_below_his_own() {
    let file = path("0::/user.slice/user-1001.slice/user@1001.service/user-1000.slice/docker-{A}.scope");
    let containers = parse(file.as_bytes()).containers;
    assert_eq!(containers.first().and_then(|c| c.user), Some(1001));
}

#[test]
fn hostile_bytes_place_no_process_and_harm_nothing() {
    let long = format!("0::/{}\n", "x".repeat(1 << 20));
    let deep = format!("0::{}", format!("/docker/{A}/docker/{B}").repeat(8000));
    let escape = format!("0::{}/docker/{A}", "/..".repeat(300_000));
    assert_eq!(said(&parse(long.as_bytes())), "");
    assert_eq!(parse(deep.as_bytes()).containers.len(), NESTING_LIMIT);
    assert_eq!(said(&parse(escape.as_bytes())), "docker:A");
    for file in [
        &b""[..],
        b"\n\n",
        b":",
        b"::",
        b"0:",
        b"0:/x",
        b"0::",
        b"0::\xff\xfe/\xff.scope",
        b"\0\0",
        b"1:2:3:4:5",
    ] {
        let _ = parse(file);
    }
    assert_eq!(
        said(&parse(b"0::/system.slice/caf\xe9.service")),
        "system caf\u{fffd}.service"
    );
    let cut = path("0::/kubepods/pod{U}/{A}");
    for end in 0..cut.len() {
        assert_eq!(parse(&cut.as_bytes()[..end]).containers, [], "a cut id is no id");
    }
}
