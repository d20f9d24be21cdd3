//! The files that a kubelet, and what embeds one, reads about its runtime.

use std::io;

use serde::Deserialize;

use crate::model::kubelet::{EndpointCandidate, EndpointOrigin};
use crate::model::reading::{Gap, Hides, Reason};
use crate::sources::HostPaths;
use crate::sources::kernel::rooted::Rooted;
use crate::sources::runtime::endpoint::path_of;

/// The largest file that is read; a kubelet's configuration has a few KiB.
const FILE_MAX: u64 = 1 << 20;

/// Files in one directory of drop-ins that are read.
const DROP_INS_MAX: usize = 256;

/// The host's files; errors become gaps that hide the runtime.
#[derive(Debug)]
pub(super) struct Files {
    root: Result<Rooted, Gap>,
}

/// The only field of a `KubeletConfiguration` that castoff reads (kubelet.config.k8s.io/v1beta1; from 1.27 on).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KubeletConfiguration {
    container_runtime_endpoint: Option<String>,
}

/// The fields of k3s' and rke2's configuration that castoff reads: the command line's flags as a file.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct DistributionConfiguration {
    pub(super) container_runtime_endpoint: Option<String>,
    pub(super) docker: Option<bool>,
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
            Err(e) if is_missing(&e) => return Ok(None),
            Err(e) => return Err(gap_of(&e, path)),
        };
        let text = String::from_utf8(bytes);
        text.map(Some)
            .map_err(|e| Gap::new(Reason::Malformed, Hides::Runtime, path, e))
    }

    /// The endpoint in a kubelet's configuration file.
    pub(super) fn read_configuration(&self, path: &str) -> Result<Word, Gap> {
        let Some(file) = self.read_yaml::<KubeletConfiguration>(path)? else {
            return Ok(Word::NoFile);
        };
        let named = file.container_runtime_endpoint.filter(|e| !e.is_empty());
        Ok(named.map_or(Word::Silent, |endpoint| Word::Names(named_by(path, &endpoint))))
    }

    /// The endpoint in a directory of drop-ins: of its `.conf` files, in the order of their names, the last one that
    /// names any (KEP-3983; from 1.28 on).
    pub(super) fn read_drop_ins(&self, directory: &str) -> Result<Word, Gap> {
        let Some(names) = self.read_names(directory, ".conf")? else {
            return Ok(Word::NoFile);
        };
        let mut word = Word::Silent;
        for name in names {
            if let named @ Word::Names(_) = self.read_configuration(&format!("{directory}/{name}"))? {
                word = named;
            }
        }
        Ok(word)
    }

    /// k3s' or rke2's configuration with the files that are laid over it, and the path of the one that decides on the
    /// endpoint. None: there is none.
    pub(super) fn read_distribution(&self, path: &str) -> Result<Option<(DistributionConfiguration, String)>, Gap> {
        let directory = format!("{path}.d");
        let names = self.read_names(&directory, ".yaml")?.unwrap_or_default();
        let over = names.into_iter().map(|name| format!("{directory}/{name}"));
        let mut all: Option<(DistributionConfiguration, String)> = None;
        for path in std::iter::once(path.to_owned()).chain(over) {
            let Some(file) = self.read_yaml::<DistributionConfiguration>(&path)? else {
                continue;
            };
            let (found, decides) = all.get_or_insert_with(|| (DistributionConfiguration::default(), path.clone()));
            found.docker = file.docker.or(found.docker);
            if file.container_runtime_endpoint.is_some() {
                found.container_runtime_endpoint = file.container_runtime_endpoint;
                *decides = path;
            }
        }
        Ok(all)
    }

    fn read_yaml<T: for<'de> Deserialize<'de>>(&self, path: &str) -> Result<Option<T>, Gap> {
        let Some(text) = self.read(path)? else {
            return Ok(None);
        };
        // JSON, which some installers write, is YAML too.
        match serde_saphyr::from_str(&text) {
            Ok(parsed) => Ok(Some(parsed)),
            // Where it is wrong, not what stands there: the file may hold tokens.
            Err(error) => {
                let line = error
                    .location()
                    .map_or_else(String::new, |at| format!(", line {}", at.line()));
                let answer = format!("not the YAML of a configuration{line}");
                Err(Gap::new(Reason::Malformed, Hides::Runtime, path, answer))
            }
        }
    }

    /// The names in a directory that end so, sorted. None: it is not there.
    fn read_names(&self, directory: &str, suffix: &str) -> Result<Option<Vec<String>>, Gap> {
        let root = self.root.as_ref().map_err(Gap::clone)?;
        let mut names = Vec::new();
        let read = root.read_names(directory, |name| {
            if name.ends_with(suffix) {
                names.push(name.to_owned());
            }
            names.len() <= DROP_INS_MAX
        });
        match read {
            Err(e) if is_missing(&e) => return Ok(None),
            Err(e) => return Err(gap_of(&e, directory)),
            Ok(()) if names.len() > DROP_INS_MAX => {
                let answer = format!("more than {DROP_INS_MAX} files");
                return Err(Gap::new(Reason::LimitReached, Hides::Runtime, directory, answer));
            }
            Ok(()) => {}
        }
        names.sort_unstable();
        Ok(Some(names))
    }
}

/// An endpoint that a file names.
pub(super) fn named_by(file: &str, endpoint: &str) -> EndpointCandidate {
    EndpointCandidate {
        path: path_of(endpoint).to_owned(),
        origin: EndpointOrigin::KubeletFile { path: file.to_owned() },
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn gap_of(error: &io::Error, path: &str) -> Gap {
    let (reason, answer) = match error.kind() {
        io::ErrorKind::FileTooLarge => (Reason::TooLarge, format!("more than {FILE_MAX} bytes")),
        io::ErrorKind::InvalidData => (Reason::Malformed, "not a regular file".to_owned()),
        io::ErrorKind::PermissionDenied => (Reason::PermissionDenied, format!("{error}; root may read it")),
        _ => (Reason::of(error), error.to_string()),
    };
    Gap::new(reason, Hides::Runtime, path, answer)
}
