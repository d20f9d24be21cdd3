//! The node's container runtime, asked over CRI: its name, its conditions, its pods, and their containers with their
//! mounts: those that run, and those of ready pods that may be started again.
//!
//! Must never use `runtime.v1alpha2` if `runtime.v1` answers: the request alone makes containerd (since 1.6.25 and
//! 1.7.9) report a deprecated use. Must never replace a named endpoint by another one. If castoff's own setting or the
//! kubelet names an endpoint that does not answer, the runtime is *unknown*, even if other endpoints answer, because
//! the kubelet does not use those.
//!
//! If no endpoint is named, every well-known socket that exists is asked. A kubelet whose process and settings were all
//! read uses its default, if that answers. Otherwise castoff uses the first one that answers, preferably one that serves
//! Docker. If another one also answers, or may be a runtime but cannot be queried, there is
//! a gap, because the kubelet may use that one. A socket that answers and knows neither version of CRI (Docker's own
//! containerd, whose CRI is disabled) is refused and hides nothing. Without such a socket, the runtime is absent.

mod client;
mod convert;
pub(crate) mod endpoint;
mod fence;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzzing;
mod mounts;
mod negotiate;
mod refusal;
mod waiting;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use castoff_cri::{Call, v1};

use self::client::{Allowance, Client};
use self::endpoint::FoundSocket;
use self::mounts::KnownMounts;
use self::negotiate::{Answered, Chosen};
use super::HostPaths;
use super::offload::{Offload, OffloadError};
use crate::model::container::{Container, EndedContainer, Pod};
use crate::model::identity::{ContainerId, FileIdentity};
use crate::model::kubelet::{EndpointCandidate, EndpointOrigin, Kubelet};
use crate::model::reading::{Gap, Hides, Reading, Reason, Sighting};
use crate::model::runtime::{CgroupDriver, CriApi, RefusedEndpoint, Runtime, RuntimeSighting};
use crate::model::socket::ListeningFiles;

/// The runtime of one node, which is asked in each cycle.
#[derive(Debug)]
pub struct RuntimeSource {
    configured: Option<EndpointCandidate>,
    /// The host's root, below which sockets are searched. A search that hangs blocks one thread, in however many looks.
    root: Offload<PathBuf>,
    node: Option<String>,
    deadline: Duration,
    /// The connections of the last cycle, by path and identity of the socket file.
    clients: HashMap<(PathBuf, FileIdentity), Client>,
    mounts: KnownMounts,
}

impl RuntimeSource {
    /// The default deadline of one call.
    pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(2);

    /// The deadline of all calls of one cycle together, in deadlines of one call.
    pub const DEADLINES_IN_ALL: u32 = 4;

    /// Creates a source that asks at `configured` (`unix:///path` or `/path` on the host), or else at the kubelet's
    /// endpoint, or else at the known endpoints of runtimes. One call has the deadline `deadline`, and all calls of a
    /// cycle have [`Self::DEADLINES_IN_ALL`] times that. `node` is the node's name.
    pub fn new(configured: Option<String>, host: HostPaths, node: Option<String>, deadline: Duration) -> Self {
        let configured = configured.map(|endpoint| EndpointCandidate {
            path: endpoint::path_of(&endpoint).to_owned(),
            origin: EndpointOrigin::Configured,
        });
        Self {
            configured,
            root: Offload::new(host.root),
            node,
            deadline,
            clients: HashMap::new(),
            mounts: KnownMounts::default(),
        }
    }

    /// Asks once, and also for the containers of `wanted` that have ended. Does not open a socket that, according to
    /// `listening`, is or may be an engine's. Ends within the deadline of a cycle, whatever the runtime does.
    pub async fn query(
        &mut self,
        kubelet: &Sighting<Kubelet>,
        listening: &Arc<ListeningFiles>,
        wanted: &BTreeSet<ContainerId>,
    ) -> RuntimeSighting {
        let allowance = Allowance::new(self.deadline, self.deadline * Self::DEADLINES_IN_ALL);
        let chosen = self.choose(kubelet, listening, allowance).await;
        let Chosen {
            answered,
            refused,
            gaps,
        } = chosen;
        let answered = match answered {
            Reading::Known(answered) => answered,
            Reading::Absent => return without(Reading::Absent, gaps, refused),
            Reading::Unknown(gap) => return without(Reading::Unknown(gap), gaps, refused),
        };
        let (mut runtime, pods, mut listed) = query_all(&answered, self.node.as_deref(), wanted).await;
        runtime.gaps.extend(gaps);
        if let Reading::Known(running) = &mut listed.running.reading {
            let path = &answered.socket.candidate.path;
            let lists = [running, &mut listed.waiting];
            let unseen = self.mounts.query_new(lists, &answered.client, answered.api, path).await;
            for gap in unseen {
                gap.fold_into(&mut listed.running.gaps);
            }
        }
        RuntimeSighting {
            runtime,
            socket: Some(answered.socket.identity),
            refused,
            pods,
            containers: listed.running,
            waiting: listed.waiting,
            ended: listed.ended,
        }
    }
}

impl RuntimeSource {
    async fn choose(
        &mut self,
        kubelet: &Sighting<Kubelet>,
        listening: &Arc<ListeningFiles>,
        allowance: Allowance,
    ) -> Chosen {
        let candidates = endpoint::candidates(self.configured.as_ref(), kubelet);
        let elsewhere = self
            .configured
            .as_ref()
            .and(kubelet.reading.known())
            .and_then(|k| k.endpoints.first())
            // castoff's own guess is not the kubelet's setting.
            .filter(|first| !endpoint::is_well_known(first))
            .cloned();
        let listening = Arc::clone(listening);
        let find = move |root: &mut PathBuf| negotiate::find(root, candidates, elsewhere.as_ref(), &listening);
        let mut found = match self.root.run(allowance.next(), find).await {
            Ok(found) => found,
            Err(error) => return lost(error),
        };
        let sockets = self.clients_of(std::mem::take(&mut found.sockets), allowance);
        let answers = negotiate::query_versions(sockets).await;
        negotiate::decide(found, answers)
    }

    /// Returns a client for each socket: that of the last cycle if the socket is still the same file. Drops the others.
    fn clients_of(&mut self, sockets: Vec<FoundSocket>, allowance: Allowance) -> Vec<(FoundSocket, Client)> {
        let mut kept = std::mem::take(&mut self.clients);
        let clients = sockets.into_iter().map(|socket| {
            let key = (socket.connect.clone(), socket.identity);
            let client = match kept.remove(&key) {
                Some(client) => client.within(allowance),
                None => Client::new(socket.connect.clone(), socket.identity, allowance),
            };
            self.clients.insert(key, client.clone());
            (socket, client)
        });
        clients.collect()
    }
}

fn lost(error: OffloadError) -> Chosen {
    let gap = Gap::new(error.reason(), Hides::Runtime, "the runtime's socket", error);
    Chosen {
        answered: Reading::Unknown(gap),
        refused: Vec::new(),
        gaps: Vec::new(),
    }
}

/// Returns the result if no runtime was found although there is one, because of `why`: the runtime and its contents are
/// unknown.
pub fn hidden(seen: RuntimeSighting, why: Gap) -> RuntimeSighting {
    without(Reading::Unknown(why), seen.runtime.gaps, seen.refused)
}

/// Returns the result if no runtime answered: no pods if there is no runtime, and unknown ones if it is unknown.
fn without(runtime: Reading<Runtime>, gaps: Vec<Gap>, refused: Vec<RefusedEndpoint>) -> RuntimeSighting {
    fn depends<T>(runtime: &Reading<Runtime>, method: &str, hides: Hides) -> Sighting<T> {
        match runtime {
            Reading::Unknown(gap) => Sighting::unknown(Gap::new(
                Reason::DependsOnAnother,
                hides,
                method,
                format!("no runtime: {gap}"),
            )),
            Reading::Known(_) | Reading::Absent => Sighting::absent(),
        }
    }
    RuntimeSighting {
        pods: depends(&runtime, v1::ListPodSandboxRequest::METHOD, Hides::Identity),
        containers: depends(&runtime, v1::ListContainersRequest::METHOD, Hides::Exposure),
        runtime: Sighting { reading: runtime, gaps },
        socket: None,
        refused,
        waiting: Vec::new(),
        ended: Vec::new(),
    }
}

/// The containers of one answer.
struct Listed {
    running: Sighting<Vec<Container>>,
    waiting: Vec<Container>,
    ended: Vec<EndedContainer>,
}

/// Asks the runtime for everything but the mounts, concurrently.
async fn query_all(
    runtime: &Answered,
    node: Option<&str>,
    wanted: &BTreeSet<ContainerId>,
) -> (Sighting<Runtime>, Sighting<Vec<Pod>>, Listed) {
    let Answered {
        socket,
        client,
        api,
        name,
        version,
    } = runtime;
    // containerd's verbose answer has its configuration. castoff keeps only which warnings are disabled.
    let verbose = name == "containerd";
    let (status, cgroup_driver, pod_metrics, (pods, listed)) = tokio::join!(
        client.query(*api, v1::StatusRequest { verbose }),
        query_cgroup_driver(runtime),
        query_pod_metrics(runtime),
        query_lists(runtime, node, wanted),
    );
    let path = &socket.candidate.path;
    let status = status.map_err(|error| error.gap(Hides::Detail, *api, v1::StatusRequest::METHOD, path));
    let (conditions, deprecations, silenced_deprecations) = convert::status(status);
    let runtime = Runtime {
        endpoint: socket.candidate.clone(),
        canonical_path: socket.canonical.to_string_lossy().into_owned(),
        api: *api,
        name: name.clone(),
        version: version.clone(),
        conditions,
        deprecations,
        silenced_deprecations,
        cgroup_driver,
        pod_metrics,
    };
    let gaps = convert::gap_of_silenced(&runtime.silenced_deprecations);
    (Sighting::partial(runtime, gaps.into_iter().collect()), pods, listed)
}

/// Returns the pods, and the containers in all states: one call costs the runtime less than one for each state, and the
/// kubelet makes the same call each second. Lists the pods after the containers, so that the pod of each container was
/// already there: one that is not listed has been removed.
async fn query_lists(
    runtime: &Answered,
    node: Option<&str>,
    wanted: &BTreeSet<ContainerId>,
) -> (Sighting<Vec<Pod>>, Listed) {
    let (client, api, path) = (&runtime.client, runtime.api, &runtime.socket.candidate.path);
    let containers = client.query(api, v1::ListContainersRequest { filter: None }).await;
    let pods = client.query(api, v1::ListPodSandboxRequest {}).await;
    let pods = pods.map_or_else(
        |e| Sighting::unknown(e.gap(Hides::Identity, api, v1::ListPodSandboxRequest::METHOD, path)),
        |answer| convert::pods(answer, node),
    );
    let listed = match containers {
        Ok(answer) => {
            let ended = convert::ended(&answer, wanted);
            let (running, waiting) = convert::containers(answer, &pods);
            Listed {
                running,
                waiting,
                ended,
            }
        }
        Err(error) => Listed {
            running: Sighting::unknown(error.gap(Hides::Exposure, api, v1::ListContainersRequest::METHOD, path)),
            waiting: Vec::new(),
            ended: Vec::new(),
        },
    };
    (pods, listed)
}

/// Calls `RuntimeConfig`, which v1alpha2 never had and v1 has since cri-api 0.28. A runtime without it is a known fact.
async fn query_cgroup_driver(runtime: &Answered) -> Reading<CgroupDriver> {
    if runtime.api == CriApi::V1alpha2 {
        return Reading::Absent;
    }
    match runtime.client.query(runtime.api, v1::RuntimeConfigRequest {}).await {
        Ok(answer) => convert::cgroup_driver(answer),
        Err(error) if error.reason() == Reason::Unimplemented => Reading::Absent,
        Err(error) => {
            let path = &runtime.socket.candidate.path;
            Reading::Unknown(error.gap(Hides::Detail, runtime.api, v1::RuntimeConfigRequest::METHOD, path))
        }
    }
}

/// Calls `ListMetricDescriptors`, which exists since cri-api 0.26. Returns whether it is served at all.
async fn query_pod_metrics(runtime: &Answered) -> Reading<bool> {
    if runtime.api == CriApi::V1alpha2 {
        return Reading::Absent;
    }
    let request = v1::ListMetricDescriptorsRequest {};
    match runtime.client.query(runtime.api, request).await {
        Ok(_) => Reading::Known(true),
        Err(error) if error.reason() == Reason::Unimplemented => Reading::Known(false),
        Err(error) => {
            let (method, path) = (v1::ListMetricDescriptorsRequest::METHOD, &runtime.socket.candidate.path);
            Reading::Unknown(error.gap(Hides::Detail, runtime.api, method, path))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_path_that_hangs_blocks_one_thread_in_however_many_looks() {
        let nowhere = HostPaths {
            proc: "/nonexistent".into(),
            root: "/nonexistent".into(),
        };
        let mut source = RuntimeSource::new(None, nowhere, None, Duration::from_secs(60));
        let (release, hang) = mpsc::channel::<()>();
        let stuck = source.root.run(Duration::from_millis(1), move |_| hang.recv());
        assert!(stuck.await.is_err());
        for _ in 0..3 {
            let seen = source
                .query(&Sighting::absent(), &Arc::default(), &BTreeSet::new())
                .await;
            let gap = seen.runtime.reading.gap().expect("nothing was looked at");
            assert_eq!(gap.reason, Reason::DeadlineExceeded);
            assert_eq!(gap.answer, OffloadError::StillRunning.to_string());
        }
        release.send(()).expect("the first still waits");
    }
}
