//! The lab: real daemons, pods and clients on this machine, each a guard that is gone, with everything it made, when it
//! is dropped.
//!
//! It must never touch a daemon of the host: each has its own room (a private folder), its own sockets, no iptables rule,
//! no forwarding; and it stops by process id and descent, never by name. What outlives a panic, an abort or Ctrl-C is
//! tidied by the [`keeper`], a process that waits for its starter's end.
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
pub mod daemon;
pub mod docker;
pub mod dockershim;
pub mod guests;
pub mod helm;
pub mod image;
pub mod images;
pub mod keeper;
pub mod kernels;
mod kubelet;
pub mod kubernetes;
pub mod machine;
pub mod modules;
pub mod packages;
pub mod places;
pub mod podman;
pub mod pods;
pub mod program;
pub mod prometheus;
pub mod release;
pub mod rooms;
pub mod scene;
pub mod shipped;
pub mod sockets;
pub mod stage;
pub mod suites;
mod tidy;

pub use castoff::castoff_binary;
