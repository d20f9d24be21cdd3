//! Mounts of Docker's data, logs and configuration.

use rustix::fs::FileType;

use super::Looked;
use super::own::{shown, source_of};
use super::search::{MountSearch, Subject, declared_at};
use super::table::{FilePlace, MountTable, below, path_of};
use super::targets::{Host, locate_own};
use crate::model::container::Mount;
use crate::model::engine::{EngineKind, EngineSighting};
use crate::model::exposure::{DockerFiles, FilesMount};
use crate::model::process::Process;
use crate::model::reading::{Gap, Hides};
use crate::sources::docker::CONFIGURATION_DIRECTORIES;
use crate::sources::engines::data_root_argument;
use crate::sources::kernel::refusal::{self, Right, leads_nowhere};
use crate::sources::kernel::rooted::Rooted;
use crate::sources::processes::ProcessReader;

/// The directory of the containers' logs and settings in Docker's data.
const CONTAINERS: &[u8] = b"/containers";

/// A directory of Docker on the host: its data or its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DockerDirectory {
    files: DockerFiles,
    place: FilePlace,
}

impl DockerDirectory {
    /// Returns the files that a mount of `source` leads to. Below a data directory, only its direct subdirectories
    /// count: anything deeper is the root, a volume or a file of one of Docker's own containers.
    fn files_at(&self, source: &FilePlace) -> Option<DockerFiles> {
        if source.device != self.place.device {
            return None;
        }
        let rest = below(&source.path, &self.place.path)?;
        match self.files {
            DockerFiles::Configuration => Some(DockerFiles::Configuration),
            DockerFiles::Data | DockerFiles::Logs if rest == CONTAINERS => Some(DockerFiles::Logs),
            DockerFiles::Data | DockerFiles::Logs => {
                let is_deeper = rest.iter().skip(1).any(|byte| *byte == b'/');
                (!is_deeper).then_some(DockerFiles::Data)
            }
        }
    }
}

/// Returns the files that a mount of `source` leads to.
fn files_at(directories: &[DockerDirectory], source: &FilePlace) -> Option<DockerFiles> {
    directories.iter().find_map(|directory| directory.files_at(source))
}

/// Finds Docker's directories: those of the host's configuration, and those of the daemons that run.
pub(super) fn find_directories(
    host: &Host<'_>,
    looked: &Looked<'_>,
    engines: &[EngineSighting],
    gaps: &mut Vec<Gap>,
) -> Vec<DockerDirectory> {
    let data = looked.docker_data.iter().map(String::as_str);
    let configuration = CONFIGURATION_DIRECTORIES.into_iter();
    let named = data.map(|path| (DockerFiles::Data, path));
    let named = named.chain(configuration.map(|path| (DockerFiles::Configuration, path)));
    let mut found: Vec<DockerDirectory> = Vec::new();
    for (files, path) in named {
        match place_on_host(host, path) {
            Ok(place) => found.extend(place.map(|place| DockerDirectory { files, place })),
            Err(error) if leads_nowhere(&error) => {}
            Err(error) => refusal::gap(&error, Hides::Detail, path, Right::TraceAndSearch).fold_into(gaps),
        }
    }
    for process in engines.iter().filter_map(daemon_of_host) {
        let files = DockerFiles::Data;
        let directory = place_of_daemon(host, looked.reader, process).map(|place| DockerDirectory { files, place });
        found.extend(directory.filter(|directory| !found.contains(directory)));
    }
    found
}

/// Returns the process of a dockerd that root runs on the host. The settings of others are a user's claim, or paths of a
/// container.
fn daemon_of_host(engine: &EngineSighting) -> Option<&Process> {
    let process = engine.process.as_ref().filter(|_| engine.kind == EngineKind::Dockerd)?;
    (process.uid == Some(0) && process.membership.containers.is_empty()).then_some(process)
}

/// Returns a directory's place on its file system. A mount point is not opened: a network file system that does not
/// answer must not stop the look.
fn place_on_host(host: &Host<'_>, path: &str) -> std::io::Result<Option<FilePlace>> {
    if host.table.entries().any(|entry| entry.point == path.as_bytes()) {
        return Ok(host.table.locate(path.as_bytes()));
    }
    let walked = host.root.walk(path).map_err(|unresolved| unresolved.error)?;
    let is_directory = walked.kind == FileType::Directory;
    Ok(host.table.locate(&path_of(&walked)).filter(|_| is_directory))
}

/// Returns the place of a running daemon's data, if its arguments name it.
fn place_of_daemon(host: &Host<'_>, reader: &ProcessReader, process: &Process) -> Option<FilePlace> {
    let key = process.key;
    let command = reader.read_arguments(key).ok()?;
    let path = data_root_argument(&command)?;
    if reader.shares_mounts_with_init(key) {
        return place_on_host(host, path).ok()?;
    }
    let walked = Rooted::new(reader.open_root(key).ok()?).walk(path).ok()?;
    locate_own(host, reader, process, &walked, &|other| {
        other.identity == walked.identity
    })
}

/// Returns the mounts of one container that lead to Docker's files.
pub(super) fn own_files(table: &MountTable, host: &Host<'_>, directories: &[DockerDirectory]) -> Vec<OwnFiles> {
    let mounts = table.entries().filter(|entry| !entry.is_deleted);
    mounts
        .filter_map(|entry| {
            let files = files_at(directories, &entry.source)?;
            table.is_open(entry).then(|| OwnFiles {
                files,
                host_path: source_of(entry, host),
                container_path: shown(&entry.point),
            })
        })
        .collect()
}

/// A container's own mount of Docker's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnFiles {
    files: DockerFiles,
    host_path: String,
    pub(super) container_path: String,
}

impl MountSearch<'_> {
    /// Adds the mounts of Docker's files that a container has.
    pub(super) fn take_own_files(&mut self, subject: &Subject<'_>, own: &[OwnFiles]) {
        let declared = subject.declared.unwrap_or_default();
        for mount in own {
            // The data may be a file system of its own, which a mount of a directory above brings along.
            let named = declared_at(declared, &mount.container_path);
            if named.is_some_and(|named| named.container_path.trim_end_matches('/') != mount.container_path) {
                continue;
            }
            let host_path = named.map_or(&mount.host_path, |named| &named.host_path);
            self.add_files(subject, mount.files, host_path, &mount.container_path);
        }
    }

    /// Adds a mount of Docker's files that was requested from the runtime.
    pub(super) fn take_declared_files(&mut self, subject: &Subject<'_>, mount: &Mount) {
        let resolved = self.resolve(&mount.host_path);
        let place = resolved.and_then(|(_, _, path)| self.host.table.locate(&path));
        if let Some(files) = place.and_then(|place| files_at(self.directories, &place)) {
            self.add_files(subject, files, &mount.host_path, &mount.container_path);
        }
    }

    /// Leaves out the daemon's own container, which has these files by design.
    fn add_files(&mut self, subject: &Subject<'_>, files: DockerFiles, host_path: &str, container_path: &str) {
        let engines = self.looked.engines.reading.items().iter();
        let mut inside = engines
            .filter_map(|engine| engine.process.as_ref())
            .flat_map(|process| &process.membership.containers);
        if subject
            .own_id()
            .is_some_and(|id| inside.any(|container| container.id == *id))
        {
            return;
        }
        self.files.push(FilesMount {
            membership: subject.membership.clone(),
            files,
            host_path: host_path.to_owned(),
            container_path: container_path.to_owned(),
        });
    }
}
