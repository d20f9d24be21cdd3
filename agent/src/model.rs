//! Plain data and the joins over it. Nothing here reads the host, returns an error, or depends on how a fact is
//! published.

pub mod client;
pub mod connect;
pub mod container;
pub mod daemon_config;
pub mod disuse;
pub mod engine;
pub mod exposure;
pub mod history;
pub mod host;
pub mod hours;
pub mod identity;
pub mod join;
pub mod known_agent;
pub mod kubelet;
pub mod last_connect;
pub mod machine;
pub mod name;
pub mod process;
pub mod publishing;
pub mod reading;
pub mod relay;
pub mod request;
pub mod runtime;
pub mod runtime_socket;
#[cfg(test)]
pub(crate) mod sample;
pub mod snapshot;
pub mod socket;
pub mod text;
pub mod time;
pub mod timeline;
pub mod turns;
pub mod workload;
