//! The files of containerd, of CRI-O and of the containers' libraries, for the fuzzer.
//!
//! Each decoder takes one file, and a configuration that names another file finds the same one there.

use std::collections::BTreeMap;

use toml::Table;

use super::documents::{Documents, Section};
use super::{containerd, crio, hosts};
use crate::model::daemon_config::registry::{DOCKER_HUB, Endpoint};

/// The registries whose endpoints are asked for.
const WANTED: [&str; 3] = [DOCKER_HUB, "registry.test:5000", "10.0.0.0/8"];

/// Reads a `config.toml` as each of the containerds that merge files in another way.
pub(crate) fn containerd_config(bytes: &[u8]) {
    for version in [None, Some((1, 7)), Some((2, 2))] {
        let mut docs = Documents::everywhere(bytes);
        let found = containerd::read(&mut docs, containerd::CONFIGURATION, version, &WANTED);
        check(found.registries.known());
    }
}

/// Reads a `hosts.toml`.
pub(crate) fn hosts_toml(bytes: &[u8]) {
    let images = Section {
        table: &Table::new(),
        path: containerd::CONFIGURATION,
    };
    let mut docs = Documents::everywhere(bytes);
    let found = hosts::read(&mut docs, images, Some("/etc/containerd/certs.d"), &WANTED);
    check(found.ok().map(|(_, registries)| registries).as_ref());
}

/// Reads a `registries.conf`, and a `crio.conf`.
pub(crate) fn registries_conf(bytes: &[u8]) {
    let mut docs = Documents::everywhere(bytes);
    let found = crio::read(&mut docs, crio::CONFIGURATION, &[], &WANTED);
    check(found.registries.known());
}

/// Each requested registry has a server, and no server has a password. A range of addresses is not a registry.
fn check(registries: Option<&BTreeMap<String, Vec<Endpoint>>>) {
    let Some(registries) = registries else { return };
    let names: Vec<&str> = registries.keys().map(String::as_str).collect();
    assert_eq!(names, [DOCKER_HUB, "registry.test:5000"]);
    for endpoint in registries.values().flat_map(|endpoints| {
        assert!(!endpoints.is_empty(), "a registry without a server");
        endpoints
    }) {
        let rest = endpoint.url.split_once("://").map_or(&*endpoint.url, |(_, rest)| rest);
        let host = rest.split('/').next().unwrap_or_default();
        assert!(!host.contains(['@', '?', '#']), "a user or a query in {endpoint:?}");
    }
}
