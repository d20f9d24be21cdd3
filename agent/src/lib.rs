//! castoff finds the clients on a node that still depend on Docker, and judges if Docker can be removed.
//!
//! The flow is `sources → model → findings → sinks`; only [`agent`] and the command line know all four. See
//! `ARCHITECTURE.md` beside this crate for the code map and the invariants with the tests that guard them.

pub mod agent;
pub mod apiserver;
pub mod cli;
pub mod config;
pub mod findings;
pub mod fleet;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzzing;
pub mod model;
pub mod sinks;
pub mod sources;
pub mod telemetry;
