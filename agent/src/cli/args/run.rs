//! `castoff run`.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};

use super::{ConnectArgs, HostArgs, HttpArgs, LabelArgs, Way, any_path};

#[derive(Debug, Args)]
#[command(after_help = RUN_HELP)]
pub(in crate::cli) struct Run {
    /// The time from one look to the next
    #[arg(
        long,
        env = "CASTOFF_PERIOD",
        value_name = "DURATION",
        default_value = "15s",
        allow_hyphen_values = true
    )]
    pub(in crate::cli) period: String,
    /// The time for which a use counts: a client last seen before that no longer makes the node in-use
    #[arg(
        long,
        env = "CASTOFF_WINDOW",
        value_name = "DURATION",
        default_value = "7d",
        allow_hyphen_values = true
    )]
    pub(in crate::cli) window: String,
    /// Say in each report whether the node is ready for these, and list what blocks each: kubelet=1.38, containerd=2.4,
    /// cri-o=1.37, docker=29, docker=removed
    #[arg(
        long = "for",
        env = "CASTOFF_FOR",
        value_name = "PRODUCT=VERSION",
        value_delimiter = ','
    )]
    pub(in crate::cli) ready_for: Vec<String>,
    /// The file that keeps the history of clients (first and last seen) across restarts. Default: no history is kept
    #[arg(long, env = "CASTOFF_STATE", value_name = "FILE", value_parser = any_path())]
    pub(in crate::cli) state: Option<PathBuf>,
    /// The time that a stop may take before it is forced
    #[arg(
        long,
        env = "CASTOFF_GRACE",
        value_name = "DURATION",
        default_value = "10s",
        allow_hyphen_values = true
    )]
    pub(in crate::cli) grace: String,
    /// The log level (error, warn, info, debug, trace) or a filter by module
    #[arg(long, env = "CASTOFF_LOG", value_name = "FILTER", default_value = "info")]
    pub(in crate::cli) log: String,
    /// The log format
    #[arg(long, env = "CASTOFF_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub(in crate::cli) log_format: LogFormat,
    /// The way to publish the verdict as labels of this node
    #[arg(long = "labels", env = "CASTOFF_LABELS", value_enum, default_value_t = Way::Off, value_name = "WAY",
          help_heading = "Labels")]
    pub(in crate::cli) way: Way,
    #[command(flatten)]
    pub(in crate::cli) http: HttpArgs,
    #[command(flatten)]
    pub(in crate::cli) labels: LabelArgs,
    /// Create an Event on each pod that starts to use a Docker socket, or newly mounts one or a directory above it;
    /// needs the right to create events in events.k8s.io
    #[arg(long, env = "CASTOFF_EVENTS", value_parser = BoolishValueParser::new(), help_heading = "Events")]
    pub(in crate::cli) events: bool,
    #[command(flatten)]
    pub(in crate::cli) connects: ConnectArgs,
    #[command(flatten)]
    pub(in crate::cli) host: HostArgs,
}

const RUN_HELP: &str = "\
On the first SIGTERM or SIGINT, castoff finishes its current work within --grace. On the second, it exits immediately.

Examples:
  castoff run                                    this machine, http://127.0.0.1:9559/ shows it
  castoff run --state /var/lib/castoff/state.json --labels api --listen 0.0.0.0:9559
                                                 as the DaemonSet does
  curl -s http://127.0.0.1:9559/api/v1/report | jq .verdict";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum LogFormat {
    Text,
    Json,
}
