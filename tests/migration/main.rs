//! The purpose of castoff, with real parts: a node stops using Docker.

mod builder;
mod node;
mod outputs;
mod record;
mod steps;
mod story;
