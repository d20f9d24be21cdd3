//! The node's Unix sockets: which accept, and which are connected, in every network namespace.
//!
//! Both ends of a connection belong to the network namespace of its *client*, so a look into one namespace says nothing
//! of the others. This source asks the kernel's socket tables only; it never opens, connects to or stats through a
//! client's path to any of the sockets that it lists.
//!
//! - [`diag`]: the records, bytes in, rows out; [`diag::encode`] writes them for tests
//! - [`table`]: what a socket table answers, whoever answers it
//! - [`namespaces`]: which network namespaces there are and how each can be entered
//! - [`kernel`]: the live tables, over `netlink`, each in its own namespace
//! - [`recorded`]: tables that were recorded elsewhere
//! - [`listening`]: the sockets that accept
//! - [`connected`]: the sockets that may be connected to one of those
//! - [`proc_net_unix`]: what `/proc/<pid>/net/unix` tells where the tables cannot be asked

pub mod connected;
pub mod diag;
pub mod kernel;
pub mod listening;
pub mod namespaces;
mod netlink;
pub mod proc_net_unix;
pub mod recorded;
pub mod table;
