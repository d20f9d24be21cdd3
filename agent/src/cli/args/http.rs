//! Arguments of the HTTP server of `castoff run`: address, TLS and access.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::any_path;

#[derive(Debug, Args)]
#[command(next_help_heading = "HTTP")]
pub(in crate::cli) struct HttpArgs {
    /// The address to serve HTTP on. If this is not a loopback address, set --auth
    #[arg(
        long,
        env = "CASTOFF_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:9559"
    )]
    pub(in crate::cli) listen: String,
    /// Serve TLS with this certificate and its intermediate certificates, in PEM; reloaded when it changes
    #[arg(long, env = "CASTOFF_TLS_CERT", value_name = "FILE", value_parser = any_path())]
    pub(in crate::cli) tls_cert: Option<PathBuf>,
    /// The private key of --tls-cert, in PEM
    #[arg(long, env = "CASTOFF_TLS_KEY", value_name = "FILE", value_parser = any_path())]
    pub(in crate::cli) tls_key: Option<PathBuf>,
    /// Access to the page, the metrics and the report. /livez and /readyz are open to everybody
    #[arg(long, env = "CASTOFF_AUTH", value_enum, default_value_t = Auth::None, value_name = "WAY")]
    pub(in crate::cli) auth: Auth,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Auth {
    /// Everybody who reaches the address
    None,
    /// Clients with a token that may get the path (nonResourceURLs): a bearer token, or a token of audience castoff in the header X-Castoff-Token. Needs the right to create tokenreviews and subjectaccessreviews
    Kubernetes,
}
