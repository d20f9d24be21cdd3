//! containerd's own configuration, in versions 1 to 4, with its imports.
//!
//! A later file overrides an earlier one. Up to containerd 1.7 it replaces the whole section of a plugin; since 2.0 it
//! is merged key by key, and an empty value overrides nothing (`mergeConfig` of `cmd/containerd/server/config`).

use std::collections::{BTreeSet, VecDeque};

use serde::Deserialize;
use toml::{Table, Value};

use super::Found;
use super::documents::{Documents, Section};
use super::hosts;
use crate::model::daemon_config::{RegistryPlace, RuntimeConfig, Ulimit};
use crate::model::reading::{Gap, Hides, Reading, Reason};

/// The default path (`defaults.DefaultConfigDir`).
pub(super) const CONFIGURATION: &str = "/etc/containerd/config.toml";

/// The CRI plugin of containerd 1, and its short name in configurations of version 1.
const CRI: &str = "io.containerd.grpc.v1.cri";
const SHORT_CRI: &str = "cri";

/// The plugins of containerd 2 for images and for containers.
const IMAGES: &str = "io.containerd.cri.v1.images";
const CONTAINERS: &str = "io.containerd.cri.v1.runtime";

/// The end of the path where k3s and rke2 write containerd's configuration, below their data.
const OF_DISTRIBUTION: &str = "/agent/etc/containerd/config.toml";

/// The directories of registries if neither these nor mirrors are set, since containerd 2.2
/// (`plugins/cri/images/plugin.go`).
const DEFAULT_HOSTS: &str = "/etc/containerd/certs.d:/etc/docker/certs.d";

/// Returns the names of the plugins for images and for containers that a file of this version, or containerd's version
/// if there is no file, uses.
pub(super) fn plugins(file: Option<i64>, containerd: Option<(u32, u32)>) -> [&'static str; 2] {
    match (file, containerd) {
        (Some(3..), _) | (None, None | Some((2.., _))) => [IMAGES, CONTAINERS],
        (Some(2), _) | (None, Some(_)) => [CRI, CRI],
        (Some(_), _) => [SHORT_CRI, SHORT_CRI],
    }
}

/// Reads the configuration at `path`, and the endpoints of each registry of `wanted`.
pub(super) fn read(docs: &mut Documents<'_>, path: &str, version: Option<(u32, u32)>, wanted: &[&str]) -> Found {
    let of_distribution = distribution_file(path);
    let merged = match load(docs, path, version) {
        Ok(merged) => merged,
        Err(gap) => {
            let place = of_distribution.map_or(RegistryPlace::Unset, RegistryPlace::Distribution);
            return Found::unknown(plugins(None, version), place, &gap);
        }
    };
    let plugins = plugins(merged.version, version);
    let images = Section {
        table: &merged.images,
        path,
    };
    let (place, registries) = match hosts::read(docs, images, default_hosts(version), wanted) {
        Ok((place, registries)) => (place, Reading::Known(registries)),
        Err(gap) => (RegistryPlace::Unset, Reading::Unknown(gap)),
    };
    let config = match (merged.version, read_config(docs, &merged, path)) {
        (None, _) => Reading::Absent,
        (Some(_), Ok(config)) => Reading::Known(config),
        (Some(_), Err(gap)) => Reading::Unknown(gap),
    };
    Found {
        plugins,
        place: of_distribution.map_or(place, RegistryPlace::Distribution),
        config,
        registries,
    }
}

fn default_hosts(version: Option<(u32, u32)>) -> Option<&'static str> {
    version.filter(|version| *version >= (2, 2)).map(|_| DEFAULT_HOSTS)
}

/// Returns the file from which k3s or rke2 writes the registries, if the configuration is theirs.
fn distribution_file(path: &str) -> Option<String> {
    let data = path.strip_suffix(OF_DISTRIBUTION)?;
    let name = if data.contains("rke2") { "rke2" } else { "k3s" };
    Some(format!("/etc/rancher/{name}/registries.yaml"))
}

/// The files of a configuration in one.
#[derive(Default)]
struct Merged {
    /// The version of the main file; none if there is no such file.
    version: Option<i64>,
    root: Option<String>,
    /// The sections of the CRI plugin, or of the plugins that it was split into.
    images: Table,
    containers: Table,
}

/// Reads the main file and its imports in containerd's order: those of each file after all that were named before.
fn load(docs: &mut Documents<'_>, path: &str, version: Option<(u32, u32)>) -> Result<Merged, Gap> {
    let mut merged = Merged::default();
    let mut pending = VecDeque::from([path.to_owned()]);
    let mut loaded = BTreeSet::new();
    while let Some(file) = pending.pop_front() {
        if !loaded.insert(file.clone()) {
            continue;
        }
        let table = match docs.read(&file)? {
            Some(table) => table,
            None if file == path => return Ok(merged),
            None => docs.read_named(&file)?,
        };
        let section = Section {
            table: &table,
            path: &file,
        };
        for import in section.texts("imports")? {
            pending.extend(resolve(docs, &file, import)?);
        }
        merged.take(section, version)?;
    }
    Ok(merged)
}

/// Returns the files that one import names; a relative one is relative to the directory of `parent`.
fn resolve(docs: &Documents<'_>, parent: &str, import: &str) -> Result<Vec<String>, Gap> {
    let path = if import.starts_with('/') {
        import.to_owned()
    } else {
        let directory = parent.rsplit_once('/').map_or("", |(directory, _)| directory);
        format!("{directory}/{}", import.trim_start_matches("./"))
    };
    if !path.contains('*') {
        return Ok(vec![path]);
    }
    match path.rsplit_once('/') {
        Some((directory, pattern)) if !directory.contains('*') => docs.list(directory, |name| fits(pattern, name)),
        _ => {
            let answer = "castoff follows a pattern only in the last part of a path";
            Err(Gap::new(
                Reason::LimitReached,
                Hides::Detail,
                format_args!("imports of {parent}"),
                answer,
            ))
        }
    }
}

/// True if `name` fits a pattern in which `*` stands for any text.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

impl Merged {
    fn take(&mut self, file: Section<'_>, containerd: Option<(u32, u32)>) -> Result<(), Gap> {
        let version = file.table.get("version").and_then(Value::as_integer).unwrap_or(1);
        self.version.get_or_insert(version);
        if let Some(root) = file.text("root")? {
            self.root = Some(root.to_owned());
        }
        let Some(plugins) = file.at(&["plugins"])? else {
            return Ok(());
        };
        // A file of version 3 is not migrated: containerd ignores the old name in it.
        let (of_images, of_containers): (&[&str], &[&str]) = match version {
            ..=1 => (&[SHORT_CRI, CRI], &[SHORT_CRI, CRI]),
            2 => (&[CRI, IMAGES], &[CRI, CONTAINERS]),
            _ => (&[IMAGES], &[CONTAINERS]),
        };
        let replaces = containerd.is_some_and(|version| version < (2, 0));
        for (names, section) in [(of_images, &mut self.images), (of_containers, &mut self.containers)] {
            for name in names {
                let Some(given) = plugins.at(&[name])? else {
                    continue;
                };
                if replaces {
                    section.clone_from(given.table);
                } else {
                    merge(section, given.table);
                }
            }
        }
        Ok(())
    }
}

/// Merges tables key by key. Lists are joined, and an empty value overrides nothing.
fn merge(to: &mut Table, from: &Table) {
    for (key, value) in from {
        match (to.get_mut(key), value) {
            (Some(Value::Table(to)), Value::Table(from)) => merge(to, from),
            (Some(Value::Array(to)), Value::Array(from)) => {
                let new: Vec<Value> = from.iter().filter(|item| !to.contains(item)).cloned().collect();
                to.extend(new);
            }
            (Some(_), Value::Boolean(false) | Value::Integer(0)) => {}
            (Some(_), Value::String(text)) if text.is_empty() => {}
            _ => {
                to.insert(key.clone(), value.clone());
            }
        }
    }
}

fn read_config(docs: &mut Documents<'_>, merged: &Merged, path: &str) -> Result<RuntimeConfig, Gap> {
    let section = Section {
        table: &merged.containers,
        path,
    };
    let mut config = RuntimeConfig {
        root: merged.root.clone(),
        ..RuntimeConfig::default()
    };
    let mut systemd = section.switch("systemd_cgroup")?;
    if let Some(containerd) = section.at(&["containerd"])? {
        config.default_runtime = containerd.text("default_runtime_name")?.map(str::to_owned);
        let default = config.default_runtime.clone().unwrap_or_else(|| "runc".to_owned());
        for (name, runtime) in containerd.tables("runtimes")? {
            let options = runtime.at(&["options"])?;
            config.runtimes.insert(name.to_owned(), program_of(runtime, options)?);
            if name == default {
                let set = options.map_or(Ok(None), |options| options.switch("SystemdCgroup"))?;
                systemd = set.or(systemd);
                if let Some(spec) = runtime.text("base_runtime_spec")? {
                    config.ulimits = read_ulimits(docs, spec)?;
                }
            }
        }
    }
    let driver = |systemd| if systemd { "systemd" } else { "cgroupfs" };
    config.cgroup_driver = systemd.map(|systemd| driver(systemd).to_owned());
    Ok(config)
}

/// Returns the program of a runtime, else its type.
fn program_of(runtime: Section<'_>, options: Option<Section<'_>>) -> Result<String, Gap> {
    let binary = options.map_or(Ok(None), |options| options.text("BinaryName"))?;
    // The engine of containerd 1.x's older shims.
    let engine = runtime.text("runtime_engine")?;
    let kind = runtime.text("runtime_type")?;
    Ok(binary.or(engine).or(kind).unwrap_or("runc").to_owned())
}

/// The limits in a base specification of containers (OCI runtime specification, `config.md`).
#[derive(Deserialize)]
struct BaseSpec {
    process: Option<BaseProcess>,
}

#[derive(Deserialize)]
struct BaseProcess {
    rlimits: Option<Vec<BaseLimit>>,
}

#[derive(Deserialize)]
struct BaseLimit {
    #[serde(rename = "type")]
    name: String,
    soft: u64,
    hard: u64,
}

fn read_ulimits(docs: &mut Documents<'_>, path: &str) -> Result<Vec<Ulimit>, Gap> {
    let missing = || {
        Gap::new(
            Reason::NotFound,
            Hides::Detail,
            path,
            "containerd's configuration names it",
        )
    };
    let file = docs.read_bytes(path)?.ok_or_else(missing)?;
    let spec: BaseSpec = serde_json::from_slice(&file).map_err(|error| {
        let answer = format!("line {} is not a valid container specification", error.line());
        Gap::new(Reason::Malformed, Hides::Detail, path, answer)
    })?;
    let limits = spec.process.and_then(|process| process.rlimits).unwrap_or_default();
    // For "no limit", the specification has the largest number, and Docker has -1.
    let number = |limit: u64| i64::try_from(limit).unwrap_or(-1);
    let each = limits.into_iter().map(|limit| Ulimit {
        name: limit.name.trim_start_matches("RLIMIT_").to_ascii_lowercase(),
        soft: number(limit.soft),
        hard: number(limit.hard),
    });
    Ok(each.collect())
}
