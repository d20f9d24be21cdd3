//! The look at the runtime's own socket: its clients besides the kubelet, and the containers that mount it. It comes after the
//! runtime has answered, because only then the socket is known, and it changes nothing in the findings about Docker: each of its
//! gaps hides a detail.

use crate::findings::report::SourceStatus;
use crate::model::engine::{Api, Containerd, EngineKind, EngineSighting, Listener};
use crate::model::identity::{Pid, ProcessKey, SocketInode};
use crate::model::process::Process;
use crate::model::reading::{Gap, Hides, Reading, Reason, Sighting, Source};
use crate::model::runtime_socket::RuntimeSocket;
use crate::model::snapshot::{ConnectionsSeen, Snapshot};
use crate::model::socket::{ListeningFiles, ListeningSocket};
use crate::sources::holders::{HolderMemory, ProcessView, Watch, find_connections};
use crate::sources::processes::{ProcessEntry, ProcessTable};

use super::host_side::{HostSide, Swept, leave_out_own};
use super::{Agent, HOST_DEADLINE, gap_of};

/// The facts about the runtime's socket that are kept between looks.
#[derive(Default)]
pub(super) struct RuntimeMemory {
    holders: HolderMemory,
    /// The socket of the last look, and the process that serves it; none if there was no such socket.
    served: Option<(SocketInode, Option<ProcessKey>)>,
    /// The runtime with its listener, from the last look.
    server: Option<EngineSighting>,
}

impl RuntimeMemory {
    /// Returns the engines and the runtime of the last look: the kernel should report its connects too.
    pub(super) fn beside(&self, engines: &Sighting<Vec<EngineSighting>>) -> Sighting<Vec<EngineSighting>> {
        let mut watched = engines.clone();
        if let Some(server) = &self.server {
            match &mut watched.reading {
                Reading::Known(engines) => engines.push(server.clone()),
                Reading::Absent => watched.reading = Reading::Known(vec![server.clone()]),
                Reading::Unknown(_) => {}
            }
        }
        watched
    }
}

impl Agent {
    /// Looks at the socket that the runtime answered on.
    pub(super) async fn look_at_runtime_socket(
        &mut self,
        snapshot: &Snapshot,
        listening: &ListeningFiles,
    ) -> Reading<RuntimeSocket> {
        let (Some(file), Some(runtime)) = (snapshot.runtime.socket, snapshot.runtime.runtime.reading.known()) else {
            return snapshot.runtime.runtime.reading.gap().map_or(Reading::Absent, |gap| {
                let hides = Hides::Detail;
                Reading::Unknown(Gap { hides, ..gap.clone() })
            });
        };
        let name = runtime.canonical_path.rsplit('/').next().unwrap_or_default();
        let Some(socket) = listening.find(file, name).map(|found| found.socket) else {
            return Reading::Unknown(not_listed(&runtime.canonical_path));
        };
        let kubelet = snapshot.kubelet.reading.known().and_then(|kubelet| kubelet.process);
        let look = move |host: &mut HostSide| host.look_at_runtime_socket(socket, kubelet);
        let seen = self.host.run(HOST_DEADLINE, look).await;
        seen.unwrap_or_else(|error| Reading::Unknown(gap_of(error, Hides::Detail)))
    }
}

fn not_listed(path: &str) -> Gap {
    let answer = "no listening socket that was seen has this file";
    Gap::new(Reason::NotFound, Hides::Detail, format_args!("who uses {path}"), answer)
}

/// Adds the gaps of the look at the runtime's socket to the sources, unless they have them already.
pub(super) fn add_gaps(snapshot: &Snapshot, sources: &mut [SourceStatus]) {
    let Reading::Known(socket) = &snapshot.runtime_socket else {
        return;
    };
    let connections = socket.connections.all_gaps().map(|gap| (Source::Holders, gap));
    let reaches = socket.reaches.all_gaps().map(|gap| (Source::Mounts, gap));
    for (source, gap) in connections.chain(reaches) {
        let Some(status) = sources.iter_mut().find(|status| status.source == source) else {
            continue;
        };
        let is_said = |said: &Gap| (&said.asked, &said.answer) == (&gap.asked, &gap.answer);
        if !status.gaps.iter().any(is_said) {
            let hides = Hides::Detail;
            Gap { hides, ..gap.clone() }.fold_into(&mut status.gaps);
        }
    }
}

impl HostSide {
    fn look_at_runtime_socket(&mut self, socket: SocketInode, kubelet: Option<ProcessKey>) -> Reading<RuntimeSocket> {
        let Some(swept) = self.swept.clone() else {
            let answer = "the sockets were not read";
            let gap = Gap::new(
                Reason::DependsOnAnother,
                Hides::Detail,
                "who uses the runtime's socket",
                answer,
            );
            return Reading::Unknown(gap);
        };
        let Some(listener) = swept.listening.iter().find(|listening| listening.inode == socket) else {
            return Reading::Absent;
        };
        let server = self.find_server(&swept.table, listener);
        let kubelet = kubelet.and_then(|key| swept.table.get(key.pid).filter(|entry| entry.key == key));
        let kubelet = kubelet.and_then(|entry| self.reader.describe(entry));
        let Some(sighting) = of_runtime(listener, server.clone()) else {
            return Reading::Absent;
        };
        self.runtime.server = Some(sighting.clone());
        Reading::Known(RuntimeSocket {
            server: sighting,
            expected: server.into_iter().chain(kubelet).collect(),
            connections: self.find_runtime_connections(&swept, listener),
            reaches: Sighting::absent(),
        })
    }

    fn find_runtime_connections(&mut self, swept: &Swept, listener: &ListeningSocket) -> Sighting<ConnectionsSeen> {
        self.tables.begin();
        let processes = ProcessView {
            proc: &self.paths.proc,
            reader: &mut self.reader,
            table: &swept.table,
            namespaces: &swept.namespaces,
            memory: &mut self.runtime.holders,
            iterator: &mut self.iterator,
        };
        let listeners = std::slice::from_ref(listener);
        let connected = swept.connected.as_ref();
        let mut seen = find_connections(self.tables.as_mut(), processes, Watch::of(listeners), connected);
        leave_out_own(&self.paths.proc, &mut seen);
        seen
    }

    /// Returns the process that serves a listener: that of the last look, else the first that holds the socket. Processes with
    /// the name of a runtime come first, and init, which may hold it for the runtime, does not count.
    fn find_server(&mut self, table: &ProcessTable, listener: &ListeningSocket) -> Option<Process> {
        let find = |key: ProcessKey| table.get(key.pid).filter(|entry| entry.key == key);
        let entry = match self.runtime.served {
            Some((socket, None)) if socket == listener.inode => None,
            Some((socket, Some(key))) if socket == listener.inode && find(key).is_some() => find(key),
            _ => self.search_server(table, listener),
        };
        self.runtime.served = Some((listener.inode, entry.map(|entry| entry.key)));
        self.reader.describe(entry?)
    }

    fn search_server<'t>(&self, table: &'t ProcessTable, listener: &ListeningSocket) -> Option<&'t ProcessEntry> {
        let is_named = |entry: &&ProcessEntry| RUNTIMES.iter().any(|name| entry.name.contains(name));
        let others = table.entries.iter().filter(|entry| entry.key.pid != Pid(1));
        let (named, rest): (Vec<_>, Vec<_>) = others.partition(is_named);
        let holds = |entry: &&ProcessEntry| {
            let mut held = false;
            let read = self
                .reader
                .read_sockets(entry.key, &mut |_, inode| held |= inode == listener.inode);
            read.is_ok() && held
        };
        named.into_iter().chain(rest).find(|entry| holds(entry))
    }
}

/// Parts of the names of runtimes: such processes are read first.
const RUNTIMES: [&str; 4] = ["containerd", "crio", "cri-dockerd", "k3s"];

/// Returns the runtime as the server of the listener; none if the kernel gave no file for it.
fn of_runtime(listener: &ListeningSocket, process: Option<Process>) -> Option<EngineSighting> {
    Some(EngineSighting {
        kind: EngineKind::Other,
        process,
        containerd: Containerd::Own,
        awaited_by: None,
        listeners: vec![Listener {
            id: listener.id()?,
            api: Api::Cri,
            name: listener.name.clone(),
            socket: listener.inode,
            netns: listener.netns,
            activated: false,
            transport: None,
            last_connect: None,
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::sample::{clear_node, gap};

    #[test]
    fn a_gap_of_the_runtimes_socket_hides_a_detail_and_is_reported_once() {
        let mut node = clear_node();
        let Reading::Known(socket) = &mut node.runtime_socket else {
            panic!("the sample has one")
        };
        socket.connections.gaps = vec![gap(Hides::Client)];
        socket.reaches.gaps = vec![gap(Hides::Exposure)];
        let status = |source, gaps| SourceStatus {
            source,
            up: true,
            duration_micros: 1,
            gaps,
        };
        let mut sources = [
            status(Source::Holders, Vec::new()),
            status(Source::Mounts, vec![gap(Hides::Exposure)]),
        ];
        add_gaps(&node, &mut sources);
        let hidden = sources.map(|status| status.gaps.iter().map(|gap| gap.hides).collect::<Vec<_>>());
        // The gap of the look at the engines' mounts does not change.
        assert_eq!(hidden, [vec![Hides::Detail], vec![Hides::Exposure]]);
    }
}
