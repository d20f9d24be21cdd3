//! How castoff learns of connects that no look sees.

use clap::{Args, ValueEnum};

use crate::sources::connects::Wanted;

#[derive(Debug, Args)]
pub(in crate::cli) struct ConnectArgs {
    /// How the kernel tells of connects to Docker sockets, so that clients that come and go between two looks are seen
    #[arg(long, env = "CASTOFF_CONNECT_EVENTS", value_enum, default_value_t = ConnectEvents::Auto, value_name = "METHOD")]
    pub(in crate::cli) connect_events: ConnectEvents,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ConnectEvents {
    /// By a program that only Unix connects run: fentry, else LSM, else kprobe; needs `CAP_BPF`, `CAP_PERFMON` and BTF
    Auto,
    /// Not at all: only looks
    Off,
    /// By a program that every system call of the node runs (about 70 ns each), where the kernel refuses the others
    Tracepoint,
}

impl ConnectEvents {
    pub(in crate::cli) const fn wanted(self) -> Wanted {
        match self {
            Self::Auto => Wanted::Auto,
            Self::Off => Wanted::Off,
            Self::Tracepoint => Wanted::Tracepoint,
        }
    }
}
