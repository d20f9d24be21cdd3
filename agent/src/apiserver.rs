//! The connection to a Kubernetes API server, shared by all senders and readers: credentials, deadlines and limits, and the
//! classification of answers.
//!
//! Never trusts an answer. Never retries or logs a request: the caller decides when to retry and what to report. Uses
//! `kube-client` only for kubeconfigs, credentials and TLS.

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
