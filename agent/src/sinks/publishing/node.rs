//! Keeps the labels of castoff's own Node up to date: one rare read, and one server-side apply if something differs.
//!
//! Never changes another Node, never creates one, never removes fields of another manager, sends nothing while nothing differs. A
//! connection lives for one exchange: credentials are read anew each time, so a rotated token or authority needs no handling, and
//! a quiet agent holds no socket.
//!
//! Relies on server-side apply (Kubernetes ≥ 1.22): a key that the field manager owned and no longer names is removed, everything
//! else stays. `docs/adr/0005-labels.md` has the reasons.

pub mod object;
pub mod remove;
pub mod sender;
pub mod server;
