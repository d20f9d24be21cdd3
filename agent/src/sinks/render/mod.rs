//! Writes a report for people (a table on a terminal) and for programs (JSON, and SARIF and JUnit for CI).

pub(in crate::sinks) mod amount;
pub mod fleet;
pub mod json;
pub mod junit;
pub mod sarif;
pub mod style;
pub mod table;

mod grid;
mod prose;
