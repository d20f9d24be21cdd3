//! The kernel's interfaces, with one file each. Everything else in [`sources`](super) uses them and reads no file of
//! the kernel itself.
//!
//! - [`rooted`] reads paths below another root directory, and their links
//! - [`mountinfo`] reads `/proc/<pid>/mountinfo`
//! - [`process`] reads the directory of one process, `/proc/<pid>`, with one method for each file
//! - [`cgroups`] places a process by its control groups and their owners
//! - [`system`] reads the files of `/proc` that belong to no process
//! - [`netns`] opens and enters network namespaces
//! - [`unix_table`] reads `/proc/<pid>/net/unix`
//! - [`diag`] has the records of `sock_diag`, and the netlink socket that requests them
//! - [`bpf`] loads the programs of `agent/bpf` into the kernel
//! - [`refusal`] explains the errors of all of them

pub(crate) mod bpf;
pub(crate) mod cgroups;
pub mod diag;
pub(crate) mod mountinfo;
pub(crate) mod netns;
pub(crate) mod process;
pub(crate) mod refusal;
pub(crate) mod rooted;
pub(crate) mod system;
pub mod unix_table;
