//! Writes the fleet: rows as they arrive, and the summary. Never prints an unescaped name, never holds more than a few
//! rows, and always distinguishes "none" from "unknown".

pub mod digest;
pub mod json;
pub mod page;
pub mod rows;
mod words;
