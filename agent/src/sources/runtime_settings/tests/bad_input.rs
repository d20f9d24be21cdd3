//! Files that cannot be read. Each causes a gap that names the file and quotes nothing of it, and makes the settings
//! unknown.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;
use crate::model::reading::Reason;

/// A way to spoil a file: it replaces what is at the path below the root.
type Spoil = fn(&RecordedHost, &str);

fn at(host: &RecordedHost, path: &str) -> std::path::PathBuf {
    let path = host.paths().root.join(path.trim_start_matches('/'));
    fs::create_dir_all(path.parent().expect("it is below the root")).expect("directories can be made");
    path
}

const SPOILT: [(&str, Spoil, Reason); 8] = [
    (
        "huge",
        |host, path| drop(host.file(path, vec![b'\n'; (1 << 20) + 1])),
        Reason::TooLarge,
    ),
    (
        "malformed",
        |host, path| drop(host.file(path, "password = \"hunter2\n{[")),
        Reason::Malformed,
    ),
    (
        "not UTF-8",
        |host, path| drop(host.file(path, b"a = \"\xff\"")),
        Reason::Malformed,
    ),
    (
        "deeply nested",
        |host, path| drop(host.file(path, format!("a = {}", "[".repeat(100_000)))),
        Reason::Malformed,
    ),
    (
        "a FIFO",
        |host, path| {
            mknodat(CWD, at(host, path), FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("root or not, it may");
        },
        Reason::Malformed,
    ),
    (
        "a directory",
        |host, path| fs::create_dir_all(at(host, path)).expect("it may"),
        Reason::Malformed,
    ),
    (
        "a loop of links",
        |host, path| symlink(path, at(host, path)).expect("it may"),
        Reason::HostError,
    ),
    (
        "a socket",
        |host, path| drop(UnixListener::bind(at(host, path)).expect("the path is short")),
        Reason::Malformed,
    ),
];

fn check(path: &str, prepare: impl Fn(&Node), spoilt: impl Fn(&RuntimeSettings) -> Option<Gap>) {
    for (kind, spoil, reason) in SPOILT {
        let node = Node::new("2.3.4");
        prepare(&node);
        spoil(&node.host, path);
        let seen = node.read();
        let settings = seen.reading.known().expect("Docker's settings are readable");
        let gap = spoilt(&settings.runtime).unwrap_or_else(|| panic!("{kind}: {path} is known"));
        assert_eq!(gap.reason, reason, "{kind}: {gap}");
        assert!(gap.asked.contains(path), "{kind}: {gap}");
        assert!(seen.gaps.contains(&gap), "{kind}: {:?}", seen.gaps);
        assert!(!format!("{seen:?}").contains("hunter2"), "{kind}");
    }
}

#[test]
fn a_configuration_that_cannot_be_read_is_a_gap_and_no_default() {
    check(
        "/etc/containerd/config.toml",
        |_| {},
        |runtime| runtime.config.gap().cloned(),
    );
    let import = |node: &Node| {
        node.file("/etc/containerd/config.toml", "imports = [\"conf.d/*.toml\"]\n");
    };
    check("/etc/containerd/conf.d/a b\nc.toml", import, |runtime| {
        runtime.config.gap().cloned()
    });
}

#[test]
fn a_registry_that_cannot_be_read_is_a_gap_and_hides_nothing_else() {
    let file = "/etc/containerd/certs.d/docker.io/hosts.toml";
    check(
        file,
        |_| {},
        |runtime| {
            assert_eq!(runtime.config, Reading::Absent);
            runtime.registries.gap().cloned()
        },
    );
}

#[test]
fn a_configuration_of_docker_that_cannot_be_read_is_a_gap() {
    for (kind, spoil, reason) in SPOILT {
        let node = Node::new("2.3.4");
        spoil(&node.host, "/etc/docker/daemon.json");
        let seen = node.read();
        let gap = seen.reading.gap().unwrap_or_else(|| panic!("{kind} is known"));
        assert_eq!(
            (gap.reason, gap.asked.as_str()),
            (reason, "/etc/docker/daemon.json"),
            "{kind}: {gap}"
        );
        assert!(!gap.answer.contains("hunter2"), "{kind}");
    }
}

#[test]
fn a_value_of_another_type_is_a_gap_that_names_its_key() {
    for (line, key) in [
        ("root = 1", "root"),
        ("imports = \"a\"", "imports"),
        ("plugins = []", "plugins"),
        (
            "[plugins.'io.containerd.cri.v1.runtime'.containerd]\nruntimes = 1",
            "runtimes",
        ),
        (
            "[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]\nSystemdCgroup = 'yes'",
            "SystemdCgroup",
        ),
    ] {
        let node = Node::new("2.3.4");
        node.file("/etc/containerd/config.toml", format!("version = 3\n{line}\n"));
        let gaps = node.read().gaps;
        assert!(
            gaps.iter()
                .any(|gap| gap.reason == Reason::Malformed && gap.answer.starts_with(&format!("{key} is not "))),
            "{line}: {gaps:?}"
        );
    }
}

#[test]
fn a_name_that_is_not_utf_8_and_an_import_that_is_missing_are_gaps() {
    let node = Node::new("2.3.4");
    node.file(
        "/etc/containerd/config.toml",
        "version = 3\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n",
    );
    let directory = at(&node.host, "/etc/containerd/conf.d/x");
    fs::create_dir_all(directory.with_file_name("")).expect("it may");
    fs::write(
        directory.with_file_name(OsStr::from_bytes(b"\xff.toml")),
        "root = \"/x\"\n",
    )
    .expect("it may");
    let gaps = node.read().gaps;
    assert!(
        matches!(gaps.as_slice(), [gap] if gap.answer.contains("UTF-8")),
        "{gaps:?}"
    );

    let node = Node::new("2.3.4");
    node.file(
        "/etc/containerd/config.toml",
        "version = 3\nimports = [\"/gone.toml\"]\n",
    );
    let gaps = node.read().gaps;
    assert!(
        matches!(gaps.as_slice(), [gap] if gap.asked == "/gone.toml" && gap.reason == Reason::NotFound),
        "{gaps:?}"
    );
}

#[test]
fn the_files_and_names_of_a_look_are_bounded() {
    let node = Node::new("2.3.4");
    node.file(
        "/etc/containerd/config.toml",
        "version = 3\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n",
    );
    for n in 0..130 {
        node.file(&format!("/etc/containerd/conf.d/{n}.toml"), "version = 3\n");
    }
    let gaps = node.read().gaps;
    assert!(
        gaps.iter().all(|gap| gap.reason == Reason::LimitReached) && !gaps.is_empty(),
        "{gaps:?}"
    );

    let node = Node::new("2.3.4");
    node.file(
        "/etc/containerd/config.toml",
        "version = 3\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n",
    );
    for n in 0..1030 {
        node.file(&format!("/etc/containerd/conf.d/{n}"), "");
    }
    let gaps = node.read().gaps;
    assert!(
        matches!(gaps.as_slice(), [gap] if gap.reason == Reason::LimitReached),
        "{gaps:?}"
    );
}

/// A name in Docker's configuration must not lead out of the directory of registries.
#[test]
fn a_registry_with_the_name_of_a_directory_is_not_followed() {
    let node = Node::new("2.3.4");
    node.file("/etc/docker/daemon.json", insecure(&["..", "."]));
    node.file("/etc/containerd/hosts.toml", "[host.\"http://forged.test\"]\n");
    assert_eq!(node.endpoints(".."), ["https://.."]);
}
