//! Containers that run under an engine's own supervisor, known to Kubernetes or not.
//!
//! Relies on the arguments of containerd's shims (`-namespace moby -id <id>`), of Docker's own shim up to 17.03 (`<id>
//! <bundle> <runtime>`), and of conmon (`-c <id> -n <name>`), which any user may read. Keeps the ID and the name, and
//! nothing else of the arguments.

use std::cell::OnceCell;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::program::{self, base, option, options};
use super::records::Records;
use crate::model::container::SupervisedContainer;
use crate::model::engine::{EngineKind, EngineSighting};
use crate::model::identity::{ContainerId, Pid, ProcessKey};
use crate::model::process::Process;
use crate::model::reading::{Gap, Hides, Reading, Reason, Sighting};
use crate::model::workload::{Manager, Membership};
use crate::sources::docker::{CONMON, CONTAINERD_NAMESPACE, SHIMS};
use crate::sources::processes::{ProcessEntry, ProcessReader, ProcessTable};

/// The containerd namespace of the kubelet's containers.
const KUBELETS_NAMESPACE: &str = "k8s.io";

/// Supervisors whose containers are not an engine's but usually Kubernetes' own. They are not read again while their
/// rows are kept.
#[derive(Debug, Default)]
pub struct SupervisorMemory {
    others: BTreeSet<ProcessKey>,
    /// The namespaces for which they are others.
    namespaces: BTreeSet<String>,
}

/// Finds the containers of Docker's and Podman's supervisors among the processes of `table`. `namespaces` are the ones of
/// containerd that dockerds are configured to use.
pub fn find_supervised(
    reader: &ProcessReader,
    table: &ProcessTable,
    namespaces: &BTreeSet<String>,
    memory: &mut SupervisorMemory,
) -> Sighting<Vec<SupervisedContainer>> {
    let mut gaps = Vec::new();
    let children = OnceCell::new();
    memory.others.retain(|key| reader.was_kept(*key));
    if memory.namespaces != *namespaces {
        memory.others.clear();
        memory.namespaces.clone_from(namespaces);
    }
    // By ID: a shim's short-lived helpers, and conmon's for an exec, name the same container.
    let mut found: BTreeMap<ContainerId, SupervisedContainer> = BTreeMap::new();
    for entry in &table.entries {
        if memory.others.contains(&entry.key) {
            continue;
        }
        let container = match read_supervisor(reader, entry, namespaces) {
            Ok(Task::OfEngine(container)) => container,
            Ok(Task::OfAnother) => {
                memory.others.insert(entry.key);
                continue;
            }
            Ok(Task::None) => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                let asked = format_args!("/proc/{}/cmdline of {}", entry.key.pid, entry.name);
                Gap::new(Reason::of(&error), Hides::ShadowContainer, asked, &error).fold_into(&mut gaps);
                continue;
            }
        };
        let children = || children.get_or_init(|| by_parent(table)).get(&entry.key.pid);
        let Some(container) = placed(reader, entry, container, &children) else {
            continue;
        };
        // Any user may start a program of this name with the ID of another's container in its arguments: root's own
        // comes first.
        match found.entry(container.id.clone()) {
            Entry::Vacant(place) => drop(place.insert(container)),
            Entry::Occupied(mut place) if rank(place.get()) > rank(&container) => drop(place.insert(container)),
            Entry::Occupied(_) => {}
        }
    }
    if found.is_empty() && gaps.is_empty() {
        return Sighting::absent();
    }
    Sighting::partial(found.into_values().collect(), gaps)
}

/// Returns a container with the place of its supervisor; none if that has ended. `children` are the supervisor's.
fn placed<'t>(
    reader: &ProcessReader,
    entry: &ProcessEntry,
    container: SupervisedContainer,
    children: &dyn Fn() -> Option<&'t Vec<&'t ProcessEntry>>,
) -> Option<SupervisedContainer> {
    let supervisor = reader.describe(entry)?;
    let inside = place_of(&supervisor, &container.id);
    let has_child = inside.as_ref().is_some_and(|inside| {
        let mut children = children().into_iter().flatten();
        children.any(|child| is_apart(reader, child, &container.id, inside))
    });
    Some(SupervisedContainer {
        inside,
        has_child,
        user: supervisor.uid.filter(|uid| *uid != 0),
        ..container
    })
}

/// Adds the containers that only their control groups show: those of the node's dockerd whose supervisor has another name
/// or has ended. `members` are the processes in containers. A pod's containers are the kubelet's.
pub fn add_grouped<'m>(
    reader: &ProcessReader,
    engines: &[EngineSighting],
    members: impl Iterator<Item = (Pid, &'m Membership)>,
    supervised: &mut Sighting<Vec<SupervisedContainer>>,
) {
    let is_nodes_docker = |engine: &EngineSighting| {
        let process = engine.process.as_ref();
        engine.kind == EngineKind::Dockerd && process.is_some_and(|process| process.owner().is_node())
    };
    // The groups of a node in a container are below that container's own.
    if !engines.iter().any(is_nodes_docker) || reader.is_init_contained() {
        return;
    }
    let mut containers = supervised.reading.known().cloned().unwrap_or_default();
    let known = containers.len();
    for (pid, membership) in members {
        let outermost = membership.containers.first().filter(|_| membership.pod_uid.is_none());
        let of_docker = outermost.filter(|one| one.manager == Manager::Docker && one.user.is_none());
        let Some(container) = of_docker.filter(|one| !containers.iter().any(|known| known.id == one.id)) else {
            continue;
        };
        containers.push(SupervisedContainer {
            id: container.id.clone(),
            engine: EngineKind::Dockerd,
            supervisor: pid,
            inside: None,
            has_child: true,
            user: None,
            name: None,
            image: None,
            mounts: Vec::new(),
        });
    }
    if containers.len() > known && supervised.reading.gap().is_none() {
        supervised.reading = Reading::Known(containers);
    }
}

/// Adds the names, images and mounts of `containers` that the node's dockerds keep on the disk.
pub fn read_records(
    reader: &ProcessReader,
    table: &ProcessTable,
    containers: Sighting<Vec<SupervisedContainer>>,
) -> Sighting<Vec<SupervisedContainer>> {
    let Sighting {
        reading: Reading::Known(mut containers),
        mut gaps,
    } = containers
    else {
        return containers;
    };
    let is_recorded = |c: &SupervisedContainer| c.engine == EngineKind::Dockerd && c.user.is_none();
    if containers.iter().any(is_recorded) {
        let records = Records::find(reader, table, &mut gaps);
        for container in containers.iter_mut().filter(|c| is_recorded(c)) {
            match records.read(container) {
                Ok(record) => {
                    (container.name, container.image) = (record.name, record.image);
                    container.mounts = record.mounts;
                }
                Err(error) => {
                    let asked = format_args!("config.v2.json of container {}", container.id.short());
                    Gap::new(Reason::of(&error), Hides::Detail, asked, &error).fold_into(&mut gaps);
                }
            }
        }
    }
    Sighting::partial(containers, gaps)
}

/// Returns the rank of a supervisor's claim, for comparison. The claim of root on the host is the most reliable, then
/// that of a supervisor in a container with a child as proof, then that of a user. Any other supervisor in a container
/// comes last, because its claim would hide the container in its pod.
const fn rank(container: &SupervisedContainer) -> (bool, bool) {
    let is_of_host = container.inside.is_none();
    let is_of_node = is_of_host && container.user.is_none();
    (!is_of_node && !container.has_child, !is_of_host)
}

/// Returns the container that the supervisor itself runs in: the innermost one around it except the one that it
/// supervises. A container that only a user claims does not count.
fn place_of(supervisor: &Process, own: &ContainerId) -> Option<ContainerId> {
    let around = supervisor.membership.trusted().rev();
    around.map(|c| &c.id).find(|id| *id != own).cloned()
}

fn by_parent(table: &ProcessTable) -> BTreeMap<Pid, Vec<&ProcessEntry>> {
    let mut children: BTreeMap<Pid, Vec<&ProcessEntry>> = BTreeMap::new();
    for entry in &table.entries {
        children.entry(entry.parent).or_default().push(entry);
    }
    children
}

/// True if a process is in the container `id`, and its control groups do not pass through `inside`.
fn is_apart(reader: &ProcessReader, entry: &ProcessEntry, id: &ContainerId, inside: &ContainerId) -> bool {
    let membership = reader.read_membership(entry.key).unwrap_or_default();
    let is_in = |id: &ContainerId| membership.trusted().any(|container| container.id == *id);
    is_in(id) && !is_in(inside)
}

/// The container that a process supervises.
enum Task {
    /// A container of Docker or Podman.
    OfEngine(SupervisedContainer),
    /// A container of another program.
    OfAnother,
    /// Nothing.
    None,
}

fn read_supervisor(reader: &ProcessReader, entry: &ProcessEntry, namespaces: &BTreeSet<String>) -> io::Result<Task> {
    let name = program::read_name(reader, entry)?;
    let is_shim = SHIMS.iter().any(|shim| name.starts_with(shim));
    if !is_shim && name != CONMON {
        return Ok(Task::None);
    }
    let command = program::read_command(reader, entry)?;
    let named = if is_shim {
        parse_shim(&command, namespaces)
    } else {
        parse_conmon(&command)
    };
    Ok(named.map_or(Task::OfAnother, |(engine, id, name)| {
        Task::OfEngine(SupervisedContainer {
            id: ContainerId(id),
            engine,
            supervisor: entry.key.pid,
            inside: None,
            has_child: false,
            user: None,
            name,
            image: None,
            mounts: Vec::new(),
        })
    }))
}

/// True if a process supervises containers of Kubernetes: containerd's shim in the kubelet's namespace, or CRI-O's
/// conmon.
pub(in crate::sources) fn supervises_pods(reader: &ProcessReader, entry: &ProcessEntry) -> io::Result<bool> {
    let name = program::read_name(reader, entry)?;
    let is_shim = SHIMS.iter().any(|shim| name.starts_with(shim));
    if !is_shim && name != CONMON {
        return Ok(false);
    }
    let command = program::read_command(reader, entry)?;
    Ok(if is_shim {
        option(&command, &["-namespace", "--namespace"]) == Some(KUBELETS_NAMESPACE)
    } else {
        is_of_crio(&command)
    })
}

type Named = (EngineKind, String, Option<String>);

fn parse_shim(command: &[String], namespaces: &BTreeSet<String>) -> Option<Named> {
    let docker = |id: &str| is_id(id).then(|| (EngineKind::Dockerd, id.to_owned(), None));
    match option(command, &["-namespace", "--namespace"]) {
        Some(CONTAINERD_NAMESPACE) => {}
        // Containers in the kubelet's namespace are its own, whatever dockerd is told.
        Some(namespace) if namespace != KUBELETS_NAMESPACE && namespaces.contains(namespace) => {}
        Some(_) => return None,
        None => return docker(command.get(1)?), // Docker's own shim
    }
    if let Some(id) = option(command, &["-id", "--id"]) {
        return docker(id);
    }
    // The shim of containerd 1.x's first interface has the namespace in the path of its directory: …/moby/<id>
    docker(base(option(command, &["-workdir", "--workdir"])?.trim_end_matches('/')))
}

fn parse_conmon(command: &[String]) -> Option<Named> {
    // The arguments of other programs follow.
    let id = options(command, &["-c", "--cid"]).next()?;
    let name = options(command, &["-n", "--name"]).next();
    (is_id(id) && !is_of_crio(command)).then(|| (EngineKind::Podman, id.to_owned(), name.map(str::to_owned)))
}

/// CRI-O's conmon has no exit command in its arguments, and directories of its own.
fn is_of_crio(command: &[String]) -> bool {
    let exits_into_podman = option(command, &["--exit-command"]).is_some();
    let in_crio = |path: &str| path.split('/').any(|component| component == "crio");
    let directories = ["--exit-dir", "--persist-dir", "--socket-dir-path"];
    !exits_into_podman
        && directories
            .iter()
            .any(|name| option(command, &[name]).is_some_and(in_crio))
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests;
