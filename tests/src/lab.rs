//! The lab: real daemons, pods and clients on this machine. Each is a guard that removes itself and everything that it
//! created when it is dropped.
//!
//! It must never touch a daemon of the host: each of its daemons has its own room (a private directory), its own
//! sockets, no iptables rule and no forwarding, and is stopped by process ID and descent, never by name. Only in a mount
//! namespace of its own a daemon has the usual paths. What outlives a panic, an abort or Ctrl-C is removed by the
//! [`keeper`], a process that waits for the end of the one that started it.
//!
//! ```no_run
//! use castoff_tests::lab::{clients, containerd::Containerd, containers::Container, docker::Docker, places::Place, pods::Pod};
//! # fn main() -> anyhow::Result<()> {
//! let runtime = Containerd::start()?;
//! let docker = Docker::start()?;
//! let pod = runtime.run(Pod::new("builds", "builder-0"))?;
//! let in_pod = pod.start(
//!     Container::client("build", ["hold", "/var/run/docker.sock"]).mount(docker.socket(), "/var/run/docker.sock"),
//! )?;
//! let in_docker = docker.run_client("agent", docker.socket(), ["hold", "/var/run/docker.sock"])?;
//! let in_unit = clients::hold(docker.socket(), Place::unit("log-shipper.service")?)?;
//! # Ok(())
//! # }
//! ```

pub mod browser;
pub mod castoff;
pub mod cgroups;
pub mod clients;
pub mod containerd;
pub mod containers;
pub mod cri;
pub mod crio;
pub mod cross;
pub mod daemon;
pub mod docker;
pub mod dockershim;
pub mod engine;
pub mod guests;
pub mod helm;
pub mod image;
pub mod images;
pub mod keeper;
pub mod kernels;
mod kubelet;
pub mod kubernetes;
pub mod machine;
pub mod memory;
pub mod modules;
pub mod packages;
pub mod places;
pub mod podman;
pub mod pods;
pub mod process;
pub mod program;
pub mod prometheus;
pub mod release;
pub mod rooms;
pub mod scene;
pub mod shipped;
pub mod skopeo;
pub mod sockets;
pub mod stage;
pub mod suites;
mod tidy;

pub use castoff::castoff_binary;
