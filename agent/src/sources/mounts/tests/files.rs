//! Mounts of Docker's data, logs and configuration.

use super::*;
use crate::model::exposure::DockerFiles;

const ROOTFS: &str = "50 1 0:70 / / rw - overlay x rw\n";

impl Node {
    /// Returns the mounts of Docker's files by a container for which the mounts `declared` were requested, and which
    /// has the mounts of `mountinfo` if its process is given.
    fn files(&self, declared: &[(&str, &str)], mountinfo: Option<&str>) -> Vec<String> {
        let processes = mountinfo.map(|own| self.container(&[ROOTFS, own].concat()));
        self.mountinfo(1, HOST);
        let none = Sighting::absent();
        let seen = self.look(&declaring(declared), &none, processes.as_slice(), false);
        shown(&seen)
    }
}

fn shown(seen: &MountsSeen) -> Vec<String> {
    let shown = |m: &FilesMount| format!("{} {} at {}", m.files, m.host_path, m.container_path);
    seen.files.iter().map(shown).collect()
}

/// A host with Docker's data, and a link to the logs.
fn node() -> Node {
    let node = Node::new();
    node.host.file("/var/lib/docker/containers/a/a-json.log", "{}");
    node.host.file("/var/lib/docker/volumes/v/_data/x", "");
    node.host.file("/etc/docker/daemon.json", "{}");
    symlink(
        "/var/lib/docker/containers",
        node.host.paths().root.join("srv/links/logs"),
    )
    .expect("fresh");
    node
}

#[test]
fn requested_mounts_of_dockers_directories_are_found() {
    let node = node();
    for (path, expected) in [
        ("/var/lib/docker/containers", Some(DockerFiles::Logs)),
        ("/var/lib/docker/containers/", Some(DockerFiles::Logs)),
        ("/srv/links/logs", Some(DockerFiles::Logs)),
        ("/var/lib/docker", Some(DockerFiles::Data)),
        ("/var/lib/docker/volumes", Some(DockerFiles::Data)),
        ("/etc/docker", Some(DockerFiles::Configuration)),
        ("/etc/docker/daemon.json", Some(DockerFiles::Configuration)),
        // Docker's own containers have such mounts.
        ("/var/lib/docker/volumes/v/_data", None),
        ("/var/lib/docker/containers/a", None),
        ("/var/lib", None),
        ("/etc", None),
        ("/", None),
        ("/var/lib/docker-registry", None),
        ("/nonexistent", None),
    ] {
        let expected = expected.map(|files| format!("{files} {path} at /mnt"));
        assert_eq!(node.files(&[(path, "/mnt")], None), Vec::from_iter(expected), "{path}");
    }
}

#[test]
fn actual_mounts_of_dockers_directories_are_found() {
    let node = node();
    let logs = "51 50 DISK /var/lib/docker/containers /logs ro - ext4 x rw\n";
    assert_eq!(
        node.files(&[("/srv/links/logs", "/logs")], Some(logs)),
        ["logs /srv/links/logs at /logs"],
        "the path is that of the request"
    );
    assert_eq!(
        node.files(&[], Some(logs)),
        ["logs /var/lib/docker/containers at /logs"],
        "without a request"
    );
    let covered = [logs, "52 51 0:71 / /logs rw - tmpfs x rw\n"].concat();
    assert_eq!(node.files(&[], Some(&covered)), [""; 0], "another mount covers it");
    assert_eq!(
        node.files(&[("/var/lib/docker/containers", "/logs")], Some("")),
        [""; 0],
        "it was unmounted since"
    );
}

#[test]
fn a_data_directory_that_was_moved_is_found() {
    let node = node();
    node.host
        .file("/etc/docker/daemon.json", r#"{"data-root": "/srv/docker"}"#);
    node.host.file("/srv/docker/containers/a/a-json.log", "{}");
    assert_eq!(
        node.files(&[("/srv/docker/containers", "/mnt")], None),
        ["logs /srv/docker/containers at /mnt"]
    );
}

#[test]
fn the_data_directory_of_a_running_daemon_is_found() {
    let node = node();
    node.host.file("/home/data/containers/a/a-json.log", "{}");
    node.host
        .process(10, 1, "dockerd")
        .arguments(&["dockerd", "--data-root", "/home/data"]);
    let engines = node.engines();
    let seen = node.look(&declaring(&[("/home/data", "/mnt")]), &engines, &[], false);
    assert_eq!(shown(&seen), ["data /home/data at /mnt"]);
}

#[test]
fn data_on_its_own_file_system_below_a_mounted_directory_is_not_reported() {
    const OWN_DISK: &str = "\
        1 0 DISK / / rw - ext4 x rw\n\
        2 1 0:88 / /var/lib/docker rw - ext4 x rw\n";
    let node = node();
    let root = "51 50 DISK / /host ro - ext4 x rw\n52 51 0:88 / /host/var/lib/docker ro - ext4 x rw\n";
    let look = |declared: &[(&str, &str)], own: &str| {
        let process = node.container(&[ROOTFS, own].concat());
        node.mountinfo(1, OWN_DISK);
        shown(&node.look(&declaring(declared), &Sighting::absent(), &[process], false))
    };
    assert_eq!(look(&[("/", "/host")], root), [""; 0]);
    assert_eq!(
        look(&[("/var/lib/docker", "/d")], "51 50 0:88 / /d ro - ext4 x rw\n"),
        ["data /var/lib/docker at /d"]
    );
}

#[test]
fn the_container_of_an_engine_has_its_own_files() {
    let node = node();
    node.host
        .process(10, 1, "dockerd")
        .cgroup(&format!("/docker/{OWN}"))
        .in_host_root();
    let engines = node.engines();
    let seen = node.look(
        &declaring(&[("/var/lib/docker", "/var/lib/docker")]),
        &engines,
        &[],
        false,
    );
    assert_eq!(seen.files, []);
}
