//! Which processes carry a kubelet, and what the distributions that embed one tell it.

use super::files::{Files, named_by};
use super::flags::{ENDPOINT, Flags};
use super::{KubeletFacts, add_named_files, by_flag};
use crate::model::kubelet::{EndpointCandidate, EndpointOrigin, KubeletProgram};
use crate::model::reading::{Gap, Hides, Reason};
use crate::sources::processes::ProcessEntry;
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

/// A distribution that hands the kubelet its flags by itself.
struct Distribution {
    /// Its own configuration.
    configuration: &'static str,
    /// Where it keeps its data unless it is told otherwise.
    data: &'static str,
}

const K3S: Distribution = Distribution {
    configuration: "/etc/rancher/k3s/config.yaml",
    data: "/var/lib/rancher/k3s",
};

const RKE2: Distribution = Distribution {
    configuration: "/etc/rancher/rke2/config.yaml",
    data: "/var/lib/rancher/rke2",
};

/// The drop-ins of their kubelets, below their data: from k3s and rke2 1.32 on.
const DROP_INS: &str = "agent/etc/kubelet.conf.d";

/// Names by which k3s is called, and whether it runs a kubelet then.
const K3S_NAMES: [(&str, bool); 5] = [
    ("k3s-server", true),
    ("k3s-agent", true),
    ("kubectl", false),
    ("crictl", false),
    ("ctr", false),
];

/// Flags of k3s that may stand before the word that says what it is to be, and take a value.
const K3S_FLAGS_IN_FRONT: [&str; 3] = ["--data-dir", "-d", "-data-dir"];

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

    /// True if this invocation of it runs a kubelet: hyperkube and k3s are many programs in one. False for a process
    /// without arguments, which is just ending.
    pub(super) fn runs_kubelet(self, arguments: &[String]) -> bool {
        let Some(program) = arguments.first() else {
            return false;
        };
        match self {
            Self::K3s => runs_k3s(arguments),
            Self::Kubelet if program.ends_with("hyperkube") => arguments.iter().skip(1).any(|word| word == "kubelet"),
            Self::Kubelet | Self::Microk8s => true,
        }
    }
}

/// True if k3s was called to be a server or an agent, which the first word after the program and its flags says: the
/// words of its other commands are anybody's. k3s hides its arguments: what is left is one, `/usr/local/bin/k3s server`.
fn runs_k3s(arguments: &[String]) -> bool {
    let mut words = arguments.iter().flat_map(|argument| argument.split_whitespace());
    let program = words
        .next()
        .and_then(|path| path.rsplit('/').next())
        .unwrap_or_default();
    if let Some((_, runs)) = K3S_NAMES.iter().find(|(name, _)| *name == program) {
        return *runs;
    }
    while let Some(word) = words.next() {
        if K3S_FLAGS_IN_FRONT.contains(&word) {
            words.next();
        } else if !word.starts_with('-') {
            return word == "server" || word == "agent";
        }
    }
    false
}

/// What k3s tells its kubelet: by the flags that it hands on, else by the drop-ins that it writes, else by what it was told
/// itself, else its own containerd, or, where it was told to use Docker and does not let it be seen, its own cri-dockerd:
/// whichever serves tells. `executable` lies below its data (`<data-dir>/data/<hash>/bin/k3s`).
pub(super) fn add_k3s(files: &Files, told: &mut KubeletFacts, executable: Option<&str>) {
    let own = std::mem::take(&mut told.flags);
    let path = own.config.as_deref().unwrap_or(K3S.configuration);
    let file = files.read_distribution(path).unwrap_or_else(|gap| {
        told.miss(gap);
        None
    });
    let file = file.unwrap_or_default();
    let mut handed_on = Flags::default();
    file.kubelet_args.iter().for_each(|flag| handed_on.hand_on(flag));
    handed_on.lay_over(Flags {
        of_kubelet: own.of_kubelet,
        ..Flags::default()
    });
    told.flags = handed_on.of_kubelet.map_or_else(Flags::default, |flags| *flags);
    if let Some(endpoint) = &told.flags.endpoint {
        told.endpoints.push(by_flag(ENDPOINT, endpoint));
    }
    let data = own.data_dir.as_deref().or(file.data_dir.as_deref());
    let data = data.or_else(|| data_of(executable?)).unwrap_or(K3S.data);
    if !told.add(files.read_drop_ins(&format!("{data}/{DROP_INS}"))) {
        add_named_files(files, told); // before 1.32 k3s has no drop-ins and hands these flags on too
    }
    if own.docker || file.docker {
        // Its own flag for an endpoint is that of Docker then, which its cri-dockerd uses.
        told.endpoints.push(if own.docker {
            by_flag("--docker", K3S_CRI_DOCKERD)
        } else {
            named_by(&file.path, K3S_CRI_DOCKERD)
        });
        return;
    }
    if let Some(endpoint) = &own.endpoint {
        told.endpoints.push(by_flag(ENDPOINT, endpoint));
    } else if let Some(endpoint) = file.container_runtime_endpoint.filter(|e| !e.is_empty()) {
        told.endpoints.push(named_by(&file.path, &endpoint));
    }
    if told.endpoints.is_empty() {
        let guesses = [K3S_CONTAINERD, K3S_CRI_DOCKERD].map(|path| EndpointCandidate {
            path: path.to_owned(),
            origin: EndpointOrigin::WellKnown { of: "k3s".to_owned() },
        });
        told.endpoints.extend(guesses);
    }
}

/// The folder of k3s' data that its program was unpacked in.
fn data_of(executable: &str) -> Option<&str> {
    let (above, _program) = executable.rsplit_once("/bin/")?;
    let (data, _hash) = above.rsplit_once("/data/")?;
    Some(data)
}

/// The flags of microk8s' kubelet are in a file that a flag of kubelite names.
pub(super) fn add_microk8s(files: &Files, told: &mut KubeletFacts) {
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
pub(super) fn add_distributions(files: &Files, told: &mut KubeletFacts) -> bool {
    let mut is_there = false;
    for distribution in [K3S, RKE2] {
        let file = match files.read_distribution(distribution.configuration) {
            Ok(file) => file,
            Err(gap) => {
                told.miss(gap);
                is_there = true;
                None
            }
        };
        is_there |= file.is_some();
        let file = file.unwrap_or_default();
        let mut handed_on = Flags::default();
        file.kubelet_args.iter().for_each(|flag| handed_on.hand_on(flag));
        let handed_on = handed_on.of_kubelet.and_then(|flags| flags.endpoint);
        told.endpoints.extend(handed_on.map(|e| named_by(&file.path, &e)));
        let data = file.data_dir.as_deref().unwrap_or(distribution.data);
        is_there |= told.add(files.read_drop_ins(&format!("{data}/{DROP_INS}")));
        let named = file.container_runtime_endpoint.filter(|e| !e.is_empty());
        let endpoint = if file.docker {
            Some(K3S_CRI_DOCKERD.to_owned())
        } else {
            named
        };
        told.endpoints.extend(endpoint.map(|e| named_by(&file.path, &e)));
    }
    is_there
}

#[cfg(test)]
mod tests;
