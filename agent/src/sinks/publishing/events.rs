//! Kubernetes Events on the pods that are new clients of a Docker socket, or newly could be: a notification for anyone who
//! inspects the pod, and not a record. Off by default.
//!
//! Pure: [`novelty`] (reports → news), [`event`] (one piece of news → the object). [`sender`] sends them.
//!
//! Never reports clients from before the agent's start, never the same one twice within a day, and never waits for an API server
//! longer than an event is news.
//!
//! Relies on `events.k8s.io/v1` (Kubernetes ≥ 1.19). `docs/adr/0010-events.md` has the reasons.

pub mod event;
pub mod novelty;
pub mod sender;
