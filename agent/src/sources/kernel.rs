//! The kernel's interfaces, one file each; everything else in [`sources`](super) asks them and reads no file of the kernel
//! by itself.
//!
//! - [`rooted`]: paths below another root directory, and their links
//! - [`mountinfo`]: `/proc/<pid>/mountinfo`
//! - [`process`]: the directory of one process, `/proc/<pid>`: one more of its files is one more method there
//! - [`unix_table`]: `/proc/<pid>/net/unix`
//! - [`diag`]: `sock_diag`, its records and the netlink socket that asks for them
//! - [`refusal`]: what an error of any of them amounts to

pub mod diag;
pub(crate) mod mountinfo;
pub(crate) mod process;
pub(crate) mod refusal;
pub(crate) mod rooted;
pub mod unix_table;
