//! Writes a report for people (a table on a terminal) and for programs (JSON).

pub(in crate::sinks) mod amount;
pub mod json;
pub mod style;
pub mod table;

mod grid;
mod prose;
