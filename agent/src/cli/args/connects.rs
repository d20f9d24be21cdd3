//! Arguments for the methods by which the kernel reports connects that no look sees.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::sources::connects::{Asked, Wanted};

#[derive(Debug, Args)]
pub(in crate::cli) struct ConnectArgs {
    /// The method by which the kernel reports connects to Docker sockets, so that clients that come and go between two looks are seen
    #[arg(long, env = "CASTOFF_CONNECT_EVENTS", value_enum, default_value_t = ConnectEvents::Auto, value_name = "METHOD")]
    pub(in crate::cli) connect_events: ConnectEvents,
    /// The method by which the kernel reports requests to a Docker API: only the class and the API version of each. Needs --connect-events
    #[arg(long, env = "CASTOFF_REQUESTS", value_enum, default_value_t = Requests::Auto, value_name = "METHOD")]
    pub(in crate::cli) requests: Requests,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ConnectEvents {
    /// A program that runs on Unix connects only: fentry, else LSM, else kprobe; needs `CAP_BPF`, `CAP_PERFMON` and BTF
    Auto,
    /// Not used: castoff loads no kernel program, not even the iterator that finds the holders of a connection
    Off,
    /// A program that runs on every system call of the node (about 70 ns each), if the kernel refuses the others
    Tracepoint,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Requests {
    /// A program that runs on sends to Unix sockets only: fentry
    Auto,
    /// Requests are not recorded
    Off,
    /// A program that runs on every system call of the node (about 70 ns each), if the kernel refuses fentry
    Tracepoint,
}

impl ConnectArgs {
    pub(in crate::cli) fn asked(&self) -> Asked {
        Asked {
            method: match self.connect_events {
                ConnectEvents::Auto => Wanted::Auto,
                ConnectEvents::Off => Wanted::Off,
                ConnectEvents::Tracepoint => Wanted::Tracepoint,
            },
            requests: match self.requests {
                Requests::Auto => Wanted::Auto,
                Requests::Off => Wanted::Off,
                Requests::Tracepoint => Wanted::Tracepoint,
            },
            self_test: Some(PathBuf::from("/proc/self/exe")),
        }
    }
}
