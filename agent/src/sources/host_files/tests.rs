use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::sources::recorded::RecordedHost;

fn left_overs(host: &RecordedHost) -> Vec<String> {
    let sighting = read_host_files(&host.paths(), None);
    assert_eq!(sighting.gaps, []);
    let files = sighting.reading.known().expect("the root is readable").clone();
    match files.left_overs {
        Reading::Known(found) => found.iter().map(|l| format!("{} {}", l.kind, l.path)).collect(),
        Reading::Absent => Vec::new(),
        Reading::Unknown(gap) => panic!("{gap}"),
    }
}

fn link(host: &RecordedHost, path: &str, target: &str) {
    let path = host.paths().root.join(path.trim_start_matches('/'));
    fs::create_dir_all(path.parent().expect("it is below the root")).expect("directories can be made");
    symlink(target, path).expect("a link can be made");
}

#[test]
fn the_version_follows_the_kubelets_rule() {
    let hybrid =
        "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 c rw\n";
    let unified = "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    let covered = format!("{hybrid}{unified}");
    for (mounts, expected) in [
        (hybrid, Reading::Known(CgroupVersion::V1)),
        (unified, Reading::Known(CgroupVersion::V2)),
        (&covered, Reading::Known(CgroupVersion::V2)),
        ("22 27 0:21 / /proc rw - proc proc rw\n", Reading::Absent),
    ] {
        let host = RecordedHost::new();
        host.process(1, 0, "systemd").file("mountinfo", mounts);
        assert_eq!(read_cgroup_version(&host.paths()), expected, "{mounts}");
    }
}

#[test]
fn a_directory_that_is_not_a_hosts_root_hides_the_runtime() {
    let host = RecordedHost::new();
    for entry in ["etc", "run", "usr", "var"] {
        fs::remove_dir_all(host.paths().root.join(entry))
            .or_else(absent)
            .expect("it can be removed");
    }
    let gaps = read_host_files(&host.paths(), None).gaps;
    assert_eq!(
        gaps.iter().map(|g| (g.reason, g.hides)).collect::<Vec<_>>(),
        [(Reason::NotFound, Hides::Runtime)]
    );
    let made_by_a_runtime = [
        "etc/hosts",
        "etc/hostname",
        "etc/resolv.conf",
        "run/secrets",
        "var/run/secrets",
        "var/lib/castoff",
    ];
    for folder in made_by_a_runtime {
        fs::create_dir_all(host.paths().root.join(folder)).expect("a fresh directory");
    }
    assert_eq!(read_host_files(&host.paths(), None).gaps.len(), 1);
    fs::create_dir(host.paths().root.join("run/systemd")).expect("a fresh directory");
    assert_eq!(read_host_files(&host.paths(), None).gaps, []);
}

fn absent(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound {
        Ok(())
    } else {
        Err(error)
    }
}

#[test]
fn unreadable_files_may_hide_an_installed_engine() {
    let host = RecordedHost::new();
    // Links that form a loop replace files that may not be read.
    link(&host, "/usr/bin/dockerd", "/usr/bin/dockerd");
    link(&host, "/etc/docker/daemon.json", "/etc/docker/daemon.json");
    let files = read_host_files(&host.paths(), None);
    let left_overs = files.reading.known().map(|files| files.left_overs.gap().cloned());
    let gaps = files.gaps.iter().cloned().chain(left_overs.flatten());
    assert_eq!(
        gaps.map(|g| (g.asked, g.hides))
            .collect::<std::collections::BTreeMap<_, _>>(),
        std::collections::BTreeMap::from([
            ("/etc/docker/daemon.json".to_owned(), Hides::Detail),
            ("/usr/bin/dockerd".to_owned(), Hides::Engine),
        ])
    );
}

#[test]
fn the_version_comes_from_castoffs_own_mounts_if_inits_are_hidden() {
    let host = RecordedHost::new();
    assert_eq!(
        read_cgroup_version(&host.paths()).gap().map(|g| g.reason),
        Some(Reason::NotFound)
    );
    host.process(9, 1, "castoff")
        .file("mountinfo", "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    symlink("9", host.paths().proc.join("self")).expect("a link can be made");
    assert_eq!(read_cgroup_version(&host.paths()), Reading::Known(CgroupVersion::V2));
}

#[test]
fn all_left_overs_of_docker_are_found() {
    let host = RecordedHost::new();
    host.file("/usr/bin/dockerd", "");
    host.file("/lib/systemd/system/docker.service", "[Unit]\n");
    host.file("/lib/systemd/system/docker.socket", "[Unit]\n");
    link(
        &host,
        "/etc/systemd/system/multi-user.target.wants/docker.service",
        "/lib/systemd/system/docker.service",
    );
    link(
        &host,
        "/etc/systemd/system/sockets.target.wants/docker.socket",
        "/lib/systemd/system/docker.socket",
    );
    host.file("/data/docker/overlay2/l/x", "");
    link(&host, "/var/lib/docker", "/data/docker");
    host.file("/etc/docker/daemon.json", r#"{"data-root": "/srv/docker"}"#);
    host.file("/srv/docker/engine-id", "x");
    assert_eq!(
        left_overs(&host),
        [
            "binary /usr/bin/dockerd",
            "enabled-unit /etc/systemd/system/multi-user.target.wants/docker.service",
            "enabled-unit /etc/systemd/system/sockets.target.wants/docker.socket",
            "data /srv/docker",
            "data /var/lib/docker",
            "configuration /etc/docker/daemon.json",
        ]
    );
}

#[test]
fn files_that_only_look_like_dockers_are_not_left_overs() {
    let host = RecordedHost::new();
    // podman-docker's command, Podman's data, a log shipper's mount, an empty disk for images.
    host.file("/usr/bin/docker", "");
    host.file("/var/lib/containers/storage/overlay/x", "");
    for directory in [
        "var/lib/docker/containers",
        "var/lib/docker/lost+found/x",
        "usr/sbin/dockerd",
    ] {
        fs::create_dir_all(host.paths().root.join(directory)).expect("fresh");
    }
    // A unit that was removed but not disabled, and one that is masked.
    link(
        &host,
        "/etc/systemd/system/multi-user.target.wants/docker.service",
        "/lib/systemd/system/docker.service",
    );
    host.file("/lib/systemd/system/docker.socket", "");
    link(
        &host,
        "/etc/systemd/system/sockets.target.wants/docker.socket",
        "/lib/systemd/system/docker.socket",
    );
    link(&host, "/etc/systemd/system/docker.socket", "/dev/null");
    host.file("/dev/null", "");
    assert_eq!(left_overs(&host), [""; 0]);
}

#[test]
fn the_first_file_of_a_unit_decides_whether_it_is_masked() {
    let wants = "/etc/systemd/system/multi-user.target.wants/docker.service";
    let enabled = [format!("enabled-unit {wants}")];
    for (first, mask, is_masked) in [
        (
            "/etc/systemd/system/docker.service",
            ("/run/systemd/system/docker.service", "/dev/null"),
            false,
        ),
        (
            "/usr/lib/systemd/system/docker.service",
            ("/run/systemd/system/docker.service", "../../../dev/null"),
            true,
        ),
        (
            "/usr/lib/systemd/system/docker.service",
            ("/etc/systemd/system/docker.service", "/dev/zero"),
            false,
        ),
    ] {
        let host = RecordedHost::new();
        host.file(first, "[Service]\nExecStart=/usr/bin/dockerd\n");
        link(&host, wants, first);
        link(&host, mask.0, mask.1);
        assert_eq!(left_overs(&host).is_empty(), is_masked, "{first} {mask:?}");
    }
    let host = RecordedHost::new();
    host.file("/usr/lib/systemd/system/docker.service", "[Service]\n");
    link(&host, wants, "/usr/lib/systemd/system/docker.service");
    assert_eq!(left_overs(&host), enabled);
    host.file("/etc/systemd/system/docker.service", "");
    assert_eq!(left_overs(&host), [""; 0], "an empty file");
}

#[test]
fn an_enabled_unit_of_another_name_is_known_by_its_command() {
    let host = RecordedHost::new();
    for (unit, command) in [
        ("engine.service", "/opt/docker/bin/dockerd"),
        ("sshd.service", "/usr/sbin/sshd"),
    ] {
        let path = format!("/etc/systemd/system/{unit}");
        host.file(&path, format!("[Service]\nExecStart={command}\n"));
        link(
            &host,
            &format!("/run/systemd/generator/multi-user.target.wants/{unit}"),
            &path,
        );
    }
    let found = "enabled-unit /run/systemd/generator/multi-user.target.wants/engine.service";
    assert_eq!(left_overs(&host), [found]);
}

#[test]
fn one_program_under_two_names_is_one() {
    let host = RecordedHost::new();
    host.file("/usr/bin/dockerd", "");
    link(&host, "/usr/sbin", "bin");
    assert_eq!(left_overs(&host), ["binary /usr/bin/dockerd"]);
}

#[test]
fn a_root_that_cannot_be_read_is_unknown() {
    let mut paths = RecordedHost::new().paths();
    paths.root = "/nonexistent".into();
    let sighting = read_host_files(&paths, None);
    let files = sighting.reading.known().expect("the version is still requested");
    assert_eq!(
        files.left_overs.gap().map(|g| (g.reason, g.hides)),
        Some((Reason::NotFound, Hides::Engine))
    );
}

#[test]
fn a_refused_read_is_not_absence() {
    let host = RecordedHost::new();
    link(&host, "/var/lib/docker", "/var/lib/docker"); // ELOOP: an error that does not mean absence
    let sighting = read_host_files(&host.paths(), None);
    let files = sighting.reading.known().expect("the root is readable");
    assert!(files.left_overs.gap().is_some());
    assert_eq!(sighting.gaps.len(), 1);
    host.file("/usr/bin/dockerd", "");
    let files = read_host_files(&host.paths(), None).reading;
    assert_eq!(files.known().and_then(|f| f.left_overs.known()).map(Vec::len), Some(1));
}

#[test]
fn dockers_containerd_package_is_found_by_its_files() {
    let find = |files: &[&str]| {
        let host = RecordedHost::new();
        for path in files {
            host.file(path, "/.\n/usr/bin/containerd\n");
        }
        let seen = read_host_files(&host.paths(), None);
        seen.reading.known().expect("readable").containerd_io.clone()
    };
    let list = "/var/lib/dpkg/info/containerd.io.list";
    assert_eq!(find(&[list]), Reading::Known(list.to_owned()));
    let licence = find(&["/var/lib/rpm/rpmdb.sqlite", "/usr/share/licenses/containerd.io/LICENSE"]);
    assert_eq!(licence, Reading::Known("/usr/share/licenses/containerd.io".to_owned()));
    assert_eq!(
        find(&["/var/lib/dpkg/info/containerd.list"]),
        Reading::Absent,
        "a distribution's own"
    );
    let host = RecordedHost::new();
    host.file(list, "/etc/containerd/config.toml\n");
    let seen = read_host_files(&host.paths(), None);
    let removed = &seen.reading.known().expect("readable").containerd_io;
    assert_eq!(*removed, Reading::Absent, "only its configuration is left");
    assert!(find(&[]).gap().is_some(), "no list of packages proves nothing");
}
