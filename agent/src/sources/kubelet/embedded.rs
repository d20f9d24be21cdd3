//! Which processes carry a kubelet, and what the distributions that embed one tell it.

use std::fs::File;
use std::io::Read;

use super::Told;
use super::files::{Files, named_by};
use super::flags::Flags;
use crate::model::kubelet::{EndpointCandidate, EndpointOrigin, KubeletProgram};
use crate::model::reading::{Gap, Hides, Reason};
use crate::sources::HostPaths;
use crate::sources::processes::{ProcessEntry, ProcessReader};
use crate::sources::runtime::endpoint::{K3S_CONTAINERD, K3S_CRI_DOCKERD};

/// The flags of microk8s' kubelet.
pub(super) const MICROK8S_ARGUMENTS: &str = "/var/snap/microk8s/current/args/kubelet";

/// What microk8s writes in those flags for its directories.
const MICROK8S_VARIABLES: [(&str, &str); 6] = [
    ("${SNAP_COMMON}", "/var/snap/microk8s/common"),
    ("${SNAP_DATA}", "/var/snap/microk8s/current"),
    ("${SNAP}", "/snap/microk8s/current"),
    ("$SNAP_COMMON", "/var/snap/microk8s/common"),
    ("$SNAP_DATA", "/var/snap/microk8s/current"),
    ("$SNAP", "/snap/microk8s/current"),
];

/// The configuration of distributions that hand the kubelet its flags by themselves.
const DISTRIBUTIONS: [&str; 2] = ["/etc/rancher/k3s/config.yaml", "/etc/rancher/rke2/config.yaml"];

/// A program that carries a kubelet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// The kubelet itself, also as rke2 and k0s start it, and hyperkube.
    Kubelet,
    /// k3s, in one process with its kubelet.
    K3s,
    /// kubelite of microk8s.
    Microk8s,
}

impl Program {
    /// By the executable's name, else by the kernel's name for the process where the executable may not be read.
    pub(super) fn of(entry: &ProcessEntry) -> Option<Self> {
        let executable = entry.executable.as_deref().and_then(|e| e.rsplit('/').next());
        match KubeletProgram::of(executable.unwrap_or(&entry.name))? {
            KubeletProgram::Kubelet | KubeletProgram::Hyperkube => Some(Self::Kubelet),
            KubeletProgram::K3s => Some(Self::K3s),
            KubeletProgram::Kubelite => Some(Self::Microk8s),
            KubeletProgram::K0s | KubeletProgram::Rke2 | KubeletProgram::CriDockerd => None,
        }
    }

    /// The name that a finding says.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Kubelet => "kubelet",
            Self::K3s => "k3s",
            Self::Microk8s => "kubelite",
        }
    }

    /// Whether this invocation of it runs a kubelet: hyperkube and k3s are many programs in one. False for a process
    /// without arguments, which is just ending.
    pub(super) fn runs_kubelet(self, arguments: &[String]) -> bool {
        let Some(program) = arguments.first() else {
            return false;
        };
        // k3s hides its arguments: what is left is one, `/usr/local/bin/k3s server`.
        let mut words = arguments.iter().flat_map(|a| a.split_whitespace()).skip(1);
        match self {
            Self::K3s => words.any(|word| word == "server" || word == "agent"),
            Self::Kubelet if program.ends_with("hyperkube") => words.any(|word| word == "kubelet"),
            Self::Kubelet | Self::Microk8s => true,
        }
    }
}

/// Whether a process is this node's own and not that of a node in a container (kind, k3d), which is in a PID namespace
/// below and has paths of its own; nor a pod that calls itself so. None: it is gone.
pub(super) fn is_of_this_node(host: &HostPaths, reader: &ProcessReader, entry: &ProcessEntry) -> Option<bool> {
    let in_a_pod = reader.describe(entry)?.membership.pod_uid.is_some();
    Some(!in_a_pod && !is_in_a_nested_namespace(host, entry))
}

/// By `NSpid` of proc(5): one number for each PID namespace from the procfs' own on down. False where there is no such
/// line (before Linux 4.1).
fn is_in_a_nested_namespace(host: &HostPaths, entry: &ProcessEntry) -> bool {
    let path = host.proc.join(entry.key.pid.to_string()).join("status");
    let mut status = Vec::new();
    let read = File::open(path).and_then(|f| f.take(64 << 10).read_to_end(&mut status));
    let line = status.split(|b| *b == b'\n').find_map(|l| l.strip_prefix(b"NSpid:"));
    let pids = line.map(|l| l.split(u8::is_ascii_whitespace).filter(|pid| !pid.is_empty()).count());
    read.is_ok() && pids.is_some_and(|pids| pids > 1)
}

/// What k3s tells its kubelet: its configuration where that names something, else its own containerd, or, where it was
/// told to use Docker and does not let it be seen, its own cri-dockerd. Whichever serves tells.
pub(super) fn add_k3s(files: &Files, told: &mut Told) {
    let mut docker = told.flags.docker;
    let path = told.flags.config.as_deref().unwrap_or(DISTRIBUTIONS[0]);
    match files.read_distribution(path) {
        Ok(Some((file, path))) => {
            if let Some(endpoint) = file.container_runtime_endpoint.filter(|e| !e.is_empty()) {
                told.endpoints.push(named_by(&path, &endpoint));
            }
            docker |= file.docker == Some(true);
        }
        Ok(None) => {}
        Err(gap) => told.miss(gap),
    }
    if !told.endpoints.is_empty() {
        return;
    }
    let own = if docker {
        &[K3S_CRI_DOCKERD][..]
    } else {
        &[K3S_CONTAINERD, K3S_CRI_DOCKERD][..]
    };
    told.endpoints.extend(own.iter().map(|path| EndpointCandidate {
        path: (*path).to_owned(),
        origin: EndpointOrigin::WellKnown { of: "k3s".to_owned() },
    }));
}

/// The flags of microk8s' kubelet are in a file that a flag of kubelite names.
pub(super) fn add_microk8s(files: &Files, told: &mut Told) {
    let path = told
        .flags
        .args_file
        .clone()
        .unwrap_or_else(|| MICROK8S_ARGUMENTS.to_owned());
    let flags = match files.read(&path) {
        Ok(Some(content)) => Flags::parse_file(&content),
        Ok(None) => {
            let answer = "kubelite reads its flags here, and it is not there";
            return told.miss(Gap::new(Reason::NotFound, Hides::Runtime, path, answer));
        }
        Err(gap) => return told.miss(gap),
    };
    if let Some(endpoint) = &flags.endpoint {
        told.endpoints.push(named_by(&path, &expand(endpoint)));
    }
    told.flags = Flags {
        config: flags.config.as_deref().map(expand),
        config_dir: flags.config_dir.as_deref().map(expand),
        ..flags
    };
}

/// Puts microk8s' directories in the place of its variables.
pub(super) fn expand(text: &str) -> String {
    MICROK8S_VARIABLES
        .iter()
        .fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}

/// What distributions left in their configuration, where no process is seen. Gives whether there is any.
pub(super) fn add_distributions(files: &Files, told: &mut Told) -> bool {
    let mut is_there = false;
    for path in DISTRIBUTIONS {
        is_there |= match files.read_distribution(path) {
            Ok(Some((file, path))) => {
                let named = file.container_runtime_endpoint.filter(|e| !e.is_empty());
                let docker = file.docker == Some(true);
                let endpoint = named.or_else(|| docker.then(|| K3S_CRI_DOCKERD.to_owned()));
                told.endpoints.extend(endpoint.map(|e| named_by(&path, &e)));
                true
            }
            Ok(None) => false,
            Err(gap) => {
                told.miss(gap);
                true
            }
        };
    }
    is_there
}

#[cfg(test)]
mod tests;
