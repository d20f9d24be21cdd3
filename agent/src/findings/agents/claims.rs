//! The names by which the programs of a look claim to be a known agent.

use std::collections::HashMap;

use super::{of_executable, of_image};
use crate::model::client::ClientIdentity;
use crate::model::container::PodContainer;
use crate::model::known_agent::KnownAgent;
use crate::model::process::Process;
use crate::model::snapshot::Snapshot;
use crate::model::workload::container_name;

/// The images of the containers that run now, or that wait for their next start.
pub(in crate::findings) struct Claims<'a> {
    /// By namespace, pod and container.
    of_pods: HashMap<(&'a str, &'a str, &'a str), &'a str>,
    /// Of containers that an engine runs for root, by their lasting names.
    of_engines: HashMap<String, &'a str>,
}

impl<'a> Claims<'a> {
    /// Collects the images of a look.
    pub(in crate::findings) fn new(snapshot: &'a Snapshot) -> Self {
        let pods = snapshot.runtime.pods.reading.items().iter();
        let pods: HashMap<_, _> = pods.map(|pod| (&pod.sandbox, pod)).collect();
        let runtime = &snapshot.runtime;
        // Of two containers with one name, the one that runs counts.
        let containers = runtime.waiting.iter().chain(runtime.containers.reading.items());
        let of_pods = containers.filter_map(|container| {
            let pod = pods.get(&container.sandbox)?;
            let place = (pod.namespace.as_str(), pod.name.as_str(), container.name.as_str());
            Some((place, container.image.as_str()))
        });
        let supervised = snapshot.supervised.reading.items().iter();
        let of_engines = supervised
            .filter(|container| container.user.is_none())
            .filter_map(|container| {
                let image = container.image.as_deref()?;
                let (name, _) = container_name::lasting(container.name.as_deref(), Some(image))?;
                Some((name, image))
            });
        Self {
            of_pods: of_pods.collect(),
            of_engines: of_engines.collect(),
        }
    }

    /// Returns the agent that a program claims to be: a container by its image, else by the executables of `processes`.
    pub(in crate::findings) fn agent_of(&self, identity: &ClientIdentity, processes: &[Process]) -> Option<KnownAgent> {
        let image = match identity {
            ClientIdentity::Pod(place) => self.of_pod(place),
            ClientIdentity::EngineContainer { name, image, .. } => {
                let known = || self.of_engines.get(name).copied();
                image.as_deref().or_else(known)
            }
            ClientIdentity::Host { executable, .. } => return of_executable(executable),
            ClientIdentity::Remote { .. } | ClientIdentity::Unnamed | ClientIdentity::Unseen => return None,
        };
        let mut executables = processes.iter().filter_map(|process| process.executable.as_deref());
        image.and_then(of_image).or_else(|| executables.find_map(of_executable))
    }

    fn of_pod(&self, place: &PodContainer) -> Option<&'a str> {
        let container = place.container.as_deref()?;
        self.of_pods
            .get(&(place.namespace.as_str(), place.pod.as_str(), container))
            .copied()
    }
}
