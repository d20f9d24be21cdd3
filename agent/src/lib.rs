//! castoff: what on this node still depends on Docker, who is it, and is it safe to take Docker away?
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
