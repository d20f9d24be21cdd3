//! The node's Unix sockets: which accept, and which are connected, in every network namespace.
//!
//! Both ends of a connection belong to the network namespace of its *client*, so a look into one namespace says nothing
//! of the others. This source asks the kernel's socket tables only ([`diag`](crate::sources::kernel::diag), else
//! [`unix_table`](crate::sources::kernel::unix_table)); it never opens, connects to or stats through a
//! client's path to any of the sockets that it lists.
//!
//! - [`tables`]: the tables of many namespaces, whoever answers
//! - [`namespaces`]: which network namespaces there are and how each can be entered
//! - [`live`]: the live tables, each in its own namespace
//! - `recorded`: tables that were recorded elsewhere, for tests
//! - [`listening`]: the sockets that accept
//! - [`connected`]: the sockets that may be connected to one of those
//! - `vanished`: listeners that only their connections tell of
//! - [`tcp`]: the TCP sockets of engines

pub mod connected;
pub mod listening;
pub mod live;
pub mod namespaces;
#[cfg(any(test, feature = "recorded"))]
pub mod recorded;
pub mod tables;
pub mod tcp;
mod vanished;
