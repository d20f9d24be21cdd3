//! Everything in the tests that crosses a process, kernel or cluster boundary: the doubles and the real daemons that
//! castoff is tested against. `tests/run` prints its usage; nothing here is part of castoff itself.

pub mod demo;
pub mod fake;
pub mod lab;
pub mod matrix;
pub mod past;
pub mod report;
pub mod rows;
pub mod wait;
