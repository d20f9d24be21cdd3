//! Kubernetes Events on the pods that are new clients of a Docker socket, or that newly could be: a notification for who
//! looks at the pod, and never the record. Off unless asked for.
//!
//! Pure: [`novelty`] (reports → what is new), [`event`] (one piece of news → the object). [`sender`] sends them.
//!
//! Never says what was there when the agent started, never the same twice within a day, and never waits for an API server
//! longer than an event is news.
//!
//! Relies on `events.k8s.io/v1` (Kubernetes ≥ 1.19). `docs/adr/0010-events.md` has the reasons.

pub mod event;
pub mod novelty;
pub mod sender;
