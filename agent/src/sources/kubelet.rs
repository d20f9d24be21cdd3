//! What the node's kubelet was told about its runtime: by the flags of its process, then by the files that it reads.
//!
//! A flag wins over a file (the kubelet lays its flags over its configuration). Where the process is seen, only the
//! files that its flags name count; where none is seen, castoff may lack the host's PID namespace, and the files that
//! installers are known to write are read instead. Never reads an environment, and keeps nothing of a command line but
//! the flags of [`flags`]. Relies on kubelet@v0.20 to v0.37 `cmd/kubelet/app/options` and the defaults of k3s, rke2,
//! k0s and microk8s.

mod dockershim;
mod embedded;
mod evidence;
mod files;
mod flags;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzzing;
mod subordinate_ids;

use std::io;

use self::dockershim::serves_dockershim;
use self::embedded::Program;
pub use self::evidence::find_evidence;
use self::files::{Configuration, Files, Word, named_by};
use self::flags::{ENDPOINT, Flags};
use super::HostPaths;
use super::kernel::refusal::{self, Right, is_gone};
use super::processes::standing::{Standing, read_standing};
use super::processes::{ProcessEntry, ProcessReader, ProcessTable};
use super::runtime::endpoint::{DOCKERSHIM, path_of};
use crate::model::identity::ProcessKey;
use crate::model::kubelet::{EndpointCandidate, EndpointOrigin, Kubelet};
use crate::model::reading::{Gap, Hides, Reading, Reason, Sighting};

/// Files of flags that installers hand to the kubelet's unit, the one that is put last on its command line, and so
/// wins, first.
const FLAG_FILES: [&str; 5] = [
    "/etc/default/kubelet",
    "/etc/sysconfig/kubelet",
    "/var/lib/kubelet/kubeadm-flags.env",
    embedded::MICROK8S_ARGUMENTS,
    "/var/snap/k8s/common/args/kubelet",
];

/// Configuration files, and directories of drop-ins, that installers write: kubeadm's, EKS' and k0s'. kubeadm lays
/// `instance-config.yaml` (from 1.32 on) over `config.yaml` when it writes that.
const CONFIGURATIONS: [&str; 5] = [
    "/var/lib/kubelet/config.yaml",
    "/var/lib/kubelet/instance-config.yaml",
    "/etc/kubernetes/kubelet/config.json",
    "/etc/kubernetes/kubelet/kubelet-config.json",
    "/var/lib/k0s/kubelet-config.yaml",
];

/// Directories of drop-ins that installers have the kubelet read.
const DROP_INS: [&str; 2] = [
    "/etc/kubernetes/kubelet/config.json.d",
    "/etc/kubernetes/kubelet.conf.d",
];

/// Reads what the kubelet of this node was told. Absent: neither a process nor a file of one is here.
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
    let (mut seen, mut doubts) = (Vec::new(), Vec::new());
    for (entry, program) in candidates {
        match reader.open(entry.key).and_then(|process| read_standing(&process)) {
            Ok(Standing::Node) => seen.extend(read_process(host, reader, files, entry, program)),
            Ok(Standing::Rootless) => doubts.extend(doubt_rootless(reader, entry, program)),
            // Anybody may call himself so.
            Ok(Standing::Itself) => {}
            Err(error) if is_gone(&error) => {}
            Err(error) => doubts.push(unread(entry, "whose kubelet process", &error)),
        }
    }
    let mut seen = seen.into_iter();
    let Some(mut first) = seen.next() else {
        return doubts
            .into_iter()
            .next()
            .map_or_else(|| read_files(files), Sighting::unknown);
    };
    for other in seen {
        let (told, also) = (
            first.reading.known().map(|k| &k.endpoints),
            other.reading.known().map(|k| &k.endpoints),
        );
        if told != also {
            let answer = "a second kubelet on this node that was told otherwise; castoff follows the first";
            Gap::new(Reason::LimitReached, Hides::Runtime, "the kubelet's process", answer).fold_into(&mut first.gaps);
        }
    }
    first
}

/// The doubt that a kubelet in a user namespace leaves (feature `KubeletInUserNamespace`): its runtime, its pods and its
/// paths are an ordinary user's. None where the process is no kubelet, or gone.
fn doubt_rootless(reader: &ProcessReader, entry: &ProcessEntry, program: Program) -> Option<Gap> {
    match reader.read_arguments(entry.key) {
        Ok(arguments) if program.runs_kubelet(&arguments) => {
            let asked = format!("the kubelet's process {}", entry.key.pid);
            let answer =
                "a rootless kubelet: it runs in a user namespace of its own, into which castoff does not follow it";
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

/// What is collected on the way.
#[derive(Debug, Default)]
struct KubeletFacts {
    /// The kubelet's process, where it is seen.
    process: Option<ProcessKey>,
    flags: Flags,
    /// The winner first.
    endpoints: Vec<EndpointCandidate>,
    /// True if a `KubeletConfiguration` names an endpoint, as it can since 1.27.
    in_configuration: bool,
    /// The `failCgroupV1` that wins.
    fail_cgroup_v1: Option<bool>,
    /// The first thing that could not be read: what comes after it may be overruled by it.
    unread: Option<Gap>,
    gaps: Vec<Gap>,
}

impl KubeletFacts {
    /// Takes a kubelet's configuration. Gives whether there is such a file.
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
            Word::NoFile => return false,
            Word::Silent => {}
            Word::Names(endpoint) => {
                self.endpoints.push(endpoint);
                self.in_configuration = true;
            }
        }
        true
    }

    /// Notes what could not be read. It hides the runtime only where nothing that wins over it named an endpoint.
    fn miss(&mut self, gap: Gap) {
        self.unread.get_or_insert_with(|| gap.clone());
        if self.endpoints.is_empty() {
            gap.fold_into(&mut self.gaps);
        }
    }

    /// What flags and files say of dockershim; none where they say nothing.
    fn of_dockershim(&self) -> Option<bool> {
        match self.flags.runtime.as_deref() {
            Some(runtime) => Some(runtime == "docker"),
            // The default up to 1.23, whatever the endpoint: that is where dockershim serves then.
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

/// One kubelet by its process. None: it is gone, or it runs no kubelet.
fn read_process(
    host: &HostPaths,
    reader: &ProcessReader,
    files: &Files,
    entry: &ProcessEntry,
    program: Program,
) -> Option<Sighting<Kubelet>> {
    let mut told = KubeletFacts {
        process: Some(entry.key),
        ..KubeletFacts::default()
    };
    let arguments = match reader.read_arguments(entry.key) {
        Ok(arguments) => arguments,
        Err(error) if is_gone(&error) => return None,
        Err(error) => {
            told.miss(unread(entry, "the arguments of process", &error));
            return Some(told.into_sighting(Some(program), None));
        }
    };
    if !program.runs_kubelet(&arguments) {
        return None;
    }
    told.flags = Flags::parse(arguments.iter().skip(1).map(String::as_str));
    if program != Program::K3s
        && let Some(endpoint) = &told.flags.endpoint
    {
        told.endpoints.push(by_flag(ENDPOINT, endpoint));
    }
    match program {
        Program::Kubelet => add_named_files(files, &mut told),
        // Its flags are its own.
        Program::K3s => embedded::add_k3s(files, &mut told, entry.executable.as_deref()),
        Program::Microk8s => {
            embedded::add_microk8s(files, &mut told);
            add_named_files(files, &mut told);
        }
    }
    let dockershim = told.of_dockershim().or_else(|| serves_dockershim(host, reader, entry));
    Some(told.into_sighting(Some(program), dockershim))
}

/// The files that flags name. One that is named and not there is a gap.
fn add_named_files(files: &Files, told: &mut KubeletFacts) {
    if let Some(directory) = told.flags.config_dir.clone() {
        told.add(files.read_drop_ins(&directory));
    }
    if let Some(path) = told.flags.config.clone()
        && !told.add(files.read_configuration(&path))
    {
        let answer = "the kubelet's flag names it, and it is not there";
        told.miss(Gap::new(Reason::NotFound, Hides::Runtime, path, answer));
    }
}

/// The kubelet by its files alone.
fn read_files(files: &Files) -> Sighting<Kubelet> {
    let mut told = KubeletFacts::default();
    let mut is_there = false;
    for path in FLAG_FILES {
        match files.read(path) {
            Ok(Some(content)) => {
                let mut flags = Flags::parse_file(&content);
                // The file may be there without a kubelet, with nothing in it.
                is_there |= flags != Flags::default();
                if let Some(endpoint) = &flags.endpoint {
                    told.endpoints.push(named_by(path, &embedded::expand(endpoint)));
                }
                flags.lay_over(std::mem::take(&mut told.flags));
                told.flags = flags;
            }
            Ok(None) => {}
            Err(gap) => {
                is_there = true;
                told.miss(gap);
            }
        }
    }
    add_named_files(files, &mut told);
    for directory in DROP_INS {
        is_there |= told.add(files.read_drop_ins(directory));
    }
    for path in CONFIGURATIONS {
        is_there |= told.add(files.read_configuration(path));
    }
    is_there |= embedded::add_distributions(files, &mut told);
    if !is_there {
        return Sighting::absent();
    }
    if told.endpoints.is_empty() && told.flags == Flags::default() && !told.gaps.is_empty() {
        // Nothing but what could not be read.
        let gap = told.gaps.remove(0);
        return Sighting {
            reading: Reading::Unknown(gap),
            gaps: told.gaps,
        };
    }
    let dockershim = told.of_dockershim();
    told.into_sighting(None, dockershim)
}

fn by_flag(flag: &str, endpoint: &str) -> EndpointCandidate {
    EndpointCandidate {
        path: path_of(endpoint).to_owned(),
        origin: EndpointOrigin::KubeletFlag { flag: flag.to_owned() },
    }
}

#[cfg(test)]
mod tests;
