//! The kernel's interfaces, one file each; everything else in [`sources`](super) asks them and reads no file of the kernel
//! by itself.
//!
//! - [`rooted`] reads paths below another root directory, and their links
//! - [`mountinfo`] reads `/proc/<pid>/mountinfo`
//! - [`process`] reads the directory of one process, `/proc/<pid>`: one more of its files is one more method there
//! - [`cgroups`] places a process by its control groups and their owners
//! - [`system`] reads the files of `/proc` that are of no process
//! - [`netns`] opens and enters network namespaces
//! - [`unix_table`] reads `/proc/<pid>/net/unix`
//! - [`diag`] asks `sock_diag`, its records and the netlink socket that asks for them
//! - [`bpf`] loads the programs of `agent/bpf` into the kernel
//! - [`refusal`] says what an error of any of them amounts to

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
