//! The kubelet of this node, and its settings for the runtime.

mod invocation;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::identity::ProcessKey;
use super::reading::{Gap, Hides, Reading, Reason};

/// The source of an endpoint's name; also the order in which candidates are tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "from")]
pub enum EndpointOrigin {
    /// castoff's own flag or environment.
    Configured,
    /// A flag of the kubelet's process.
    KubeletFlag {
        /// The flag's name.
        flag: String,
    },
    /// A file that the kubelet reads.
    KubeletFile {
        /// The file.
        path: String,
    },
    /// A path that runtimes are known to use.
    WellKnown {
        /// The runtime or distribution that uses it.
        of: String,
    },
}

/// A CRI endpoint that a setting names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointCandidate {
    /// The socket's path on the host, without `unix://`.
    pub path: String,
    /// The setting that named it.
    pub origin: EndpointOrigin,
}

/// The kubelet, from its process and files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Kubelet {
    /// The executable that contains the kubelet: `kubelet`, `k3s`, `kubelite`, … None if only files were found.
    pub program: Option<String>,
    /// True if the kubelet runs its built-in dockershim: `--container-runtime=docker`, or the default of a kubelet up to 1.23
    /// without an endpoint. None if that is not known.
    pub dockershim: Option<bool>,
    /// The endpoints it is configured with, the effective one first.
    pub endpoints: Vec<EndpointCandidate>,
    /// Its setting `failCgroupV1`; absent where its settings were read and leave the default, unknown where not all were read.
    #[serde(rename = "failCgroupV1")]
    pub fail_cgroup_v1: Reading<bool>,
    /// The ids that the host reserves for a user `kubelet`; absent if there is no such user.
    pub subordinate_ids: Reading<SubordinateIds>,
    /// Its process, where it was seen.
    #[serde(skip)]
    pub process: Option<ProcessKey>,
}

/// The ids that the host reserves for a user `kubelet`, from which pods in user namespaces get their ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubordinateIds {
    /// The path of `getsubids`, by which a kubelet up to 1.37 asks for them; absent where the host has none.
    pub getsubids: Reading<String>,
    /// The lines of `/etc/subuid` and `/etc/subgid` whose range ends at 4294967295 or past it.
    pub overlong: Reading<Vec<String>>,
}

impl Kubelet {
    /// The gap of this kubelet where no runtime was found.
    pub fn without_runtime(&self) -> Gap {
        let by = self.program.as_deref().unwrap_or("by its files");
        let answer = format!("a kubelet is here ({by}), and no runtime was found");
        Gap::new(Reason::NotFound, Hides::Runtime, "the runtime of this node", answer)
    }
}

/// A program that is a kubelet, contains one, starts one, or connects to a runtime for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KubeletProgram {
    /// The kubelet itself, also as rke2 and k0s start it.
    Kubelet,
    /// hyperkube: many programs in one, the kubelet among them.
    Hyperkube,
    /// k3s, in one process with its kubelet.
    K3s,
    /// kubelite of microk8s, in one process with its kubelet.
    Kubelite,
    /// k0s, which starts a kubelet.
    K0s,
    /// rke2, which starts a kubelet.
    Rke2,
    /// cri-dockerd, which serves CRI for a kubelet with Docker.
    CriDockerd,
}

impl KubeletProgram {
    /// The program with this name: the last component of an executable's path, or the kernel's name for a process.
    pub fn of(name: &str) -> Option<Self> {
        Some(match name {
            "kubelet" => Self::Kubelet,
            "hyperkube" => Self::Hyperkube,
            "k3s" | "k3s-server" | "k3s-agent" => Self::K3s,
            "kubelite" => Self::Kubelite,
            "k0s" => Self::K0s,
            "rke2" => Self::Rke2,
            "cri-dockerd" => Self::CriDockerd,
            _ => return None,
        })
    }
}
