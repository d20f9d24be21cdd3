//! Publishes: each sink takes one immutable report and never asks the host about anything.

pub mod events;
pub mod http;
pub mod labels;
pub(crate) mod markup;
pub mod metrics;
pub mod nfd;
pub mod node;
pub mod render;
pub mod state;

pub use crate::model::text;

#[cfg(any(test, feature = "recorded"))]
pub mod golden;
#[cfg(test)]
pub(crate) mod sample;
