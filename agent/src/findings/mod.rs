//! One snapshot and the settings in, one report out. Pure: asks nothing, cannot fail.

pub mod report;
