//! What the kubelet of this node was told about its runtime.

use schemars::JsonSchema;
use serde::Serialize;

/// Where an endpoint's name comes from; also the order in which candidates are tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
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
        /// Which runtime or distribution it is known from.
        of: String,
    },
}

/// A CRI endpoint that somebody named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointCandidate {
    /// The socket's path on the host, without `unix://`.
    pub path: String,
    /// Who named it.
    pub origin: EndpointOrigin,
}

/// The kubelet as its process and files tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Kubelet {
    /// The executable that carries the kubelet: `kubelet`, `k3s`, `kubelite`, … None where only files were found.
    pub program: Option<String>,
    /// Whether the kubelet runs its built-in dockershim: `--container-runtime=docker`, or the default of a kubelet up
    /// to 1.23 that was given no endpoint. None where that cannot be told.
    pub dockershim: Option<bool>,
    /// The endpoints it was given, the one that wins first.
    pub endpoints: Vec<EndpointCandidate>,
}
