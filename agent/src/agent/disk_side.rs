//! The looks that read the host's files, each on its own thread. A file system that hangs blocks only the look that
//! reads it, and hides nothing that the process table and the socket tables show.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use super::folded;
use super::host_side::Timed;
use crate::findings::report::SourceStatus;
use crate::model::container::{Container, SupervisedContainer};
use crate::model::daemon_config::DaemonSettings;
use crate::model::engine::EngineSighting;
use crate::model::exposure::{Reach, Reached};
use crate::model::host::{CgroupVersion, HostFiles};
use crate::model::identity::ContainerId;
use crate::model::kubelet::Kubelet;
use crate::model::last_connect::moment_of;
use crate::model::reading::{Gap, Reading, Sighting, Source};
use crate::model::snapshot::Snapshot;
use crate::model::socket::ListeningFiles;
use crate::sources::HostPaths;
use crate::sources::engines::read_records;
use crate::sources::host_files::{CallerMemory, SocketPlaces, UnitMemory, read_host_files, read_socket_places};
use crate::sources::kubelet::read_kubelet;
use crate::sources::mounts::{ContainerProcess, Looked, MountMemory, MountsSeen, find_mounts};
use crate::sources::processes::{ProcessReader, ProcessTable};
use crate::sources::runtime_settings::{SettingsAsked, read_settings};

/// The look at the kubelet's flags and files.
pub(super) struct KubeletSide {
    paths: HostPaths,
    reader: ProcessReader,
}

impl KubeletSide {
    pub(super) fn new(paths: HostPaths) -> Self {
        let reader = ProcessReader::new(paths.proc.clone());
        Self { paths, reader }
    }

    pub(super) fn look(&self, table: &ProcessTable) -> Timed<Sighting<Kubelet>> {
        Timed::measure(Source::Kubelet, || read_kubelet(&self.paths, &self.reader, table))
    }
}

/// The looks at the files of engines and of systemd, with the state that they keep between cycles.
pub(super) struct FileSide {
    paths: HostPaths,
    reader: ProcessReader,
    /// The control group version, once it is known.
    cgroups: Option<CgroupVersion>,
    units: UnitMemory,
    /// None if castoff does not search for files that call Docker.
    callers: Option<CallerMemory>,
}

impl FileSide {
    pub(super) fn new(paths: HostPaths, scans: bool) -> Self {
        Self {
            reader: ProcessReader::new(paths.proc.clone()),
            paths,
            cgroups: None,
            units: UnitMemory::default(),
            callers: scans.then(CallerMemory::default),
        }
    }

    /// Finds the usual places of the engines' sockets, which the look at the sockets compares.
    pub(super) fn look_at_socket_places(&mut self) -> SocketPlaces {
        read_socket_places(&self.paths, &mut self.units)
    }

    pub(super) fn look_at_files(&mut self) -> Timed<Sighting<HostFiles>> {
        let files = Timed::measure(Source::HostFiles, || {
            let mut files = read_host_files(&self.paths, self.cgroups);
            if let Some(callers) = &mut self.callers {
                callers.add_to(&self.paths, &mut files);
            }
            files
        });
        let host = files.sighting.reading.known();
        self.cgroups = host.and_then(|host| host.cgroups.known().copied());
        files
    }

    /// Reads the settings of Docker and of the runtime.
    pub(super) fn look_at_settings(&self, asked: &SettingsAsked) -> Sighting<DaemonSettings> {
        read_settings(&self.paths, &self.reader, asked)
    }

    /// Reads the names of `containers`, which Docker keeps on the disk.
    pub(super) fn look_at_records(
        &self,
        table: &ProcessTable,
        containers: Sighting<Vec<SupervisedContainer>>,
    ) -> Sighting<Vec<SupervisedContainer>> {
        read_records(&self.reader, table, containers)
    }
}

/// The look at the mounts of containers, with the state that it keeps between cycles.
pub(super) struct MountSide {
    paths: HostPaths,
    reader: ProcessReader,
    memory: MountMemory,
    to_runtime: MountMemory,
}

impl MountSide {
    pub(super) fn new(paths: HostPaths) -> Self {
        Self {
            reader: ProcessReader::new(paths.proc.clone()),
            paths,
            memory: MountMemory::default(),
            to_runtime: MountMemory::default(),
        }
    }

    /// Finds the mounts that lead to engines, and if the runtime's `server` is known, those that lead to its socket.
    pub(super) fn look(
        &mut self,
        facts: &MountFacts,
        server: Option<EngineSighting>,
    ) -> (MountsSeen, Option<Sighting<Vec<Reach>>>) {
        let listening = facts.listening.files.iter().map(|listening| listening.file).collect();
        let look = |engines: &Sighting<Vec<EngineSighting>>, memory: &mut MountMemory| {
            let looked = Looked {
                host: &self.paths,
                reader: &self.reader,
                containers: &facts.containers,
                sandboxes: &facts.sandboxes,
                supervised: &facts.supervised,
                processes: &facts.contained,
                docker_data: &facts.docker_data,
                engines,
                listening: &listening,
                sees_machine: facts.sees_machine,
                now: moment_of(SystemTime::now()),
            };
            find_mounts(&looked, memory)
        };
        let to_runtime = server.map(|server| {
            let mut reaches = look(&Sighting::full(vec![server]), &mut self.to_runtime).reaches;
            if let Reading::Known(reaches) = &mut reaches.reading {
                // The look for the engines' sockets reports the mounts that have the name of a Docker socket.
                reaches.retain(|reach| matches!(reach.reached, Reached::Listener(_)));
            }
            reaches
        });
        (look(&facts.engines, &mut self.memory), to_runtime)
    }
}

/// The facts of other looks that the look at mounts needs; it owns them during the look.
pub(super) struct MountFacts {
    /// The containers that the runtime lists: those that run or wait for their next start.
    pub(super) containers: Sighting<Vec<Container>>,
    /// The sandboxes of its pods.
    pub(super) sandboxes: BTreeSet<ContainerId>,
    /// The containers that engines run by themselves.
    pub(super) supervised: Vec<SupervisedContainer>,
    /// The processes that show the mounts of each container.
    pub(super) contained: Sighting<Vec<ContainerProcess>>,
    /// The directories of Docker's data.
    pub(super) docker_data: BTreeSet<String>,
    /// The engines.
    pub(super) engines: Sighting<Vec<EngineSighting>>,
    /// The listening sockets.
    pub(super) listening: Arc<ListeningFiles>,
    /// True if those are all listeners of this machine.
    pub(super) sees_machine: bool,
}

impl MountFacts {
    /// Takes them from a snapshot.
    pub(super) fn of(
        snapshot: &Snapshot,
        contained: Sighting<Vec<ContainerProcess>>,
        (listening, sees_machine): (Arc<ListeningFiles>, bool),
    ) -> Self {
        let pods = snapshot.runtime.pods.reading.items().iter();
        let mut containers = snapshot.runtime.containers.clone();
        if let Reading::Known(list) = &mut containers.reading {
            // What they mount leads to an engine at their next start.
            list.extend(snapshot.runtime.waiting.iter().cloned());
        }
        Self {
            containers,
            sandboxes: pods.map(|pod| pod.sandbox.clone()).collect(),
            supervised: snapshot.supervised.reading.known().cloned().unwrap_or_default(),
            contained,
            docker_data: snapshot
                .host
                .reading
                .known()
                .map(|host| host.docker_data.clone())
                .unwrap_or_default(),
            engines: snapshot.engines.clone(),
            listening,
            sees_machine,
        }
    }
}

/// The status of the look at the files, over all of its parts.
pub(super) fn files_status(files: &Timed<Sighting<HostFiles>>) -> SourceStatus {
    let mut status = files.status();
    if let Reading::Known(host) = &files.sighting.reading {
        let parts = host.cgroups.gap().into_iter().chain(host.left_overs.gap());
        let gaps: Vec<Gap> = folded(status.gaps.iter().chain(parts));
        status.gaps = gaps;
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reading::Hides;
    use crate::model::sample;

    #[test]
    fn the_mounts_of_containers_that_wait_are_looked_at() {
        let mut node = sample::clear_node();
        let waiting = Container {
            id: sample::id(8),
            ..sample::known(&mut node.runtime.containers)[0].clone()
        };
        node.runtime.waiting = vec![waiting];
        let looked_at = |node: &Snapshot| {
            let facts = MountFacts::of(node, Sighting::absent(), (Arc::default(), true));
            facts.containers.reading.known().map(Vec::len)
        };
        assert_eq!(looked_at(&node), Some(2));
        node.runtime.containers = Sighting::unknown(sample::gap(Hides::Exposure));
        assert_eq!(looked_at(&node), None);
    }
}
