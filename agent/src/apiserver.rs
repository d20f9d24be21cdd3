//! The connection to a Kubernetes API server, shared by all senders and readers: credentials, deadlines and limits, and the
//! classification of answers.
//!
//! Never trusts an answer, never repeats a request by itself, never logs one: the caller decides when to retry and what to
//! report. Relies on `kube-client` for kubeconfigs, credentials and TLS, and on nothing else of it.

pub mod access;
pub mod answer;
pub mod audience;
pub mod connection;
pub mod pace;
pub mod path;
pub mod refusal;
pub mod retry;
pub mod sender;
pub mod workstation;
