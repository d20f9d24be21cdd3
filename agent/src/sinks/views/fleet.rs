//! Writes the fleet: rows as they come, and what holds for all of them. Never prints a name raw, never holds more rows than
//! a few, and never leaves open whether something is nothing or not known.

pub mod digest;
pub mod json;
pub mod page;
pub mod rows;
mod words;
