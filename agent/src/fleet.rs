//! All nodes of a cluster, from a workstation: the Nodes and the agents' pods that the API server lists, each agent's report
//! through the API server's pod proxy, and a row for every Node.
//!
//! Never leaves a Node out: a Node without a report is `unknown`, with the reason. Never holds the whole fleet in
//! memory: rows are passed on as they arrive, and only counts and the worst rows are kept. Never trusts a report: any
//! process on that port may have written it. Never sends an agent a token that anyone else accepts. Changes nothing in
//! the cluster.
//!
//! Relies on lists in pages (`limit`, `continue`), on the API server's printed form of Nodes and pods (`Table` of
//! meta.k8s.io/v1, what `kubectl get -o wide` shows: a fiftieth of the objects), and on `pods/proxy`.
//! `docs/adr/0011-fleet.md` has the reasons.

mod agent_port;
mod cluster;
pub mod days;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzzing;
pub mod join;
mod judge;
pub mod look;
mod notes;
mod pages;
pub mod readiness;
mod report;
pub mod row;
pub mod summary;
mod table;
mod token;

pub use agent_port::AgentPort;
pub use cluster::{Cluster, Where};
pub use token::Tokens;
