//! The settings of a dockerd that the node's runtime may need too, from its arguments, its `daemon.json` and its
//! environment.
//!
//! dockerd refuses to start with one setting in both its arguments and its file, and arguments win where the file was
//! changed later. Relies on dockerd(8) and moby `daemon/config`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::program::{self, option, options};
use super::records::data_root_argument;
use super::settings::{says, settings_file};
use crate::model::daemon_config::registry::without_user;
use crate::model::daemon_config::{DockerSettings, Hidden, Ulimit};
use crate::model::process::Process;
use crate::model::reading::{Gap, Hides, Reading, Reason};
use crate::sources::kernel::refusal::{self, Right};
use crate::sources::kernel::rooted::Rooted;
use crate::sources::processes::ProcessReader;
use crate::sources::proxies;

/// Options of log drivers whose values are no secrets.
const PLAIN_LOG_OPTIONS: [&str; 4] = ["max-size", "max-file", "mode", "compress"];

/// Keys that concern dockerd itself and no container.
const OF_THE_DAEMON: [&str; 16] = [
    "containerd",
    "debug",
    "exec-root",
    "group",
    "hosts",
    "labels",
    "log-format",
    "log-level",
    "metrics-addr",
    "pidfile",
    "shutdown-timeout",
    "tls",
    "tlscacert",
    "tlscert",
    "tlskey",
    "tlsverify",
];

/// The most names of other keys that are kept.
const OTHER_LIMIT: usize = 32;

/// The keys of a `daemon.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Keys {
    registry_mirrors: Option<Vec<String>>,
    insecure_registries: Option<Vec<String>>,
    log_driver: Option<String>,
    log_opts: Option<BTreeMap<String, Value>>,
    default_runtime: Option<String>,
    runtimes: Option<BTreeMap<String, RuntimeKeys>>,
    exec_opts: Option<Vec<String>>,
    default_ulimits: Option<BTreeMap<String, UlimitKeys>>,
    proxies: Option<ProxyKeys>,
    live_restore: Option<bool>,
    #[serde(alias = "graph")]
    data_root: Option<String>,
    #[serde(flatten)]
    other: BTreeMap<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RuntimeKeys {
    path: Option<String>,
    runtime_type: Option<String>,
    options: Option<RuntimeOptions>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RuntimeOptions {
    binary_name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UlimitKeys {
    soft: i64,
    hard: i64,
}

#[derive(Debug, Default, Deserialize)]
struct ProxyKeys {
    #[serde(rename = "http-proxy")]
    http: Option<String>,
    #[serde(rename = "https-proxy")]
    https: Option<String>,
    #[serde(rename = "no-proxy")]
    none: Option<String>,
}

/// The result of looking for Docker's settings.
#[derive(Debug)]
pub(in crate::sources) enum DockerRead {
    /// There is neither a dockerd nor a configuration of one.
    None,
    /// The settings, and the part of them that could not be read.
    Settings(Box<DockerSettings>, Vec<Gap>),
}

/// Reads the settings of the dockerd with this process; without one, those of the configuration below `host`, which the
/// next dockerd would use.
///
/// # Errors
/// The gap if the arguments or the configuration could not be read.
pub(in crate::sources) fn read_docker_settings(
    reader: &ProcessReader,
    host: &Rooted,
    daemon: Option<&Process>,
) -> Result<DockerRead, Gap> {
    let Some(process) = daemon else {
        let Some((path, file)) = settings_file(host, &[]).map_err(|(path, error)| unread(&error, &path))? else {
            return Ok(DockerRead::None);
        };
        let keys = parse(&file, &path)?;
        let settings = resolve(keys, &[], vec![path])?;
        return Ok(DockerRead::Settings(Box::new(settings), Vec::new()));
    };
    let named = format!("dockerd (pid {})", process.key.pid);
    let opened = reader
        .read_arguments(process.key)
        .and_then(|arguments| Ok((arguments, reader.open_root(process.key)?)));
    let (arguments, root) = match opened {
        Ok((arguments, root)) => (arguments, Rooted::new(root)),
        Err(error) if refusal::is_gone(&error) => return Ok(DockerRead::None),
        Err(error) => {
            let asked = format_args!("the settings of {named}");
            return Err(refusal::gap(&error, Hides::Detail, asked, Right::TraceAndSearch));
        }
    };
    let command = program::without_loader_of(process, arguments);
    let file = settings_file(&root, &command).map_err(|(path, error)| unread(&error, &path))?;
    let mut from = vec![format!("the arguments and proxies of {named}")];
    let keys = match file {
        Some((path, file)) => {
            let keys = parse(&file, &path)?;
            from.insert(0, path);
            keys
        }
        None => Keys::default(),
    };
    let mut settings = resolve(keys, &command, from)?;
    let mut gaps = Vec::new();
    match proxies::read(reader, process) {
        Reading::Known(found) => {
            for (variable, value) in found {
                settings.proxies.entry(variable).or_insert(value);
            }
        }
        Reading::Absent => {}
        Reading::Unknown(gap) => gaps.push(gap),
    }
    Ok(DockerRead::Settings(Box::new(settings), gaps))
}

fn unread(error: &std::io::Error, path: &str) -> Gap {
    if error.kind() == std::io::ErrorKind::InvalidData {
        return Gap::new(Reason::Malformed, Hides::Detail, path, "it is not a regular file");
    }
    refusal::gap(error, Hides::Detail, path, Right::Root)
}

/// Parses a `daemon.json`. The error names the line, and quotes nothing.
fn parse(file: &[u8], path: &str) -> Result<Keys, Gap> {
    if file.is_empty() {
        return Ok(Keys::default());
    }
    serde_json::from_slice(file).map_err(|error| {
        let wrong = match error.classify() {
            serde_json::error::Category::Data => "a setting has a type that dockerd does not accept",
            _ => "it is not JSON",
        };
        let answer = format!("line {}: {wrong}", error.line());
        Gap::new(Reason::Malformed, Hides::Detail, path, answer)
    })
}

fn resolve(keys: Keys, command: &[String], from: Vec<String>) -> Result<DockerSettings, Gap> {
    let text = |names: &[&str], of_file: Option<String>| {
        let given = option(command, names).map(str::to_owned).or(of_file);
        given.filter(|value| !value.is_empty())
    };
    let list = |name: &str, of_file: Option<Vec<String>>| {
        let given: Vec<String> = options(command, &[name]).map(str::to_owned).collect();
        if given.is_empty() {
            of_file.unwrap_or_default()
        } else {
            given
        }
    };
    let execution = list("--exec-opt", keys.exec_opts);
    let driver = execution
        .iter()
        .find_map(|option| option.strip_prefix("native.cgroupdriver="));
    let insecure = list("--insecure-registry", keys.insecure_registries);
    let mirrors = list("--registry-mirror", keys.registry_mirrors);
    let other = keys
        .other
        .into_keys()
        .filter(|key| !OF_THE_DAEMON.contains(&key.as_str()));
    Ok(DockerSettings {
        from,
        mirrors: mirrors.iter().map(|mirror| without_user(mirror)).collect(),
        insecure: insecure.iter().map(|registry| without_scheme(registry)).collect(),
        log_driver: text(&["--log-driver"], keys.log_driver),
        log_options: log_options(command, keys.log_opts.unwrap_or_default()),
        default_runtime: text(&["--default-runtime"], keys.default_runtime),
        runtimes: runtimes(command, keys.runtimes.unwrap_or_default()),
        cgroup_driver: driver.map(str::to_owned),
        ulimits: ulimits(command, keys.default_ulimits.unwrap_or_default())?,
        proxies: proxies_of(command, keys.proxies.unwrap_or_default()),
        live_restore: says(command, "--live-restore", keys.live_restore),
        data_root: data_root_argument(command)
            .map(str::to_owned)
            .or(keys.data_root)
            .filter(|path| !path.is_empty()),
        other: other.take(OTHER_LIMIT).collect(),
    })
}

/// dockerd accepts an insecure registry with a scheme and ignores it.
fn without_scheme(registry: &str) -> String {
    let registry = without_user(registry);
    let rest = registry.split_once("://").map_or(registry.as_str(), |(_, rest)| rest);
    rest.trim_end_matches('/').to_owned()
}

fn log_options(command: &[String], of_file: BTreeMap<String, Value>) -> BTreeMap<String, Option<String>> {
    let given = options(command, &["--log-opt"]).filter_map(|option| option.split_once('='));
    let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let of_file = of_file.into_iter().map(|(name, value)| match value {
        Value::String(text) => (name, text),
        other => (name, other.to_string()),
    });
    let kept = |(name, value): (String, String)| {
        let plain = PLAIN_LOG_OPTIONS.contains(&name.as_str()).then_some(value);
        (name, plain)
    };
    of_file.chain(given).map(kept).collect()
}

fn runtimes(command: &[String], of_file: BTreeMap<String, RuntimeKeys>) -> BTreeMap<String, String> {
    let of_file = of_file.into_iter().map(|(name, keys)| {
        let binary = keys.options.and_then(|options| options.binary_name);
        let program = keys
            .path
            .or(binary)
            .or(keys.runtime_type)
            .unwrap_or_else(|| name.clone());
        (name, program)
    });
    let given = options(command, &["--add-runtime"]).filter_map(|runtime| runtime.split_once('='));
    let given = given.map(|(name, program)| (name.to_owned(), program.to_owned()));
    of_file.chain(given).collect()
}

fn ulimits(command: &[String], of_file: BTreeMap<String, UlimitKeys>) -> Result<Vec<Ulimit>, Gap> {
    let of_file = of_file.into_iter().map(|(name, keys)| Ulimit {
        name,
        soft: keys.soft,
        hard: keys.hard,
    });
    let mut limits: Vec<Ulimit> = of_file.collect();
    for given in options(command, &["--default-ulimit"]) {
        let answer = "it is not NAME=SOFT:HARD";
        let malformed = || Gap::new(Reason::Malformed, Hides::Detail, "--default-ulimit of dockerd", answer);
        let given = Ulimit::parse(given).ok_or_else(malformed)?;
        limits.retain(|limit| limit.name != given.name);
        limits.push(given);
    }
    Ok(limits)
}

fn proxies_of(command: &[String], of_file: ProxyKeys) -> BTreeMap<&'static str, Hidden> {
    let rows = [
        ("HTTP_PROXY", "--http-proxy", of_file.http),
        ("HTTPS_PROXY", "--https-proxy", of_file.https),
        ("NO_PROXY", "--no-proxy", of_file.none),
    ];
    let set = rows.into_iter().filter_map(|(variable, flag, of_file)| {
        let value = option(command, &[flag]).map(str::to_owned).or(of_file);
        Some((variable, Hidden(value.filter(|value| !value.is_empty())?)))
    });
    set.collect()
}

#[cfg(test)]
mod tests;
