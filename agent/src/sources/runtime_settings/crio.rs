//! CRI-O's configuration with its drop-ins, and the registries of the containers' libraries.
//!
//! A later file overrides an earlier one key by key (crio.conf.d(5)). A `[[registry]]` of a later file replaces the one
//! with the same prefix (containers-registries.conf.d(5)).

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::documents::{Documents, Section};
use super::{Found, containerd};
use crate::model::daemon_config::registry::{DOCKER_HUB, Endpoint, is_range};
use crate::model::daemon_config::{RegistryPlace, RuntimeConfig, Ulimit};
use crate::model::reading::{Gap, Hides, Reading, Reason};
use crate::sources::engines::{option, options};

/// The default path, and that of the drop-ins.
pub(super) const CONFIGURATION: &str = "/etc/crio/crio.conf";
const DROP_INS: &str = "/etc/crio/crio.conf.d";

/// The registries, and their drop-ins.
const REGISTRIES: &str = "/etc/containers/registries.conf";
const REGISTRIES_DROP_INS: &str = "/etc/containers/registries.conf.d";

/// Reads the configuration at `path`, and the endpoints of each registry of `wanted`.
pub(super) fn read(docs: &mut Documents<'_>, path: &str, arguments: &[String], wanted: &[&str]) -> Found {
    let merged = load(docs, path, arguments);
    let (config, insecure) = match &merged {
        Ok(None) => (Reading::Absent, Ok(Vec::new())),
        Ok(Some(table)) => {
            let section = Section { table, path };
            let insecure = read_insecure(section, arguments);
            (
                read_config(section).map_or_else(Reading::Unknown, Reading::Known),
                insecure,
            )
        }
        Err(gap) => (Reading::Unknown(gap.clone()), Err(gap.clone())),
    };
    let registries = insecure.and_then(|insecure| read_registries(docs, &insecure, wanted));
    Found {
        plugins: containerd::plugins(None, None),
        place: RegistryPlace::RegistriesConf,
        config,
        registries: registries.map_or_else(Reading::Unknown, Reading::Known),
    }
}

/// Reads all files in one. Returns none if there is none.
fn load(docs: &mut Documents<'_>, path: &str, arguments: &[String]) -> Result<Option<Table>, Gap> {
    let mut all = docs.read(path)?;
    let drop_ins = option(arguments, &["--config-dir", "-d"]).unwrap_or(DROP_INS);
    for file in docs.list(drop_ins, |name| !name.starts_with('.'))? {
        let table = docs.read_named(&file)?;
        merge(all.get_or_insert_default(), &table);
    }
    Ok(all)
}

fn merge(to: &mut Table, from: &Table) {
    for (key, value) in from {
        match (to.get_mut(key), value) {
            (Some(Value::Table(to)), Value::Table(from)) => merge(to, from),
            _ => {
                to.insert(key.clone(), value.clone());
            }
        }
    }
}

fn read_config(file: Section<'_>) -> Result<RuntimeConfig, Gap> {
    let mut config = RuntimeConfig::default();
    if let Some(crio) = file.at(&["crio"])? {
        config.root = crio.text("root")?.map(str::to_owned);
    }
    let Some(runtime) = file.at(&["crio", "runtime"])? else {
        return Ok(config);
    };
    config.default_runtime = runtime.text("default_runtime")?.map(str::to_owned);
    config.cgroup_driver = runtime.text("cgroup_manager")?.map(str::to_owned);
    config.journald = runtime.switch("log_to_journald")?.unwrap_or(false);
    for limit in runtime.texts("default_ulimits")? {
        let malformed = || {
            Gap::new(
                Reason::Malformed,
                Hides::Detail,
                file.path,
                "default_ulimits: expected NAME=SOFT:HARD",
            )
        };
        config.ulimits.push(Ulimit::parse(limit).ok_or_else(malformed)?);
    }
    for (name, handler) in runtime.tables("runtimes")? {
        let program = handler.text("runtime_path")?.unwrap_or(name);
        config.runtimes.insert(name.to_owned(), program.to_owned());
    }
    Ok(config)
}

/// Reads the registries that CRI-O's own configuration names as insecure.
fn read_insecure(file: Section<'_>, arguments: &[String]) -> Result<Vec<String>, Gap> {
    let image = file.at(&["crio", "image"])?;
    let of_file = image.map_or(Ok(Vec::new()), |image| image.texts("insecure_registries"))?;
    let flags = options(arguments, &["--insecure-registry"]).flat_map(|list| list.split(','));
    Ok(of_file.into_iter().chain(flags).map(str::to_owned).collect())
}

/// One `[[registry]]`.
struct Registry {
    /// None if it is not set: then the prefix is the registry itself.
    location: Option<String>,
    insecure: bool,
    mirrors: Vec<Endpoint>,
}

fn read_registries(
    docs: &mut Documents<'_>,
    insecure: &[String],
    wanted: &[&str],
) -> Result<BTreeMap<String, Vec<Endpoint>>, Gap> {
    let (mut by_prefix, mut insecure) = (BTreeMap::new(), insecure.to_vec());
    if let Some(table) = docs.read(REGISTRIES)? {
        let path = REGISTRIES;
        let file = Section { table: &table, path };
        take_registries(file, &mut by_prefix)?;
        // Version 1 of the file has a list in place of the tables.
        if let Some(list) = file.at(&["registries", "insecure"])? {
            insecure.extend(list.texts("registries")?.into_iter().map(str::to_owned));
        }
    }
    for path in docs.list(REGISTRIES_DROP_INS, |name| name.rsplit('.').next() == Some("conf"))? {
        let table = docs.read_named(&path)?;
        let file = Section {
            table: &table,
            path: &path,
        };
        take_registries(file, &mut by_prefix)?;
    }
    let wanted = wanted.iter().filter(|registry| !is_range(registry));
    let each = wanted.map(|registry| ((*registry).to_owned(), endpoints(registry, &by_prefix, &insecure)));
    Ok(each.collect())
}

fn take_registries(file: Section<'_>, by_prefix: &mut BTreeMap<String, Registry>) -> Result<(), Gap> {
    for row in file.rows("registry")? {
        let location = row.text("location")?;
        let Some(prefix) = row.text("prefix")?.or(location) else {
            continue;
        };
        let mut mirrors = Vec::new();
        for mirror in row.rows("mirror")? {
            let skips = mirror.switch("insecure")?.unwrap_or(false);
            mirrors.extend(mirror.text("location")?.map(|location| Endpoint::new(location, skips)));
        }
        let registry = Registry {
            location: location.map(str::to_owned),
            insecure: row.switch("insecure")?.unwrap_or(false),
            mirrors,
        };
        by_prefix.insert(prefix.to_owned(), registry);
    }
    Ok(())
}

/// Returns the servers for all images of a registry: an entry with a longer prefix is for a part of them.
fn endpoints(registry: &str, by_prefix: &BTreeMap<String, Registry>, insecure: &[String]) -> Vec<Endpoint> {
    let is_listed = insecure.iter().any(|own| own == registry);
    let is_of = |prefix: &str| prefix.strip_prefix('*').is_some_and(|end| registry.ends_with(end));
    let found = by_prefix.get(registry).or_else(|| {
        by_prefix
            .iter()
            .find(|(prefix, _)| is_of(prefix))
            .map(|(_, found)| found)
    });
    let Some(found) = found else {
        let host = if registry == DOCKER_HUB {
            "registry-1.docker.io"
        } else {
            registry
        };
        return vec![Endpoint::new(host, is_listed)];
    };
    let own = Endpoint::new(
        found.location.as_deref().unwrap_or(registry),
        found.insecure || is_listed,
    );
    found.mirrors.iter().cloned().chain([own]).collect()
}
