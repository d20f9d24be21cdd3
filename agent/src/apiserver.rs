//! The way to a Kubernetes API server, shared by whoever asks one: credentials, a connection with deadlines and bounds, and
//! what an answer amounts to.
//!
//! Never trusts an answer, never repeats a request by itself, never logs one: when to try again, and what to say of it, is
//! for whoever asks. Relies on `kube-client` for kubeconfigs, credentials and TLS, and on nothing else of it.

pub mod access;
pub mod answer;
pub mod audience;
pub mod connection;
pub mod pace;
pub mod path;
pub mod patience;
pub mod refusal;
pub mod sender;
pub mod workstation;
