//! All nodes of a cluster at once, from a workstation: the Nodes and the agents' pods that the API server lists, each agent's
//! report through the API server's pod proxy, and a row for every Node.
//!
//! Never leaves a Node out: one that gives no report is `unknown`, with the reason. Never holds the fleet: rows go on as they
//! come, and what is kept of them is counts and the worst few. Never trusts a report: whoever serves one on that port may have
//! written it. Never shows an agent a token that anybody else would accept. Changes nothing anywhere.
//!
//! Relies on lists in pages (`limit`, `continue`), on the API server's printed form of Nodes and pods (`Table` of
//! meta.k8s.io/v1, what `kubectl get -o wide` shows: a fiftieth of the objects), and on `pods/proxy`.
//! `docs/adr/0011-fleet.md` has the reasons.

mod cluster;
mod door;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzzing;
pub mod join;
mod judge;
pub mod look;
mod notes;
mod pages;
pub mod readiness;
pub mod row;
pub mod summary;
mod table;
mod token;
mod told;

pub use cluster::{Cluster, Where};
pub use door::Door;
pub use token::Tokens;
