//! The files that a kubelet, and what embeds one, reads about its runtime.

use std::io;

use rustix::fs::FileType;
use serde::Deserialize;

use crate::model::kubelet::{EndpointCandidate, EndpointOrigin};
use crate::model::reading::{Gap, Hides, Reason};
use crate::sources::HostPaths;
use crate::sources::kernel::refusal::{self, Right};
use crate::sources::kernel::rooted::Rooted;
use crate::sources::runtime::endpoint::path_of;

/// The largest file that is read; a kubelet's configuration has a few KiB.
const FILE_MAX: u64 = 1 << 20;

/// Files of one directory of drop-ins that are read.
const DROP_INS_MAX: usize = 256;

/// The host's files; errors become gaps that hide the runtime.
#[derive(Debug)]
pub(super) struct Files {
    root: Result<Rooted, Gap>,
}

/// The fields of a `KubeletConfiguration` that castoff reads (kubelet.config.k8s.io/v1beta1): the endpoint from 1.27 on,
/// `failCgroupV1` from 1.31 on.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KubeletConfiguration {
    container_runtime_endpoint: Option<String>,
    #[serde(rename = "failCgroupV1")]
    fail_cgroup_v1: Option<bool>,
}

impl KubeletConfiguration {
    fn read_as(self, path: &str) -> Configuration {
        let named = self.container_runtime_endpoint.filter(|e| !e.is_empty());
        Configuration {
            endpoint: named.map_or(Word::Silent, |endpoint| Word::Names(named_by(path, &endpoint))),
            fail_cgroup_v1: self.fail_cgroup_v1,
        }
    }
}

/// The fields of k3s' and rke2's configuration that castoff reads: the command line's flags as a file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct DistributionFile {
    container_runtime_endpoint: Option<String>,
    docker: Option<Switch>,
    data_dir: Option<String>,
    kubelet_arg: Option<OneOrMore>,
    /// Added to what the files before have, where without the sign it takes their place.
    #[serde(rename = "kubelet-arg+")]
    more_kubelet_args: Option<OneOrMore>,
}

/// A flag without a value: k3s takes the word for the value.
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
            Self::Word(word) => word == "true" || word == "1",
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

/// k3s' or rke2's configuration with the files that are laid over it.
#[derive(Debug, Default)]
pub(super) struct DistributionConfiguration {
    pub(super) container_runtime_endpoint: Option<String>,
    pub(super) docker: bool,
    pub(super) data_dir: Option<String>,
    pub(super) kubelet_args: Vec<String>,
    /// The file that decides on the endpoint.
    pub(super) path: String,
}

impl DistributionConfiguration {
    fn lay_over(&mut self, path: &str, file: DistributionFile) {
        if file.container_runtime_endpoint.is_some() || file.docker.is_some() {
            path.clone_into(&mut self.path);
        }
        self.container_runtime_endpoint = file
            .container_runtime_endpoint
            .or(self.container_runtime_endpoint.take());
        self.docker = file.docker.map_or(self.docker, |docker| docker.is_on());
        self.data_dir = file.data_dir.or(self.data_dir.take());
        if let Some(arguments) = file.kubelet_arg {
            self.kubelet_args = arguments.into_vec();
        }
        self.kubelet_args
            .extend(file.more_kubelet_args.map_or_else(Vec::new, OneOrMore::into_vec));
    }
}

/// What a kubelet's configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Configuration {
    pub(super) endpoint: Word,
    pub(super) fail_cgroup_v1: Option<bool>,
}

impl Configuration {
    const fn new(endpoint: Word) -> Self {
        Self {
            endpoint,
            fail_cgroup_v1: None,
        }
    }
}

/// What a file says of the endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// There is no such file.
    NoFile,
    /// It is there, and leaves the endpoint to others.
    Silent,
    /// It names one.
    Names(EndpointCandidate),
}

impl Files {
    pub(super) fn open(host: &HostPaths) -> Self {
        let root = Rooted::open(&host.root);
        Self {
            root: root.map_err(|e| gap_of(&e, &host.root.display().to_string())),
        }
    }

    /// A text file. None: it is not there.
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

    /// A kubelet's configuration file.
    pub(super) fn read_configuration(&self, path: &str) -> Result<Configuration, Gap> {
        let file = self.read_yaml::<KubeletConfiguration>(path)?;
        Ok(file.map_or(Configuration::new(Word::NoFile), |file| file.read_as(path)))
    }

    /// A directory of drop-ins: of the `.conf` files in it and below it, in the order of their paths, the last one that sets a
    /// field (KEP-3983; from 1.28 on).
    pub(super) fn read_drop_ins(&self, directory: &str) -> Result<Configuration, Gap> {
        let mut paths = Vec::new();
        // The kubelet follows no link to a directory (WalkDir of Go), not even where the flag names one.
        if self.is_link(directory)? || !self.find_drop_ins(directory, &mut paths)? {
            return Ok(Configuration::new(Word::NoFile));
        }
        let mut all = Configuration::new(Word::Silent);
        for path in paths {
            let file = self.read_configuration(&path)?;
            if let Word::Names(_) = file.endpoint {
                all.endpoint = file.endpoint;
            }
            all.fail_cgroup_v1 = file.fail_cgroup_v1.or(all.fail_cgroup_v1);
        }
        Ok(all)
    }

    /// Adds the drop-ins in a directory and below it. False where there is no such directory.
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
            // As the kubelet takes them: `.conf` and no other spelling.
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

    /// True if something is there.
    pub(super) fn is_there(&self, path: &str) -> Result<bool, Gap> {
        Ok(self.kind_of(path)?.is_some())
    }

    fn is_directory(&self, path: &str) -> Result<bool, Gap> {
        Ok(self.kind_of(path)? == Some(FileType::Directory))
    }

    /// The kind of file at `path`; none where nothing is there.
    fn kind_of(&self, path: &str) -> Result<Option<FileType>, Gap> {
        let root = self.root.as_ref().map_err(Gap::clone)?;
        match root.read_identity(path) {
            Ok((_, kind)) => Ok(Some(kind)),
            Err(e) if refusal::is_missing(&e) => Ok(None),
            Err(e) => Err(gap_of(&e, path)),
        }
    }

    /// True if a directory has anything in it. False where it is not there.
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

    /// k3s' or rke2's configuration with the files that are laid over it. None: there is none.
    pub(super) fn read_distribution(&self, path: &str) -> Result<Option<DistributionConfiguration>, Gap> {
        let directory = format!("{path}.d");
        let names = self.read_names(&directory, &[".yaml", ".yml"])?.unwrap_or_default();
        let over = names.into_iter().map(|name| format!("{directory}/{name}"));
        let mut all: Option<DistributionConfiguration> = None;
        for path in std::iter::once(path.to_owned()).chain(over) {
            if let Some(file) = self.read_yaml::<DistributionFile>(&path)? {
                all.get_or_insert_default().lay_over(&path, file);
            }
        }
        Ok(all)
    }

    fn read_yaml<T: for<'de> Deserialize<'de>>(&self, path: &str) -> Result<Option<T>, Gap> {
        let text = self.read(path)?;
        text.map(|text| parse_yaml(path, &text)).transpose()
    }

    /// The names in a directory that end in one of `suffixes`, sorted. None: it is not there.
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
    // JSON, which some installers write, is YAML too. Where it is wrong, not what stands there: the file may hold tokens.
    serde_saphyr::from_str(first_document(text)).map_err(|error| {
        let line = error
            .location()
            .map_or_else(String::new, |at| format!(", line {}", at.line()));
        let answer = format!("not the YAML of a configuration{line}");
        Gap::new(Reason::Malformed, Hides::Runtime, path, answer)
    })
}

/// Reads a file's text as a kubelet's and as a distribution's configuration.
#[cfg(any(test, feature = "fuzz"))]
pub(super) fn fuzz(text: &str) {
    let _ = parse_yaml::<KubeletConfiguration>("config", text).map(|file| file.read_as("config"));
    if let Ok(file) = parse_yaml::<DistributionFile>("config", text) {
        DistributionConfiguration::default().lay_over("config", file);
    }
}

/// The first document of a stream: the kubelet and k3s read no other, whatever follows (sigs.k8s.io/yaml).
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

/// An endpoint that a file names.
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
