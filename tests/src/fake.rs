//! Doubles of the servers that castoff asks, each on a real socket.

pub mod api;
pub mod cri;
