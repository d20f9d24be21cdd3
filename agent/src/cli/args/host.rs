//! Arguments that locate the host.

use std::path::PathBuf;

use clap::Args;

use super::any_path;

/// Arguments that locate the host, for every command that looks at it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Host")]
pub(in crate::cli) struct HostArgs {
    /// The CRI endpoint: a path on the host, with or without `unix://`. Default: what the kubelet uses, else the well-known ones
    #[arg(long, env = "CASTOFF_RUNTIME_ENDPOINT", value_name = "ENDPOINT")]
    pub(in crate::cli) runtime_endpoint: Option<String>,
    /// The timeout of one call to the runtime
    #[arg(
        long,
        env = "CASTOFF_RUNTIME_TIMEOUT",
        value_name = "DURATION",
        default_value = "2s",
        allow_hyphen_values = true
    )]
    pub(in crate::cli) runtime_timeout: String,
    /// A procfs of the host's PID namespace
    #[arg(long, env = "CASTOFF_PROC", value_name = "DIR", default_value = "/proc", value_parser = any_path())]
    pub(in crate::cli) proc: PathBuf,
    /// The host's root directory. Default: /proc/1/root where it may be read, else /
    #[arg(long, env = "CASTOFF_HOST_ROOT", value_name = "DIR", value_parser = any_path())]
    pub(in crate::cli) host_root: Option<PathBuf>,
    /// Search units, cron, cloud-init and the scripts that they name for calls of Docker. castoff keeps the path and the line number
    #[arg(long, env = "CASTOFF_SCAN_HOST_FILES")]
    pub(in crate::cli) scan_host_files: bool,
    /// The node's name. Default: `$NODE_NAME`, else the host's name
    #[arg(long, env = "CASTOFF_NODE_NAME", value_name = "NAME")]
    pub(in crate::cli) node_name: Option<String>,
}
