//! Tells the cluster what a report says of its node: labels through the API server or Node Feature Discovery, and Events.

pub mod events;
pub mod labels;
pub mod nfd;
pub mod node;
