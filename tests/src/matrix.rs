//! The table of versions that castoff is run against: what a row is, what comes of it, and what a run of them is worth.
//! The rows themselves are in `tests/matrix`.

mod conclusion;
mod row;
mod table;

pub use conclusion::conclude;
pub use row::{Kind, Outcome, Plan, Row, Seen};
pub use table::write;
