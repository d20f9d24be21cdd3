//! The image as it is shipped: its bytes, the engines that run it, and its rights.

mod archive;
mod engines;
mod node;
mod privileges;
mod sbom;
