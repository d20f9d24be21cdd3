//! Doubles of what castoff asks, each as real as the question: a server on a real socket.

pub mod api;
pub mod cri;
