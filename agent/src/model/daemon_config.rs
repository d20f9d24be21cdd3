//! Docker's settings and those of the node's runtime, from their files and processes. They contain no secrets: a URL
//! has no user, and the value of a proxy is never shown.

pub mod advice;
pub mod compare;
pub mod registry;

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use super::reading::{Reading, codes};
use registry::Endpoint;

codes! {
    /// A setting of Docker that a runtime may need too, by its key in `daemon.json`.
    DockerSetting {
        /// Mirrors of Docker Hub.
        RegistryMirrors = "registry-mirrors",
        /// Registries that are used without TLS, or without a check of their certificate.
        InsecureRegistries = "insecure-registries",
        /// The driver to which containers' output goes.
        LogDriver = "log-driver",
        /// The options of that driver.
        LogOptions = "log-opts",
        /// The runtime of containers that name none.
        DefaultRuntime = "default-runtime",
        /// A further runtime, such as the one for GPUs.
        Runtimes = "runtimes",
        /// The way to make control groups, from `exec-opts`.
        CgroupDriver = "native.cgroupdriver",
        /// The limits of containers that set none.
        DefaultUlimits = "default-ulimits",
        /// The proxies for pulls.
        Proxies = "proxies",
        /// Containers keep running while the daemon restarts.
        LiveRestore = "live-restore",
        /// The directory of images and containers.
        DataRoot = "data-root",
    }
}

codes! {
    /// The state of one setting of Docker under the runtime.
    Carried {
        /// The runtime has the same setting.
        CarriedOver = "carried-over",
        /// The runtime lacks it, or has another value.
        Missing = "missing",
        /// The runtime has no such setting; the advice names its replacement.
        NotApplicable = "not-applicable",
        /// castoff could not read enough, or the values cannot be compared.
        Unknown = "unknown",
    }
}

codes! {
    /// A runtime whose settings castoff reads.
    RuntimeProgram {
        /// containerd with its CRI plugin.
        Containerd = "containerd",
        /// CRI-O.
        CriO = "cri-o",
    }
}

/// One value of one setting of Docker, and its counterpart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComparedSetting {
    /// The setting.
    pub setting: DockerSetting,
    /// Docker's value, without secrets.
    pub docker: String,
    /// The runtime's value, without secrets; none if it has none or it is not known.
    pub runtime: Option<String>,
    /// The state of the setting.
    pub state: Carried,
    /// The file and the key to set, or the reason why nothing is to be set.
    pub advice: String,
}

/// Docker's settings compared with the runtime's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DaemonConfig {
    /// The files and arguments that Docker's settings come from.
    pub docker: Vec<String>,
    /// The runtime.
    pub runtime: RuntimeProgram,
    /// True if it serves the kubelet; false for the runtime that would replace Docker there.
    pub serves_kubelet: bool,
    /// The files that the runtime's settings come from; none if it has its defaults.
    pub runtime_files: Vec<String>,
    /// Each value of Docker's settings.
    pub settings: Vec<ComparedSetting>,
    /// The number of values that were left out, because there are too many.
    pub more: u32,
    /// Other keys that Docker has been given. castoff does not compare them.
    pub not_compared: Vec<String>,
}

impl DaemonConfig {
    /// The values that are in this state.
    pub fn in_state(&self, state: Carried) -> impl Iterator<Item = &ComparedSetting> {
        self.settings.iter().filter(move |setting| setting.state == state)
    }
}

/// A value that may have a password in it. It can be compared, and is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(set)")
    }
}

/// The proxies of a process, by the variable in upper case.
pub type Proxies = BTreeMap<&'static str, Hidden>;

/// The variables that set a proxy.
pub const PROXY_VARIABLES: [&str; 3] = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];

/// A limit of containers' resources: `nofile`, soft and hard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ulimit {
    /// The name, as in getrlimit(2) without `RLIMIT_`, in lower case.
    pub name: String,
    /// The soft limit; -1 for none.
    pub soft: i64,
    /// The hard limit; -1 for none.
    pub hard: i64,
}

impl Ulimit {
    /// Parses a limit as Docker and CRI-O write it: `nofile=1024:2048`, or one number for both.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, limits) = text.split_once('=')?;
        let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
        Some(Self {
            name: name.trim().to_owned(),
            soft: soft.trim().parse().ok()?,
            hard: hard.trim().parse().ok()?,
        })
    }
}

impl fmt::Display for Ulimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}:{}", self.name, self.soft, self.hard)
    }
}

/// The settings that a dockerd uses, or would use: those that a runtime may need too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DockerSettings {
    /// The files and arguments that they come from.
    pub from: Vec<String>,
    /// The mirrors of Docker Hub.
    pub mirrors: Vec<String>,
    /// Registries without TLS or without a check of it: `HOST`, `HOST:PORT`, or a range of addresses.
    pub insecure: Vec<String>,
    /// The driver for logs, if one is set.
    pub log_driver: Option<String>,
    /// The options of that driver, each with its value if that is known to be no secret.
    pub log_options: BTreeMap<String, Option<String>>,
    /// The default runtime, if one is set.
    pub default_runtime: Option<String>,
    /// Further runtimes, each with its program or its type.
    pub runtimes: BTreeMap<String, String>,
    /// The control group driver, if one is set.
    pub cgroup_driver: Option<String>,
    /// The limits of containers.
    pub ulimits: Vec<Ulimit>,
    /// The proxies.
    pub proxies: Proxies,
    /// True if containers keep running while dockerd restarts.
    pub live_restore: bool,
    /// The directory of images, if one is set.
    pub data_root: Option<String>,
    /// Other keys that are set.
    pub other: Vec<String>,
}

/// The way in which the runtime's registries are configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryPlace {
    /// containerd: a directory with a `hosts.toml` for each registry.
    Directory(String),
    /// containerd: deprecated tables in its own configuration.
    Tables,
    /// containerd: neither is set.
    Unset,
    /// The file from which a distribution writes containerd's files.
    Distribution(String),
    /// CRI-O: containers-registries.conf(5).
    RegistriesConf,
}

/// The settings of a runtime that correspond to Docker's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeSettings {
    /// The runtime.
    pub program: RuntimeProgram,
    /// True if it serves the kubelet.
    pub serves_kubelet: bool,
    /// The path of its main configuration, whether or not there is such a file.
    pub main_file: String,
    /// The files that were read.
    pub files: Vec<String>,
    /// The names of containerd's plugins for images and for containers, in the version of its configuration.
    pub plugins: [&'static str; 2],
    /// The way in which its registries are configured.
    pub place: RegistryPlace,
    /// Its other settings; absent where it has its defaults.
    pub config: Reading<RuntimeConfig>,
    /// The endpoints of Docker Hub and of each registry that Docker names, by registry.
    pub registries: Reading<BTreeMap<String, Vec<Endpoint>>>,
    /// Its proxies; absent where no process of it is known.
    pub proxies: Reading<Proxies>,
}

/// The settings in a runtime's own configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeConfig {
    /// The default runtime, if one is set.
    pub default_runtime: Option<String>,
    /// The runtimes, each with its program or its type.
    pub runtimes: BTreeMap<String, String>,
    /// The limits of containers.
    pub ulimits: Vec<Ulimit>,
    /// True if containers' output goes to the journal.
    pub journald: bool,
    /// The directory of images, if one is set.
    pub root: Option<String>,
    /// The control group driver, if one is set.
    pub cgroup_driver: Option<String>,
}

/// The settings of both, as one look read them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonSettings {
    /// Docker's.
    pub docker: DockerSettings,
    /// The runtime's.
    pub runtime: RuntimeSettings,
}
