//! Writes the fleet: rows as they come, and the summary. Never prints a name raw, never holds more than a few rows, and always
//! distinguishes nothing from unknown.

pub mod digest;
pub mod json;
pub mod page;
pub mod rows;
mod words;
