//! The runtime settings of the node's kubelet: the flags of its process, then the files that it reads.
//!
//! A flag wins over a file (the kubelet applies its flags after its configuration). If the process is visible, only the
//! files that its flags name count. If it is not, castoff may lack the host's PID namespace, and the files that
//! installers are known to write are read instead. Never reads an environment, and keeps nothing of a command line but
//! the flags in [`flags`]. Relies on kubelet@v0.20 to v0.37 `cmd/kubelet/app/options` and the defaults of k3s, rke2,
//! k0s and microk8s.

mod dockershim;
mod embedded;
mod evidence;
mod files;
mod flags;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzzing;
mod subordinate_ids;
mod unit;

use std::io;
use std::time::Duration;

use self::dockershim::serves_dockershim;
use self::embedded::Program;
pub use self::evidence::find_evidence;
use self::files::{Configuration, EndpointSetting, Files, named_by};
use self::flags::{ENDPOINT, Flags};
use super::HostPaths;
use super::kernel::refusal::{self, Right, is_gone};
use super::kernel::rooted::Rooted;
use super::processes::authority::{Authority, read_authority};
use super::processes::{ProcessEntry, ProcessReader, ProcessTable};
use super::runtime::endpoint::{DOCKERSHIM, path_of};
use crate::model::identity::ProcessKey;
use crate::model::kubelet::{EndpointCandidate, EndpointOrigin, Kubelet, KubeletProgram};
use crate::model::reading::{Gap, Hides, Reading, Reason, Sighting};

/// Files of flags that installers pass to the kubelet's unit. The one that comes last on its command line, and so wins,
/// is first here.
const FLAG_FILES: [&str; 5] = [
    "/etc/default/kubelet",
    "/etc/sysconfig/kubelet",
    "/var/lib/kubelet/kubeadm-flags.env",
    embedded::MICROK8S_ARGUMENTS,
    "/var/snap/k8s/common/args/kubelet",
];

/// Configuration files, and directories of drop-ins, that installers write: those of kubeadm, EKS and k0s. kubeadm
/// applies `instance-config.yaml` (since 1.32) on top of `config.yaml` when it writes that.
const CONFIGURATIONS: [&str; 5] = [
    "/var/lib/kubelet/config.yaml",
    "/var/lib/kubelet/instance-config.yaml",
    "/etc/kubernetes/kubelet/config.json",
    "/etc/kubernetes/kubelet/kubelet-config.json",
    "/var/lib/k0s/kubelet-config.yaml",
];

/// The time in which a kubelet reads its files after its start.
const READING: Duration = Duration::from_millis(500);

/// Directories of drop-ins that installers configure.
const DROP_INS: [&str; 2] = [
    "/etc/kubernetes/kubelet/config.json.d",
    "/etc/kubernetes/kubelet.conf.d",
];

/// Reads the settings of this node's kubelet. Absent if there is neither a process nor a file of one.
pub fn read_kubelet(host: &HostPaths, reader: &ProcessReader, table: &ProcessTable) -> Sighting<Kubelet> {
    let files = Files::open(host);
    let mut sighting = find_kubelet(host, reader, table, &files);
    if let Reading::Known(kubelet) = &mut sighting.reading {
        kubelet.subordinate_ids = subordinate_ids::read(&files);
    }
    sighting
}

fn find_kubelet(host: &HostPaths, reader: &ProcessReader, table: &ProcessTable, files: &Files) -> Sighting<Kubelet> {
    let candidates = table
        .entries
        .iter()
        .filter_map(|entry| Some((entry, Program::of(entry)?)));
    let (mut seen, mut gaps) = (Vec::new(), Vec::new());
    for (entry, program) in candidates {
        match reader.open(entry.key).and_then(|process| read_authority(&process)) {
            Ok(Authority::Node) => seen.extend(read_process(host, reader, files, entry, program)),
            Ok(Authority::Rootless) => gaps.extend(rootless_gap(reader, entry, program)),
            // Any user may give a process that name.
            Ok(Authority::Itself) => {}
            Err(error) if is_gone(&error) => {}
            Err(error) => gaps.push(unread(entry, "whose kubelet process", &error)),
        }
    }
    let mut seen = seen.into_iter();
    let Some(mut first) = seen.next() else {
        return gaps
            .into_iter()
            .next()
            .map_or_else(|| read_files(files), Sighting::unknown);
    };
    for other in seen {
        let (endpoints, others) = (
            first.reading.known().map(|k| &k.endpoints),
            other.reading.known().map(|k| &k.endpoints),
        );
        if endpoints != others {
            let answer = "a second kubelet on this node has other settings; castoff uses those of the first";
            Gap::new(Reason::LimitReached, Hides::Runtime, "the kubelet's process", answer).fold_into(&mut first.gaps);
        }
    }
    first
}

/// Returns the gap for a kubelet in a user namespace (feature `KubeletInUserNamespace`): its runtime, its pods and its
/// paths are an ordinary user's. None if the process is not a kubelet, or has ended.
fn rootless_gap(reader: &ProcessReader, entry: &ProcessEntry, program: Program) -> Option<Gap> {
    match reader.read_arguments(entry.key) {
        Ok(arguments) if program.runs_kubelet(&arguments) => {
            let asked = format!("the kubelet's process {}", entry.key.pid);
            let answer = "a rootless kubelet: it runs in its own user namespace, which castoff does not inspect";
            Some(Gap::new(Reason::DependsOnAnother, Hides::Runtime, asked, answer))
        }
        Ok(_) => None,
        Err(error) if is_gone(&error) => None,
        Err(error) => Some(unread(entry, "the arguments of process", &error)),
    }
}

fn unread(entry: &ProcessEntry, what: &str, error: &io::Error) -> Gap {
    let asked = format!("{what} {}", entry.key.pid);
    refusal::gap(error, Hides::Runtime, asked, Right::Trace)
}

/// The settings that are collected.
#[derive(Debug, Default)]
struct KubeletFacts {
    /// The kubelet's process, if it is visible.
    process: Option<ProcessKey>,
    flags: Flags,
    /// The endpoints, with the one that wins first.
    endpoints: Vec<EndpointCandidate>,
    /// True if a `KubeletConfiguration` sets an endpoint, which is possible since 1.27.
    in_configuration: bool,
    /// The `failCgroupV1` that wins.
    fail_cgroup_v1: Option<bool>,
    /// The first gap: the unread setting may win over those after it.
    unread: Option<Gap>,
    gaps: Vec<Gap>,
}

impl KubeletFacts {
    /// Adds a kubelet's configuration. Returns whether there is such a file.
    fn add(&mut self, read: Result<Configuration, Gap>) -> bool {
        let Configuration {
            endpoint,
            fail_cgroup_v1,
        } = match read {
            Ok(configuration) => configuration,
            Err(gap) => {
                self.miss(gap);
                return true;
            }
        };
        if self.unread.is_none() {
            self.fail_cgroup_v1 = self.fail_cgroup_v1.or(fail_cgroup_v1);
        }
        match endpoint {
            EndpointSetting::NoFile => return false,
            EndpointSetting::Silent | EndpointSetting::Empty => {}
            EndpointSetting::Names(endpoint) => {
                self.endpoints.push(endpoint);
                self.in_configuration = true;
            }
        }
        true
    }

    /// Adds a gap. It hides the runtime only if no setting that wins over it has set an endpoint.
    fn miss(&mut self, gap: Gap) {
        self.unread.get_or_insert_with(|| gap.clone());
        if self.endpoints.is_empty() {
            gap.fold_into(&mut self.gaps);
        }
    }

    /// Returns whether flags and files set dockershim; none if they do not set it.
    fn of_dockershim(&self) -> Option<bool> {
        match self.flags.runtime.as_deref() {
            Some(runtime) => Some(runtime == "docker"),
            // The default up to 1.23, whatever the endpoint, which is then where dockershim serves.
            None if self.flags.before_1_24.is_some() => Some(true),
            None => self.in_configuration.then_some(false),
        }
    }

    fn into_sighting(mut self, program: Option<Program>, dockershim: Option<bool>) -> Sighting<Kubelet> {
        if dockershim == Some(true) && self.endpoints.is_empty() {
            self.endpoints
                .push(by_flag(self.flags.evidence_of_dockershim(), DOCKERSHIM));
        }
        let fail_cgroup_v1 = match (self.flags.fail_cgroup_v1.or(self.fail_cgroup_v1), self.unread) {
            (Some(fails), _) => Reading::Known(fails),
            (None, None) => Reading::Absent,
            (None, Some(gap)) => Reading::Unknown(Gap {
                hides: Hides::Detail,
                ..gap
            }),
        };
        let kubelet = Kubelet {
            program: program.map(|p| p.name().to_owned()),
            dockershim,
            endpoints: self.endpoints,
            fail_cgroup_v1,
            subordinate_ids: Reading::Absent,
            process: self.process,
        };
        Sighting::partial(kubelet, self.gaps)
    }
}

/// Reads one kubelet from its process. Returns none if it has ended or runs no kubelet.
fn read_process(
    host: &HostPaths,
    reader: &ProcessReader,
    files: &Files,
    entry: &ProcessEntry,
    program: Program,
) -> Option<Sighting<Kubelet>> {
    let mut facts = KubeletFacts {
        process: Some(entry.key),
        ..KubeletFacts::default()
    };
    let arguments = match reader.read_arguments(entry.key) {
        Ok(arguments) => arguments,
        Err(error) if is_gone(&error) => return None,
        Err(error) => {
            facts.miss(unread(entry, "the arguments of process", &error));
            return Some(facts.into_sighting(Some(program), None));
        }
    };
    if !program.runs_kubelet(&arguments) {
        return None;
    }
    facts.flags = Flags::parse(arguments.iter().skip(1).map(String::as_str));
    if program != Program::K3s
        && let Some(endpoint) = &facts.flags.endpoint
    {
        facts.endpoints.push(by_flag(ENDPOINT, endpoint));
    }
    let own = own_files(reader, entry);
    let files = own.as_ref().unwrap_or(files);
    match program {
        Program::Kubelet => {
            add_named_files(files, &mut facts);
            add_late_change(reader, entry, files, &mut facts);
        }
        // Its flags are k3s' own.
        Program::K3s => {
            if !embedded::add_k3s(files, &mut facts, entry.executable.as_deref()) {
                return None;
            }
        }
        Program::Microk8s => {
            embedded::add_microk8s(files, &mut facts);
            add_named_files(files, &mut facts);
        }
    }
    let dockershim = facts.of_dockershim().or_else(|| serves_dockershim(host, reader, entry));
    Some(facts.into_sighting(Some(program), dockershim))
}

/// Returns the files as the kubelet's process sees them, if its root or its mounts are not those of the host's first process:
/// the same path may be another file there. None if they are the host's, or may not be read.
fn own_files(reader: &ProcessReader, entry: &ProcessEntry) -> Option<Files> {
    let process = reader.open(entry.key).ok()?;
    let is_changed = !reader.read_changed_root(&process).ok()?.is_empty();
    if !is_changed && reader.shares_mounts_with_init(entry.key) {
        return None;
    }
    let root = reader.open_root(entry.key).ok()?;
    Some(Files::of_process(Rooted::new(root)))
}

/// Reads the files that flags name. If a named file does not exist, that is a gap.
fn add_named_files(files: &Files, facts: &mut KubeletFacts) {
    if let Some(directory) = facts.flags.config_dir.clone() {
        facts.add(files.read_drop_ins(&directory));
    }
    if let Some(path) = facts.flags.config.clone()
        && !facts.add(files.read_configuration(&path))
    {
        let answer = "the kubelet's flag names this file, and it does not exist";
        facts.miss(Gap::new(Reason::NotFound, Hides::Runtime, path, answer));
    }
}

/// Adds the gap for a file that was changed after the kubelet started: the kubelet reads it only when it starts, so it may
/// use another runtime.
fn add_late_change(reader: &ProcessReader, entry: &ProcessEntry, files: &Files, facts: &mut KubeletFacts) {
    if facts.flags.endpoint.is_some() {
        return;
    }
    let named = facts.endpoints.iter().filter_map(|endpoint| match &endpoint.origin {
        EndpointOrigin::KubeletFile { path } => Some(path),
        _ => None,
    });
    let mut paths = named.chain(&facts.flags.config);
    let Some(age) = reader.age(entry.key) else { return };
    let is_later = |path: &&String| files.age(path).is_some_and(|written| written + READING < age);
    if let Some(path) = paths.find(is_later).cloned() {
        let answer = "changed after the kubelet started, so the kubelet may use other settings; restart the kubelet";
        Gap::new(Reason::DependsOnAnother, Hides::Runtime, path, answer).fold_into(&mut facts.gaps);
    }
}

/// Reads the kubelet's settings from its files alone.
fn read_files(files: &Files) -> Sighting<Kubelet> {
    let mut facts = KubeletFacts::default();
    let mut is_there = false;
    for path in FLAG_FILES {
        match files.read(path) {
            Ok(Some(content)) => {
                let mut flags = Flags::parse_file(&content);
                // The file may exist without a kubelet, with nothing in it.
                is_there |= flags != Flags::default();
                if let Some(endpoint) = &flags.endpoint {
                    facts.endpoints.push(named_by(path, &embedded::expand(endpoint)));
                }
                flags.apply(std::mem::take(&mut facts.flags));
                facts.flags = flags;
            }
            Ok(None) => {}
            Err(gap) => {
                is_there = true;
                facts.miss(gap);
            }
        }
    }
    is_there |= add_unit(files, &mut facts);
    add_named_files(files, &mut facts);
    for directory in DROP_INS {
        is_there |= facts.add(files.read_drop_ins(directory));
    }
    for path in CONFIGURATIONS {
        is_there |= facts.add(files.read_configuration(path));
    }
    is_there |= embedded::add_distributions(files, &mut facts);
    if !is_there {
        return Sighting::absent();
    }
    if facts.endpoints.is_empty() && facts.flags == Flags::default() && !facts.gaps.is_empty() {
        // There are only gaps.
        let gap = facts.gaps.remove(0);
        return Sighting {
            reading: Reading::Unknown(gap),
            gaps: facts.gaps,
        };
    }
    let dockershim = facts.of_dockershim();
    facts.into_sighting(None, dockershim)
}

/// Adds the flags of the enabled unit that starts the kubelet. Returns whether there is one.
fn add_unit(files: &Files, facts: &mut KubeletFacts) -> bool {
    let Some(unit) = files.find_unit() else { return false };
    if unit.program == KubeletProgram::K3s {
        facts.flags = unit.flags;
        return embedded::add_k3s(files, facts, None);
    }
    let mut flags = unit.flags;
    if let Some(endpoint) = &flags.endpoint {
        facts.endpoints.push(named_by(&unit.path, endpoint));
    }
    flags.apply(std::mem::take(&mut facts.flags));
    facts.flags = flags;
    true
}

fn by_flag(flag: &str, endpoint: &str) -> EndpointCandidate {
    EndpointCandidate {
        path: path_of(endpoint).to_owned(),
        origin: EndpointOrigin::KubeletFlag { flag: flag.to_owned() },
    }
}

#[cfg(test)]
mod tests;
