//! Kubernetes Events on pods that are new clients of a Docker socket, or that newly could become one. They are
//! notifications for people who inspect the pod, not a record. Off by default.
//!
//! Pure: [`novelty`] (reports → news), [`event`] (one piece of news → the object). [`sender`] sends them.
//!
//! It never reports clients from before the agent's start, and never the same client twice within a day. An event that
//! is too old is dropped instead of waiting for the API server.
//!
//! Relies on `events.k8s.io/v1` (Kubernetes ≥ 1.19). `docs/adr/0010-events.md` has the reasons.

pub mod event;
pub mod novelty;
pub mod sender;
