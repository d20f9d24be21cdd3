//! A containerd with its CRI service, in a room of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::json;

use super::cri::{Cri, Interface};
use super::daemon::Daemon;
use super::images;
use super::keeper::Task;
use super::modules::{self, Module};
use super::packages::{self, Programs};
use super::pods::{Pod, RunningPod};
use super::rooms::{Paths, Room};
use super::stage::Stage;

/// The values for a version's configuration file.
#[derive(Debug)]
#[non_exhaustive]
pub struct Layout<'a> {
    /// The directory of images and containers.
    pub root: &'a Path,
    /// The directory of the running state.
    pub state: &'a Path,
    /// The socket for the runtime's own API and CRI.
    pub socket: &'a Path,
    /// The directory of CNI configurations.
    pub cni_configurations: &'a Path,
    /// The directory of CNI plugins.
    pub cni_plugins: &'a Path,
    /// runc's directory of the running state.
    pub runc_root: &'a Path,
}

/// The containerd to start, and its configuration.
#[derive(Debug, Clone)]
pub struct Options {
    /// containerd, its shim, runc and `ctr`.
    pub programs: Programs,
    /// Writes the configuration file in the version's own format.
    pub configuration: fn(&Layout<'_>) -> String,
    /// The version of CRI that the lab itself uses with it.
    pub interface: Interface,
    /// The stage that it runs on; none for the machine itself.
    pub stage: Option<Arc<Stage>>,
    /// The network of the pods.
    pub network: Network,
    /// The paths of its socket, its configuration and its data.
    pub paths: Paths,
}

impl Options {
    /// Returns the options for the containerd of this machine's Debian release.
    pub fn debian() -> Result<Self> {
        Ok(Self {
            programs: Programs::debian()?,
            configuration: version_2,
            interface: Interface::V1,
            stage: None,
            network: Network::Closed,
            paths: Paths::Room,
        })
    }
}

/// The network of a runtime's pods.
#[derive(Debug, Clone)]
pub enum Network {
    /// Pods reach each other. The host's forwarding and firewall are unchanged.
    Closed,
    /// Pods reach whatever the stage does. Their addresses are in this range, like `10.244.1.0/24`.
    Routed(String),
}

/// A running containerd.
#[derive(Debug)]
pub struct Containerd {
    // Before the daemon, because a client's threads are useless after it.
    cri: Cri,
    daemon: Daemon,
    programs: Programs,
    socket: PathBuf,
}

impl Containerd {
    /// Starts the containerd of this machine's Debian release, with the lab's images in it.
    pub fn start() -> Result<Self> {
        Self::start_with(&Options::debian()?)
    }

    /// Returns the programs of the newest containerd, with the rest from this machine's Debian release. The first call
    /// builds it, which takes a minute.
    pub fn newest() -> Result<Programs> {
        Ok(Programs::built(
            modules::build(Module::Containerd)?,
            Programs::debian()?,
        ))
    }

    /// Starts a containerd of any version.
    pub fn start_with(options: &Options) -> Result<Self> {
        let room = Room::make("containerd")?;
        let network = format!("lab{}", room.serial());
        let path = |own: &str, usual: &str| options.paths.choose(&room, own, usual);
        let socket = path("containerd.sock", "/run/containerd/containerd.sock")?;
        let of_network = path("cni/lab.conflist", "/etc/cni/net.d/lab.conflist")?;
        let network_settings = options.network.configuration(&network, &room.join("addresses"));
        fs::write(&of_network, network_settings).context("configure the pods' network")?;
        let configuration = (options.configuration)(&Layout {
            root: &path("root", "/var/lib/containerd")?,
            state: &path("state", "/run/containerd")?,
            socket: &socket,
            cni_configurations: of_network.parent().context("a file is in a directory")?,
            cni_plugins: &options.programs.cni_plugins(),
            runc_root: &path("runc", "/run/containerd/runc")?,
        });
        let file = path("config.toml", "/etc/containerd/config.toml")?;
        fs::write(&file, configuration).context("configure containerd")?;
        let mut command = options.programs.command_by_loader("containerd")?;
        command.arg("--config").arg(file);
        let daemon = Daemon::start_on(options.stage.as_ref(), "containerd", &room, &command, &tasks(&network))?;
        let cri = Cri::of(&socket, options.interface)?;
        daemon.wait_until(|| cri.version().map(drop))?;
        let this = Self {
            cri,
            daemon,
            programs: options.programs.clone(),
            socket,
        };
        this.import(&images::write_pause(room.path())?)?;
        this.import(&images::write_lab(room.path(), &options.programs)?)?;
        this.daemon.wait_until(|| this.cri.ready())?;
        Ok(this)
    }

    /// Returns its socket, for CRI and for its own API.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Returns the endpoint in the notation of a kubelet's flag.
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Returns the daemon itself: process ID, log, room.
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Returns the version that it reports, like `1.6.20~ds1`.
    pub fn version(&self) -> Result<String> {
        Ok(self.cri.version()?.runtime_version)
    }

    /// Runs a pod's sandbox like a kubelet, and waits until it is ready.
    pub fn run(&self, pod: Pod) -> Result<RunningPod> {
        RunningPod::run(self.cri.clone(), pod, &self.daemon)
    }

    /// Asks for its version like a client of the old CRI v1alpha2.
    pub fn ask_as_an_old_client(&self) -> Result<()> {
        Cri::of(&self.socket, Interface::V1alpha2)?.version().map(drop)
    }

    /// Imports a docker-archive, so that CRI finds the image.
    pub fn import(&self, archive: &Path) -> Result<()> {
        packages::run(
            self.programs
                .command("ctr")?
                .arg("--address")
                .arg(&self.socket)
                .args(["--namespace", "k8s.io", "images", "import"])
                .arg(archive),
        )
    }
}

/// Returns what remains outside of the room even after an orderly end.
fn tasks(network: &str) -> Vec<Task> {
    let mut tasks = vec![
        Task::SharedFolder("/run/containerd".into()),
        Task::SharedFolder("/run/containerd/s".into()),
        // The directory where containerd 1.x has its shims listen, whatever its state directory is.
        Task::DeadSockets("/run/containerd/s".into()),
    ];
    tasks.extend(network_tasks(network));
    tasks
}

/// Returns what a CNI network leaves outside of the room.
pub(crate) fn network_tasks(network: &str) -> Vec<Task> {
    vec![
        Task::Link(network.to_owned()),
        Task::SharedFolder("/var/lib/cni".into()),
        Task::SharedFolder("/var/lib/cni/results".into()),
        Task::Starting(format!("/var/lib/cni/results/{network}-").into()),
        Task::SharedFolder("/var/lib/cni/cache".into()),
        Task::SharedFolder("/var/lib/cni/cache/results".into()),
        Task::Starting(format!("/var/lib/cni/cache/results/{network}-").into()),
    ]
}

impl Network {
    /// Returns a CNI configuration: one bridge of this name, which is a gateway only on a stage.
    pub(crate) fn configuration(&self, network: &str, addresses: &Path) -> String {
        let (routed, subnet) = match self {
            Self::Closed => (false, "10.213.0.0/16"),
            Self::Routed(subnet) => (true, subnet.as_str()),
        };
        let mut plugin = json!({
            "type": "bridge",
            "bridge": network,
            "isGateway": routed,
            "hairpinMode": routed,
            "ipMasq": false,
            "ipam": {
                "type": "host-local",
                "dataDir": addresses,
                "ranges": [[{ "subnet": subnet }]],
            },
        });
        if routed {
            plugin["ipam"]["routes"] = json!([{ "dst": "0.0.0.0/0" }]);
        }
        json!({ "cniVersion": "0.4.0", "name": network, "plugins": [plugin] }).to_string()
    }
}

/// Returns the configuration of containerd 1.4 to 1.7.
///
/// It sets `restrict_oom_score_adj`, because the pause container asks for -998, which needs `CAP_SYS_RESOURCE`, and not
/// every test machine grants that. `netns_mounts_under_state_dir` keeps the pods' network namespaces in the room.
pub fn version_2(layout: &Layout<'_>) -> String {
    let cri = "io.containerd.grpc.v1.cri";
    format!(
        r#"version = 2
{common}
[plugins."{cri}"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
{network}{runc}"#,
        common = common(layout),
        pause = images::PAUSE,
        network = network(layout, cri, &format!("bin_dir = \"{}\"", layout.cni_plugins.display())),
        runc = runc(layout, cri),
    )
}

/// Returns the configuration of containerd 2. Its NRI would listen outside of the room.
pub fn version_3(layout: &Layout<'_>) -> String {
    let cri = "io.containerd.cri.v1.runtime";
    format!(
        r#"version = 3
{common}
[plugins."io.containerd.nri.v1.nri"]
  disable = true
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{pause}"
[plugins."{cri}"]
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
{network}{runc}"#,
        common = common(layout),
        pause = images::PAUSE,
        network = network(
            layout,
            cri,
            &format!("bin_dirs = [\"{}\"]", layout.cni_plugins.display())
        ),
        runc = runc(layout, cri),
    )
}

fn common(layout: &Layout<'_>) -> String {
    format!(
        r#"root = "{root}"
state = "{state}"
oom_score = 0
[grpc]
  address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{root}/opt""#,
        root = layout.root.display(),
        state = layout.state.display(),
        socket = layout.socket.display(),
    )
}

fn network(layout: &Layout<'_>, cri: &str, plugins: &str) -> String {
    let configurations = layout.cni_configurations.display();
    format!("  [plugins.\"{cri}\".cni]\n    {plugins}\n    conf_dir = \"{configurations}\"\n")
}

fn runc(layout: &Layout<'_>, cri: &str) -> String {
    format!(
        r#"  [plugins."{cri}".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."{cri}".containerd.runtimes.runc.options]
      Root = "{root}"
      SystemdCgroup = false
"#,
        root = layout.runc_root.display(),
    )
}
