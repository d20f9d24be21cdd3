//! One look at the node: everything that the sources saw in one cycle.

use super::connect::ConnectsSeen;
use super::container::{PodContainer, SupervisedContainer};
use super::daemon_config::DaemonSettings;
use super::engine::EngineSighting;
use super::exposure::{FilesMount, LostMount, Reach};
use super::host::HostFiles;
use super::kubelet::Kubelet;
use super::last_connect::ListenerClock;
use super::reading::{Reading, Sighting, codes};
use super::relay::RelaySighting;
use super::runtime::RuntimeSighting;
use super::runtime_socket::RuntimeSocket;
use super::socket::Connection;
use super::time::Timestamp;

codes! {
    /// The method that found the holders of connections.
    HolderMethod {
        /// `sock_diag` in every network namespace, then the kernel's iterator over open files for the processes that hold them.
        Iterator = "iterator",
        /// `sock_diag` in every network namespace, then the descriptors of processes where there is a hit.
        SockDiag = "sock-diag",
        /// `/proc/<pid>/net/unix` of one process for each container: names the container, never the process.
        ProcNetUnix = "proc-net-unix",
    }
}

/// The connections, and the method that found them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionsSeen {
    /// The method.
    pub method: HolderMethod,
    /// The reason why the kernel's iterator was not used; none if it was used, or not wanted.
    pub iterator_refused: Option<String>,
    /// Every connection to a watched listener.
    pub connections: Vec<Connection>,
    /// The number of network namespaces that were read.
    pub namespaces: u32,
}

/// Everything that the sources saw in one cycle. Not yet joined: [`super::join`] does that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The time at which the look began.
    pub taken: Timestamp,
    /// The kubelet.
    pub kubelet: Sighting<Kubelet>,
    /// The runtime, its pods and containers.
    pub runtime: RuntimeSighting,
    /// The socket that it answered on; absent where there is no runtime.
    pub runtime_socket: Reading<RuntimeSocket>,
    /// The engines.
    pub engines: Sighting<Vec<EngineSighting>>,
    /// Containers under an engine's own supervisor.
    pub supervised: Sighting<Vec<SupervisedContainer>>,
    /// The connections to the engines' listeners.
    pub connections: Sighting<ConnectionsSeen>,
    /// Clients of the engines that accept connections themselves.
    pub relays: Sighting<Vec<RelaySighting>>,
    /// Connects since the look before, as the kernel reported them; absent where it was not asked to.
    pub connects: Sighting<ConnectsSeen>,
    /// Mounts that lead to a listener.
    pub reaches: Sighting<Vec<Reach>>,
    /// Mounts that are named as a Docker socket and lead to no listener.
    pub lost_mounts: Vec<LostMount>,
    /// Mounts that lead to Docker's files.
    pub files_mounts: Vec<FilesMount>,
    /// The last connects to the engines' listeners, as far as their files show them.
    pub clocks: Vec<ListenerClock>,
    /// Files of the host.
    pub host: Sighting<HostFiles>,
    /// The settings of Docker and of the runtime; absent where Docker has none, or there is no runtime.
    pub settings: Sighting<DaemonSettings>,
}

impl Snapshot {
    /// The uid of the pod that `place` is in, while the runtime lists it: that of its ready sandbox, where it has two.
    pub fn pod_uid(&self, place: &PodContainer) -> Option<String> {
        let pods = self.runtime.pods.reading.known()?;
        let of = pods
            .iter()
            .filter(|pod| pod.name == place.pod && pod.namespace == place.namespace);
        of.max_by_key(|pod| pod.ready).map(|pod| pod.uid.clone())
    }
}
