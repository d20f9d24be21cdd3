//! The scripts that make a release: the version in every place, the published files, and programs that do not depend on
//! the directory in which they are built.

mod arm64;
mod bump;
mod elsewhere;
mod files;
mod tree;
