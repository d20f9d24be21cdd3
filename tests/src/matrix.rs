//! The table of versions that castoff is tested against: the rows, their results, and the verdict on a run. The rows
//! themselves are in `tests/matrix`.

mod conclusion;
mod row;
mod table;

pub use conclusion::conclude;
pub use row::{Kind, Outcome, Plan, Row, Seen};
pub use table::write;
