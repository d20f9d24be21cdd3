//! Publishes: each sink takes one immutable report and never asks the host about anything.

pub mod http;
pub mod publishing;
pub mod store;
pub mod views;

pub use crate::model::text;

#[cfg(any(test, feature = "recorded"))]
pub mod golden;
#[cfg(test)]
pub(crate) mod sample;
