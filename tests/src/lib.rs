//! Whatever crosses a process, kernel or cluster boundary: the doubles and the real daemons that castoff's tests run
//! against. `tests/run` says how; nothing here is part of castoff itself.

pub mod demo;
pub mod fake;
pub mod lab;
pub mod matrix;
pub mod report;
pub mod rows;
pub mod wait;
