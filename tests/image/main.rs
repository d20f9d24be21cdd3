//! The image as it is shipped: its bytes, what runs it, and what it may do where it runs.

mod archive;
mod engines;
mod node;
mod privileges;
mod sbom;
