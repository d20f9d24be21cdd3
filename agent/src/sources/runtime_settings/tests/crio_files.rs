//! CRI-O's files.

use super::*;

fn node() -> Node {
    let node = Node {
        program: RuntimeProgram::CriO,
        ..Node::new("1.36.3")
    };
    node.file(
        "/etc/docker/daemon.json",
        insecure(&["plain.test:5000", "listed.test", "part.test", "sub.wild.test"]),
    );
    node
}

#[test]
fn a_drop_in_overrides_key_by_key_in_the_order_of_the_names() {
    let node = node();
    node.file(
        "/etc/crio/crio.conf",
        "[crio]\nroot = \"/data/crio\"\n[crio.runtime]\ndefault_runtime = \"runc\"\nlog_to_journald = true\n\
         cgroup_manager = \"cgroupfs\"\ndefault_ulimits = [\"nofile=1:2\"]\n\
         [crio.runtime.runtimes.runc]\nruntime_path = \"/usr/bin/runc\"\n",
    );
    node.file(
        "/etc/crio/crio.conf.d/20-late",
        "[crio.runtime]\ndefault_runtime = \"nvidia\"\ncgroup_manager = \"systemd\"\n",
    );
    node.file(
        "/etc/crio/crio.conf.d/10-early.conf",
        "[crio.runtime]\ndefault_runtime = \"crun\"\ndefault_ulimits = [\"nofile=1024:2048\", \"core=0\"]\n\
         [crio.runtime.runtimes.nvidia]\nruntime_path = \"/usr/bin/nvidia-container-runtime\"\n",
    );
    let config = node.config();
    assert_eq!(config.default_runtime.as_deref(), Some("nvidia"));
    assert_eq!(config.cgroup_driver.as_deref(), Some("systemd"));
    assert_eq!(config.root.as_deref(), Some("/data/crio"));
    assert!(config.journald);
    let limits: Vec<String> = config.ulimits.iter().map(ToString::to_string).collect();
    assert_eq!(limits, ["nofile=1024:2048", "core=0:0"]);
    assert_eq!(config.runtimes.len(), 2);
}

#[test]
fn the_arguments_name_the_file_and_the_directory() {
    let node = node();
    node.file("/a.conf", "[crio]\nroot = \"/a\"\n")
        .file("/d/b.conf", "[crio.runtime]\ndefault_runtime = \"b\"\n");
    node.file("/etc/crio/crio.conf.d/c.conf", "[crio]\nroot = \"/c\"\n");
    node.arguments(&["crio", "--config", "/a.conf", "--config-dir=/d"]);
    let config = node.config();
    assert_eq!(
        (config.root.as_deref(), config.default_runtime.as_deref()),
        (Some("/a"), Some("b"))
    );
}

#[test]
fn registries_come_from_the_containers_libraries() {
    let node = node();
    node.file(
        "/etc/crio/crio.conf",
        "[crio.image]\ninsecure_registries = [\"listed.test\"]\n",
    );
    node.file(
        "/etc/containers/registries.conf",
        "unqualified-search-registries = [\"docker.io\"]\n\
         [[registry]]\nprefix = \"docker.io\"\nlocation = \"docker.io\"\n\
         [[registry.mirror]]\nlocation = \"old.test\"\n\
         [[registry]]\nlocation = \"plain.test:5000\"\ninsecure = true\n\
         [[registry]]\nprefix = \"part.test/team\"\nlocation = \"part.test/team\"\ninsecure = true\n\
         [[registry]]\nprefix = \"*.wild.test\"\ninsecure = true\n",
    );
    // It replaces the entry with the same prefix.
    node.file(
        "/etc/containers/registries.conf.d/hub.conf",
        "[[registry]]\nprefix = \"docker.io\"\nlocation = \"registry-1.docker.io\"\n\
         [[registry.mirror]]\nlocation = \"mirror.test/hub\"\ninsecure = true\n",
    );
    for (registry, expected) in [
        ("docker.io", ["mirror.test/hub !", "registry-1.docker.io"].as_slice()),
        ("plain.test:5000", &["plain.test:5000 !"]),
        ("listed.test", &["listed.test !"]),
        ("part.test", &["part.test"]),
        ("sub.wild.test", &["sub.wild.test !"]),
    ] {
        assert_eq!(node.endpoints(registry), expected, "{registry}");
    }
}

#[test]
fn version_1_of_the_registries_has_a_list() {
    let node = node();
    node.file(
        "/etc/containers/registries.conf",
        "[registries.insecure]\nregistries = ['plain.test:5000']\n",
    );
    assert_eq!(node.endpoints("plain.test:5000"), ["plain.test:5000 !"]);
    assert_eq!(node.endpoints("listed.test"), ["listed.test"]);
}

#[test]
fn a_wrong_limit_is_a_gap_and_the_registries_are_known() {
    let node = node();
    node.file(
        "/etc/crio/crio.conf",
        "[crio.runtime]\ndefault_ulimits = [\"nofile\"]\n",
    );
    let seen = node.read();
    let runtime = &seen.reading.known().expect("Docker's settings are readable").runtime;
    assert!(
        runtime
            .config
            .gap()
            .is_some_and(|gap| gap.answer.contains("NAME=SOFT:HARD"))
    );
    assert!(runtime.registries.known().is_some());
    assert_eq!(seen.gaps.len(), 1);
}
