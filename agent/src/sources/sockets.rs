//! The node's Unix sockets, listening and connected, in every network namespace.
//!
//! Both ends of a connection belong to the network namespace of its *client*, so a look into one namespace says nothing
//! about the others. This source only reads the kernel's socket tables ([`diag`](crate::sources::kernel::diag), else
//! [`unix_table`](crate::sources::kernel::unix_table)). It never opens, connects to or stats a socket through a
//! client's path.
//!
//! - [`tables`]: the tables of many namespaces, live or recorded
//! - [`namespaces`]: the network namespaces and the ways to enter each
//! - [`live`]: the live tables, each read in its own namespace
//! - `recorded`: recorded tables, for tests
//! - [`listening`]: the sockets that accept connections
//! - [`connected`]: the sockets that may be connected to one of those
//! - `vanished`: listeners that are known only from their connections
//! - [`tcp`]: the TCP sockets of engines
//! - [`protocol`]: the protocol of a socket that a process holds

pub mod connected;
pub mod listening;
pub mod live;
pub mod namespaces;
pub mod protocol;
#[cfg(any(test, feature = "recorded"))]
pub mod recorded;
pub mod tables;
pub mod tcp;
mod vanished;
