//! Against real daemons: one module a scenario, each test with daemons of its own, so that none depends on another.

mod between_looks;
mod by_iterator;
mod the_keeper;
mod the_lab;
mod the_runtimes_socket;
mod the_stage;
mod what_cannot_be_seen;
mod what_is_asked;
mod who_uses_docker;
mod whose_pods;
