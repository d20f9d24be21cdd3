//! Publishes a report's conclusions to the cluster: labels through the API server or Node Feature Discovery, and Events.

pub mod events;
pub mod labels;
pub mod nfd;
pub mod node;
