//! Tests against real daemons: one module per scenario. Each test has its own daemons, so that none depends on another.

mod between_looks;
mod by_iterator;
mod clients;
mod gaps;
mod keeper;
mod lab;
mod requests;
mod runtime_socket;
mod stage;
mod workloads;
