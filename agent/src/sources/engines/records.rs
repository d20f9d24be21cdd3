//! dockerd's own records of a container on the disk: its name, its image and its mounts.
//!
//! Relies on `<data-root>/containers/<id>/config.v2.json` (moby `container/container.go`), read in dockerd's own mount
//! namespace. Only those fields are read, because the file has the container's environment too.
//!
//! Only a dockerd that runs as root determines the paths: castoff may read every file, and an ordinary user's process
//! could point it to files that the user may not read.

use std::collections::BTreeMap;
use std::io;

use rustix::fs::FileType;
use serde::Deserialize;

use super::program::{self, Program, option, short_options};
use super::settings::Configuration;
use crate::model::container::{Mount, SupervisedContainer};
use crate::model::engine::EngineKind;
use crate::model::identity::{ContainerId, ProcessKey};
use crate::model::reading::{Gap, Hides};
use crate::sources::docker::{CONFIGURATIONS, DATA_ROOTS};
use crate::sources::kernel::refusal::{self, Right};
use crate::sources::kernel::rooted::Rooted;
use crate::sources::processes::{ProcessEntry, ProcessReader, ProcessTable};

/// The limit of any file here, in bytes.
const FILE_LIMIT: u64 = 1 << 20;

/// dockerd's record of a container.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// The name, without the slash that Docker puts before it.
    pub name: Option<String>,
    /// The image as it was requested.
    pub image: Option<String>,
    /// The mounts.
    pub mounts: Vec<Mount>,
}

/// The directories where the node's dockerds keep their records.
pub(super) struct Records {
    daemons: Vec<Daemon>,
    /// True if the root of some dockerd could not be opened.
    refused: bool,
}

struct Daemon {
    /// The container that this dockerd runs in, if any.
    inside: Option<ContainerId>,
    root: Rooted,
    data_roots: Vec<String>,
}

impl Records {
    /// Finds the directories of every dockerd. One that cannot be opened is a gap.
    pub(super) fn find(reader: &ProcessReader, table: &ProcessTable, gaps: &mut Vec<Gap>) -> Self {
        let (mut daemons, mut refused) = (Vec::new(), false);
        for entry in &table.entries {
            if !matches!(
                program::read_program(reader, entry),
                Ok(Program::Engine(EngineKind::Dockerd))
            ) {
                continue;
            }
            match open_daemon(reader, entry) {
                Ok(daemon) => daemons.extend(daemon),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    refused = true;
                    let asked = format_args!("/proc/{}/root of {}", entry.key.pid, entry.name);
                    refusal::gap(&error, Hides::Detail, asked, Right::Trace).fold_into(gaps);
                }
            }
        }
        Self { daemons, refused }
    }

    /// Reads the record of `container` that the dockerd beside its supervisor keeps.
    pub(super) fn read(&self, container: &SupervisedContainer) -> io::Result<Record> {
        // The refusal has a gap already.
        let mut answer = if self.refused {
            Ok(Record::default())
        } else {
            Err(io::ErrorKind::NotFound.into())
        };
        // Only a dockerd in the same container as the supervisor counts: a record of the same ID elsewhere may be
        // forged.
        for daemon in self.daemons.iter().filter(|daemon| daemon.inside == container.inside) {
            for data_root in &daemon.data_roots {
                let path = format!("{data_root}/containers/{}/config.v2.json", container.id);
                match daemon.root.read_file(&path, FILE_LIMIT) {
                    Ok(file) => return parse(&file),
                    Err(error) if refusal::is_missing(&error) => {}
                    Err(error) => answer = Err(error),
                }
            }
        }
        answer
    }
}

fn open_daemon(reader: &ProcessReader, entry: &ProcessEntry) -> io::Result<Option<Daemon>> {
    let Some(process) = reader.describe(entry).filter(|process| process.uid == Some(0)) else {
        return Ok(None);
    };
    let root = Rooted::new(reader.open_root(entry.key)?);
    let data_roots = find_data_roots(reader, entry.key, &root)?;
    Ok(Some(Daemon {
        inside: process.membership.trusted().next_back().map(|c| c.id.clone()),
        root,
        data_roots,
    }))
}

/// Returns the directory of a dockerd's data, if its arguments name it.
pub(in crate::sources) fn data_root_argument(command: &[String]) -> Option<&str> {
    option(command, &["--data-root", "--graph"]).or_else(|| short_options(command, 'g').last())
}

fn find_data_roots(reader: &ProcessReader, key: ProcessKey, root: &Rooted) -> io::Result<Vec<String>> {
    let command = reader.read_arguments(key)?; // a loader's own options have other names
    if let Some(given) = data_root_argument(&command) {
        return Ok(vec![given.to_owned()]);
    }
    let config = option(&command, &["--config-file"]).unwrap_or(CONFIGURATIONS[0]);
    if let Some(given) = Configuration::read(root, config).ok().and_then(|file| file.data_root) {
        return Ok(vec![given]);
    }
    let mut roots: Vec<String> = DATA_ROOTS.iter().map(|&root| root.to_owned()).collect();
    roots.retain(|path| {
        root.read_identity(path)
            .is_ok_and(|(_, kind)| kind == FileType::Directory)
    });
    Ok(roots)
}

fn parse(file: &[u8]) -> io::Result<Record> {
    #[derive(Deserialize)]
    struct Stored {
        #[serde(rename = "Name")]
        name: Option<String>,
        #[serde(rename = "Config")]
        config: Option<StoredConfig>,
        /// Keyed by the path in the container.
        #[serde(rename = "MountPoints")]
        mounts: Option<BTreeMap<String, StoredMount>>,
    }
    #[derive(Deserialize)]
    struct StoredMount {
        #[serde(rename = "Source", default)]
        source: String,
        #[serde(rename = "RW", default)]
        is_writable: bool,
    }
    #[derive(Deserialize)]
    struct StoredConfig {
        #[serde(rename = "Image")]
        image: Option<String>,
    }
    // The parser's own message could quote the file.
    let stored: Stored = serde_json::from_slice(file).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    let full = |text: Option<String>| text.filter(|t| !t.is_empty());
    Ok(Record {
        name: full(stored.name.map(|name| name.trim_start_matches('/').to_owned())),
        image: full(stored.config.and_then(|config| config.image)),
        mounts: stored
            .mounts
            .unwrap_or_default()
            .into_iter()
            .map(|(path, mount)| Mount {
                host_path: mount.source,
                container_path: path,
                readonly: !mount.is_writable,
            })
            .collect(),
    })
}
