//! Writes a report for people (a table on a terminal, a page) and for programs (JSON, metrics, and SARIF and JUnit for CI).

mod amount;
pub mod fleet;
pub mod json;
pub mod junit;
pub(crate) mod markup;
pub mod metrics;
pub(in crate::sinks) mod page;
pub mod sarif;
pub mod style;
pub mod table;

mod grid;
mod prose;
