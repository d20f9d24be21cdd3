//! The processes that contain a kubelet, and the settings that distributions pass to theirs.

use super::files::{Files, named_by};
use super::flags::{ENDPOINT, Flags};
use super::{KubeletFacts, add_named_files, by_flag};
use crate::model::kubelet::{EndpointCandidate, EndpointOrigin, KubeletProgram};
use crate::model::reading::{Gap, Hides, Reason};
use crate::sources::processes::ProcessEntry;
use crate::sources::runtime::endpoint::{K3S_CONTAINERD, K3S_CRI_DOCKERD};

/// The flags of microk8s' kubelet.
pub(super) const MICROK8S_ARGUMENTS: &str = "/var/snap/microk8s/current/args/kubelet";

/// The variables for directories that microk8s uses in those flags.
const MICROK8S_VARIABLES: [(&str, &str); 6] = [
    ("${SNAP_COMMON}", "/var/snap/microk8s/common"),
    ("${SNAP_DATA}", "/var/snap/microk8s/current"),
    ("${SNAP}", "/snap/microk8s/current"),
    ("$SNAP_COMMON", "/var/snap/microk8s/common"),
    ("$SNAP_DATA", "/var/snap/microk8s/current"),
    ("$SNAP", "/snap/microk8s/current"),
];

/// A distribution that passes the kubelet its flags itself.
struct Distribution {
    /// Its own configuration.
    configuration: &'static str,
    /// The default directory of its data.
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

/// The drop-ins of their kubelets, below their data (since k3s and rke2 1.32).
const DROP_INS: &str = "agent/etc/kubelet.conf.d";

/// A program that contains a kubelet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// The kubelet itself, including the one that rke2 and k0s start, and hyperkube.
    Kubelet,
    /// k3s, whose kubelet is in the same process.
    K3s,
    /// microk8s' kubelite.
    Microk8s,
}

impl Program {
    /// Returns the program from the name of the process's program.
    pub(super) fn of(entry: &ProcessEntry) -> Option<Self> {
        match KubeletProgram::of(entry.program())? {
            KubeletProgram::Kubelet | KubeletProgram::Hyperkube => Some(Self::Kubelet),
            KubeletProgram::K3s => Some(Self::K3s),
            KubeletProgram::Kubelite => Some(Self::Microk8s),
            KubeletProgram::K0s | KubeletProgram::Rke2 | KubeletProgram::CriDockerd => None,
        }
    }

    /// Returns the name in a finding.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Kubelet => "kubelet",
            Self::K3s => "k3s",
            Self::Microk8s => "kubelite",
        }
    }

    /// True if this invocation runs a kubelet: hyperkube and k3s are several programs in one. False for a process
    /// without arguments, which is just ending.
    pub(super) fn runs_kubelet(self, arguments: &[String]) -> bool {
        let Some(program) = arguments.first() else {
            return false;
        };
        match self {
            Self::K3s => KubeletProgram::K3s.runs_kubelet(arguments),
            Self::Kubelet if program.ends_with("hyperkube") => KubeletProgram::Hyperkube.runs_kubelet(arguments),
            Self::Kubelet | Self::Microk8s => true,
        }
    }
}

/// Adds the settings that k3s passes to its kubelet: from the flags that it passes on, or else from the drop-ins that
/// it writes, or else from its own settings. Without any the runtime is its own containerd or, because a setting to use
/// Docker may not be visible, its own cri-dockerd: whichever of the two serves. `executable` is below its data
/// (`<data-dir>/data/<hash>/bin/k3s`).
///
/// Returns false for a server without a kubelet (`disable-agent`).
pub(super) fn add_k3s(files: &Files, facts: &mut KubeletFacts, executable: Option<&str>) -> bool {
    let own = std::mem::take(&mut facts.flags);
    let path = own.config.as_deref().unwrap_or(K3S.configuration);
    let file = files.read_distribution(path).unwrap_or_else(|gap| {
        facts.miss(gap);
        None
    });
    let file = file.unwrap_or_default();
    if file.disable_agent {
        return false;
    }
    let mut passed_on = Flags::default();
    file.kubelet_args.iter().for_each(|flag| passed_on.pass_on(flag));
    passed_on.apply(Flags {
        of_kubelet: own.of_kubelet,
        ..Flags::default()
    });
    facts.flags = passed_on.of_kubelet.map_or_else(Flags::default, |flags| *flags);
    if let Some(endpoint) = &facts.flags.endpoint {
        facts.endpoints.push(by_flag(ENDPOINT, endpoint));
    }
    let data = own.data_dir.as_deref().or(file.data_dir.as_deref());
    let data = data.or_else(|| data_of(executable?)).unwrap_or(K3S.data);
    if !facts.add(files.read_drop_ins(&format!("{data}/{DROP_INS}"))) {
        add_named_files(files, facts); // before 1.32 k3s has no drop-ins and passes these flags on too
    }
    if own.docker || file.docker {
        // k3s writes its drop-in anew at each start, since 1.32. One with another endpoint is of an earlier start.
        let other = facts.endpoints.iter().find(|endpoint| endpoint.path != K3S_CRI_DOCKERD);
        if let Some(other) = other.filter(|_| facts.in_configuration) {
            let answer = format!(
                "k3s is configured to use Docker, and a drop-in of its kubelet names {}",
                other.path
            );
            Gap::new(Reason::Malformed, Hides::Runtime, "the settings of k3s", answer).fold_into(&mut facts.gaps);
        }
        // With Docker, k3s' own flag for an endpoint is that of Docker, for its cri-dockerd.
        facts.endpoints.push(if own.docker {
            by_flag("--docker", K3S_CRI_DOCKERD)
        } else {
            named_by(&file.path, K3S_CRI_DOCKERD)
        });
        return true;
    }
    if let Some(endpoint) = &own.endpoint {
        facts.endpoints.push(by_flag(ENDPOINT, endpoint));
    } else if let Some(endpoint) = file.container_runtime_endpoint.filter(|e| !e.is_empty()) {
        facts.endpoints.push(named_by(&file.path, &endpoint));
    }
    if facts.endpoints.is_empty() {
        let guesses = [K3S_CONTAINERD, K3S_CRI_DOCKERD].map(|path| EndpointCandidate {
            path: path.to_owned(),
            origin: EndpointOrigin::WellKnown { of: "k3s".to_owned() },
        });
        facts.endpoints.extend(guesses);
    }
    true
}

/// Returns the directory of k3s' data into which its program was unpacked.
fn data_of(executable: &str) -> Option<&str> {
    let (above, _program) = executable.rsplit_once("/bin/")?;
    let (data, _hash) = above.rsplit_once("/data/")?;
    Some(data)
}

/// Adds the flags of microk8s' kubelet. They are in a file that a flag of kubelite names.
pub(super) fn add_microk8s(files: &Files, facts: &mut KubeletFacts) {
    let path = facts
        .flags
        .args_file
        .clone()
        .unwrap_or_else(|| MICROK8S_ARGUMENTS.to_owned());
    let flags = match files.read(&path) {
        Ok(Some(content)) => Flags::parse_file(&content),
        Ok(None) => {
            let answer = "kubelite reads its flags here, and it is not there";
            return facts.miss(Gap::new(Reason::NotFound, Hides::Runtime, path, answer));
        }
        Err(gap) => return facts.miss(gap),
    };
    if let Some(endpoint) = &flags.endpoint {
        facts.endpoints.push(named_by(&path, &expand(endpoint)));
    }
    facts.flags = Flags {
        config: flags.config.as_deref().map(expand),
        config_dir: flags.config_dir.as_deref().map(expand),
        ..flags
    };
}

/// Replaces microk8s' variables by their directories.
pub(super) fn expand(text: &str) -> String {
    MICROK8S_VARIABLES
        .iter()
        .fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}

/// Adds the settings in the configuration of distributions, if no process is visible. Returns whether there are any.
pub(super) fn add_distributions(files: &Files, facts: &mut KubeletFacts) -> bool {
    let mut is_there = false;
    for distribution in [K3S, RKE2] {
        let file = match files.read_distribution(distribution.configuration) {
            Ok(file) => file,
            Err(gap) => {
                facts.miss(gap);
                is_there = true;
                None
            }
        };
        if file.as_ref().is_some_and(|file| file.disable_agent) {
            continue;
        }
        is_there |= file.is_some();
        let file = file.unwrap_or_default();
        let mut passed_on = Flags::default();
        file.kubelet_args.iter().for_each(|flag| passed_on.pass_on(flag));
        let passed_on = passed_on.of_kubelet.and_then(|flags| flags.endpoint);
        facts.endpoints.extend(passed_on.map(|e| named_by(&file.path, &e)));
        let data = file.data_dir.as_deref().unwrap_or(distribution.data);
        is_there |= facts.add(files.read_drop_ins(&format!("{data}/{DROP_INS}")));
        let named = file.container_runtime_endpoint.filter(|e| !e.is_empty());
        let endpoint = if file.docker {
            Some(K3S_CRI_DOCKERD.to_owned())
        } else {
            named
        };
        facts.endpoints.extend(endpoint.map(|e| named_by(&file.path, &e)));
    }
    is_there
}

#[cfg(test)]
mod tests;
