//! The registries of containerd: a `hosts.toml` for each (containerd `docs/hosts.md`), or the deprecated tables.

use std::collections::BTreeMap;

use super::documents::{Documents, Section};
use crate::model::daemon_config::RegistryPlace;
use crate::model::daemon_config::registry::{DOCKER_HUB, Endpoint, is_local, is_range};
use crate::model::reading::Gap;

/// The endpoints of registries, by registry.
type Registries = BTreeMap<String, Vec<Endpoint>>;

/// Reads the endpoints of each registry of `wanted`. `default` holds the directories that count if nothing is set.
pub(super) fn read(
    docs: &mut Documents<'_>,
    images: Section<'_>,
    default: Option<&str>,
    wanted: &[&str],
) -> Result<(RegistryPlace, Registries), Gap> {
    let registry = images.at(&["registry"])?;
    let config_path = registry.map_or(Ok(None), |registry| registry.text("config_path"))?;
    let mirrors = registry.map_or(Ok(Vec::new()), |registry| registry.tables("mirrors"))?;
    let configs = registry.map_or(Ok(Vec::new()), |registry| registry.tables("configs"))?;
    let directories = config_path.or(default.filter(|_| mirrors.is_empty()));
    let mut found = Registries::new();
    let wanted = wanted.iter().filter(|registry| !is_range(registry));
    if let Some(directories) = directories {
        let directories: Vec<&str> = directories
            .split(':')
            .filter(|directory| !directory.is_empty())
            .collect();
        for registry in wanted {
            found.insert((*registry).to_owned(), read_directories(docs, &directories, registry)?);
        }
        let first = directories.first().copied().unwrap_or_default();
        return Ok((RegistryPlace::Directory(first.to_owned()), found));
    }
    for registry in wanted {
        found.insert((*registry).to_owned(), read_tables(&mirrors, &configs, registry)?);
    }
    let place = if mirrors.is_empty() && configs.is_empty() {
        RegistryPlace::Unset
    } else {
        RegistryPlace::Tables
    };
    Ok((place, found))
}

/// Reads the first directory that exists for a registry (`hostPaths` of containerd's `core/remotes/docker/config`).
fn read_directories(docs: &mut Documents<'_>, directories: &[&str], registry: &str) -> Result<Vec<Endpoint>, Gap> {
    let with_port = registry.rsplit_once(':').map(|(host, port)| format!("{host}_{port}_"));
    for directory in directories {
        let names = with_port.as_deref().into_iter().chain([registry, "_default"]);
        // A name of Docker's configuration must not lead to another directory.
        for name in names.filter(|name| !name.contains('/') && !name.starts_with('.')) {
            let path = format!("{}/{name}", directory.trim_end_matches('/'));
            if !docs.is_there(&path)? {
                continue;
            }
            return match docs.read(&format!("{path}/hosts.toml"))? {
                Some(table) => read_hosts(
                    Section {
                        table: &table,
                        path: &path,
                    },
                    registry,
                ),
                // Certificates alone, in the way of Docker.
                None => Ok(vec![default_endpoint(registry)]),
            };
        }
    }
    Ok(vec![default_endpoint(registry)])
}

fn read_hosts(file: Section<'_>, registry: &str) -> Result<Vec<Endpoint>, Gap> {
    let mut endpoints = Vec::new();
    for (url, host) in file.tables("host")? {
        endpoints.push(Endpoint::new(
            &with_scheme(url),
            host.switch("skip_verify")?.unwrap_or(false),
        ));
    }
    let skips = file.switch("skip_verify")?.unwrap_or(false);
    let mut own = match file.text("server")? {
        Some(server) => Endpoint::new(&with_scheme(server), false),
        None => default_endpoint(registry),
    };
    own.unverified |= skips;
    endpoints.push(own);
    Ok(endpoints)
}

fn with_scheme(url: &str) -> String {
    if url.starts_with("http") {
        url.to_owned()
    } else {
        format!("https://{url}")
    }
}

/// Returns the server of a registry without a configuration. One on the machine itself is not checked, except on the
/// port of HTTPS (`ConfigureHosts` of the same package).
fn default_endpoint(registry: &str) -> Endpoint {
    let host = if registry == DOCKER_HUB {
        "registry-1.docker.io"
    } else {
        registry
    };
    let port = registry.rsplit_once(':').map_or("", |(_, port)| port);
    Endpoint::new(
        &format!("https://{host}"),
        is_local(registry) && !["", "443"].contains(&port),
    )
}

fn read_tables(
    mirrors: &[(&str, Section<'_>)],
    configs: &[(&str, Section<'_>)],
    registry: &str,
) -> Result<Vec<Endpoint>, Gap> {
    let find = |tables: &[(&str, Section<'_>)], name: &str| -> Option<usize> {
        tables.iter().position(|(own, _)| *own == name)
    };
    let mut urls = Vec::new();
    if let Some(at) = find(mirrors, registry).or_else(|| find(mirrors, "*")) {
        urls.extend(mirrors[at].1.texts("endpoint")?.into_iter().map(str::to_owned));
    }
    let default = default_endpoint(registry);
    urls.push(default.url.clone());
    let mut endpoints = Vec::new();
    for url in urls {
        let endpoint = Endpoint::new(&url, false);
        let mut skips = endpoint.is_at(&default.url) && default.unverified;
        for (host, config) in configs {
            if endpoint.is_of(host)
                && let Some(tls) = config.at(&["tls"])?
            {
                skips |= tls.switch("insecure_skip_verify")?.unwrap_or(false);
            }
        }
        endpoints.push(Endpoint::new(&url, skips));
    }
    Ok(endpoints)
}
