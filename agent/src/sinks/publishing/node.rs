//! Keeps the labels of castoff's own Node up to date: one rare read, and one server-side apply if something differs.
//!
//! Never changes another Node, never creates one, and never removes fields of another manager. Sends nothing while
//! nothing differs. A connection lives for one exchange: credentials are read again each time, so a rotated token or
//! authority needs no special handling, and an idle agent holds no socket.
//!
//! Relies on server-side apply (Kubernetes ≥ 1.22): a key that the field manager owned and no longer names is removed, everything
//! else stays. `docs/adr/0005-labels.md` has the reasons.

pub mod object;
pub mod remove;
pub mod sender;
pub mod server;
