//! The settings of Docker and of the node's runtime, from their files, arguments and environments.
//!
//! A file counts if root's own daemon reads it: the path comes from the arguments of the process that serves the
//! endpoint, or else it is the default one. Files are read below the root of that process, or else below the host's.
//! Of an environment only the proxies are read, and their values are never shown.
//!
//! Relies on containerd-config.toml(5) and containerd's `docs/hosts.md` and `cmd/containerd/server/config`, on
//! crio.conf(5), crio.conf.d(5) and containers-registries.conf(5), and on dockerd(8).

mod containerd;
mod crio;
mod documents;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzzing;
mod hosts;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::HostPaths;
use super::engines::{DockerRead, option, read_docker_settings};
use super::kernel::refusal::{self, Right};
use super::kernel::rooted::Rooted;
use super::processes::ProcessReader;
use super::proxies;
use crate::model::daemon_config::registry::{DOCKER_HUB, Endpoint};
use crate::model::daemon_config::{
    DaemonSettings, DockerSettings, Proxies, RegistryPlace, RuntimeConfig, RuntimeProgram, RuntimeSettings,
};
use crate::model::process::Process;
use crate::model::reading::{Gap, Hides, Reading, Reason, Sighting};
use documents::Documents;

/// The facts of other looks that this look needs.
#[derive(Clone, Debug)]
pub struct SettingsAsked {
    /// The processes of the host's own dockerds: root's, in no container.
    pub daemons: Vec<Process>,
    /// The runtime.
    pub runtime: RuntimeAsked,
}

/// The runtime whose settings are to be read.
#[derive(Clone, Debug)]
pub enum RuntimeAsked {
    /// This one serves the kubelet: its version, its endpoint, and the process that serves that, if it was found.
    Serves {
        /// The program.
        program: RuntimeProgram,
        /// The version, as the runtime spells it.
        version: String,
        /// The canonical path of the endpoint.
        endpoint: String,
        /// The process.
        process: Option<Box<Process>>,
    },
    /// Docker serves the kubelet. The settings are those of the runtime that would replace Docker.
    Planned,
}

/// Reads the settings of both. Absent where Docker has none.
pub fn read_settings(host: &HostPaths, reader: &ProcessReader, asked: &SettingsAsked) -> Sighting<DaemonSettings> {
    let root = match Rooted::open(&host.root) {
        Ok(root) => root,
        Err(error) => return Sighting::unknown(refusal::gap(&error, Hides::Detail, host.root.display(), Right::Root)),
    };
    let mut gaps = Vec::new();
    let docker = match read_docker_settings(reader, &root, asked.daemons.first()) {
        Ok(DockerRead::Settings(docker, unread)) => {
            gaps.extend(unread);
            *docker
        }
        Ok(DockerRead::None) => return Sighting::absent(),
        Err(gap) => return Sighting::unknown(gap),
    };
    if let [_, others @ ..] = asked.daemons.as_slice()
        && !others.is_empty()
    {
        let answer = format!(
            "{} more dockerds of the host run; the first alone is compared",
            others.len()
        );
        gaps.push(Gap::new(
            Reason::LimitReached,
            Hides::Detail,
            "the settings of dockerd",
            answer,
        ));
    }
    let runtime = RuntimeReader {
        reader,
        root: &root,
        docker: &docker,
    };
    let (runtime, unread) = runtime.read(&asked.runtime);
    for gap in unread {
        gap.fold_into(&mut gaps);
    }
    Sighting::partial(DaemonSettings { docker, runtime }, gaps)
}

/// The part that a runtime's own reader returns.
struct Found {
    plugins: [&'static str; 2],
    place: RegistryPlace,
    config: Reading<RuntimeConfig>,
    registries: Reading<BTreeMap<String, Vec<Endpoint>>>,
}

impl Found {
    /// Returns the settings if they could not be read.
    fn unknown(plugins: [&'static str; 2], place: RegistryPlace, gap: &Gap) -> Self {
        Self {
            plugins,
            place,
            config: Reading::Unknown(gap.clone()),
            registries: Reading::Unknown(gap.clone()),
        }
    }
}

struct RuntimeReader<'a> {
    reader: &'a ProcessReader,
    root: &'a Rooted,
    docker: &'a DockerSettings,
}

impl RuntimeReader<'_> {
    fn read(&self, asked: &RuntimeAsked) -> (RuntimeSettings, Vec<Gap>) {
        match asked {
            RuntimeAsked::Planned => {
                let program = self.guess();
                let docs = Documents::new(self.root);
                self.with_files(program, &[], (docs, None), (false, Reading::Absent))
            }
            RuntimeAsked::Serves {
                program,
                version,
                endpoint,
                process,
            } => {
                // Only root's process can name files that castoff reads with its own rights.
                let process = process.as_ref().filter(|process| process.uid == Some(0));
                let Some(process) = process else {
                    return self.without_process(*program, endpoint);
                };
                let arguments = self.reader.read_arguments(process.key);
                let own_root = self.reader.open_root(process.key);
                let (arguments, own_root) = match (arguments, own_root) {
                    (Ok(arguments), Ok(root)) => (arguments, Rooted::new(root)),
                    (Err(error), _) | (_, Err(error)) => {
                        let asked = format_args!("the arguments and the root of {}", process.program());
                        let gap = refusal::gap(&error, Hides::Detail, asked, Right::TraceAndSearch);
                        return (unread(*program, endpoint, &gap), vec![gap]);
                    }
                };
                let proxies = proxies::read(self.reader, process);
                let docs = Documents::new(&own_root);
                self.with_files(*program, &arguments, (docs, parse_version(version)), (true, proxies))
            }
        }
    }

    /// Returns the runtime that would replace Docker: the one that is configured here.
    fn guess(&self) -> RuntimeProgram {
        let is_there = |path: &str| self.root.read_identity(path).is_ok();
        if is_there(crio::CONFIGURATION) && !is_there(containerd::CONFIGURATION) {
            RuntimeProgram::CriO
        } else {
            RuntimeProgram::Containerd
        }
    }

    fn with_files(
        &self,
        program: RuntimeProgram,
        arguments: &[String],
        (mut docs, version): (Documents<'_>, Option<(u32, u32)>),
        (serves_kubelet, proxies): (bool, Reading<Proxies>),
    ) -> (RuntimeSettings, Vec<Gap>) {
        let named = option(arguments, &["--config", "-c"]);
        let wanted: Vec<&str> = std::iter::once(DOCKER_HUB)
            .chain(self.docker.insecure.iter().map(String::as_str))
            .collect();
        let (main_file, found) = match program {
            RuntimeProgram::Containerd => {
                let file = named.unwrap_or(containerd::CONFIGURATION);
                (file, containerd::read(&mut docs, file, version, &wanted))
            }
            RuntimeProgram::CriO => {
                let file = named.unwrap_or(crio::CONFIGURATION);
                (file, crio::read(&mut docs, file, arguments, &wanted))
            }
        };
        let main_file = main_file.to_owned();
        let mut gaps: Vec<Gap> = [found.config.gap(), found.registries.gap(), proxies.gap()]
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        gaps.dedup();
        let settings = RuntimeSettings {
            program,
            serves_kubelet,
            main_file,
            files: docs.into_files(),
            plugins: found.plugins,
            place: found.place,
            config: found.config,
            registries: found.registries,
            proxies,
        };
        (settings, gaps)
    }

    /// Returns the settings if no process of root was found that serves the endpoint: of the default file, if the
    /// endpoint is the default one.
    fn without_process(&self, program: RuntimeProgram, endpoint: &str) -> (RuntimeSettings, Vec<Gap>) {
        let asked = format_args!("the process that serves {endpoint}");
        let answer = "no process of root was seen to hold it: castoff does not know its configuration";
        let gap = Gap::new(Reason::DependsOnAnother, Hides::Detail, asked, answer);
        if DEFAULT_ENDPOINTS.contains(&endpoint) {
            let docs = Documents::new(self.root);
            let proxies = Reading::Unknown(gap);
            return self.with_files(program, &[], (docs, None), (true, proxies));
        }
        (unread(program, endpoint, &gap), vec![gap])
    }
}

/// The endpoints of the runtimes that distributions of Linux install.
const DEFAULT_ENDPOINTS: [&str; 2] = ["/run/containerd/containerd.sock", "/run/crio/crio.sock"];

fn unread(program: RuntimeProgram, endpoint: &str, gap: &Gap) -> RuntimeSettings {
    let place = match program {
        RuntimeProgram::Containerd => RegistryPlace::Unset,
        RuntimeProgram::CriO => RegistryPlace::RegistriesConf,
    };
    let found = Found::unknown(containerd::plugins(None, None), place, gap);
    RuntimeSettings {
        program,
        serves_kubelet: true,
        main_file: format!("the configuration of the runtime at {endpoint}"),
        files: Vec::new(),
        plugins: found.plugins,
        place: found.place,
        config: found.config,
        registries: found.registries,
        proxies: Reading::Unknown(gap.clone()),
    }
}

/// Returns the major and the minor of a version: `v2.1.5-k3s1`, `1.7.24`.
fn parse_version(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim_start_matches('v').split(['.', '-', '+', '~']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}
