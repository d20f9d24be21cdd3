//! The files from which a kubelet, or a program that embeds one, reads the settings of its runtime.

use std::io;
use std::time::{Duration, SystemTime};

use rustix::fs::FileType;
use serde::Deserialize;

use super::unit::{self, KubeletUnit};
use crate::model::kubelet::{EndpointCandidate, EndpointOrigin};
use crate::model::last_connect::moment_of;
use crate::model::reading::{Gap, Hides, Reason};
use crate::sources::HostPaths;
use crate::sources::engines::is_true;
use crate::sources::kernel::refusal::{self, Right};
use crate::sources::kernel::rooted::Rooted;
use crate::sources::runtime::endpoint::{KUBELETS_DEFAULT, path_of};

/// The limit of a file, in bytes; a kubelet's configuration has a few KiB.
const FILE_MAX: u64 = 1 << 20;

/// The most files of one directory of drop-ins that are read.
const DROP_INS_MAX: usize = 256;

/// The host's files; errors become gaps that hide the runtime.
#[derive(Debug)]
pub(super) struct Files {
    root: Result<Rooted, Gap>,
}

/// The fields of a `KubeletConfiguration` that castoff reads (kubelet.config.k8s.io/v1beta1): the endpoint since 1.27,
/// and `failCgroupV1` since 1.31.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KubeletConfiguration {
    container_runtime_endpoint: Option<String>,
    #[serde(rename = "failCgroupV1")]
    fail_cgroup_v1: Option<bool>,
}

impl KubeletConfiguration {
    fn read_as(self, path: &str) -> Configuration {
        let endpoint = match self.container_runtime_endpoint.as_deref() {
            None => EndpointSetting::Silent,
            Some("") => EndpointSetting::Empty,
            Some(endpoint) => EndpointSetting::Names(named_by(path, endpoint)),
        };
        Configuration {
            endpoint,
            fail_cgroup_v1: self.fail_cgroup_v1,
        }
    }
}

/// The fields of k3s' and rke2's configuration that castoff reads: the flags of the command line in a file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct DistributionFile {
    container_runtime_endpoint: Option<String>,
    docker: Option<Switch>,
    data_dir: Option<String>,
    disable_agent: Option<Switch>,
    kubelet_arg: Option<OneOrMore>,
    /// With the `+`, the value is appended to that of earlier files instead of replacing it.
    #[serde(rename = "kubelet-arg+")]
    more_kubelet_args: Option<OneOrMore>,
}

/// A flag without a value: k3s accepts the word as the value.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Switch {
    Value(bool),
    Word(String),
}

impl Switch {
    fn is_on(&self) -> bool {
        match self {
            Self::Value(on) => *on,
            Self::Word(word) => is_true(word),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::More(more) => more,
        }
    }
}

/// k3s' or rke2's configuration, with its drop-ins.
#[derive(Debug, Default)]
pub(super) struct DistributionConfiguration {
    pub(super) container_runtime_endpoint: Option<String>,
    pub(super) docker: bool,
    pub(super) data_dir: Option<String>,
    /// True if the server has no kubelet.
    pub(super) disable_agent: bool,
    pub(super) kubelet_args: Vec<String>,
    /// The file that sets the endpoint.
    pub(super) path: String,
}

impl DistributionConfiguration {
    fn apply(&mut self, path: &str, file: DistributionFile) {
        if file.container_runtime_endpoint.is_some() || file.docker.is_some() {
            path.clone_into(&mut self.path);
        }
        self.container_runtime_endpoint = file
            .container_runtime_endpoint
            .or(self.container_runtime_endpoint.take());
        self.docker = file.docker.map_or(self.docker, |docker| docker.is_on());
        self.data_dir = file.data_dir.or(self.data_dir.take());
        self.disable_agent = file.disable_agent.map_or(self.disable_agent, |switch| switch.is_on());
        if let Some(arguments) = file.kubelet_arg {
            self.kubelet_args = arguments.into_vec();
        }
        self.kubelet_args
            .extend(file.more_kubelet_args.map_or_else(Vec::new, OneOrMore::into_vec));
    }
}

/// The settings in a kubelet's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Configuration {
    pub(super) endpoint: EndpointSetting,
    pub(super) fail_cgroup_v1: Option<bool>,
}

impl Configuration {
    const fn new(endpoint: EndpointSetting) -> Self {
        Self {
            endpoint,
            fail_cgroup_v1: None,
        }
    }
}

/// The endpoint in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EndpointSetting {
    /// There is no such file.
    NoFile,
    /// The file sets no endpoint.
    Silent,
    /// The file sets an empty endpoint, as kubeadm's does.
    Empty,
    /// The file sets this endpoint.
    Names(EndpointCandidate),
}

impl Files {
    pub(super) fn open(host: &HostPaths) -> Self {
        let root = Rooted::open(&host.root);
        Self {
            root: root.map_err(|e| gap_of(&e, &host.root.display().to_string())),
        }
    }

    /// Returns the files below the root of a process, which may differ from the host's.
    pub(super) const fn of_process(root: Rooted) -> Self {
        Self { root: Ok(root) }
    }

    /// Finds the enabled unit that starts the kubelet.
    pub(super) fn find_unit(&self) -> Option<KubeletUnit> {
        unit::find(self.root.as_ref().ok()?)
    }

    /// Returns the time since the content of a file was written. None if there is no such file, or its time is later than
    /// now.
    pub(super) fn age(&self, path: &str) -> Option<Duration> {
        let written = self.root.as_ref().ok()?.read_modification(path).ok()?;
        moment_of(SystemTime::now()).checked_sub(written)
    }

    /// Reads a text file. Returns none if it does not exist.
    pub(super) fn read(&self, path: &str) -> Result<Option<String>, Gap> {
        let root = self.root.as_ref().map_err(Gap::clone)?;
        let bytes = match root.read_file(path, FILE_MAX) {
            Ok(bytes) => bytes,
            Err(e) if refusal::is_missing(&e) => return Ok(None),
            Err(e) => return Err(gap_of(&e, path)),
        };
        let text = String::from_utf8(bytes);
        text.map(Some)
            .map_err(|e| Gap::new(Reason::Malformed, Hides::Runtime, path, e))
    }

    /// Reads a kubelet's configuration file.
    pub(super) fn read_configuration(&self, path: &str) -> Result<Configuration, Gap> {
        let file = self.read_yaml::<KubeletConfiguration>(path)?;
        Ok(file.map_or(Configuration::new(EndpointSetting::NoFile), |file| file.read_as(path)))
    }

    /// Reads a directory of drop-ins. Among the `.conf` files in it and below it, in the order of their paths, the last
    /// one that sets a field wins (KEP-3983; since 1.28).
    pub(super) fn read_drop_ins(&self, directory: &str) -> Result<Configuration, Gap> {
        let mut paths = Vec::new();
        // The kubelet follows no link to a directory (Go's WalkDir), not even if the flag names one.
        if self.is_link(directory)? || !self.find_drop_ins(directory, &mut paths)? {
            return Ok(Configuration::new(EndpointSetting::NoFile));
        }
        let mut all = Configuration::new(EndpointSetting::Silent);
        for path in paths {
            let file = self.read_configuration(&path)?;
            match file.endpoint {
                // It replaces the endpoint of the files before it, and the kubelet then uses its default.
                EndpointSetting::Empty => all.endpoint = EndpointSetting::Names(named_by(&path, KUBELETS_DEFAULT)),
                EndpointSetting::Names(_) => all.endpoint = file.endpoint,
                EndpointSetting::NoFile | EndpointSetting::Silent => {}
            }
            all.fail_cgroup_v1 = file.fail_cgroup_v1.or(all.fail_cgroup_v1);
        }
        Ok(all)
    }

    /// Adds the drop-ins in a directory and below it. Returns false if there is no such directory.
    fn find_drop_ins(&self, directory: &str, found: &mut Vec<String>) -> Result<bool, Gap> {
        let Some(names) = self.read_names(directory, &[""])? else {
            return Ok(false);
        };
        for name in names {
            let path = format!("{directory}/{name}");
            if !self.is_link(&path)? && self.is_directory(&path)? {
                self.find_drop_ins(&path, found)?;
                continue;
            }
            // Like the kubelet: only `.conf`, in lower case.
            if name.strip_suffix(".conf").is_some() {
                found.push(path);
            }
            if found.len() > DROP_INS_MAX {
                return Err(too_many(directory));
            }
        }
        Ok(true)
    }

    fn is_link(&self, path: &str) -> Result<bool, Gap> {
        let root = self.root.as_ref().map_err(Gap::clone)?;
        Ok(root.read_link(path).is_ok())
    }

    /// True if there is a file or directory at `path`.
    pub(super) fn is_there(&self, path: &str) -> Result<bool, Gap> {
        Ok(self.kind_of(path)?.is_some())
    }

    fn is_directory(&self, path: &str) -> Result<bool, Gap> {
        Ok(self.kind_of(path)? == Some(FileType::Directory))
    }

    /// Returns the type of the file at `path`; none if there is none.
    fn kind_of(&self, path: &str) -> Result<Option<FileType>, Gap> {
        let root = self.root.as_ref().map_err(Gap::clone)?;
        match root.read_identity(path) {
            Ok((_, kind)) => Ok(Some(kind)),
            Err(e) if refusal::is_missing(&e) => Ok(None),
            Err(e) => Err(gap_of(&e, path)),
        }
    }

    /// True if a directory has an entry. False if it does not exist.
    pub(super) fn has_entries(&self, directory: &str) -> Result<bool, Gap> {
        let root = self.root.as_ref().map_err(Gap::clone)?;
        let mut some = false;
        let read = root.read_names(directory, |_| {
            some = true;
            false
        });
        match read {
            Ok(()) => Ok(some),
            Err(e) if refusal::is_missing(&e) => Ok(false),
            Err(e) => Err(gap_of(&e, directory)),
        }
    }

    /// Reads k3s' or rke2's configuration with its drop-ins. Returns none if there is no file.
    pub(super) fn read_distribution(&self, path: &str) -> Result<Option<DistributionConfiguration>, Gap> {
        let directory = format!("{path}.d");
        let names = self.read_names(&directory, &[".yaml", ".yml"])?.unwrap_or_default();
        let over = names.into_iter().map(|name| format!("{directory}/{name}"));
        let mut all: Option<DistributionConfiguration> = None;
        for path in std::iter::once(path.to_owned()).chain(over) {
            if let Some(file) = self.read_yaml::<DistributionFile>(&path)? {
                all.get_or_insert_default().apply(&path, file);
            }
        }
        Ok(all)
    }

    fn read_yaml<T: for<'de> Deserialize<'de>>(&self, path: &str) -> Result<Option<T>, Gap> {
        let text = self.read(path)?;
        text.map(|text| parse_yaml(path, &text)).transpose()
    }

    /// Returns the names in a directory that end in one of `suffixes`, sorted. None if it does not exist.
    fn read_names(&self, directory: &str, suffixes: &[&str]) -> Result<Option<Vec<String>>, Gap> {
        let root = self.root.as_ref().map_err(Gap::clone)?;
        let mut names = Vec::new();
        let read = root.read_names(directory, |name| {
            if suffixes.iter().any(|suffix| name.ends_with(suffix)) {
                names.push(name.to_owned());
            }
            names.len() <= DROP_INS_MAX
        });
        match read {
            Err(e) if refusal::is_missing(&e) => return Ok(None),
            Err(e) => return Err(gap_of(&e, directory)),
            Ok(()) if names.len() > DROP_INS_MAX => {
                return Err(too_many(directory));
            }
            Ok(()) => {}
        }
        names.sort_unstable();
        Ok(Some(names))
    }
}

fn parse_yaml<T: for<'de> Deserialize<'de>>(path: &str, text: &str) -> Result<T, Gap> {
    // JSON, which some installers write, is YAML too. The error gives the position and not the text: the file may
    // contain tokens.
    serde_saphyr::from_str(first_document(text)).map_err(|error| {
        let line = error
            .location()
            .map_or_else(String::new, |at| format!(", line {}", at.line()));
        let answer = format!("not the YAML of a configuration{line}");
        Gap::new(Reason::Malformed, Hides::Runtime, path, answer)
    })
}

/// Reads a text as a kubelet's and as a distribution's configuration.
#[cfg(any(test, feature = "fuzz"))]
pub(super) fn fuzz(text: &str) {
    let _ = parse_yaml::<KubeletConfiguration>("config", text).map(|file| file.read_as("config"));
    if let Ok(file) = parse_yaml::<DistributionFile>("config", text) {
        DistributionConfiguration::default().apply("config", file);
    }
}

/// Returns the first document of a stream: the kubelet and k3s ignore all others (sigs.k8s.io/yaml).
fn first_document(text: &str) -> &str {
    let (mut begun, mut end) = (false, 0);
    for line in text.split_inclusive('\n') {
        let is_marker = |marker: &str| {
            line.strip_prefix(marker)
                .is_some_and(|rest| rest.trim_start() != rest || rest.is_empty())
        };
        let is_boundary = is_marker("---") || is_marker("...");
        if begun && is_boundary {
            return &text[..end];
        }
        begun |= is_boundary || !(line.trim().is_empty() || line.starts_with(['#', '%']));
        end += line.len();
    }
    text
}

/// Returns an endpoint that a file sets.
pub(super) fn named_by(file: &str, endpoint: &str) -> EndpointCandidate {
    EndpointCandidate {
        path: path_of(endpoint).to_owned(),
        origin: EndpointOrigin::KubeletFile { path: file.to_owned() },
    }
}

fn too_many(directory: &str) -> Gap {
    let answer = format!("more than {DROP_INS_MAX} files");
    Gap::new(Reason::LimitReached, Hides::Runtime, directory, answer)
}

fn gap_of(error: &io::Error, path: &str) -> Gap {
    let (reason, answer) = match error.kind() {
        io::ErrorKind::FileTooLarge => (Reason::TooLarge, format!("more than {FILE_MAX} bytes")),
        io::ErrorKind::InvalidData => (Reason::Malformed, "not a regular file".to_owned()),
        _ => (Reason::of(error), refusal::explain(error, Right::Root)),
    };
    Gap::new(reason, Hides::Runtime, path, answer)
}
