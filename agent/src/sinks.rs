//! The publishers: each sink takes one immutable report and never reads anything from the host.

pub mod http;
pub mod publishing;
pub mod store;
pub mod views;

pub use crate::model::text;

#[cfg(any(test, feature = "recorded"))]
pub mod golden;
#[cfg(test)]
pub(crate) mod sample;
