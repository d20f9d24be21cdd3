//! The story that castoff exists for, on real parts: a node leaves Docker.

mod builder;
mod node;
mod record;
mod steps;
mod story;
mod told;
